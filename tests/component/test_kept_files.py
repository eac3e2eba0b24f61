"""Files kept open: read at once while they are in memory, and let go of when they are deleted or left alone."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.component.object_store_contract import put

from dicomweb_archive.errors import DamagedObjectError, ObjectNotFoundError
from dicomweb_archive.storage import kept_files
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.filesystem import FolderStore


class PageCache:
    """Answers in place of the operating system, which may not be able to tell what is in memory."""

    def __init__(self) -> None:
        self.reads = 0
        self.failure: int | None = None

    def __call__(self, descriptor: int, offset: int, length: int) -> Buffer | None:
        self.reads += 1
        if self.failure is not None:
            raise OSError(self.failure, "")
        data = os.pread(descriptor, length, offset)
        return data if len(data) == length else None


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> PageCache:
    stands_in = PageCache()
    monkeypatch.setattr(kept_files, "read_now", stands_in)
    return stands_in


@pytest.fixture
async def store(tmp_path: Path, cache: PageCache) -> AsyncIterator[FolderStore]:
    opened = await FolderStore.open_folder(tmp_path)
    await put(opened, "pack", b"0123456789")
    yield opened
    await opened.close()
    assert open_files(tmp_path) == []


def open_files(folder: Path) -> list[str]:
    targets = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            targets.append(str(link.readlink()))
    return [target for target in targets if target.startswith(str(folder))]


async def closed(folder: Path, left: int = 0) -> bool:
    for _ in range(3000):
        if len(open_files(folder)) == left:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_what_was_read_a_moment_ago_is_read_at_once(store: FolderStore) -> None:
    assert await store.read("pack", 0, 4) == b"0123"
    reading = store.read("pack", 2, 5)
    with pytest.raises(StopIteration) as done:
        reading.send(None)
    assert done.value.value == b"23456"


async def test_what_is_not_in_memory_is_read_by_a_thread(store: FolderStore, cache: PageCache, tmp_path: Path) -> None:
    cache.failure = errno.EAGAIN
    for _ in range(3):
        assert await store.read("pack", 2, 5) == b"23456"
    assert cache.reads == 2
    assert len(open_files(tmp_path)) == 1
    cache.failure = None
    assert await store.read("pack", 0, 1) == b"0"


async def test_a_file_that_another_process_deleted_is_closed_and_not_read(store: FolderStore, tmp_path: Path) -> None:
    await store.read("pack", 0, 4)
    (tmp_path / "pack").unlink()
    with pytest.raises(ObjectNotFoundError):
        await store.read("pack", 0, 4)
    assert await closed(tmp_path)


async def test_a_file_that_is_deleted_here_is_closed_first(store: FolderStore, tmp_path: Path) -> None:
    await store.read("pack", 0, 4)
    await store.delete("pack")
    assert await closed(tmp_path)
    with pytest.raises(ObjectNotFoundError):
        await store.read("pack", 0, 4)


async def test_a_file_that_nobody_reads_is_closed_soon(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_files, "IDLE_SECONDS", 0.05)
    await asyncio.gather(*(store.read("pack", 0, 4) for _ in range(3)))
    assert await closed(tmp_path)
    assert await store.read("pack", 0, 4) == b"0123"


async def test_few_files_are_kept_open(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_files, "MOST_FILES", 2)
    for number in range(4):
        await put(store, f"pack{number}", b"x")
        assert await store.read(f"pack{number}", 0, 1) == b"x"
    assert await closed(tmp_path, left=2)


async def test_a_shortened_file_is_damaged(store: FolderStore, tmp_path: Path) -> None:
    await store.read("pack", 0, 4)
    os.truncate(tmp_path / "pack", 3)
    with pytest.raises(DamagedObjectError):
        await store.read("pack", 0, 4)


async def test_where_nobody_can_tell_what_is_in_memory_nothing_is_kept_open(
    store: FolderStore, cache: PageCache, tmp_path: Path
) -> None:
    cache.failure = errno.EOPNOTSUPP
    for _ in range(4):
        assert await store.read("pack", 0, 4) == b"0123"
    assert cache.reads == 1
    assert await closed(tmp_path)


async def test_a_file_system_that_fails_is_asked_by_a_thread_which_says_what_is_wrong(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(descriptor: int) -> os.stat_result:
        raise OSError(errno.ESTALE, "")

    await store.read("pack", 0, 4)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", failing)
        assert await store.read("pack", 0, 4) == b"0123"


async def test_a_cancelled_read_leaves_nothing_open(store: FolderStore, tmp_path: Path) -> None:
    reading = asyncio.create_task(store.read("pack", 0, 4))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await closed(tmp_path)


async def test_large_ranges_are_left_to_a_thread(
    store: FolderStore, cache: PageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_files, "MOST_BYTES", 4)
    await store.read("pack", 0, 4)
    assert await store.read("pack", 0, 5) == b"01234"
    assert cache.reads == 0
