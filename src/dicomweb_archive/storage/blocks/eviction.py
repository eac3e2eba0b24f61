"""Eviction: counts the blocks of a folder and removes those that were used longest ago."""

import os
import re
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import numpy as np

from dicomweb_archive.storage.blocks.block_file import HEAD_BYTES, room_of

_SHARD = re.compile(r"[0-9a-f]{2}")
_OBJECT = re.compile(r"[0-9a-f]{32}")
_BLOCK = re.compile(r"[0-9]{1,12}")


@dataclass(slots=True)
class Counted:
    """Blocks and the room they take; `used_at` has 8 bytes for each, so that a million of them stay small."""

    blocks: int = 0
    size_bytes: int = 0
    used_at: "array[float]" = field(default_factory=lambda: array("d"))


def count_blocks(folder: Path) -> Counted:
    """Look at every block; those that come or go meanwhile may be missed."""
    counted = Counted()
    for _, size, used_at in _blocks(folder):
        counted.blocks += 1
        counted.size_bytes += size
        counted.used_at.append(used_at)
    return counted


def evict_blocks(folder: Path, counted: Counted, goal_bytes: int) -> Counted:
    """Remove the blocks that were used longest ago until not more than `goal_bytes` are left."""
    dropped = Counted()
    surplus = counted.size_bytes - goal_bytes
    if surplus <= 0:
        return dropped
    share = min(surplus / counted.size_bytes, 1.0)
    # Nearly all blocks are of one size, so a share of the bytes is that share of the blocks.
    last = max(ceil(counted.blocks * share), 1) - 1
    # Sorting a million in Python would hold up every thread for half a second.
    newest_to_go = np.partition(np.frombuffer(counted.used_at), last)[last]
    for path, size, used_at in _blocks(folder):
        if used_at <= newest_to_go and dropped.size_bytes < surplus:
            with suppress(FileNotFoundError):
                Path(path).unlink()
                dropped.blocks += 1
                dropped.size_bytes += size
    return dropped


def _blocks(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Yield path, room and last use of each block, and remove folders that are left empty."""
    for shard in _entries(folder, _SHARD):
        for of_object in _entries(shard.path, _OBJECT):
            is_empty = True
            for block in _entries(of_object.path, _BLOCK):
                is_empty = False
                with suppress(FileNotFoundError):
                    found = block.stat(follow_symlinks=False)
                    yield block.path, room_of(found.st_size - HEAD_BYTES), found.st_mtime
            if is_empty:
                with suppress(OSError):
                    Path(of_object.path).rmdir()


def _entries(folder: str | Path, name: re.Pattern[str]) -> list["os.DirEntry[str]"]:
    """List what has such a name; a folder that is gone has nothing."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return [entry for entry in os.scandir(folder) if name.fullmatch(entry.name)]
    return []
