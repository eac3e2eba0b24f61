"""Metadata on their way out: one JSON array (PS3.18 F.2), in the content coding that the client takes.

What many ask for is kept as it goes out: the text of a series, and what zstd and gzip make of a whole answer. Answers
that would hold too much are written while they are sent.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Sequence
from enum import StrEnum
from itertools import chain, repeat
from typing import Final, Protocol

from dicomweb_archive.index.reading.recently_used import RecentlyUsed
from dicomweb_archive.index.segments.gzip_members import (
    Fragment,
    MemberJoiner,
    fragment_of,
    gzip_member,
    inflate,
    member_bytes,
)
from dicomweb_archive.index.segments.zstd_frames import FrameWriter

WHOLE_BYTES: Final = 4 * 1024 * 1024
"""Plain answers of up to so many bytes are had whole."""

# So many deflated bytes are looked through for the length of an answer before it begins.
_GATHERED_BYTES: Final = 2 * 1024 * 1024
# Shorter texts are coded where they are: a thread would take longer.
_SHORT_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 256 * 1024
_OPEN, _COMMA, _CLOSE = fragment_of(b"["), fragment_of(b","), fragment_of(b"]")
_NOTHING: Final = b"[]"

Piece = bytes | memoryview


class Coding(StrEnum):
    """Content codings that metadata can be had in (RFC 9110 8.4.1; RFC 8878)."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


class MetadataAnswer(Protocol):
    """Metadata of a study, series or instance; nothing is made of them before it is asked for."""

    @property
    def etag(self) -> str:
        """Entity tag: changes whenever the metadata do; weak, since all codings share it."""

    async def whole(self, coding: Coding) -> Sequence[Piece] | None:
        """Return the whole answer in a coding, in pieces; `None` where that would hold too much in memory."""

    async def length(self, coding: Coding) -> int | None:
        """Return how long the answer is in a coding; `None` where finding out would hold too much in memory."""

    def encoded(self, coding: Coding) -> AsyncIterator[Piece]:
        """Yield the answer in a coding."""


class TextAnswer:
    """Metadata of one instance, or of some instances that nobody keeps: a text that is written when it is wanted."""

    def __init__(self, etag: str, text: Callable[[], Awaitable[bytes]]) -> None:
        self.etag = etag
        self._text = text

    async def whole(self, coding: Coding) -> Sequence[Piece]:
        """Return the whole answer in a coding."""
        text = await self._text()
        if coding is Coding.IDENTITY:
            return (text,)
        encode = gzip_member if coding is Coding.GZIP else _frame
        return (encode(text) if len(text) < _SHORT_BYTES else await asyncio.to_thread(encode, text),)

    async def length(self, coding: Coding) -> int:
        """Return how long the answer is in a coding."""
        return sum(map(len, await self.whole(coding)))

    async def encoded(self, coding: Coding) -> AsyncIterator[Piece]:
        """Yield the answer in a coding."""
        for piece in await self.whole(coding):
            for chunk in _chunks(piece):
                yield chunk


