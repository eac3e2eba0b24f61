"""BlockCache: ranges of objects cut from blocks that lie in memory, on the disk, or in the store."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

from dicomweb_archive.observability import BlockMeters
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.blocks.disk import DiskLevel
from dicomweb_archive.storage.blocks.disk_door import DiskDoor
from dicomweb_archive.storage.blocks.loading import BlockLoader, Loaded
from dicomweb_archive.storage.blocks.memory import MemoryLevel
from dicomweb_archive.storage.blocks.read_ahead import ReadAhead

BLOCK_BYTES = 256 * 1024
"""Half a CT slice: what is read too much of a slice is little, and a whole one is three blocks (benchmarks/blocks)."""

_READ_AHEAD_BYTES = 4 * 1024 * 1024
# Runs ahead at once in a process; requests need the connections to the store more.
_AHEAD_AT_ONCE = 4
_LOOK_SECONDS = 5.0
_NAMES = 4096
_MOST_GONE = 100_000
_LEAVE_FREE_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BlockSettings:
    """Bounds of the cache; no bytes, no level.

    Attributes:
        namespace: tells one bucket from another, for the folder may outlive a change of the settings.
        memory_bytes: of each server process.
        disk_bytes: of all of them together.
        leave_free_bytes: room of the disk that is left to others.
    """

    namespace: str
    memory_bytes: int
    disk_bytes: int
    folder: Path
    block_bytes: int = BLOCK_BYTES
    leave_free_bytes: int = _LEAVE_FREE_BYTES


class BlockCache:
    """Reads ranges by blocks, keeps these, and reads ahead where an object is read in its order."""

    def __init__(self, store: ObjectStore, settings: BlockSettings, meters: BlockMeters) -> None:
        self._block_bytes = settings.block_bytes
        self._namespace = settings.namespace
        self._meters = meters
        self._memory = MemoryLevel(settings.memory_bytes)
        self._disk: DiskDoor | None = None
        if settings.disk_bytes:
            level = DiskLevel(
                settings.folder, settings.disk_bytes, settings.block_bytes, leave_free_bytes=settings.leave_free_bytes
            )
            self._disk = DiskDoor(level, meters)
        self._loader = BlockLoader(store, self._memory, self._disk, meters, settings.block_bytes)
        # What is read ahead waits in memory, and must not push out what it was read ahead of.
        self._ahead = ReadAhead(min(_READ_AHEAD_BYTES, settings.memory_bytes // 8) // settings.block_bytes)
        self._ahead_running = 0
        self._names: dict[str, str] = {}
        self._looking: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, store: ObjectStore, settings: BlockSettings, meters: BlockMeters) -> Self:
        """Prepare the folder, and look from time to time for what other processes have deleted."""
        cache = cls(store, settings, meters)
        if cache._disk is not None:
            await cache._disk.prepare()
        cache._looking = asyncio.create_task(cache._look_on())
        return cache

    async def read(self, key: str, offset: int, length: int) -> bytes:
        """Return one range, at least one byte, as far as the object goes.

        Raises:
            ArchiveError: what the store raises.
        """
        object_id = self._id_of(key)
        numbers = self._numbers(offset, length)
        blocks = self._memory.find(object_id, numbers)
        if blocks is not None:
            self._meters.count_reads(memory=len(blocks))
        else:
            blocks = await self._loader.load(key, object_id, numbers)
        self._read_ahead(key, object_id, numbers)
        return self._cut(blocks, offset, length)

    async def find(self, key: str, offset: int, length: int) -> bytes | None:
        """Return one range if all of it is in the cache, without counting that as a use; None otherwise."""
        object_id = self._id_of(key)
        numbers = self._numbers(offset, length)
        blocks = self._memory.peek(object_id, numbers)
        if blocks is None and self._disk is not None:
            found = await self._disk.read(object_id, numbers, all_or_none=True)
            blocks = [found[number] for number in numbers] if found else None
        if blocks is None:
            return None
        data = self._cut(blocks, offset, length)
        return data if len(data) == length else None

    async def forget(self, keys: Iterable[str]) -> None:
        """Keep nothing more of these objects, nor let others do."""
        gone = [self._id_of(key) for key in keys]
        known = dict.fromkeys(self._loader.gone) | dict.fromkeys(gone)
        self._loader.forget(list(known)[-_MOST_GONE:])
        if self._disk is not None:
            await self._disk.forget(gone)

    async def drop(self, key: str) -> None:
        """Drop the blocks of an object that is not as it should be; the next read asks the store again."""
        object_id = self._id_of(key)
        self._memory.forget([object_id])
        self._ahead.forget(object_id)
        if self._disk is not None:
            await self._disk.drop(object_id)

    async def look(self) -> None:
        """Forget what other processes have deleted, and bring the figures up to date."""
        gone = await self._disk.look() if self._disk is not None else None
        if gone is not None:
            self._loader.forget(gone)
        self._meters.memory_bytes.set(self._memory.size_bytes)

    async def settle(self) -> None:
        """Wait for what is being read ahead and written."""
        await self._loader.settle()
        if self._disk is not None:
            await self._disk.settle()

    async def close(self) -> None:
        """Give up reading ahead, and let blocks be written."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        await self._loader.close()
        if self._disk is not None:
            await self._disk.close()

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.look()

    def _read_ahead(self, key: str, object_id: str, numbers: Sequence[int]) -> None:
        """Begin to load the next blocks where the object is read in its order."""
        # Hot path: an open series is mostly in memory, and nothing is left to be done.
        wanted = self._ahead.next(object_id, numbers[0], numbers[-1])
        missing = [number for number in wanted if self._memory.peek(object_id, (number,)) is None]
        if not missing or self._ahead_running >= _AHEAD_AT_ONCE or object_id in self._loader.gone:
            return
        coming = self._loader.begin(key, object_id, missing)
        last, future = missing[-1], coming[missing[-1]]
        self._ahead_running += 1
        future.add_done_callback(lambda done: self._ahead_ended(object_id, last, done))

    def _ahead_ended(self, object_id: str, last: int, future: "asyncio.Future[Loaded]") -> None:
        self._ahead_running -= 1
        if future.cancelled() or future.exception() is not None:
            return
        block = future.result().block
        if len(block) < self._block_bytes:
            self._ahead.note_end(object_id, last + bool(block))

    def _numbers(self, offset: int, length: int) -> range:
        return range(offset // self._block_bytes, (offset + length - 1) // self._block_bytes + 1)

    def _cut(self, blocks: Sequence[bytes], offset: int, length: int) -> bytes:
        start = offset % self._block_bytes
        if len(blocks) == 1:
            return blocks[0][start : start + length]
        # Hot path: one copy, the same as reading from a file makes (benchmarks/blocks).
        last = start + length - (len(blocks) - 1) * self._block_bytes
        if any(len(block) < self._block_bytes for block in blocks[:-1]):
            return b"".join(blocks)[start : start + length]
        return b"".join([memoryview(blocks[0])[start:], *blocks[1:-1], memoryview(blocks[-1])[:last]])

    def _id_of(self, key: str) -> str:
        """Return the name of an object in the cache, which tells nothing of it."""
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= _NAMES:
                self._names.clear()
            name = self._names[key] = blake2b(f"{self._namespace}\0{key}".encode(), digest_size=16).hexdigest()
        return name
