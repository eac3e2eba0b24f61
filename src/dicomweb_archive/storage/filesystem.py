"""FolderStore: objects as files below one folder, durable before they are visible."""

import asyncio
import fcntl
import math
import os
import secrets
import stat as file_modes
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from dicomweb_archive.errors import (
    ArchiveError,
    ConflictError,
    ObjectNotFoundError,
    SetupError,
    StorageUnavailableError,
)
from dicomweb_archive.storage.base import Buffer, ObjectStat, ReadPattern, check_key
from dicomweb_archive.storage.descriptors import OpenFile, read_fully, translate, write_fully
from dicomweb_archive.storage.kept_files import KeptFiles
from dicomweb_archive.storage.ownership import StoreOwner, mark_own, require_own

Result = TypeVar("Result")

_UNFINISHED = ".unfinished"
_THREADS = 8
_LIST_BATCH = 500
# A file is opened, written, flushed and named by one job when there is no more of it: each hand-over to a thread
# costs a lone small instance as much as writing it.
_HELD_BYTES = 1024 * 1024
_MOST_DURABLE = 100_000
_FREE_SECONDS = 0.25
MIB = 1024 * 1024


class FolderStore:
    """The object store of a single machine: one file an object.

    An object is written to a file without a public name, flushed to the disk, and only then linked to its key;
    a link never replaces what is there. Unfinished files are locked by the process that writes them, so that
    `open_folder` can sweep what a killed process left, also while other processes go on writing.
    """

    # In steps of 256 KiB a series took half as much processor time again, since slices of a CT came in three pieces
    # each; steps of a MiB were no quicker than these. A slow reader gets small ones. The page cache reads ahead.
    reading = ReadPattern(read_bytes=512 * 1024, read_ahead=0, least_bytes=128 * 1024, fills=True)

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="folder-store")
        self._kept = KeptFiles(self._close_soon)
        self._durable: set[Path] = set()
        self._free = -math.inf, 0

    @property
    def streaming(self) -> "FolderStore":
        """Return this store: what is kept of reads, the operating system keeps."""
        return self

    @classmethod
    async def open_folder(cls, folder: Path, owner: StoreOwner | None = None) -> Self:
        """Open the store in `folder`, making it when it is not there, and sweep unfinished files.

        Nothing is made in a folder that is not the owner's, such as one below which a volume is not mounted.

        Raises:
            SetupError: the folder cannot be made or written, or is not the owner's.
        """
        store = cls(folder)
        place = f"The folder {store._folder} of the object store"
        try:
            if owner is not None:
                await require_own(store, owner, place)
            await store._run(store._prepare)
            if owner is not None:
                await mark_own(store, owner, place)
        except BaseException:
            await store.close()
            raise
        return store

    async def create(self, key: str) -> "FolderWriter":
        """Begin a new object; refused when the key is taken: as soon as it grows, or at `commit`."""
        return FolderWriter(self, self._path(key))

    async def begin_file(self, target: Path, pieces: Sequence[Buffer]) -> tuple[Path, OpenFile]:
        """Begin an unfinished file with these pieces.

        Raises:
            ConflictError: there is a file at the target.
        """
        path, descriptor = await self._acquire(lambda: self._begin_unfinished(target, pieces), _discard)
        return path, OpenFile(descriptor, self._executor)

    async def put_file(self, target: Path, pieces: Sequence[Buffer]) -> None:
        """Write a whole durable file; nothing of it stays when the caller is cancelled.

        Raises:
            ConflictError: there is a file at the target.
        """

        def put() -> None:
            unfinished = self._begin_unfinished(target, pieces)
            try:
                self.publish(*unfinished, target)
            except BaseException:
                _discard(unfinished)
                raise
            os.close(unfinished[1])

        await self._acquire(put, lambda _: _remove(target))

    async def open(self, key: str) -> "FolderReader":
        """Open an object for ranged reads."""
        path = self._path(key)
        descriptor = await self._acquire(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), os.close)
        return FolderReader(OpenFile(descriptor, self._executor))

    async def read(self, key: str, offset: int, length: int) -> Buffer:
        """Return one range of an object: at once when it lately was read and is in memory, else by a thread."""
        cached = self._kept.read(key, offset, length)
        if cached is not None:
            return cached
        path = self._path(key)
        if not self._kept.wants(key):
            return await self._run(lambda: _read_range(path, offset, length))
        data, descriptor = await self._acquire(
            lambda: _read_and_leave_open(path, offset, length), lambda read: os.close(read[1])
        )
        self._kept.keep(key, descriptor)
        return data

    async def read_at_most(self, key: str, offset: int, length: int) -> bytes:
        """Return one range as far as the object goes."""
        path = self._path(key)
        return await self._run(lambda: _read_range(path, offset, length, cut_at_end=True))

    async def stat(self, key: str) -> ObjectStat:
        """Return size and creation time of an object."""
        path = self._path(key)
        found = await self._run(lambda: path.stat(follow_symlinks=False))
        return ObjectStat(key, found.st_size, found.st_mtime)

    async def delete(self, key: str) -> None:
        """Remove the object and make the removal durable; no error when there is none."""
        path = self._path(key)
        self._kept.forget(key)
        await self._run(lambda: _remove(path))

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Remove objects one after the other."""
        failure: ArchiveError | None = None
        for key in keys:
            try:
                await self.delete(key)
            except ArchiveError as error:
                failure = error
        if failure is not None:
            raise failure

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectStat]:
        """Yield the objects whose key starts with `prefix`; objects that come or go meanwhile may be missed."""
        found = _walk(self._folder, prefix)
        while batch := await self._run(lambda: list(islice(found, _LIST_BATCH))):
            for item in batch:
                yield item

    async def free_bytes(self) -> int | None:
        """Room that this process may still fill, in bytes, as it was a moment ago at most."""

        def measure() -> int:
            room = os.statvfs(self._folder)
            return room.f_bavail * room.f_frsize

        # Each store asks, and a network file system may let a thread wait.
        measured_at, free = self._free
        if time.monotonic() - measured_at > _FREE_SECONDS:
            measured_at = time.monotonic()
            free = await self._run(measure)
            self._free = measured_at, free
        return free

    async def ping(self) -> None:
        """Look at the folder: without the one of unfinished files it is not ours, such as one that is not mounted."""
        try:
            await self._run((self._folder / _UNFINISHED).stat)
        except ObjectNotFoundError as error:
            message = "the folder of the object store is not there, or is not mounted"
            raise StorageUnavailableError(message) from error

    async def close(self) -> None:
        """Let running jobs end, close what is open and stop the threads."""
        self._kept.forget_all()
        await asyncio.to_thread(self._executor.shutdown)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    def _close_soon(self, descriptor: int) -> None:
        self._executor.submit(os.close, descriptor)

    async def _run(self, job: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, job)
        except OSError as error:
            raise translate(error) from error

    async def _acquire(self, job: Callable[[], Result], release: Callable[[Result], None]) -> Result:
        """Run a job that opens something; what it opened for a caller who was cancelled is released."""
        future = self._executor.submit(job)
        try:
            return await asyncio.wrap_future(future)
        except OSError as error:
            raise translate(error) from error
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: _release(done, release))
            raise

    def make_durable(self, folder: Path) -> None:
        """Flush a folder that has a new entry, and those above it when this process has not done so yet.

        A folder that is only in memory would take its objects with it, whoever made it. Runs in a thread.
        """
        chain = [folder]
        if folder not in self._durable:
            while chain[-1] != self._folder:
                chain.append(chain[-1].parent)
        for item in chain:
            _sync_folder(item)
        if len(self._durable) >= _MOST_DURABLE:
            self._durable.clear()
        self._durable.add(folder)

    def _prepare(self) -> None:
        unfinished = self._folder / _UNFINISHED
        try:
            unfinished.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"the folder {self._folder} of the object store cannot be made: {error.strerror}"
            raise SetupError(message) from error
        if not os.access(unfinished, os.W_OK | os.X_OK):
            message = f"the folder {self._folder} of the object store cannot be written by this user"
            raise SetupError(message)
        _sweep(unfinished)

    def publish(self, unfinished: Path, descriptor: int, target: Path) -> None:
        """Flush a file and its folders to the disk and give it its name. Runs in a thread.

        Raises:
            ConflictError: the name is taken.
        """
        os.fsync(descriptor)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # A link, unlike a rename, refuses an existing name; it also refuses an aborted, unlinked file.
            target.hardlink_to(unfinished)
        except FileExistsError:
            raise _taken() from None
        self.make_durable(target.parent)
        unfinished.unlink(missing_ok=True)

    def _begin_unfinished(self, target: Path, pieces: Sequence[Buffer]) -> tuple[Path, int]:
        unfinished = self._create_unfinished(target)
        try:
            write_fully(unfinished[1], pieces, 0)
        except BaseException:
            _discard(unfinished)
            raise
        return unfinished

    def _create_unfinished(self, target: Path) -> tuple[Path, int]:
        if target.exists():
            raise _taken()
        while True:
            path = self._folder / _UNFINISHED / secrets.token_hex(16)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # A sweep may have met the file before it was locked; then it has no name any more.
                if os.fstat(descriptor).st_nlink:
                    return path, descriptor
            except BaseException:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise
            os.close(descriptor)


class FolderWriter:
    """An object being written; at most one `write` or `commit` at a time, the others wait for it.

    The first pieces are held, so that a small object is one job in a thread; there is no file before they have
    become many.
    """

    def __init__(self, store: FolderStore, target: Path) -> None:
        self._store = store
        self._target = target
        self._held: list[Buffer] = []
        self._unfinished: tuple[Path, OpenFile] | None = None
        self._position = 0
        self._turn = asyncio.Lock()
        # Set while a job runs: a job that was cancelled or failed leaves an unknown tail behind.
        self._unsure = False
        self._ended = False

    async def write(self, pieces: Sequence[Buffer]) -> None:
        """Append the pieces in order; returns when the operating system has them, or this writer while it is little."""
        async with self._turn:
            self._begin()
            size = sum(map(len, pieces))
            if self._unfinished is not None:
                position = self._position
                await self._unfinished[1].run(lambda file: write_fully(file, pieces, position))
            elif self._position + size <= _HELD_BYTES:
                # What may change is copied, for whoever wrote it may use it again.
                self._held += [piece if isinstance(piece, bytes) else bytes(piece) for piece in pieces]
            else:
                self._unfinished = await self._store.begin_file(self._target, [*self._held, *pieces])
                self._held.clear()
            self._position += size
            self._unsure = False

    async def commit(self) -> None:
        """Flush the object and its folders to the disk and give it its key.

        Raises:
            ConflictError: the key was taken meanwhile.
        """
        async with self._turn:
            self._begin()
            if self._unfinished is None:
                await self._store.put_file(self._target, self._held)
                self._held.clear()
                self._ended = True
                return
            path, file = self._unfinished
            await file.run(lambda descriptor: self._store.publish(path, descriptor, self._target))
            self._ended = True
            file.close()

    async def abort(self) -> None:
        """Drop what was written; harmless after `commit`."""
        if self._ended:
            return
        self._ended = True
        self._held.clear()
        if self._unfinished is not None:
            path, file = self._unfinished
            # Synchronous on purpose: a cancelled task must be able to clean up without another wait.
            with suppress(OSError):
                path.unlink(missing_ok=True)
            file.close()

    def _begin(self) -> None:
        if self._ended or self._unsure:
            message = "the object was committed or aborted, or a write failed"
            raise ValueError(message)
        self._unsure = True


class FolderReader:
    """An open object of a FolderStore."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file

    async def read(self, offset: int, length: int) -> Buffer:
        """Return exactly these bytes."""
        return await self._file.read(offset, length)

    async def stream(self, offset: int, length: int) -> AsyncGenerator[Buffer, None]:
        """Yield exactly these bytes; the operating system is told that the next ones will be wanted too."""
        most = FolderStore.reading.read_bytes
        for start in range(offset, offset + length, most):
            yield await self._file.read(start, min(most, offset + length - start), goes_on=True)

    async def fill(self, offset: int, places: Sequence[memoryview]) -> None:
        """Fill these places; the operating system is told that the next bytes will be wanted too."""
        await self._file.fill(offset, places)

    async def close(self) -> None:
        """Close the file as soon as its reads have ended."""
        self._file.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _taken() -> ConflictError:
    return ConflictError("an object with this key exists already")


