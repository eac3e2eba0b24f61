"""A block as a file: its bytes behind a digest of them and of their place, so that no other bytes pass for it."""

import os
from pathlib import Path

from blake3 import blake3

_MAGIC = b"DWB1"
_DIGEST_BYTES = 32
HEAD_BYTES = len(_MAGIC) + _DIGEST_BYTES

# Files take whole pages of the disk.
_PAGE_BYTES = 4096


class DamagedBlockError(Exception):
    """A file does not hold the block of its name; it never leaves the disk level."""


def room_of(length: int) -> int:
    """Return what a block of this length takes of the disk, in bytes."""
    return -(-(HEAD_BYTES + length) // _PAGE_BYTES) * _PAGE_BYTES


def write_block(path: Path, object_id: str, number: int, block: bytes) -> None:
    """Write a file that nobody else may read; it is whole when this returns, but nothing is waited for on the disk.

    A power cut may leave it torn. Then its digest says so.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        head = _MAGIC + _digest(object_id, number, block)
        written = os.writev(descriptor, [head, block])
        rest = memoryview(block)[max(written - HEAD_BYTES, 0) :]
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def read_block(path: Path, object_id: str, number: int, most_bytes: int, *, used_before: float) -> bytes:
    """Read a block, and mark it as used at this moment unless it was marked since `used_before` (POSIX time).

    Raises:
        FileNotFoundError: there is none.
        DamagedBlockError: the file holds something else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        head = os.pread(descriptor, HEAD_BYTES, 0)
        block = os.pread(descriptor, most_bytes + 1, HEAD_BYTES)
        if head != _MAGIC + _digest(object_id, number, block):
            raise DamagedBlockError
        if os.fstat(descriptor).st_mtime < used_before:
            os.utime(descriptor)
        return block
    finally:
        os.close(descriptor)


def _digest(object_id: str, number: int, block: bytes) -> bytes:
    return blake3(f"{object_id}/{number}/".encode()).update(block).digest()
