"""SharedAccount: how much of the disk the blocks of all server processes take, kept in a file that they share."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIGURE_BYTES = 8


class SharedAccount:
    """A sum that is never less than what is there: room is taken before a file is made.

    What goes is not taken off, and a killed process leaves what it had taken; the next count of the files corrects
    both. The file is opened anew each time, so that it may vanish with its folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, size_bytes: int, *, most_bytes: int) -> bool:
        """Take room, and say whether there was any."""
        with self._locked() as file:
            taken = _read(file) + size_bytes
            if taken > most_bytes:
                return False
            _write(file, taken)
            return True

    def total(self) -> int:
        """Return what is taken, in bytes."""
        with self._locked() as file:
            return _read(file)

    def correct(self, counted_bytes: int, *, total_before: int) -> None:
        """Put in what was counted; what was taken since the counting began stays on top of it."""
        with self._locked() as file:
            _write(file, counted_bytes + max(_read(file) - total_before, 0))

    @contextmanager
    def _locked(self) -> Iterator[int]:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Held for some microseconds, and the kernel gives it back when its process dies.
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def _read(file: int) -> int:
    return int.from_bytes(os.pread(file, _FIGURE_BYTES, 0), "big")


def _write(file: int, figure: int) -> None:
    os.pwrite(file, figure.to_bytes(_FIGURE_BYTES, "big"), 0)
