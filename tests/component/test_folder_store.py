"""The folder store: the shared contract, and what only files can get wrong."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.component.object_store_contract import ObjectStoreContract, keys, put

from dicomweb_archive.errors import SetupError, StorageFullError, StorageUnavailableError
from dicomweb_archive.storage import descriptors
from dicomweb_archive.storage.descriptors import OpenFile
from dicomweb_archive.storage.filesystem import FolderStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderStore]:
    opened = await FolderStore.open_folder(tmp_path / "objects")
    yield opened
    await opened.close()


def unfinished(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "objects" / ".unfinished").iterdir())


def open_files(tmp_path: Path) -> list[str]:
    targets = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            targets.append(str(link.readlink()))
    return [target for target in targets if target.startswith(str(tmp_path))]


class TestFolderStore(ObjectStoreContract):
    pass


LARGE = bytes(2 * 1024 * 1024)
"""More than is held before there is a file."""


async def test_nothing_unfinished_is_left_behind(store: FolderStore, tmp_path: Path) -> None:
    await put(store, "done", b"x")
    await put(store, "long", LARGE)
    writer = await store.create("dropped")
    await writer.write([b"x"])
    await writer.write([LARGE])
    assert len(unfinished(tmp_path)) == 1
    await writer.abort()
    assert unfinished(tmp_path) == []
    assert open_files(tmp_path) == []


async def test_a_failed_commit_can_be_aborted(store: FolderStore, tmp_path: Path) -> None:
    writer = await store.create("taken")
    await writer.write([b"mine"])
    await put(store, "taken", b"theirs")
    with pytest.raises(Exception, match="exists already"):
        await writer.commit()
    await writer.abort()
    assert unfinished(tmp_path) == []
    assert open_files(tmp_path) == []


async def test_a_small_object_has_no_file_before_it_is_whole(store: FolderStore, tmp_path: Path) -> None:
    writer = await store.create("small")
    await writer.write([b"x"])
    assert unfinished(tmp_path) == []
    await writer.commit()
    assert unfinished(tmp_path) == []
    assert open_files(tmp_path) == []
    assert await store.read("small", 0, 1) == b"x"


async def test_pieces_that_were_held_come_before_those_that_make_it_large(store: FolderStore) -> None:
    writer = await store.create("grown")
    for piece in (b"first", LARGE, b"last"):
        await writer.write([piece])
    await writer.commit()
    assert await store.read("grown", 0, 5) == b"first"
    assert await store.read("grown", 5 + len(LARGE), 4) == b"last"


async def test_a_small_object_whose_caller_is_gone_does_not_stay(store: FolderStore, tmp_path: Path) -> None:
    writer = await store.create("gone")
    await writer.write([b"x"])
    task = asyncio.create_task(writer.commit())
    # One step takes it to where it waits for its thread.
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await writer.abort()
    # Whatever runs in a thread still is behind this.
    await store.close()
    assert not (tmp_path / "objects" / "gone").exists()
    assert unfinished(tmp_path) == []


async def test_opening_sweeps_what_a_killed_process_left(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    script = (
        "import asyncio, os, pathlib, sys\n"
        "from dicomweb_archive.storage.filesystem import FolderStore\n"
        "async def main():\n"
        "    store = await FolderStore.open_folder(pathlib.Path(sys.argv[1]))\n"
        "    writer = await store.create('lost')\n"
        "    await writer.write([bytes(2 * 1024 * 1024)])\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script, str(folder)], check=False)
    assert len(unfinished(tmp_path)) == 1
    first = await FolderStore.open_folder(folder)
    assert unfinished(tmp_path) == []

    writer = await first.create("alive")
    await writer.write([LARGE])
    second = await FolderStore.open_folder(folder)
    assert len(unfinished(tmp_path)) == 1, "the file of a living writer stays"
    await writer.commit()
    assert await keys(second) == ["alive"]
    await first.close()
    await second.close()


async def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError, match="cannot be made"):
        await FolderStore.open_folder(tmp_path / "file" / "objects")


async def test_links_planted_in_the_folder_are_not_followed(store: FolderStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (tmp_path / "objects" / "link").symlink_to(secret)
    with pytest.raises(StorageUnavailableError):
        await store.open("link")
    assert await keys(store) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.get)
def test_no_room_is_told_apart_from_other_failures(code: int) -> None:
    assert isinstance(descriptors.translate(OSError(code, "")), StorageFullError)
    assert isinstance(descriptors.translate(OSError(errno.EIO, "")), StorageUnavailableError)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
async def test_a_full_disk_is_reported_as_such(store: FolderStore) -> None:
    file = OpenFile(os.open("/dev/full", os.O_WRONLY), store._executor)
    with pytest.raises(StorageFullError):
        await file.run(lambda descriptor: descriptors.write_fully(descriptor, [b"x"], 0))
    file.close()


async def test_a_file_is_not_closed_under_a_running_job(store: FolderStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    descriptor = os.open(path, os.O_RDONLY)
    file = OpenFile(descriptor, store._executor)
    begun, go_on = threading.Event(), threading.Event()

    def slow(number: int) -> bytes:
        begun.set()
        go_on.wait(10)
        return os.pread(number, 3, 0)

    task = asyncio.create_task(file.run(slow))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    file.close()
    os.fstat(descriptor)
    go_on.set()
    for _ in range(3000):
        if not open_files(tmp_path):
            break
        await asyncio.sleep(0.01)
    assert open_files(tmp_path) == []


async def test_a_cancelled_writer_leaves_no_file_and_no_descriptor(store: FolderStore, tmp_path: Path) -> None:
    async def work() -> None:
        writer = await store.create("cancelled")
        try:
            while True:
                await writer.write([b"x" * 100_000])
        finally:
            await writer.abort()

    for delay in (0, 0.001, 0.01, 0.05):
        task = asyncio.create_task(work())
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for _ in range(3000):
        if not open_files(tmp_path) and not unfinished(tmp_path):
            break
        await asyncio.sleep(0.01)
    assert open_files(tmp_path) == []
    assert unfinished(tmp_path) == []
    assert await keys(store) == []


async def test_a_write_after_a_cancelled_write_is_refused(store: FolderStore) -> None:
    writer = await store.create("unsure")
    task = asyncio.create_task(writer.write([b"x" * 10_000_000]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ValueError):
        await writer.write([b"y"])
    with pytest.raises(ValueError):
        await writer.commit()
    await writer.abort()


def test_many_bytes_are_written_in_small_calls_whatever_each_of_them_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [os.urandom(length) for length in (70_000, 1, 0, 200_000, 30, 65_536, *[7] * 2000)]
    calls: list[int] = []
    write = os.pwritev

    def write_some(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        calls.append(sum(map(len, buffers)))
        # As a disk that is nearly full, or a signal, may have it.
        return write(descriptor, [b"".join(buffers)[: max(1, calls[-1] - 5)]], offset)

    monkeypatch.setattr(os, "pwritev", write_some)
    path = tmp_path / "written"
    with path.open("wb") as file:
        file.write(b"head")
        file.flush()
        assert descriptors.write_fully(file.fileno(), pieces, 4) == 4 + sum(map(len, pieces))
    assert bool(path.read_bytes() == b"head" + b"".join(pieces))
    assert max(calls) <= 65_536
