"""Spool: bytes that have to wait for others before they can be kept, in memory or in a file without a name."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from threading import Lock

from dicomweb_archive.errors import StorageFullError, StorageUnavailableError
from dicomweb_archive.storage.base import Buffer

PIECE_BYTES = 1024 * 1024
"""What is read of the file at once."""

_ROOM_ASKED_BYTES = 64 * 1024 * 1024

# A view of a few bytes keeps all of its chunk, and thousands of small objects take more room than what is in them.
_COPIED_BYTES = 64 * 1024


@dataclass(slots=True)
class SpooledValue:
    """Some bytes that wait: pieces in memory, or a range of the spool's file.

    Attributes:
        length: how many there are.
        users: how many still need them; the last one gives their room back (`Spool.release`).
        is_given: whether they have gone somewhere already; further times make more of them than came.
    """

    length: int = 0
    users: int = 0
    pieces: list[Buffer] = field(default_factory=list)
    offset: int | None = None
    is_given: bool = False


class MemoryBudget:
    """Bytes of memory that the requests of one process may hold together.

    Args:
        total_bytes: how many there are.
    """

    def __init__(self, total_bytes: int) -> None:
        self._left = total_bytes
        # Threads write for their requests.
        self._turn = Lock()

    def take(self, size: int) -> bool:
        """Take so many bytes, or tell that they are not there."""
        with self._turn:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._turn:
            self._left += size


class Spool:
    """The bytes of one request that wait; what does not fit into memory goes to a file that dies with the process.

    One value is written at a time. Nothing here waits for anybody but the disk, so callers use a thread for what is
    in the file.

    Args:
        memory_bytes: most bytes in memory, of all values together.
        watermark_bytes: room that stays free on the disk.
        budget: what all spools of the process have of memory; without any left, bytes go to the file.
    """

    def __init__(
        self, folder: Path, *, memory_bytes: int, watermark_bytes: int, budget: MemoryBudget | None = None
    ) -> None:
        self._folder = folder
        self._budget = budget
        self._memory_left = memory_bytes
        self._memory_held = 0
        self._watermark_bytes = watermark_bytes
        self._file: FileIO | None = None
        self._end = 0
        self._live = 0
        self._unasked_bytes = _ROOM_ASKED_BYTES
        # A thread that writes for a request that was cancelled may go on for a moment; by then the number of the file
        # could be that of another one.
        self._writing = Lock()
        self._is_closed = False

    @property
    def has_file(self) -> bool:
        """Whether anything has gone to the file yet; giving its room back is a thread's work."""
        return self._file is not None

    def keep(self, value: SpooledValue, piece: Buffer) -> bool:
        """Add bytes to a value in memory, or tell that they have to be written to the file, which takes a thread."""
        if value.offset is not None or not self._take_memory(len(piece)):
            return False
        value.length += len(piece)
        _keep(value.pieces, piece)
        return True

    def write(self, value: SpooledValue, piece: Buffer) -> None:
        """Add bytes to a value.

        Raises:
            StorageFullError: free space would fall under the watermark.
            StorageUnavailableError: the file cannot be written.
        """
        if self.keep(value, piece):
            return
        value.length += len(piece)
        if value.offset is None:
            value.offset = self._end
            self._live += 1
            self._give_memory(sum(map(len, value.pieces)))
            for held in value.pieces:
                self._append(held)
            value.pieces = []
        self._append(piece)

    def read(self, value: SpooledValue, start: int = 0, stop: int | None = None) -> Iterator[Buffer]:
        """Yield the bytes of a value, or those from `start` up to `stop`."""
        stop = value.length if stop is None else min(stop, value.length)
        if value.offset is not None:
            assert self._file is not None
            for position in range(start, stop, PIECE_BYTES):
                wanted = min(PIECE_BYTES, stop - position)
                yield os.pread(self._file.fileno(), wanted, value.offset + position)
            return
        position = 0
        for piece in value.pieces:
            first, last = max(start - position, 0), min(stop - position, len(piece))
            position += len(piece)
            if first < last:
                yield memoryview(piece)[first:last]

    def release(self, value: SpooledValue) -> None:
        """Say that one user needs a value no longer."""
        value.users -= 1
        if value.users > 0:
            return
        if value.offset is None:
            self._give_memory(sum(map(len, value.pieces)))
            value.pieces = []
            return
        value.offset = None
        self._live -= 1
        if self._live == 0 and self._file is not None:
            # Ranges are not given back one by one: instances are complete soon after their last part.
            self._file.truncate(0)
            self._end = 0

    def close(self) -> None:
        """Give all room back; of a large file that takes a while."""
        with self._writing:
            if self._budget is not None and not self._is_closed:
                self._budget.give(self._memory_held)
            self._is_closed = True
            if self._file is not None:
                self._file.close()
                self._file = None

    def _take_memory(self, size: int) -> bool:
        with self._writing:
            if self._is_closed or size > self._memory_left:
                return False
            if self._budget is not None and not self._budget.take(size):
                return False
            self._memory_left -= size
            self._memory_held += size
            return True

    def _give_memory(self, size: int) -> None:
        with self._writing:
            # Whatever was held when it was closed has been given back.
            if self._is_closed:
                return
            self._memory_left += size
            self._memory_held -= size
            if self._budget is not None:
                self._budget.give(size)

    def _append(self, piece: Buffer) -> None:
        with self._writing:
            if self._is_closed:
                return
            try:
                self._write_out(piece)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    message = "the disk is full"
                    raise StorageFullError(message) from error
                raise StorageUnavailableError("what was received cannot be written to the disk") from error

    def _write_out(self, piece: Buffer) -> None:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        self._unasked_bytes += len(piece)
        if self._unasked_bytes >= _ROOM_ASKED_BYTES:
            self._unasked_bytes = 0
            if shutil.disk_usage(self._folder).free - _ROOM_ASKED_BYTES < self._watermark_bytes:
                message = "no room is left for what was sent; free some, or lower free_space_watermark_bytes"
                raise StorageFullError(message)
        view = memoryview(piece)
        while view:
            written = os.pwrite(self._file.fileno(), view, self._end)
            self._end += written
            view = view[written:]


def _keep(pieces: list[Buffer], piece: Buffer) -> None:
    """Add bytes that stay in memory, so that they take no more of it than they are counted for."""
    last = pieces[-1] if pieces else None
    if len(piece) >= _COPIED_BYTES:
        pieces.append(piece)
    elif isinstance(last, bytearray) and len(last) < _COPIED_BYTES:
        last += piece
    else:
        pieces.append(bytearray(piece))
