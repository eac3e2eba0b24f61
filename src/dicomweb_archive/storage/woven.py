"""Woven streams: ranges of stored objects with bytes of our own between them, such as the heads of parts.

Where a store reads into memory that it is given, ranges are read straight to the place they are sent from and what
goes between them is written into the gaps, so that one read and one piece serve several ranges and nothing is joined.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TypeAlias, cast

import numpy

from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.storage.base import Buffer, FillingReader, ObjectStore
from dicomweb_archive.storage.pace import Pace
from dicomweb_archive.storage.spans import GAP_BYTES, Span, open_readers, stream_spans

Item: TypeAlias = bytes | Span

# Each piece costs a walk through the server, so what is small goes out together (benchmarks/storage).
_SMALL_BYTES = 64 * 1024
# Two sockets swallow some MiB (here 4.2) before it shows that nobody reads them: small pieces until then.
_FIRST_BYTES = 256 * 1024
_SWALLOWED_BYTES = 8 * 1024 * 1024
# A call takes 1024 places at most (IOV_MAX), and between two ranges there may be a gap.
_MOST_PLACES = 1000
# What lies between ranges is read here and never looked at, whoever reads.
_GAP = memoryview(bytearray(GAP_BYTES))


def stream_woven(store: ObjectStore, items: Iterable[Item], *, is_small: bool = False) -> AsyncGenerator[Buffer, None]:
    """Yield the bytes of the items in order: those given, and those that lie in the ranges.

    Args:
        is_small: all of it is less than a MiB, so that a store may read it without opening anything.

    Raises:
        ObjectNotFoundError, DamagedObjectError: while streaming, see `stream_spans`.
    """
    weave = _filled if store.reading.fills and not is_small else _joined
    return weave(store, items)


async def _joined(store: ObjectStore, items: Iterable[Item]) -> AsyncGenerator[Buffer, None]:
    """Weave what comes from one stream of large reads, which run ahead across all ranges."""
    between = bytearray()
    # The stream runs ahead: what goes before a range waits here from when the range is asked for until it comes.
    asked: deque[tuple[bytes, int]] = deque()

    def spans() -> Iterator[Span]:
        for item in items:
            if not isinstance(item, Span):
                between.extend(item)
            elif item.length:
                asked.append((bytes(between), item.length))
                between.clear()
                yield item

    small = bytearray()
    remaining = 0
    async with aclosing(stream_spans(store, spans())) as pieces:
        async for piece in pieces:
            if remaining == 0:
                before, remaining = asked.popleft()
                small += before
            remaining -= len(piece)
            if len(piece) < _SMALL_BYTES:
                small += piece
                if len(small) < _SMALL_BYTES:
                    continue
                yield bytes(small)
            else:
                if small:
                    yield bytes(small)
                yield piece
            small.clear()
    if remaining:
        message = "an object is shorter than what was stored"
        raise DamagedObjectError(message)
    small += between
    if small:
        yield bytes(small)


async def _filled(store: ObjectStore, items: Iterable[Item]) -> AsyncGenerator[Buffer, None]:
    """Weave by reading each piece where it is sent from; the next one is read while the last is being sent.

    Who has not shown yet that it keeps up is given an empty piece first: while that waits to be sent, nothing is read.
    """
    first_bytes = min(_FIRST_BYTES, store.reading.first_bytes)
    pace = Pace(replace(store.reading, first_bytes=first_bytes), swallowed_bytes=_SWALLOWED_BYTES)
    async with open_readers(store, 2) as readers:
        for draft in _drafts(items, pace):
            if not pace.is_open:
                with pace:
                    yield b""
            # Not filled with zeros as a bytearray is: that takes as long as a third of the reading.
            piece = numpy.empty(draft.length, numpy.uint8).data
            for read in draft.reads:
                reader = cast(FillingReader, await readers.get(read.key))
                await reader.fill(read.offset, [_place(piece, start, length) for start, length in read.places])
            for start, given in draft.given:
                piece[start : start + len(given)] = given
            with pace:
                yield piece
            pace.passed(draft.length)


def _place(view: memoryview, start: int, length: int) -> memoryview:
    return _GAP[:length] if start < 0 else view[start : start + length]


@dataclass(slots=True)
class _Fill:
    """One read; `places` are (start in the piece, length), the start of a gap is negative."""

    key: str
    offset: int
    end: int
    places: list[tuple[int, int]]


@dataclass(slots=True)
class _Draft:
    """A piece before it is read: what is given stands at its places, ranges are still to come."""

    length: int = 0
    given: list[tuple[int, bytes]] = field(default_factory=list)
    reads: list[_Fill] = field(default_factory=list)

    def give(self, data: bytes) -> None:
        self.given.append((self.length, data))
        self.length += len(data)

    def take(self, key: str, offset: int, length: int) -> None:
        last = self.reads[-1] if self.reads else None
        if last is not None and _goes_on(last, key, offset):
            if offset > last.end:
                last.places.append((-1, offset - last.end))
            last.places.append((self.length, length))
            last.end = offset + length
        else:
            self.reads.append(_Fill(key, offset, offset + length, [(self.length, length)]))
        self.length += length


def _goes_on(read: _Fill, key: str, offset: int) -> bool:
    return read.key == key and 0 <= offset - read.end <= GAP_BYTES and len(read.places) < _MOST_PLACES


def _drafts(items: Iterable[Item], pace: Pace) -> Iterator[_Draft]:
    """Divide the items into pieces, each as long as the pace allows at its time."""
    draft = _Draft()
    for item in items:
        if not isinstance(item, Span):
            draft.give(item)
            continue
        key, offset, length = item
        while length:
            if draft.length >= pace.bytes:
                yield draft
                draft = _Draft()
            taken = min(length, pace.bytes - draft.length)
            draft.take(key, offset, taken)
            offset += taken
            length -= taken
    if draft.length:
        yield draft
