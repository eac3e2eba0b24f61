"""DiskLevel: blocks as files of one folder, which all server processes of the machine share; it blocks.

    ab/<object id>/<number>     a block; its time of change says when it was used last
    unfinished/                 blocks being written; a crash leaves some, the next count removes them
    gone/<object id>            an object that was deleted: nobody keeps blocks of it any more
    size, evicting              the shared account, and the lock of whoever makes room

A block appears by a rename, so it is whole or not there. Nothing but these names is ever looked at or removed: the
folder may hold files of others.
"""

import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dicomweb_archive.storage.blocks.account import SharedAccount
from dicomweb_archive.storage.blocks.block_file import DamagedBlockError, read_block, room_of, write_block
from dicomweb_archive.storage.blocks.eviction import count_blocks, evict_blocks

_MARKED_EVERY_SECONDS = 60.0
# Longer than any read that began before the object was deleted.
_GONE_SECONDS = 3600.0
_UNFINISHED_SECONDS = 3600.0
# Room is made for many blocks at once, for that takes a look at every file.
_KEPT_WHEN_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write: blocks evicted for it, and whether the object was found to be deleted."""

    evicted: int = 0
    is_gone: bool = False


@dataclass(slots=True)
class DiskLevel:
    """Blocks below `folder`, `capacity_bytes` of them at most; `leave_free_bytes` of the disk stay free.

    Every method may raise OSError.
    """

    folder: Path
    capacity_bytes: int
    block_bytes: int
    leave_free_bytes: int = 0
    clock: Callable[[], float] = time.time
    damaged: int = 0
    _account: SharedAccount = field(init=False)

    def __post_init__(self) -> None:
        self._account = SharedAccount(self.folder / "size")

    def prepare(self) -> None:
        """Make the folder, drop what crashes have left, and count what is there."""
        self._make_folders()
        # All of them may stay, unless the bound has become less.
        self._evict(goal_bytes=self.capacity_bytes)

    def size_bytes(self) -> int:
        """Return the room that is taken, at most."""
        return self._account.total()

    def read(self, object_id: str, numbers: Sequence[int], *, all_or_none: bool = False) -> dict[int, bytes]:
        """Return the blocks that are there and whole."""
        if all_or_none and not all(self._path(object_id, number).exists() for number in numbers):
            return {}
        used_before = self.clock() - _MARKED_EVERY_SECONDS
        found: dict[int, bytes] = {}
        for number in numbers:
            path = self._path(object_id, number)
            try:
                found[number] = read_block(path, object_id, number, self.block_bytes, used_before=used_before)
            except FileNotFoundError:
                continue
            except DamagedBlockError:
                self.damaged += 1
                path.unlink(missing_ok=True)
        return found if not all_or_none or len(found) == len(numbers) else {}

    def write(self, object_id: str, blocks: Mapping[int, bytes]) -> Written:
        """Keep blocks, unless their object is deleted; when the folder is full, others are evicted."""
        if self.is_gone(object_id):
            return Written(is_gone=True)
        self._make_folders()
        self._check_disk(sum(map(len, blocks.values())))
        evicted = 0
        for number, block in blocks.items():
            if self._path(object_id, number).exists():
                continue
            has_room, dropped = self._take(room_of(len(block)))
            evicted += dropped
            if not has_room:
                break
            self._publish(object_id, number, block)
        # Whoever deletes says so before removing: a block that came after the removal is found out here.
        if self.is_gone(object_id):
            self._remove(object_id)
            return Written(evicted, is_gone=True)
        return Written(evicted)

    def forget(self, object_ids: Iterable[str]) -> None:
        """Remove the blocks of objects that are deleted, and tell the other processes."""
        self._make_folders()
        for object_id in object_ids:
            os.close(os.open(self.folder / "gone" / object_id, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._remove(object_id)

    def drop(self, object_id: str) -> None:
        """Remove the blocks of an object that may have others now: one that was damaged, and may be restored."""
        self._remove(object_id)

    def is_gone(self, object_id: str) -> bool:
        """Whether the object was deleted a short time ago."""
        return (self.folder / "gone" / object_id).exists()

    def gone(self) -> list[str]:
        """Return the ids of the objects that were deleted a short time ago, and drop those of before."""
        with suppress(FileNotFoundError):
            self._sweep()
            return [path.name for path in (self.folder / "gone").iterdir()]
        return []

    def gone_changed_at(self) -> int:
        """Return a figure that changes with what `gone` returns."""
        with suppress(FileNotFoundError):
            return (self.folder / "gone").stat().st_mtime_ns
        return 0

    def _path(self, object_id: str, number: int) -> Path:
        return self.folder / object_id[:2] / object_id / str(number)

    def _make_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("unfinished", "gone"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)

    def _publish(self, object_id: str, number: int, block: bytes) -> None:
        target = self._path(object_id, number)
        unfinished = self.folder / "unfinished" / secrets.token_hex(16)
        try:
            write_block(unfinished, object_id, number, block)
            for folder in (target.parent.parent, target.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            # The folder may be removed as an empty one just now; then the next read brings the block anew.
            with suppress(FileNotFoundError):
                unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)

    def _check_disk(self, size_bytes: int) -> None:
        disk = os.statvfs(self.folder)
        if disk.f_bavail * disk.f_frsize < self.leave_free_bytes + size_bytes:
            raise OSError(errno.ENOSPC, "less room than is to stay free")

    def _take(self, size_bytes: int) -> tuple[bool, int]:
        if self._account.take(size_bytes, most_bytes=self.capacity_bytes):
            return True, 0
        evicted = self._evict(goal_bytes=int(self.capacity_bytes * _KEPT_WHEN_FULL))
        return self._account.take(size_bytes, most_bytes=self.capacity_bytes), evicted

    def _evict(self, *, goal_bytes: int) -> int:
        """Count what is there and remove what is more; nothing where another process is at it."""
        with self._evicting() as is_ours:
            if not is_ours:
                return 0
            before = self._account.total()
            self._sweep()
            counted = count_blocks(self.folder)
            dropped = evict_blocks(self.folder, counted, goal_bytes)
            self._account.correct(counted.size_bytes - dropped.size_bytes, total_before=before)
            return dropped.blocks

    @contextmanager
    def _evicting(self) -> Iterator[bool]:
        file = os.open(self.folder / "evicting", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield _locked(file)
        finally:
            os.close(file)

    def _remove(self, object_id: str) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._path(object_id, 0).parent)

    def _sweep(self) -> None:
        for name, seconds in (("unfinished", _UNFINISHED_SECONDS), ("gone", _GONE_SECONDS)):
            for path in (self.folder / name).iterdir():
                with suppress(FileNotFoundError):
                    if path.stat(follow_symlinks=False).st_mtime < self.clock() - seconds:
                        path.unlink()


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
