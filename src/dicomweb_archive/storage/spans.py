"""Streaming ranges of stored objects: large reads passed on as they come, pieces cut where ranges end."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from types import TracebackType
from typing import NamedTuple, Self

from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.storage.base import Buffer, ObjectReader, ObjectStore, ReadPattern
from dicomweb_archive.storage.pace import Pace

MIB = 1024 * 1024

GAP_BYTES = 4096
"""Members of a pack are parted by a local header of some hundred bytes: reading over it costs less than a read."""

_STATS_AT_ONCE = 8
# What each of so many spans needs in memory is bounded too: they may be tiny.
_MOST_CUTS = 1000


class Span(NamedTuple):
    """A range of an object, in bytes."""

    key: str
    offset: int
    length: int


@dataclass(slots=True)
class _Read:
    """One read that serves pieces of one or several spans; `cuts` are (start, end) within the object."""

    key: str
    offset: int
    end: int
    limit: int
    cuts: deque[tuple[int, int]] = field(default_factory=deque)


async def check_spans(store: ObjectStore, spans: Iterable[Span]) -> None:
    """Find out before the first byte is sent whether the objects are there and long enough.

    Costs one `stat` an object, some of them side by side.

    Raises:
        ObjectNotFoundError: an object is missing.
        DamagedObjectError: an object ends before one of the spans does.
    """
    ends: dict[str, int] = {}
    for span in spans:
        ends[span.key] = max(ends.get(span.key, 0), span.offset + span.length)
    waiting = iter(ends.items())
    while batch := list(islice(waiting, _STATS_AT_ONCE)):
        found = await asyncio.gather(*(store.stat(key) for key, _ in batch))
        if any(stat.size_bytes < end for stat, (_, end) in zip(found, batch, strict=True)):
            message = "an object is shorter than what was stored"
            raise DamagedObjectError(message)


def cut_spans(spans: Iterable[Span], start: int, stop: int) -> Iterator[Span]:
    """Yield the parts of the spans that hold the bytes from `start` up to `stop` of all their bytes together."""
    position = 0
    for key, offset, length in spans:
        first, last = max(start - position, 0), min(stop - position, length)
        if first < last:
            yield Span(key, offset + first, last - first)
        position += length
        if position >= stop:
            return


async def stream_spans(
    store: ObjectStore, spans: Iterable[Span], *, span_bytes: int | None = None, read_ahead: int | None = None
) -> AsyncGenerator[Buffer, None]:
    """Yield the bytes of the spans in order; no piece holds bytes of two spans.

    Reads go on across spans that lie beside each other. They are as long as the store likes them and as the
    consumer keeps up with them, at most `span_bytes`, and `read_ahead` of them are begun ahead of a consumer that
    does (both as the store is best read, unless given). What they bring is passed on in pieces as it comes. Whoever
    stops early must close the iterator (`contextlib.aclosing`), which ends the reads and closes the objects.

    Raises:
        ObjectNotFoundError, DamagedObjectError: while streaming, when `check_spans` was not asked before or the
            object changed since; the consumer has then seen only a part and must not end its answer cleanly.
    """
    pace = Pace(_pattern(store.reading, span_bytes, read_ahead))
    plan = _plan(spans, pace)
    begun = list(islice(plan, 2))
    if len(begun) == 1:
        # A frame or a small instance: no read runs ahead, so nothing needs to be open.
        (read,) = begun
        data = await store.read(read.key, read.offset, read.end - read.offset)
        for piece in _cut(read.cuts, read.offset, data):
            yield piece
        return
    async with open_readers(store, pace.most_ahead + 2) as readers, _Ahead(pace) as ahead:
        for next_read in chain(begun, plan, (None,)):
            if next_read is not None:
                reader = await readers.get(next_read.key)
                ahead.add(next_read, reader.stream(next_read.offset, next_read.end - next_read.offset))
            while len(ahead) > (0 if next_read is None else pace.ahead):
                for piece in await ahead.take():
                    with pace:
                        yield piece


def _pattern(reading: ReadPattern, span_bytes: int | None, read_ahead: int | None) -> ReadPattern:
    pattern = reading if read_ahead is None else replace(reading, read_ahead=read_ahead)
    if span_bytes is None:
        return pattern
    return replace(pattern, read_bytes=span_bytes, least_bytes=span_bytes, first_bytes=span_bytes)


@dataclass(slots=True)
class _Begun:
    """A read and what it brings; `first` is under way when it was begun before its turn."""

    read: _Read
    source: AsyncGenerator[Buffer, None]
    first: asyncio.Task[Buffer] | None
    position: int


class _Ahead:
    """The reads that have been begun, first come first served; leaving it ends them all."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: deque[_Begun] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, read: _Read, source: AsyncGenerator[Buffer, None]) -> None:
        """Take a read; it is begun at once where the consumer keeps up."""
        first = asyncio.create_task(_first(source)) if self._pace.ahead else None
        self._waiting.append(_Begun(read, source, first, read.offset))

    async def take(self) -> Iterator[Buffer]:
        """Return what the first read brings next, as pieces of its spans; at its end none, and then it is gone."""
        begun = self._waiting[0]
        # It stays here until its end, so that a cancelled stream finds and ends it.
        data = await anext(begun.source, None) if begun.first is None else await begun.first
        begun.first = None
        if data is None:
            self._waiting.popleft()
            self._pace.passed(begun.read.end - begun.read.offset)
            return iter(())
        position, begun.position = begun.position, begun.position + len(data)
        return _cut(begun.read.cuts, position, data)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        jobs = [begun.first for begun in self._waiting if begun.first is not None]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        for begun in self._waiting:
            await begun.source.aclose()


