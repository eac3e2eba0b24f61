"""Woven streams: ranges and what goes between them, in order, bounded, and an error where an object ends early."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from tests.component.object_store_contract import put

from dicomweb_archive.errors import DamagedObjectError, ObjectNotFoundError
from dicomweb_archive.storage import descriptors, woven
from dicomweb_archive.storage.base import ReadPattern
from dicomweb_archive.storage.filesystem import FolderReader, FolderStore
from dicomweb_archive.storage.spans import Span
from dicomweb_archive.storage.woven import Item, stream_woven

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


WOVEN: dict[str, list[Item]] = {
    "nothing": [],
    "only what is given": [b"one", b"", b"two"],
    "one range": [Span("a", 5, SIZE - 5)],
    "parts of a pack": [b"head", Span("a", 100, 9000), b"tail", b"head", Span("a", 9140, 20_000), b"tail"],
    "neighbours": [Span("a", 0, 10_000), Span("a", 10_000, 10_000), b"end"],
    "backwards": [b"1", Span("a", 20_000, 9000), b"2", Span("a", 0, 9000)],
    "the same twice": [Span("a", 0, 7000), b"-", Span("a", 0, 7000)],
    "several objects": [b"1", Span("a", 0, 999), b"2", Span("b", 5, 40_000), Span("a", 1000, 3), b"3", Span("c", 1, 9)],
    "empty ranges": [b"1", Span("a", 5, 0), b"2", Span("b", 0, 10), b"3", Span("b", 10, 0), b"4"],
    "many small ones": [item for at in range(3000) for item in (b"<%d>" % at, Span("a", at * 10, 7))],
    "far apart": [Span("a", 0, 10), b"-", Span("a", 30_000, 10)],
}


def expected(items: list[Item], content: dict[str, bytes]) -> bytes:
    return b"".join(
        content[item.key][item.offset :][: item.length] if isinstance(item, Span) else item for item in items
    )


@pytest.mark.parametrize("items", WOVEN.values(), ids=WOVEN.keys())
@pytest.mark.parametrize("way", ["in place", "in place from a disk", "in small pieces", "joined", "small"])
async def test_ranges_and_what_is_between_them_come_in_order(
    store: FolderStore, content: dict[str, bytes], items: list[Item], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "in place from a disk":
        monkeypatch.setattr(descriptors, "_NO_WAIT", None)
    pattern = ReadPattern(read_bytes=SIZE * 4, read_ahead=0, fills=way != "joined")
    if way == "in small pieces":
        pattern = ReadPattern(read_bytes=1000, read_ahead=0, first_bytes=1000, fills=True)
    monkeypatch.setattr(FolderStore, "reading", pattern)
    pieces = [bytes(piece) async for piece in stream_woven(store, items, is_small=way == "small")]
    assert b"".join(pieces) == expected(items, content)
    if way == "in small pieces":
        assert max(map(len, pieces), default=0) <= 1100


async def test_what_is_in_one_object_comes_in_one_read(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    read = os.preadv

    def counted(descriptor: int, places: Any, *rest: Any) -> int:
        calls.append(len(places))
        return read(descriptor, places, *rest)

    monkeypatch.setattr(os, "preadv", counted)
    monkeypatch.setattr(descriptors, "_NO_WAIT", 0)
    items = WOVEN["parts of a pack"]
    assert len([piece async for piece in stream_woven(store, items) if piece]) == 1
    assert calls == [3], "two ranges and the gap between them"


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("fills", [True, False])
async def test_an_object_that_ends_early_is_damaged(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, cached: bool, fills: bool
) -> None:
    monkeypatch.setattr(FolderStore, "reading", ReadPattern(read_bytes=4096, read_ahead=0, fills=fills))
    if not cached:
        monkeypatch.setattr(descriptors, "_NO_WAIT", None)
    with pytest.raises(DamagedObjectError):
        _ = [piece async for piece in stream_woven(store, [b"head", Span("a", 10, SIZE), b"tail"])]
    with pytest.raises(ObjectNotFoundError):
        _ = [piece async for piece in stream_woven(store, [Span("nowhere", 0, 10), b"-", Span("a", 0, 10)])]


async def test_nothing_is_read_for_a_consumer_that_still_has_to_take_what_it_was_given(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    fill = FolderReader.fill

    async def counted(reader: FolderReader, offset: int, places: Sequence[memoryview]) -> None:
        reads.append(offset)
        await fill(reader, offset, places)

    monkeypatch.setattr(FolderReader, "fill", counted)
    monkeypatch.setattr(FolderStore, "reading", ReadPattern(10_000, 0, first_bytes=10_000, fills=True))
    async with aclosing(stream_woven(store, [Span("a", 0, SIZE)])) as pieces:
        assert [len(await anext(pieces)) for _ in range(2)] == [0, 10_000]
        assert [len(await anext(pieces)), reads] == [0, [0]], "it is asked first whether it can take more"
        assert [len(await anext(pieces)), reads] == [10_000, [0, 10_000]]


async def test_a_consumer_that_keeps_up_gets_larger_pieces_behind_what_its_connection_swallows(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(woven, "_SWALLOWED_BYTES", 20_000)
    monkeypatch.setattr(FolderStore, "reading", ReadPattern(20_000, 0, 1000, 5_000, fills=True))
    assert [len(piece) async for piece in stream_woven(store, [Span("a", 0, SIZE)])] == (
        [0, 5000] * 4 + [10_000, 20_000]
    )


def open_files() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


async def test_a_stream_that_is_given_up_leaves_no_file_open(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderStore, "reading", ReadPattern(read_bytes=1000, read_ahead=0, first_bytes=10, fills=True))
    before = open_files()
    async with aclosing(stream_woven(store, [b"head", Span("a", 0, SIZE), Span("b", 0, SIZE)])) as pieces:
        assert [len(await anext(pieces)) for _ in range(2)] == [0, 10]
        assert open_files() - before
    assert open_files() <= before
