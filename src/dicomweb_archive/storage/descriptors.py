"""Open files whose work runs in threads: a descriptor is never closed under a running job."""

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from dicomweb_archive.errors import (
    ArchiveError,
    DamagedObjectError,
    ObjectNotFoundError,
    StorageFullError,
    StorageUnavailableError,
)
from dicomweb_archive.storage.base import Buffer

Result = TypeVar("Result")

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Linux takes at most this many buffers in one call (IOV_MAX).
_MOST_BUFFERS = 1024
# What is written by one call gets pages of its size where the file system has large ones, and those are not always at
# hand: to copy a slice into them took three to five times as long as in steps of these (docs/design/0003-packs.md).
_MOST_WRITTEN = 64 * 1024
# Linux alone lets us ask for what is in memory.
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)
# Read into the page cache behind a read that had to wait for the disk: so much of the file belongs to nobody's memory.
_AHEAD_BYTES = 4 * 1024 * 1024


def translate(error: OSError) -> ArchiveError:
    """Say in the archive's words what the operating system refused; paths and values stay out."""
    if error.errno in _NO_ROOM:
        return StorageFullError("the disk of the object store is full")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ObjectNotFoundError("the object store does not hold this object")
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    return StorageUnavailableError(f"the folder of the object store fails with {name}")


class OpenFile:
    """A file descriptor used by jobs in threads.

    A thread cannot be interrupted: when the caller is cancelled, its job runs on, and closing the descriptor at
    that moment could let the number be given to another file that the job would then write into. So `close`
    waits for the running jobs without making its caller wait.
    """

    def __init__(self, descriptor: int, executor: ThreadPoolExecutor) -> None:
        self._descriptor = descriptor
        self._executor = executor
        self._running = 0
        self._closing = False

    async def run(self, job: Callable[[int], Result]) -> Result:
        """Run `job` with the descriptor in a thread.

        Raises:
            ArchiveError: what `translate` makes of an OSError.
        """
        if self._closing:
            message = "the file is closed"
            raise ValueError(message)
        future = asyncio.get_running_loop().run_in_executor(self._executor, job, self._descriptor)
        self._running += 1
        future.add_done_callback(self._job_done)
        try:
            return await asyncio.shield(future)
        except OSError as error:
            raise translate(error) from error

    async def read(self, offset: int, length: int, *, goes_on: bool = False) -> Buffer:
        """Read exactly these bytes: at once when they are in the page cache, else in a thread.

        Args:
            goes_on: what follows will be read next.

        Raises:
            DamagedObjectError: the file ends before them.
        """
        cached = None if self._closing else read_cached(self._descriptor, offset, length)
        if cached is not None:
            return cached
        read = _read_and_fetch_next if goes_on else read_fully
        return await self.run(lambda file: read(file, offset, length))

    async def fill(self, offset: int, places: Sequence[memoryview]) -> None:
        """Read into these places, one behind the other: at once from the page cache, else in a thread.

        Raises:
            DamagedObjectError: the file ends before them.
        """
        if self._closing or not fill_cached(self._descriptor, offset, places):
            await self.run(lambda file: _fill_and_fetch_next(file, offset, places))

    def close(self) -> None:
        """Close the descriptor now, or as soon as the jobs that use it have ended."""
        if not self._closing:
            self._closing = True
            self._close_when_idle()

    def _job_done(self, future: "asyncio.Future[Result]") -> None:
        # The caller may be gone; looking at the exception keeps asyncio from reporting it as lost.
        if not future.cancelled():
            future.exception()
        self._running -= 1
        if self._closing:
            self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._running == 0:
            os.close(self._descriptor)


def write_fully(descriptor: int, pieces: Sequence[Buffer], position: int) -> int:
    """Write the pieces one after the other from `position` on and return the position behind them."""
    waiting = deque(memoryview(piece) for piece in pieces if len(piece))
    group: list[memoryview] = []
    while _fill_group(group, waiting):
        written = os.pwritev(descriptor, group, position)
        position += written
        done = 0
        while done < len(group) and written >= len(group[done]):
            written -= len(group[done])
            done += 1
        del group[:done]
        if written:
            group[0] = group[0][written:]
    return position


def _fill_group(group: list[memoryview], waiting: deque[memoryview]) -> bool:
    """Move to the group what the next call writes, and tell whether that is anything."""
    room = _MOST_WRITTEN - sum(map(len, group))
    while waiting and room > 0 and len(group) < _MOST_BUFFERS:
        piece = waiting.popleft()
        if len(piece) > room:
            waiting.appendleft(piece[room:])
            piece = piece[:room]
        group.append(piece)
        room -= len(piece)
    return bool(group)


def read_cached(descriptor: int, offset: int, length: int) -> Buffer | None:
    """Read exactly these bytes if that needs no waiting for the disk; `None` otherwise."""
    try:
        return read_now(descriptor, offset, length)
    except OSError:
        # Not in memory, or a file system that cannot tell; the thread says what is really wrong.
        return None


def read_now(descriptor: int, offset: int, length: int) -> Buffer | None:
    """Read exactly these bytes if that needs no waiting for the disk; `None` when only some of them can be had so.

    Hot path: a thread's hand-over costs more than copying a MiB that is in memory (benchmarks/storage). The call
    asks the kernel for what is in its page cache and never blocks the event loop on a disk.

    Raises:
        OSError: none of them is in memory, or the file system cannot tell.
    """
    if _NO_WAIT is None:
        raise OSError(errno.ENOSYS, "reads that do not wait")
    data = bytearray(length)
    return data if os.preadv(descriptor, [data], offset, _NO_WAIT) == length else None


def fill_cached(descriptor: int, offset: int, places: Sequence[memoryview]) -> bool:
    """Fill these places if that needs no waiting for the disk, and tell whether they are filled."""
    if _NO_WAIT is None:
        return False
    try:
        return os.preadv(descriptor, places, offset, _NO_WAIT) == sum(map(len, places))
    except OSError:
        return False


def _read_and_fetch_next(descriptor: int, offset: int, length: int) -> bytes:
    """Read exactly these bytes, and have the kernel fetch those behind them while they are sent."""
    _fetch(descriptor, offset + length)
    return read_fully(descriptor, offset, length)


def _fill_and_fetch_next(descriptor: int, offset: int, places: Sequence[memoryview]) -> None:
    """Fill these places, and have the kernel fetch what is behind them while they are sent."""
    _fetch(descriptor, offset + sum(map(len, places)))
    waiting = list(places)
    while waiting:
        taken = os.preadv(descriptor, waiting, offset)
        if not taken:
            message = "an object is shorter than what was stored"
            raise DamagedObjectError(message)
        offset += taken
        while waiting and taken >= len(waiting[0]):
            taken -= len(waiting.pop(0))
        if taken:
            waiting[0] = waiting[0][taken:]


def _fetch(descriptor: int, offset: int) -> None:
    if hasattr(os, "posix_fadvise"):
        # A hint: a file system that takes none says so, and is read all the same.
        with suppress(OSError):
            os.posix_fadvise(descriptor, offset, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)


def read_fully(descriptor: int, offset: int, length: int) -> bytes:
    """Read exactly these bytes.

    Raises:
        DamagedObjectError: the file ends before them.
    """
    data = os.pread(descriptor, length, offset)
    if len(data) == length:
        return data
    pieces = [data]
    missing = length - len(data)
    while data and missing:
        data = os.pread(descriptor, missing, offset + length - missing)
        pieces.append(data)
        missing -= len(data)
    if missing:
        message = "an object is shorter than what was stored"
        raise DamagedObjectError(message)
    return b"".join(pieces)
