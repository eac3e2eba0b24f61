"""Loading: blocks that are not in memory come from the disk, else from the store, each once however many ask."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dicomweb_archive.observability import BlockMeters
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.blocks.disk_door import DiskDoor
from dicomweb_archive.storage.blocks.memory import MemoryLevel, Place

# Larger runs are read in pieces side by side.
_RUN_BYTES = 4 * 1024 * 1024


class Loaded(NamedTuple):
    """A block, shorter than others where its object ends and empty behind that, and whether the store gave it."""

    block: bytes
    from_store: bool


class BlockLoader:
    """Brings blocks into memory and onto the disk.

    Loads are tasks of their own: they go on when the one who asked first is gone, for others may wait for them too.
    """

    def __init__(
        self, store: ObjectStore, memory: MemoryLevel, disk: DiskDoor | None, meters: BlockMeters, block_bytes: int
    ) -> None:
        self._store = store
        self._memory = memory
        self._disk = disk
        self._meters = meters
        self._block_bytes = block_bytes
        self._run_blocks = max(_RUN_BYTES // block_bytes, 1)
        self._coming: dict[Place, asyncio.Future[Loaded]] = {}
        self._loads: set[asyncio.Task[None]] = set()
        self._gone: frozenset[str] = frozenset()

    def forget(self, gone: Iterable[str]) -> None:
        """Keep nothing of these objects, also of what is coming in just now."""
        self._gone = frozenset(gone)
        self._memory.forget(self._gone)

    @property
    def gone(self) -> frozenset[str]:
        """The objects of which nothing is kept."""
        return self._gone

    async def load(self, key: str, object_id: str, numbers: Sequence[int]) -> list[bytes]:
        """Return these blocks.

        Raises:
            ArchiveError: what the store raises.
        """
        found = {number: self._memory.get(object_id, number) for number in numbers}
        missing = [number for number in numbers if found[number] is None]
        coming = self.begin(key, object_id, missing)
        if coming:
            # Unlike awaiting them one by one, this does not cancel them when the waiter is cancelled.
            await asyncio.wait(coming.values())
        loaded = {number: future.result() for number, future in coming.items()}
        from_store = sum(item.from_store for item in loaded.values())
        self._meters.count_reads(memory=len(numbers) - len(missing), disk=len(missing) - from_store, store=from_store)
        return [block if block is not None else loaded[number].block for number, block in found.items()]

    def begin(self, key: str, object_id: str, numbers: Iterable[int]) -> dict[int, asyncio.Future[Loaded]]:
        """Begin to load blocks that are not in memory, but for those that are coming already."""
        coming: dict[int, asyncio.Future[Loaded]] = {}
        new: dict[int, asyncio.Future[Loaded]] = {}
        for number in numbers:
            future = self._coming.get((object_id, number))
            if future is None:
                future = new[number] = self._coming[object_id, number] = asyncio.get_running_loop().create_future()
            coming[number] = future
        if new:
            task = asyncio.create_task(self._load(key, object_id, new))
            self._loads.add(task)
            task.add_done_callback(self._loads.discard)
        return coming

    async def settle(self) -> None:
        """Wait for what is coming."""
        while self._loads:
            await asyncio.gather(*self._loads, return_exceptions=True)

    async def close(self) -> None:
        """Give up what is coming."""
        for task in self._loads:
            task.cancel()
        await self.settle()

    async def _load(self, key: str, object_id: str, wanted: dict[int, "asyncio.Future[Loaded]"]) -> None:
        try:
            kept = await self._disk.read(object_id, list(wanted)) if self._disk is not None else {}
            for number, block in kept.items():
                self._hold(object_id, number, block)
                wanted[number].set_result(Loaded(block, from_store=False))
            missing = [number for number in wanted if number not in kept]
            await asyncio.gather(*(self._fetch(key, object_id, run, wanted) for run in self._runs(missing)))
        finally:
            for number, future in wanted.items():
                del self._coming[object_id, number]
                # Only when this task is cancelled: nobody may be left waiting.
                if not future.done():
                    future.cancel()

    async def _fetch(self, key: str, object_id: str, run: range, wanted: dict[int, "asyncio.Future[Loaded]"]) -> None:
        try:
            data = await self._store.read_at_most(key, run.start * self._block_bytes, len(run) * self._block_bytes)
        except Exception as error:  # noqa: BLE001 - it is raised again where these blocks are waited for
            for number in run:
                wanted[number].set_exception(error)
                # Nobody may be waiting, when it was read ahead.
                wanted[number].exception()
            return
        self._meters.fetched_bytes.inc(len(data))
        blocks = self._cut(run, data)
        for number in run:
            block = blocks.get(number, b"")
            if block:
                self._hold(object_id, number, block)
            wanted[number].set_result(Loaded(block, from_store=True))
        if self._disk is not None and object_id not in self._gone:
            self._disk.write_later(object_id, blocks, lambda: self._memory.forget([object_id]))

    def _cut(self, run: range, data: Buffer) -> dict[int, bytes]:
        view = memoryview(data)
        cut = (view[start : start + self._block_bytes] for start in range(0, len(view), self._block_bytes))
        # Copies, so that one block does not hold the whole run in memory.
        return {number: bytes(block) for number, block in zip(run, cut, strict=False)}

    def _hold(self, object_id: str, number: int, block: bytes) -> None:
        if object_id not in self._gone:
            self._meters.evicted_from_memory.inc(self._memory.put(object_id, number, block))

    def _runs(self, numbers: Sequence[int]) -> Iterator[range]:
        """Divide ascending numbers into runs of adjacent ones that are not too long for one read."""
        start = 0
        for index in range(1, len(numbers) + 1):
            is_end = index == len(numbers) or numbers[index] != numbers[index - 1] + 1
            if is_end or index - start == self._run_blocks:
                yield range(numbers[start], numbers[index - 1] + 1)
                start = index
