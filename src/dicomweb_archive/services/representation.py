"""Representation: what a retrieve transaction answers with, streamed, its length known when nothing is converted."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from dicomweb_archive.errors import DamagedObjectError, UndecodableError
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.spans import MIB, Span, check_spans, cut_spans, stream_spans
from dicomweb_archive.wire.multipart import PartFraming

# After so many parts the loop looks after other requests: describing a part costs some microseconds.
_PARTS_AT_ONCE = 250
_SMALL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Representation:
    """A payload and what its headers say; whoever takes it closes `chunks`, which may hold files open.

    Attributes:
        content_length: in bytes; `None` when it is not known beforehand.
        headers: further header fields, such as ETag.
        ranged: streams the bytes from one position up to another instead of `chunks`; `None` where that is not
            offered, because the next answer would have other bytes or nobody knows its length.
    """

    content_type: str
    chunks: AsyncGenerator[Buffer, None]
    content_length: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ranged: Callable[[int, int], AsyncGenerator[Buffer, None]] | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A payload that had to be made; `content_type` says what came out."""

    content_type: str
    length: int
    chunks: AsyncGenerator[Buffer, None]


@dataclass(frozen=True, slots=True)
class Part:
    """One payload of an answer: ranges of stored objects as they are, or something to be made when its turn comes.

    `made_length` is how long the latter will be, in bytes, when that is known before it is made. `make_from` begins
    the latter at or before a position, wherever that spares work, and says where.
    """

    content_type: str
    location: str
    spans: tuple[Span, ...] = ()
    make: Callable[[], Awaitable[Made]] | None = None
    made_length: int | None = None
    make_from: Callable[[int], tuple[int, AsyncGenerator[Buffer, None]]] | None = None

    @property
    def length(self) -> int | None:
        """Length in bytes, when it is known before the part's turn."""
        return self.made_length if self.make is not None else sum(span.length for span in self.spans)


async def single(store: ObjectStore, part: Part, headers: Mapping[str, str]) -> Representation:
    """Answer with one payload; what has to be made is made when the first chunk is asked for.

    Raises:
        ObjectNotFoundError, DamagedObjectError: what is stored is not there as it should be.
    """
    if part.make is not None:
        ranged = None if part.length is None else partial(_made_range, part)
        return Representation(part.content_type, _made_chunks(part), part.length, headers, ranged)
    await _check(store, part.spans)
    chunks = stream_spans(store, part.spans)
    return Representation(part.content_type, chunks, part.length, headers, partial(_stored_range, store, part))


async def multipart(store: ObjectStore, media_type: str, parts: Callable[[], Iterable[Part]]) -> Representation:
    """Answer with a multipart/related payload (PS3.18 8.6.1.2).

    `parts` is called twice, once for the lengths and once for the bytes, so that a study of many instances need
    not be listed in memory.

    Raises:
        ObjectNotFoundError, DamagedObjectError: an object is not there as it should be.
    """
    framing = PartFraming(media_type)
    length: int | None = len(framing.closing())
    ends: dict[str, int] = {}
    for number, part in enumerate(parts()):
        if number % _PARTS_AT_ONCE == _PARTS_AT_ONCE - 1:
            await asyncio.sleep(0)
        for span in part.spans:
            ends[span.key] = max(ends.get(span.key, 0), span.offset + span.length)
        if length is not None and part.length is not None:
            length += len(_head(framing, part)) + part.length + len(framing.TAIL)
        else:
            length = None
    await _check(store, [Span(key, 0, end) for key, end in ends.items()], small=length is not None and length < MIB)
    return Representation(framing.content_type, _body(store, framing, parts()), length)


async def _check(store: ObjectStore, spans: Sequence[Span], *, small: bool | None = None) -> None:
    """Find out what is missing before the answer begins; one read of a small answer finds it out as early."""
    if small is None:
        small = sum(span.length for span in spans) < MIB
    if len(spans) > 1 or not small:
        await check_spans(store, spans)


async def slices(data: bytes) -> AsyncGenerator[Buffer, None]:
    """Yield bytes that are in memory in pieces of a MiB."""
    view = memoryview(data)
    for start in range(0, len(view), MIB):
        yield view[start : start + MIB]


async def _body(store: ObjectStore, framing: PartFraming, parts: Iterable[Part]) -> AsyncGenerator[Buffer, None]:
    for is_stored, group in groupby(parts, key=lambda part: part.make is None):
        stream = _stored_parts if is_stored else _made_parts
        async with aclosing(stream(store, framing, group)) as pieces:
            async for piece in pieces:
                yield piece
    yield framing.closing()


async def _stored_parts(
    store: ObjectStore, framing: PartFraming, parts: Iterable[Part]
) -> AsyncGenerator[Buffer, None]:
    """Yield parts that lie in the store: one stream of large reads runs ahead across all of them."""
    # The stream runs ahead: parts wait here from when their spans are asked for until their bytes come.
    described: deque[Part] = deque()

    def spans() -> Iterator[Span]:
        for part in parts:
            described.append(part)
            yield from part.spans

    # Hot path: each piece costs a walk through the server, so what is small goes out together (benchmarks/storage).
    small = bytearray()
    async with aclosing(stream_spans(store, spans())) as pieces:
        remaining = -1
        async for piece in pieces:
            while remaining <= 0:
                if remaining == 0:
                    small += framing.TAIL
                part = described.popleft()
                remaining = part.length or 0
                small += _head(framing, part)
            remaining -= len(piece)
            if len(piece) < _SMALL_BYTES:
                small += piece
                if len(small) < _SMALL_BYTES:
                    continue
                yield bytes(small)
            else:
                yield bytes(small)
                yield piece
            small.clear()
        if remaining > 0:
            message = "an object is shorter than what was stored"
            raise DamagedObjectError(message)
        if remaining == 0:
            small += framing.TAIL
    for part in described:
        small += _head(framing, part) + framing.TAIL
    if small:
        yield bytes(small)


async def _made_parts(_: ObjectStore, framing: PartFraming, parts: Iterable[Part]) -> AsyncGenerator[Buffer, None]:
    for part in parts:
        made = await _make(part)
        yield framing.head(made.content_type, length=made.length, location=part.location)
        async with aclosing(made.chunks) as chunks:
            async for piece in chunks:
                yield piece
        yield framing.TAIL


async def _made_chunks(part: Part) -> AsyncGenerator[Buffer, None]:
    made = await _make(part)
    async with aclosing(made.chunks) as chunks:
        async for piece in chunks:
            yield piece


async def _made_range(part: Part, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
    """Yield a range of what has to be made; of what is before it as little as can be is made and dropped."""
    position, chunks = (0, _made_chunks(part)) if part.make_from is None else part.make_from(start)
    async with aclosing(chunks):
        async for piece in chunks:
            wanted = memoryview(piece)[max(start - position, 0) : max(stop - position, 0)]
            position += len(piece)
            if wanted:
                yield wanted
            if position >= stop:
                return


def _stored_range(store: ObjectStore, part: Part, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
    return stream_spans(store, cut_spans(part.spans, start, stop))


async def _make(part: Part) -> Made:
    assert part.make is not None
    made = await part.make()
    if part.length is not None and part.length != made.length:
        await made.chunks.aclose()
        message = "the stored pixel data decode to another size than the attributes say"
        raise UndecodableError(message)
    return made


def _head(framing: PartFraming, part: Part) -> bytes:
    return framing.head(part.content_type, length=part.length, location=part.location)
