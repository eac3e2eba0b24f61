"""Kept files: objects that were read a moment ago stay open, so that what is in memory of them is had at once."""

import asyncio
import errno
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.descriptors import read_now

MOST_FILES = 128
"""Files that one process keeps open; the least recently read is closed first."""

IDLE_SECONDS = 2.0
"""How long a file stays open that nobody reads; one that was deleted takes up its room on the disk until then."""

MOST_BYTES = 1024 * 1024
"""What takes longer to copy than handing it to a thread takes is left to a thread."""

# What is said where nobody can tell whether bytes are in memory: some file systems, and systems that know no flags.
_NEVER = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


@dataclass(slots=True)
class _Kept:
    descriptor: int
    used_at: float


class KeptFiles:
    """Open files by their keys, for one event loop and without waiting for a disk or a thread.

    Hot path: two hand-overs to and from a thread cost a frame more than its bytes do (benchmarks/storage). A
    descriptor is used within one call only, so none is closed under a read. An object never changes, but it may be
    deleted, by another process too: a file without a name is closed as soon as that is seen, and not read.

    Args:
        close: closes a descriptor elsewhere, because the last one of a deleted file has all its blocks freed.
    """

    def __init__(self, close: Callable[[int], object]) -> None:
        self._close = close
        self._files: OrderedDict[str, _Kept] = OrderedDict()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_possible = True

    def read(self, key: str, offset: int, length: int) -> Buffer | None:
        """Return exactly these bytes if they are to be had at once; `None` otherwise, whatever the reason."""
        kept = self._files.get(key)
        if kept is None or length > MOST_BYTES:
            return None
        try:
            if os.fstat(kept.descriptor).st_nlink == 0:
                self.forget(key)
                return None
            self._files.move_to_end(key)
            kept.used_at = asyncio.get_running_loop().time()
            return read_now(kept.descriptor, offset, length)
        except OSError as error:
            # Mostly that they are not in memory; the thread that reads them says what else is wrong.
            if error.errno in _NEVER:
                self._is_possible = False
                self.forget_all()
            return None

    def wants(self, key: str) -> bool:
        """Tell whether a file that is opened now should be handed to `keep`."""
        return self._is_possible and key not in self._files

    def keep(self, key: str, descriptor: int) -> None:
        """Take over an open file, and close it when it was not read for a while."""
        if not self.wants(key):
            self._close(descriptor)
            return
        loop = asyncio.get_running_loop()
        self._files[key] = _Kept(descriptor, loop.time())
        if len(self._files) > MOST_FILES:
            self.forget(next(iter(self._files)))
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_SECONDS, self._close_idle)

    def forget(self, key: str) -> None:
        """Close the file of an object; harmless when it is not open."""
        kept = self._files.pop(key, None)
        if kept is not None:
            self._close(kept.descriptor)

    def forget_all(self) -> None:
        """Close all files."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._files:
            _, kept = self._files.popitem()
            self._close(kept.descriptor)

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = None
        # They lie in the order of their last use.
        while self._files:
            key, kept = next(iter(self._files.items()))
            if loop.time() - kept.used_at < IDLE_SECONDS:
                self._sweep = loop.call_later(kept.used_at + IDLE_SECONDS - loop.time(), self._close_idle)
                return
            self.forget(key)
