"""Streaming ranges of stored objects: large reads ahead of the consumer, pieces cut where ranges end."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.storage.base import Buffer, ObjectReader, ObjectStore

MIB = 1024 * 1024

# Members of a pack are parted by a local header of some hundred bytes: reading over it costs less than a read.
_GAP_BYTES = 4096
_STATS_AT_ONCE = 8


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
    cuts: list[tuple[int, int]] = field(default_factory=list)


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

    Reads of `span_bytes` go on across spans that lie beside each other, `read_ahead` of them ahead of the
    consumer (both as the store is best read, unless given), so that about `span_bytes * (read_ahead + 2)` bytes are
    held at any time. Whoever stops early must close the iterator (`contextlib.aclosing`), which ends the reads and
    closes the objects.

    Raises:
        ObjectNotFoundError, DamagedObjectError: while streaming, when `check_spans` was not asked before or the
            object changed since; the consumer has then seen only a part and must not end its answer cleanly.
    """
    span_bytes = span_bytes or store.reading.read_bytes
    read_ahead = store.reading.read_ahead if read_ahead is None else read_ahead
    plan = _plan(spans, span_bytes)
    begun = list(islice(plan, 2))
    if len(begun) == 1:
        # A frame or a small instance: no read runs ahead, so no task is needed.
        (read,) = begun
        for piece in _cut(read, await store.read(read.key, read.offset, read.end - read.offset)):
            yield piece
        return
    waiting: deque[tuple[_Read, asyncio.Task[Buffer]]] = deque()
    async with _open_readers(store, read_ahead + 2) as readers:
        try:
            for read in chain(begun, plan):
                reader = await readers.get(read.key)
                job = asyncio.create_task(reader.read(read.offset, read.end - read.offset))
                waiting.append((read, job))
                if len(waiting) > read_ahead:
                    for piece in _cut(*await _next(waiting)):
                        yield piece
            while waiting:
                for piece in _cut(*await _next(waiting)):
                    yield piece
        finally:
            for _, job in waiting:
                job.cancel()
            await asyncio.gather(*(job for _, job in waiting), return_exceptions=True)


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
async def _open_readers(store: ObjectStore, most: int) -> AsyncIterator[_Readers]:
    readers = _Readers(store, most)
    try:
        yield readers
    finally:
        await readers.close()


async def _next(waiting: deque[tuple[_Read, asyncio.Task[Buffer]]]) -> tuple[_Read, Buffer]:
    """Await the first read; it stays in the queue until then, so that a cancelled stream finds and ends it."""
    data = await waiting[0][1]
    read, _ = waiting.popleft()
    return read, data


def _cut(read: _Read, data: Buffer) -> Iterator[Buffer]:
    if len(read.cuts) == 1:
        yield data
        return
    view = memoryview(data)
    for start, end in read.cuts:
        yield view[start - read.offset : end - read.offset]


def _plan(spans: Iterable[Span], span_bytes: int) -> Iterator[_Read]:
    """Divide the spans into reads of at most `span_bytes` that may serve several spans."""
    current: _Read | None = None
    for key, offset, length in spans:
        position, end = offset, offset + length
        while position < end:
            # A span that would be cut begins a read of its own: fewer pieces, and the reads are large either way.
            fits = position > offset or length > span_bytes or current is None or end <= current.offset + span_bytes
            if current is not None and not (fits and _continues(current, key, position, span_bytes)):
                yield current
                current = None
            if current is None:
                current = _Read(key, position, position)
            stop = min(end, current.offset + span_bytes)
            current.cuts.append((position, stop))
            current.end = position = stop
    if current is not None:
        yield current


def _continues(read: _Read, key: str, position: int, span_bytes: int) -> bool:
    gap = position - read.end
    return read.key == key and 0 <= gap <= _GAP_BYTES and position < read.offset + span_bytes
