"""BlockStore: the contract of stores, and that a cache is never more than a quicker way to the same bytes."""

import asyncio
import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.component.object_store_contract import ObjectStoreContract, put

from dicomweb_archive.errors import DamagedObjectError, ObjectNotFoundError, StorageUnavailableError
from dicomweb_archive.observability import Metrics
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.blocks import disk_door
from dicomweb_archive.storage.blocks import store as block_store
from dicomweb_archive.storage.blocks.cache import BLOCK_BYTES, BlockCache, BlockSettings
from dicomweb_archive.storage.blocks.disk import DiskLevel
from dicomweb_archive.storage.blocks.store import BlockStore
from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.storage.spans import Span, stream_spans

BLOCK = 1000


class Origin(FolderStore):
    """The store behind the cache: notes what it is asked, waits while it is held, and fails when told."""

    asked: list[tuple[int, int]]
    failure: Exception | None
    held: asyncio.Event

    async def read_at_most(self, key: str, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        await self.held.wait()
        if self.failure is not None:
            raise self.failure
        return await super().read_at_most(key, offset, length)

    async def delete(self, key: str) -> None:
        if self.failure is not None:
            raise self.failure
        await super().delete(key)


Open = Callable[..., Awaitable[BlockStore]]


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[Origin]:
    opened = await Origin.open_folder(tmp_path / "objects")
    opened.asked, opened.failure, opened.held = [], None, asyncio.Event()
    opened.held.set()
    yield opened
    await opened.close()


@pytest.fixture
async def start(origin: Origin, tmp_path: Path) -> AsyncIterator[Open]:
    """Open a cache before the origin, as each server process does."""
    opened: list[BlockCache] = []

    async def start(
        *, memory: int = 100_000, disk: int = 1_000_000, leave_free: int = 0, block_bytes: int = BLOCK
    ) -> BlockStore:
        bounds = BlockSettings("test", memory, disk, tmp_path / "blocks", block_bytes, leave_free)
        cache = await BlockCache.open(origin, bounds, Metrics().blocks)
        opened.append(cache)
        return BlockStore(origin, cache)

    yield start
    for cache in opened:
        await cache.close()


@pytest.fixture
async def content(origin: Origin) -> bytes:
    data = os.urandom(50 * BLOCK + 123)
    await put(origin, "pack", data)
    return data


async def settle(store: BlockStore) -> None:
    await store._cache.settle()


async def look(store: BlockStore) -> None:
    await store._cache.look()


def block_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "blocks").glob("??/*/*"), key=lambda path: int(path.name))


def figures(store: BlockStore) -> dict[str, float]:
    meters = store._cache._meters
    return {name: getattr(meters, f"_{name}")._value.get() for name in ("memory", "disk", "store")}


class TestBlockStore(ObjectStoreContract):
    @pytest.fixture
    async def store(self, start: Open) -> BlockStore:
        return await start(memory=10_000_000, disk=10_000_000, block_bytes=BLOCK_BYTES)


@pytest.mark.parametrize(
    ("memory", "disk"),
    [(100_000, 1_000_000), (9000, 20_000), (0, 60_000), (60_000, 0), (500, 500)],
    ids=["both", "small", "disk", "memory", "none"],
)
async def test_any_range_is_what_the_store_has(start: Open, content: bytes, memory: int, disk: int) -> None:
    chance = random.Random(7)
    stores = [await start(memory=memory, disk=disk) for _ in range(2)]
    stores += [store.streaming for store in stores]

    async def read() -> None:
        offset = chance.randrange(len(content))
        length = chance.choice([1, 40, BLOCK, 3 * BLOCK, 11 * BLOCK])
        store = chance.choice(stores)
        expected = content[offset : offset + length]
        assert await store.read_at_most("pack", offset, length) == expected
        if len(expected) == length:
            assert await store.read("pack", offset, length) == expected
            async with await store.open("pack") as reader:
                assert await reader.read(offset, length) == expected
                assert b"".join([bytes(piece) async for piece in reader.stream(offset, length)]) == expected
        else:
            with pytest.raises(DamagedObjectError):
                await store.read("pack", offset, length)

    for _ in range(5):
        await asyncio.gather(*(read() for _ in range(12)))


async def test_a_range_is_asked_for_once_in_whole_blocks(start: Open, origin: Origin, content: bytes) -> None:
    store = await start()
    reads = [store.read("pack", 2500, 3000) for _ in range(20)]
    assert await asyncio.gather(*reads) == [content[2500:5500]] * 20
    assert origin.asked == [(2000, 4000)]
    assert await store.read("pack", 2000, 4000) == content[2000:6000]
    assert origin.asked == [(2000, 4000)]
    # Only what is missing on both sides is asked for.
    assert await store.read("pack", 1500, 6000) == content[1500:7500]
    assert sorted(origin.asked[1:3]) == [(1000, 1000), (6000, 2000)]


