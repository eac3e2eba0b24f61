"""Streaming spans: the right bytes, cut where spans end, bounded, and cleaned up however it ends."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from tests.component.object_store_contract import put

from dicomweb_archive.errors import DamagedObjectError, ObjectNotFoundError
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.storage.spans import Span, check_spans, stream_spans

SIZE = 50_000


@pytest.fixture
def content() -> dict[str, bytes]:
    return {key: os.urandom(SIZE) for key in ("a", "b", "c")}


@pytest.fixture
async def store(tmp_path: Path, content: dict[str, bytes]) -> AsyncIterator[FolderStore]:
    opened = await FolderStore.open_folder(tmp_path / "objects")
    for key, data in content.items():
        await put(opened, key, data)
    yield opened
    await opened.close()


class WatchedStore:
    """A folder store that counts open objects, reads, and the bytes read but not yet consumed."""

    def __init__(self, store: FolderStore) -> None:
        self.store = store
        self.opened = 0
        self.open_now = 0
        self.most_open = 0
        self.reads: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    async def read(self, key: str, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return await self.store.read(key, offset, length)

    async def open(self, key: str) -> "WatchedReader":
        reader = await self.store.open(key)
        self.opened += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        return WatchedReader(self, reader)


class WatchedReader:
    def __init__(self, watched: WatchedStore, reader: object) -> None:
        self.watched = watched
        self.reader = reader

    async def read(self, offset: int, length: int) -> bytes:
        self.watched.reads.append((offset, length))
        return await self.reader.read(offset, length)  # type: ignore[attr-defined]

    async def stream(self, offset: int, length: int) -> AsyncGenerator[Buffer, None]:
        yield await self.read(offset, length)

    async def close(self) -> None:
        self.watched.open_now -= 1
        await self.reader.close()  # type: ignore[attr-defined]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def regroup(pieces: list[Buffer], spans: list[Span]) -> list[bytes]:
    """Put pieces back into spans by counting, as a consumer does; fails when a piece crosses a boundary."""
    waiting = iter(pieces)
    result = []
    for span in spans:
        data = b""
        while len(data) < span.length:
            data += bytes(next(waiting))
        assert len(data) == span.length, "a piece holds bytes of two spans"
        result.append(data)
    assert not list(waiting)
    return result


SPANS = {
    "one": [Span("a", 0, SIZE)],
    "parts of one": [Span("a", 10, 100), Span("a", 150, 5000), Span("a", 5150, 1), Span("a", 49_999, 1)],
    "backwards": [Span("a", 1000, 1000), Span("a", 0, 1000), Span("a", 500, 1000)],
    "the same twice": [Span("a", 0, 7000), Span("a", 0, 7000)],
    "several objects": [Span("a", 0, 999), Span("b", 5, 20_000), Span("a", 1000, 3), Span("c", 1, SIZE - 1)],
    "empty ones": [Span("a", 5, 0), Span("b", 0, 10), Span("b", 10, 0), Span("b", 10, 10)],
    "none": [],
    "far apart": [Span("a", 0, 10), Span("a", 30_000, 10)],
}


@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS.keys())
@pytest.mark.parametrize("span_bytes", [1, 1000, 4096, 1024 * 1024])
@pytest.mark.parametrize("read_ahead", [0, 1, 3])
async def test_every_span_comes_back_whole(
    store: FolderStore, content: dict[str, bytes], spans: list[Span], span_bytes: int, read_ahead: int
) -> None:
    if span_bytes == 1:
        spans = [Span(span.key, span.offset, min(span.length, 50)) for span in spans]
    watched = WatchedStore(store)
    stream = stream_spans(watched, spans, span_bytes=span_bytes, read_ahead=read_ahead)
    pieces = [piece async for piece in stream]
    expected = [content[span.key][span.offset : span.offset + span.length] for span in spans]
    assert regroup(pieces, spans) == expected
    assert watched.open_now == 0
    assert watched.most_open <= read_ahead + 3
    assert all(length <= span_bytes for _, length in watched.reads)


async def test_members_beside_each_other_share_reads(store: FolderStore) -> None:
    watched = WatchedStore(store)
    spans = [Span("a", 60 + number * 500, 440) for number in range(90)]
    pieces = [piece async for piece in stream_spans(watched, spans)]
    assert len(pieces) == 90
    assert watched.reads == [(60, 89 * 500 + 440)]


async def test_spans_far_apart_are_not_read_over(store: FolderStore) -> None:
    watched = WatchedStore(store)
    assert [bytes(p) async for p in stream_spans(watched, SPANS["far apart"])]
    assert watched.reads == [(0, 10), (30_000, 10)]


async def test_reads_run_ahead_of_the_consumer_by_one(store: FolderStore) -> None:
    watched = WatchedStore(store)
    async with aclosing(stream_spans(watched, [Span("a", 0, SIZE)], span_bytes=1000)) as stream:
        for consumed in range(1, 10):
            await anext(stream)
            await asyncio.sleep(0.01)
            assert len(watched.reads) <= consumed + 1
    assert watched.open_now == 0


async def test_closing_early_closes_the_objects(store: FolderStore) -> None:
    watched = WatchedStore(store)
    async with aclosing(stream_spans(watched, SPANS["several objects"], span_bytes=100)) as stream:
        await anext(stream)
    assert watched.open_now == 0
    assert watched.opened >= 1


async def test_a_cancelled_consumer_closes_the_objects(store: FolderStore) -> None:
    watched = WatchedStore(store)

    async def consume() -> None:
        async with aclosing(stream_spans(watched, [Span("a", 0, SIZE)], span_bytes=10)) as stream:
            async for _ in stream:
                await asyncio.sleep(0)

    for delay in (0, 0.001, 0.01):
        task = asyncio.create_task(consume())
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert watched.open_now == 0


async def test_what_is_missing_or_short_is_found_before_the_first_byte(store: FolderStore) -> None:
    await check_spans(store, [Span("a", 0, SIZE), Span("b", SIZE - 1, 1)])
    with pytest.raises(ObjectNotFoundError):
        await check_spans(store, [Span("a", 0, 1), Span("nowhere", 0, 1)])
    with pytest.raises(DamagedObjectError):
        await check_spans(store, [Span("a", 0, 1), Span("b", SIZE - 1, 2)])


async def test_an_object_that_shrinks_meanwhile_ends_the_stream_with_an_error(
    store: FolderStore, tmp_path: Path
) -> None:
    watched = WatchedStore(store)
    stream = stream_spans(watched, [Span("a", 0, SIZE)], span_bytes=1000)
    await anext(stream)
    os.truncate(tmp_path / "objects" / "a", 10_000)
    with pytest.raises(DamagedObjectError):
        async for _ in stream:
            pass
    assert watched.open_now == 0


async def test_a_missing_object_ends_the_stream_and_its_reads(store: FolderStore) -> None:
    watched = WatchedStore(store)
    with pytest.raises(ObjectNotFoundError):
        async for _ in stream_spans(watched, [Span("a", 0, 10), Span("nowhere", 0, 10)]):
            pass
    assert watched.open_now == 0
