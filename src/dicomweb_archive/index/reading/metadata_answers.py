"""Metadata on their way out: finished series as one JSON array, in the content coding that the client takes."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, repeat
from typing import Final, Generic, NamedTuple, TypeVar

from dicomweb_archive.index.segments.gzip_members import Fragment, MemberJoiner, fragment_of, inflate, member_bytes
from dicomweb_archive.index.segments.zstd_frames import FrameWriter

Value = TypeVar("Value")

# So many deflated bytes are looked through for the length of an answer before it begins.
_GATHERED_BYTES: Final = 2 * 1024 * 1024
# Shorter texts are turned into frames where they are: a thread would take longer.
_SHORT_BYTES: Final = 64 * 1024
_OPEN, _COMMA, _CLOSE = fragment_of(b"["), fragment_of(b","), fragment_of(b"]")


class Coding(StrEnum):
    """Content codings that metadata can be had in (RFC 9110 8.4.1; RFC 8878)."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


class Finished(NamedTuple):
    """Finished metadata: of a series under the key that it is kept by, or of one instance."""

    key: Hashable | None
    fragment: Fragment


class RecentlyUsed(Generic[Value]):
    """What this process keeps of its finished bytes, up to so many; the least recently used goes first."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._size = 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def find(self, key: Hashable) -> Value | None:
        """Return what is kept by this key."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep a value of so many bytes."""
        if key not in self._kept:
            self._kept[key] = value, size
            self._size += size
        while self._size > self.capacity_bytes and self._kept:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._size -= dropped


@dataclass(slots=True)
class MetadataAnswer:
    """Metadata of a study, series or instance: one JSON array (PS3.18 F.2), to be had once, in one of the codings.

    Attributes:
        etag: changes whenever the metadata do; weak, since all codings share it.
    """

    etag: str
    _finished: AsyncIterator[Finished]
    _frames: RecentlyUsed[bytes]
    _gathered: list[Finished] = field(default_factory=list)
    _is_whole: bool = False
    _made: bytes | None = None

    async def length(self, coding: Coding) -> int | None:
        """Return how long the answer is in a coding; `None` where finding out would hold too much in memory."""
        await self._gather()
        if not self._is_whole:
            return None
        commas = max(len(self._gathered) - 1, 0)
        fragments = [each.fragment for each in self._gathered]
        match coding:
            case Coding.IDENTITY:
                return 2 + commas + sum(fragment.length for fragment in fragments)
            case Coding.GZIP:
                return member_bytes((_OPEN, *fragments, *[_COMMA] * commas, _CLOSE))
            case Coding.ZSTD:
                return len(await self._frame())

    def encoded(self, coding: Coding) -> AsyncIterator[bytes]:
        """Yield the answer in a coding."""
        match coding:
            case Coding.IDENTITY:
                return self.json()
            case Coding.GZIP:
                return self.gzip()
            case Coding.ZSTD:
                return self.zstd()

    async def gzip(self) -> AsyncIterator[bytes]:
        """Yield one gzip member; about a series at a time, nothing is deflated that was before."""
        joiner = MemberJoiner()
        yield joiner.begin() + joiner.add(_OPEN)
        is_first = True
        async for _, fragment in self._all():
            if not is_first:
                yield joiner.add(_COMMA)
            is_first = False
            yield joiner.add(fragment)
        yield joiner.add(_CLOSE) + joiner.end()

    async def zstd(self) -> AsyncIterator[bytes]:
        """Yield one frame of zstd; many clients stop without a word after the first of several."""
        await self._gather()
        if self._is_whole:
            yield await self._frame()
            return
        writer = FrameWriter()
        async for chunk in self.json():
            yield writer.write(chunk)
        yield writer.finish()

    async def json(self) -> AsyncIterator[bytes]:
        """Yield the plain text in chunks of at most 256 KiB."""
        before = b"["
        async for _, fragment in self._all():
            yield before
            for chunk in inflate(fragment):
                yield chunk
                # A long inflation on the loop would hold everybody else up.
                await asyncio.sleep(0)
            before = b","
        yield b"[]" if before == b"[" else b"]"

    async def _gather(self) -> None:
        size = sum(len(each.fragment.deflated) for each in self._gathered)
        async for each in self._finished:
            self._gathered.append(each)
            size += len(each.fragment.deflated)
            # The only series is in memory anyway, however long it is.
            if size > _GATHERED_BYTES and len(self._gathered) > 1:
                return
        self._is_whole = True

    async def _all(self) -> AsyncIterator[Finished]:
        for each in self._gathered:
            yield each
        if not self._is_whole:
            async for each in self._finished:
                yield each

    async def _frame(self) -> bytes:
        """Return the one frame of an answer that is gathered; kept, because its series are finished."""
        # Its length is asked for first, and an instance or a long series is not kept for others.
        if self._made is None:
            self._made = await self._kept_frame()
        return self._made

    async def _kept_frame(self) -> bytes:
        keys = tuple(each.key for each in self._gathered)
        frame = self._frames.find(keys)
        if frame is not None:
            return frame
        fragments = [each.fragment for each in self._gathered]
        is_short = sum(fragment.length for fragment in fragments) < _SHORT_BYTES
        frame = _frame_of(fragments) if is_short else await asyncio.to_thread(_frame_of, fragments)
        if None not in keys:
            self._frames.put(keys, frame, len(frame))
        return frame


def _frame_of(fragments: Sequence[Fragment]) -> bytes:
    """Write an array as one frame: some 5 ms for 5 MB, most of them for inflating it."""
    writer = FrameWriter()
    pieces = []
    for before, fragment in zip(chain([b"["], repeat(b",")), fragments, strict=False):
        pieces += [writer.write(before), *map(writer.write, inflate(fragment))]
    pieces.append(writer.write(b"]" if fragments else b"[]"))
    return b"".join((*pieces, writer.finish()))