class SeriesAnswer:
    """Metadata of finished series, joined.

    Args:
        keys: what the series are kept by, in their order.
        find: returns the fragment of a series; an empty one when it has been deleted meanwhile.
        kept: texts of series by their keys, and whole answers by their tags.
    """

    def __init__(
        self,
        etag: str,
        keys: Sequence[Hashable],
        find: Callable[[int], Awaitable[Fragment]],
        kept: RecentlyUsed[bytes],
    ) -> None:
        self.etag = etag
        self._keys = keys
        self._find = find
        self._kept = kept
        self._fragments: list[Fragment] = []

    async def whole(self, coding: Coding) -> Sequence[Piece] | None:
        """Return the whole answer in a coding, in pieces; `None` where that would hold too much in memory."""
        if coding is Coding.IDENTITY:
            return await self._whole_text()
        body = self._kept.find((coding, self.etag))
        if body is None:
            if not await self._gather():
                return None
            body = await self._made(_member if coding is Coding.GZIP else _frame_of)
            self._kept.put((coding, self.etag), body, len(body))
        return (body,)

    async def length(self, coding: Coding) -> int | None:
        """Return how long the answer is in a coding; `None` where finding out would hold too much in memory."""
        if not await self._gather():
            return None
        match coding:
            case Coding.IDENTITY:
                return self._text_bytes()
            case Coding.GZIP:
                return member_bytes(_with_commas(self._present()))
            case Coding.ZSTD:
                whole = await self.whole(coding)
                return None if whole is None else sum(map(len, whole))

    async def encoded(self, coding: Coding) -> AsyncIterator[Piece]:
        """Yield the answer in a coding; about a series at a time, and nothing is deflated that was before."""
        match coding:
            case Coding.IDENTITY:
                pieces = self._json()
            case Coding.GZIP:
                pieces = self._gzip()
            case Coding.ZSTD:
                pieces = self._zstd()
        async for piece in pieces:
            yield piece

    async def _gzip(self) -> AsyncIterator[Piece]:
        """Yield one gzip member."""
        joiner = MemberJoiner()
        yield joiner.begin() + joiner.add(_OPEN)
        is_first = True
        async for fragment in self._all():
            if not is_first:
                yield joiner.add(_COMMA)
            is_first = False
            yield joiner.add(fragment)
        yield joiner.add(_CLOSE) + joiner.end()

    async def _zstd(self) -> AsyncIterator[Piece]:
        """Yield one frame of zstd; many clients stop without a word after the first of several."""
        writer = FrameWriter()
        async for chunk in self._json():
            yield writer.write(chunk)
        yield writer.finish()

    async def _json(self) -> AsyncIterator[Piece]:
        """Yield the plain text in chunks of at most 256 KiB."""
        before = b"["
        for place in range(len(self._keys)):
            async for chunk in self._text_chunks(place):
                if before:
                    yield before
                    before = b""
                yield chunk
            before = before or b","
        yield _NOTHING if before == b"[" else b"]"

    async def _text_chunks(self, place: int) -> AsyncIterator[Piece]:
        text = await self._text(place)
        if text is not None:
            for chunk in _chunks(memoryview(text)[1:-1]):
                yield chunk
            return
        for chunk in inflate(await self._fragment(place)):
            yield chunk
            # A long inflation on the loop would hold everybody else up.
            await asyncio.sleep(0)

    async def _whole_text(self) -> Sequence[Piece] | None:
        """Return the plain text, of which nothing is inflated that has been."""
        texts = [self._kept.find((Coding.IDENTITY, key)) for key in self._keys]
        if None in texts and (not await self._gather() or self._text_bytes() > WHOLE_BYTES):
            return None
        present = []
        for place, found in enumerate(texts):
            text = found or await self._text(place)
            if text is not None and text != _NOTHING:
                present.append(text)
        if sum(map(len, present)) > WHOLE_BYTES:
            return None
        return _joined(present)

    async def _text(self, place: int) -> bytes | None:
        """Return the array of a series, kept for others; `None` for one that is too long for that."""
        key = Coding.IDENTITY, self._keys[place]
        text = self._kept.find(key)
        if text is None:
            fragment = await self._fragment(place)
            if fragment.length + 2 > WHOLE_BYTES:
                return None
            is_short = fragment.length < _SHORT_BYTES
            text = _array(fragment) if is_short else await asyncio.to_thread(_array, fragment)
            self._kept.put(key, text, len(text))
        return text

    async def _made(self, encode: Callable[[Sequence[Fragment]], bytes]) -> bytes:
        present = self._present()
        is_short = len(present) == 1 and present[0].length < _SHORT_BYTES
        return encode(present) if is_short else await asyncio.to_thread(encode, present)

    async def _gather(self) -> bool:
        """Hold the fragments of all series, and tell whether they are few enough bytes for that."""
        size = sum(len(each.deflated) for each in self._fragments)
        while len(self._fragments) < len(self._keys):
            # The only series is in memory anyway, however long it is.
            if size > _GATHERED_BYTES and len(self._fragments) > 1:
                return False
            fragment = await self._find(len(self._fragments))
            self._fragments.append(fragment)
            size += len(fragment.deflated)
        return len(self._keys) == 1 or size <= _GATHERED_BYTES

    async def _fragment(self, place: int) -> Fragment:
        return self._fragments[place] if place < len(self._fragments) else await self._find(place)

    async def _all(self) -> AsyncIterator[Fragment]:
        for place in range(len(self._keys)):
            fragment = await self._fragment(place)
            # One that has been deleted since the list was read is left out.
            if fragment.length:
                yield fragment

    def _present(self) -> list[Fragment]:
        return [fragment for fragment in self._fragments if fragment.length]

    def _text_bytes(self) -> int:
        present = self._present()
        return 2 + max(len(present) - 1, 0) + sum(fragment.length for fragment in present)


def _chunks(text: Piece) -> Iterator[Piece]:
    view = memoryview(text)
    for start in range(0, len(view), _CHUNK_BYTES):
        yield view[start : start + _CHUNK_BYTES]


def _array(fragment: Fragment) -> bytes:
    return b"".join((b"[", zlib.decompress(fragment.deflated + b"\x03\x00", -15), b"]"))


def _joined(arrays: Sequence[bytes]) -> Sequence[Piece]:
    """Join arrays to one without a copy of what is in them."""
    if len(arrays) < 2:
        return tuple(arrays) or (_NOTHING,)
    pieces: list[Piece] = [memoryview(arrays[0])[:-1]]
    for array in arrays[1:]:
        pieces += [b",", memoryview(array)[1:-1]]
    return (*pieces, b"]")


def _with_commas(fragments: Sequence[Fragment]) -> Iterator[Fragment]:
    yield _OPEN
    for place, fragment in enumerate(fragments):
        if place:
            yield _COMMA
        yield fragment
    yield _CLOSE


def _member(fragments: Sequence[Fragment]) -> bytes:
    """Write an array as one gzip member: 0.1 ms for each series, to combine their sums."""
    joiner = MemberJoiner()
    pieces = [joiner.begin(), *map(joiner.add, _with_commas(fragments))]
    return b"".join((*pieces, joiner.end()))


def _frame_of(fragments: Sequence[Fragment]) -> bytes:
    """Write an array as one frame: some 5 ms for 5 MB, most of them for inflating it."""
    writer = FrameWriter()
    pieces = []
    for before, fragment in zip(chain([b"["], repeat(b",")), fragments, strict=False):
        pieces += [writer.write(before), *map(writer.write, inflate(fragment))]
    pieces.append(writer.write(b"]" if fragments else _NOTHING))
    return b"".join((*pieces, writer.finish()))


def _frame(text: bytes) -> bytes:
    writer = FrameWriter()
    return writer.write(text) + writer.finish()