async def _first(source: AsyncGenerator[Buffer, None]) -> Buffer:
    return await anext(source)


class _Readers:
    """The objects that are open for one stream: few, the least recently used is closed first."""

    def __init__(self, store: ObjectStore, most: int) -> None:
        self._store = store
        self._most = most
        self._open: OrderedDict[str, ObjectReader] = OrderedDict()

    async def get(self, key: str) -> ObjectReader:
        reader = self._open.get(key)
        if reader is None:
            reader = self._open[key] = await self._store.open(key)
            if len(self._open) > self._most:
                _, oldest = self._open.popitem(last=False)
                await oldest.close()
        self._open.move_to_end(key)
        return reader

    async def close(self) -> None:
        while self._open:
            _, reader = self._open.popitem()
            await reader.close()


@asynccontextmanager
async def open_readers(store: ObjectStore, most: int) -> AsyncIterator[_Readers]:
    """Open objects for one stream, and close them with it; at most so many stay open."""
    readers = _Readers(store, most)
    try:
        yield readers
    finally:
        await readers.close()


def _cut(cuts: deque[tuple[int, int]], position: int, data: Buffer) -> Iterator[Buffer]:
    """Yield what of the data, which lie at `position` of the object, belongs to the cuts; cuts that are done go."""
    end = position + len(data)
    view: memoryview | None = None
    while cuts and cuts[0][0] < end:
        start, stop = cuts[0]
        first, last = max(start, position), min(stop, end)
        if stop <= end:
            cuts.popleft()
        if first == position and last == end:
            yield data
            return
        view = memoryview(data) if view is None else view
        yield view[first - position : last - position]
        if stop > end:
            return


def _plan(spans: Iterable[Span], pace: Pace) -> Iterator[_Read]:
    """Divide the spans into reads, each as long as the pace allows at its time, that may serve several spans."""
    current: _Read | None = None
    for key, offset, length in spans:
        position, end = offset, offset + length
        while position < end:
            limit = pace.bytes if current is None else current.limit
            # A span that would be cut begins a read of its own: fewer pieces, and the reads are large either way.
            fits = position > offset or length > limit or current is None or end <= current.offset + limit
            if current is not None and not (fits and _continues(current, key, position)):
                yield current
                current = None
            if current is None:
                current = _Read(key, position, position, pace.bytes)
            stop = min(end, current.offset + current.limit)
            current.cuts.append((position, stop))
            current.end = position = stop
    if current is not None:
        yield current


def _continues(read: _Read, key: str, position: int) -> bool:
    gap = position - read.end
    in_reach = read.key == key and 0 <= gap <= GAP_BYTES and position < read.offset + read.limit
    return in_reach and len(read.cuts) < _MOST_CUTS