async def test_where_blocks_were_found_is_counted(start: Open, content: bytes) -> None:
    store = await start()
    for _ in range(3):
        await store.read("pack", 40_000, 3000)
    await settle(store)
    other = await start()
    await other.read("pack", 41_000, 4000)
    assert figures(store) == {"memory": 6, "disk": 0, "store": 3}
    assert figures(other) == {"memory": 0, "disk": 2, "store": 2}


async def test_a_reader_who_leaves_takes_nothing_from_the_others(start: Open, origin: Origin, content: bytes) -> None:
    store = await start()
    origin.held.clear()
    first, second = (asyncio.create_task(store.read("pack", 0, 500)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    origin.held.set()
    assert await second == content[:500]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(start: Open, origin: Origin, content: bytes) -> None:
    store = await start()
    origin.failure = StorageUnavailableError("away")
    found = await asyncio.gather(*(store.read("pack", 0, 500) for _ in range(3)), return_exceptions=True)
    assert [type(item) for item in found] == [StorageUnavailableError] * 3
    origin.failure = None
    assert await store.read("pack", 0, 500) == content[:500]
    with pytest.raises(ObjectNotFoundError):
        await store.read("nothing", 0, 500)


async def test_a_series_that_is_read_in_order_is_read_ahead(start: Open, origin: Origin, content: bytes) -> None:
    store = await start()
    await store.read("pack", 0, 1500)
    await settle(store)
    assert origin.asked == [(0, 2000)]
    await store.read("pack", 1500, 1500)
    await settle(store)
    assert origin.asked == [(0, 2000), (2000, 1000), (3000, 4000)]
    for offset in range(3000, 48_500, 1500):
        assert await store.read("pack", offset, 1500) == content[offset : offset + 1500]
        await settle(store)
    # Few large reads, none of them twice, and at most one behind the end.
    read = [start for start, length in origin.asked for start in range(start, start + length, BLOCK)]
    assert len(read) == len(set(read))
    assert sum(start > len(content) for start, _ in origin.asked) == 0
    assert len(origin.asked) < 15


async def test_nothing_is_read_ahead_without_memory_for_it(start: Open, origin: Origin, content: bytes) -> None:
    store = await start(memory=0)
    for offset in range(0, 9000, 1000):
        assert await store.read("pack", offset, 1000) == content[offset : offset + 1000]
    await settle(store)
    assert origin.asked == [(offset, 1000) for offset in range(0, 9000, 1000)]


async def test_a_stream_takes_what_is_there_and_leaves_nothing(
    start: Open, origin: Origin, content: bytes, tmp_path: Path
) -> None:
    store = await start()
    await store.read("pack", 5000, 2000)
    await settle(store)
    spans = [Span("pack", offset, 2000) for offset in range(0, 50_000, 2000)]
    pieces = stream_spans(store.streaming, spans, span_bytes=4000)
    assert b"".join([bytes(piece) async for piece in pieces]) == content[:50_000]
    assert await store.streaming.read("pack", 5500, 1000) == content[5500:6500]
    await settle(store)
    assert [int(path.name) for path in block_files(tmp_path)] == [5, 6]
    assert origin.asked == [(5000, 2000)]


async def test_of_a_large_object_only_the_beginning_is_kept(
    start: Open, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_store, "_KEPT_OF_A_STREAM_BYTES", 10 * BLOCK)
    monkeypatch.setattr(block_store, "_STEP_BYTES", 2 * BLOCK)
    store = await start()
    async with await store.open("pack") as reader:
        assert b"".join([bytes(piece) async for piece in reader.stream(0, 50_000)]) == content[:50_000]
        assert await reader.read(49_000, 1000) == content[49_000:50_000]
    await settle(store)
    # And what was read ahead of it.
    assert len(block_files(tmp_path)) < 10 + 16


async def test_server_processes_share_what_is_on_the_disk(start: Open, origin: Origin, content: bytes) -> None:
    first = await start()
    await first.read("pack", 0, 9000)
    await settle(first)
    second = await start()
    origin.failure = StorageUnavailableError("away")
    assert await second.read("pack", 0, 9000) == content[:9000]
    assert await (await start(memory=0)).streaming.read("pack", 10, 10) == content[10:20]


async def test_a_deleted_object_is_forgotten_by_every_process(
    start: Open, origin: Origin, content: bytes, tmp_path: Path
) -> None:
    stores = [await start() for _ in range(3)]
    for store in stores:
        await store.read("pack", 0, 9000)
        await settle(store)
    # Memory alone, as where the disk has evicted it.
    await stores[0].delete("pack")
    assert block_files(tmp_path) == []
    for store in stores:
        await look(store)
        with pytest.raises(ObjectNotFoundError):
            await store.read("pack", 0, 10)
        with pytest.raises(ObjectNotFoundError):
            await store.streaming.read("pack", 0, 10)
        assert store._cache._memory.size_bytes == 0


@pytest.mark.parametrize("deleter", [0, 1], ids=["same process", "another"])
async def test_what_was_coming_in_while_its_object_was_deleted_is_not_kept(
    start: Open, origin: Origin, content: bytes, tmp_path: Path, deleter: int
) -> None:
    stores = [await start() for _ in range(2)]
    origin.held.clear()
    reading = asyncio.create_task(stores[0].read("pack", 0, 9000))
    await asyncio.sleep(0.01)
    await stores[deleter].delete_many(["pack"])
    origin.held.set()
    await asyncio.gather(reading, return_exceptions=True)
    await settle(stores[0])
    assert block_files(tmp_path) == []
    assert stores[0]._cache._memory.size_bytes == 0


async def test_blocks_go_also_when_the_store_cannot_delete(
    start: Open, origin: Origin, content: bytes, tmp_path: Path
) -> None:
    store = await start()
    await store.read("pack", 0, 9000)
    await settle(store)
    origin.failure = StorageUnavailableError("away")
    with pytest.raises(StorageUnavailableError):
        await store.delete("pack")
    assert block_files(tmp_path) == []


async def test_a_damaged_block_is_never_served(start: Open, origin: Origin, content: bytes, tmp_path: Path) -> None:
    store = await start()
    await store.read("pack", 0, 6000)
    await settle(store)
    flipped, cut, longer, swapped, other, empty = block_files(tmp_path)
    whole = flipped.read_bytes()
    flipped.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    cut.write_bytes(cut.read_bytes()[:-1])
    longer.write_bytes(longer.read_bytes() + b"x")
    swapped.write_bytes(other.read_bytes())
    empty.write_bytes(b"")
    fresh = await start()
    origin.asked.clear()
    assert await fresh.read("pack", 0, 6000) == content[:6000]
    assert origin.asked == [(0, 4000), (5000, 1000)]
    await settle(fresh)
    assert fresh._cache._meters.damaged._value.get() == 5
    origin.failure = StorageUnavailableError("away")
    assert await (await start()).read("pack", 0, 6000) == content[:6000]


async def test_an_object_that_was_short_is_read_anew_when_it_is_restored(
    start: Open, origin: Origin, tmp_path: Path
) -> None:
    store = await start()
    await put(origin, "short", bytes(1500))
    with pytest.raises(DamagedObjectError):
        await store.read("short", 0, 3000)
    await settle(store)
    with pytest.raises(DamagedObjectError):
        await store.read("short", 0, 3000)
    await origin.delete("short")
    await put(origin, "short", bytes(3000))
    assert await store.read("short", 0, 3000) == bytes(3000)


async def test_a_disk_that_fails_is_done_without_and_told_once(
    start: Open, origin: Origin, content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(disk_door, "_PAUSE_SECONDS", 0.0)
    (tmp_path / "blocks").write_text("not a folder")
    store = await start()
    for offset in range(0, 40_000, 1000):
        assert await store.read("pack", offset, 1000) == content[offset : offset + 1000]
        await settle(store)
    await store.delete("nothing")
    warnings = [record.message for record in caplog.records if "block cache" in record.message]
    assert len(warnings) == 2
    assert str(tmp_path) not in caplog.text
    (tmp_path / "blocks").unlink()
    await store.read("pack", 45_000, 1000)
    await settle(store)
    assert block_files(tmp_path) != []


async def test_a_folder_that_cannot_be_made_is_told_once(
    start: Open, content: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(level: DiskLevel) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(DiskLevel, "_make_folders", refuse)
    caplog.set_level("INFO")
    store = await start()
    for _ in range(3):
        assert await store.read("pack", 0, 1000) == content[:1000]
        await settle(store)
        await look(store)
    told = [record.message for record in caplog.records if "block cache" in record.message]
    assert len(told) == len(set(told)) == 2


async def test_a_full_disk_keeps_what_it_has(start: Open, content: bytes, tmp_path: Path) -> None:
    store = await start()
    await store.read("pack", 0, 3000)
    await settle(store)
    full = await start(leave_free=2**60)
    assert await full.read("pack", 1000, 9000) == content[1000:10_000]
    await settle(full)
    assert len(block_files(tmp_path)) == 3
    assert figures(full)["disk"] == 2


async def test_a_folder_that_vanishes_comes_again(start: Open, content: bytes, tmp_path: Path) -> None:
    store = await start(memory=0)
    await store.read("pack", 0, 3000)
    await settle(store)
    (tmp_path / "blocks").rename(tmp_path / "elsewhere")
    assert await store.read("pack", 0, 3000) == content[:3000]
    await settle(store)
    assert len(block_files(tmp_path)) == 3


async def test_nobody_else_may_read_the_blocks(start: Open, content: bytes, tmp_path: Path) -> None:
    store = await start()
    await store.read("pack", 0, 3000)
    await store.delete("other")
    await settle(store)
    for path in [tmp_path / "blocks", *(tmp_path / "blocks").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


class TestDiskLevel:
    """Bounds and crashes, on the level itself."""

    OBJECT = "ab" * 16

    def level(self, folder: Path, capacity: int = 40_960) -> DiskLevel:
        level = DiskLevel(folder / "blocks", capacity, BLOCK)
        level.prepare()
        return level

    def used(self, folder: Path) -> int:
        return sum(-(-path.stat().st_size // 4096) * 4096 for path in block_files(folder))

    def test_levels_of_several_processes_stay_within_one_bound(self, tmp_path: Path) -> None:
        levels = [self.level(tmp_path) for _ in range(2)]
        for number in range(40):
            levels[number % 2].write(self.OBJECT, {number: bytes(BLOCK)})
            assert self.used(tmp_path) <= levels[0].size_bytes() <= 40_960
        assert self.used(tmp_path) > 30_000

    def test_what_was_used_last_stays(self, tmp_path: Path) -> None:
        level = self.level(tmp_path)
        for number in range(10):
            level.write(self.OBJECT, {number: bytes(BLOCK)})
            os.utime(tmp_path / "blocks" / "ab" / self.OBJECT / str(number), (number, number))
        assert level.read(self.OBJECT, [0]) != {}
        assert level.write(self.OBJECT, {10: bytes(BLOCK)}).evicted > 0
        assert level.read(self.OBJECT, [0, 1, 2, 9, 10]).keys() == {0, 2, 9, 10}

    def test_what_was_deleted_long_ago_is_not_remembered_for_ever(self, tmp_path: Path) -> None:
        level = self.level(tmp_path)
        others = [f"{number:032x}" for number in range(3)]
        level.forget(others)
        for name in others:
            os.utime(tmp_path / "blocks" / "gone" / name, (0, 0))
        level.forget([self.OBJECT])
        assert level.gone() == [self.OBJECT]
        assert [path.name for path in (tmp_path / "blocks" / "gone").iterdir()] == [self.OBJECT]

    def test_a_bound_that_has_become_less_holds_from_the_start(self, tmp_path: Path) -> None:
        self.level(tmp_path).write(self.OBJECT, {number: bytes(BLOCK) for number in range(10)})
        self.level(tmp_path, 20_000)
        assert 0 < self.used(tmp_path) <= 20_000

    def test_files_of_others_are_left_alone(self, tmp_path: Path) -> None:
        foreign = [tmp_path / "blocks" / name for name in ("precious", "ab/precious", f"ab/{self.OBJECT}/precious")]
        for path in foreign:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("mine")
            os.utime(path, (0, 0))
        level = self.level(tmp_path, 8192)
        for number in range(10):
            level.write(self.OBJECT, {number: bytes(BLOCK)})
        assert [path.read_text() for path in foreign] == ["mine"] * 3

    def test_a_process_that_is_killed_leaves_whole_blocks_and_a_bound_that_holds(self, tmp_path: Path) -> None:
        program = (
            "import itertools, sys; from pathlib import Path\n"
            "from dicomweb_archive.storage.blocks.disk import DiskLevel\n"
            f"level = DiskLevel(Path(sys.argv[1]), 40_960, {BLOCK}); level.prepare()\n"
            "for number in itertools.count():\n"
            f"    level.write('{self.OBJECT}', {{number % 50: bytes([number % 256]) * {BLOCK}}}); print(number)\n"
        )
        command = [sys.executable, "-uc", program, str(tmp_path / "blocks")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(30):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        left = tmp_path / "blocks" / "unfinished" / "left"
        left.write_bytes(b"half a block")
        os.utime(left, (0, 0))
        level = self.level(tmp_path)
        found = level.read(self.OBJECT, range(50))
        assert len(found) == len(block_files(tmp_path)) > 0
        assert level.damaged == 0
        assert not left.exists()
        assert level.size_bytes() == self.used(tmp_path)
        level.write(self.OBJECT, {99: bytes(BLOCK)})
        assert self.used(tmp_path) <= 40_960


async def test_answers_are_buffers_of_their_own(start: Open, content: bytes) -> None:
    store = await start()
    found: Buffer = await store.read("pack", 100, 50)
    assert isinstance(found, bytes)
    assert found == content[100:150]
