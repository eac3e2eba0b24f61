"""Representation: what a retrieve transaction answers with, streamed, its length known when nothing is converted."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.spans import MIB, Span, check_spans, cut_spans, stream_spans
from dicomweb_archive.storage.woven import Item, stream_woven
from dicomweb_archive.wire.multipart import PartFraming

# After so many parts the loop looks after other requests: describing a part costs some microseconds.
_PARTS_AT_ONCE = 250


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


@dataclass(frozen=True, slots=True)
class StoredParts:
    """Payloads of one media type that go as they lie, each one range; described together because that is quicker.

    Attributes:
        location: what their locations begin with.
        names: what they end with.
        spans: where they lie, in the order of the names.
    """

    content_type: str
    location: str
    names: Sequence[str]
    spans: Sequence[Span]

    @property
    def length(self) -> int:
        """Length in bytes of all of them, without what is between them."""
        return sum(span.length for span in self.spans)


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


async def multipart(
    store: ObjectStore, media_type: str, parts: Callable[[], Iterable[Part | StoredParts]]
) -> Representation:
    """Answer with a multipart/related payload (PS3.18 8.6.1.2).

    `parts` is called twice, once for the lengths and once for the bytes, so that a study of many instances need
    not be listed in memory.

    Raises:
        ObjectNotFoundError, DamagedObjectError: an object is not there as it should be.
    """
    framing = PartFraming(media_type)
    length: int | None = len(framing.closing())
    ends: dict[str, int] = {}
    unyielded = 0
    for part in parts():
        unyielded += len(part.names) if isinstance(part, StoredParts) else 1
        if unyielded >= _PARTS_AT_ONCE:
            unyielded = 0
            await asyncio.sleep(0)
        for span in part.spans:
            end = span.offset + span.length
            if end > ends.get(span.key, 0):
                ends[span.key] = end
        framed = _framed_length(framing, part)
        length = None if length is None or framed is None else length + framed
    is_small = length is not None and length < MIB
    await _check(store, [Span(key, 0, end) for key, end in ends.items()], small=is_small)
    body = _body(store, framing, parts(), is_small=is_small)
    return Representation(framing.content_type, body, length)


def _framed_length(framing: PartFraming, part: Part | StoredParts) -> int | None:
    """Compute how long a part is with its head and tail, when that is known before its turn."""
    if isinstance(part, StoredParts):
        heads = framing.heads(part.content_type, part.location)
        tails = len(framing.TAIL) * len(part.names)
        return heads.total_bytes([span.length for span in part.spans], part.names) + part.length + tails
    return None if part.length is None else len(_head(framing, part)) + part.length + len(framing.TAIL)


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


async def _body(
    store: ObjectStore, framing: PartFraming, parts: Iterable[Part | StoredParts], *, is_small: bool
) -> AsyncGenerator[Buffer, None]:
    """Yield the parts; those that lie in the store one behind the other go out as one stream."""
    for is_made, group in groupby(parts, key=_is_made):
        if is_made:
            stream = _made_parts(framing, group)
        else:
            stream = stream_woven(store, _stored_items(framing, group), is_small=is_small)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                yield piece
    yield framing.closing()


def _is_made(part: Part | StoredParts) -> bool:
    return isinstance(part, Part) and part.make is not None


def _stored_items(framing: PartFraming, parts: Iterable[Part | StoredParts]) -> Iterator[Item]:
    """Yield what parts that lie in the store consist of."""
    for part in parts:
        if isinstance(part, StoredParts):
            heads = framing.heads(part.content_type, part.location)
            tail = b""
            for name, span in zip(part.names, part.spans, strict=True):
                yield tail + heads.head(span.length, name)
                yield span
                tail = framing.TAIL
            yield tail
        else:
            yield _head(framing, part)
            yield from part.spans
            yield framing.TAIL


async def _made_parts(framing: PartFraming, parts: Iterable[Part | StoredParts]) -> AsyncGenerator[Buffer, None]:
    for part in parts:
        assert isinstance(part, Part)
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