def _open_to_read(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _read_range(path: Path, offset: int, length: int, *, cut_at_end: bool = False) -> bytes:
    descriptor = _open_to_read(path)
    try:
        if cut_at_end:
            length = max(min(length, os.fstat(descriptor).st_size - offset), 0)
        return read_fully(descriptor, offset, length)
    finally:
        os.close(descriptor)


def _read_and_leave_open(path: Path, offset: int, length: int) -> tuple[bytes, int]:
    descriptor = _open_to_read(path)
    try:
        return read_fully(descriptor, offset, length), descriptor
    except BaseException:
        os.close(descriptor)
        raise


def _discard(created: tuple[Path, int]) -> None:
    path, descriptor = created
    path.unlink(missing_ok=True)
    os.close(descriptor)


def _release(done: Future[Result], release: Callable[[Result], None]) -> None:
    if not done.cancelled() and done.exception() is None:
        release(done.result())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
        _sync_folder(path.parent)


def _sweep(unfinished: Path) -> None:
    """Remove the unfinished files that no living process holds locked."""
    for path in unfinished.iterdir():
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _walk(root: Path, prefix: str) -> Iterator[ObjectStat]:
    waiting = [root / prefix.rpartition("/")[0]]
    while waiting:
        folder = waiting.pop()
        try:
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        except FileNotFoundError:
            continue
        for entry in entries:
            key = Path(entry.path).relative_to(root).as_posix()
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                if file_modes.S_ISDIR(found.st_mode):
                    if key.startswith(prefix) or prefix.startswith(key + "/"):
                        waiting.append(Path(entry.path))
                elif file_modes.S_ISREG(found.st_mode) and key.startswith(prefix):
                    yield ObjectStat(key, found.st_size, found.st_mtime)
