"""DiskDoor: the disk level behind threads of its own; when it fails the cache does without it for a while."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dicomweb_archive.observability import BlockMeters
from dicomweb_archive.storage.blocks.disk import DiskLevel, Written

Result = TypeVar("Result")

_THREADS = 4
_PAUSE_SECONDS = 30.0
# Blocks that wait to be written are memory; beyond this they are not kept on the disk.
_MOST_WAITING_BYTES = 32 * 1024 * 1024
_MOST_TO_FORGET = 100_000

logger = logging.getLogger(__name__)


class _Trouble:
    """A pause after a failure, told once until it works again; no request ever fails by it."""

    def __init__(self, what: str, meters: BlockMeters, clock: Callable[[], float]) -> None:
        self._what = what
        self._meters = meters
        self._clock = clock
        self._until = 0.0
        self._told = False

    def is_over(self) -> bool:
        return self._clock() >= self._until

    def begin(self, error: OSError) -> None:
        self._until = self._clock() + _PAUSE_SECONDS
        self._meters.disk_failures.inc()
        if not self._told:
            self._told = True
            # Its number only: the text of the error names a path.
            logger.warning(
                "the disk level of the block cache %s; going on without it", self._what, extra={"errno": error.errno}
            )

    def end(self) -> None:
        # What works beside what fails, such as a look at the folder, ends nothing.
        if self._told and self.is_over():
            self._told = False
            logger.info("the disk level of the block cache is used again")


class DiskDoor:
    """Asks the disk level in threads and turns its failures into misses."""

    def __init__(self, level: DiskLevel, meters: BlockMeters, clock: Callable[[], float] = time.monotonic) -> None:
        self._level = level
        self._meters = meters
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="block-cache")
        self._reading = _Trouble("cannot be read", meters, clock)
        self._writing = _Trouble("is full or cannot be written", meters, clock)
        self._writes: set[asyncio.Task[None]] = set()
        self._waiting_bytes = 0
        self._damaged = 0
        self._to_forget: dict[str, None] = {}
        self._gone_at = -1

    async def prepare(self) -> None:
        """Make the folder and count what is in it."""
        await self._try(self._writing, self._level.prepare)

    async def read(self, object_id: str, numbers: Sequence[int], *, all_or_none: bool = False) -> dict[int, bytes]:
        """Return the blocks that can be had."""
        if not numbers or not self._reading.is_over():
            return {}
        found = await self._try(self._reading, lambda: self._level.read(object_id, numbers, all_or_none=all_or_none))
        if self._level.damaged > self._damaged:
            self._meters.damaged.inc(self._level.damaged - self._damaged)
            self._damaged = self._level.damaged
        return found or {}

    def write_later(self, object_id: str, blocks: Mapping[int, bytes], when_gone: Callable[[], None]) -> None:
        """Keep blocks in the background; `when_gone` is called when their object turns out to be deleted."""
        size = sum(map(len, blocks.values()))
        if not blocks or self._waiting_bytes + size > _MOST_WAITING_BYTES or not self._writing.is_over():
            return
        self._waiting_bytes += size
        task = asyncio.create_task(self._write(object_id, blocks, size, when_gone))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def forget(self, object_ids: Iterable[str]) -> None:
        """Remove the blocks of deleted objects; what the disk refuses is tried again by `look`."""
        self._to_forget |= dict.fromkeys(object_ids)
        await self._forget()

    async def drop(self, object_id: str) -> None:
        """Remove the blocks of an object that is not as it should be, also those that are being written."""
        # Not `settle`: while others go on reading there is always something to be written.
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self._try(self._writing, lambda: self._level.drop(object_id))

    async def look(self) -> list[str] | None:
        """Return the objects that were deleted a short time ago, by any process; None when nothing has changed."""
        await self._forget()
        changed_at = await self._try(self._reading, self._level.gone_changed_at)
        size = await self._try(self._reading, self._level.size_bytes)
        if size is not None:
            self._meters.disk_bytes.set(size)
        if changed_at is None or changed_at == self._gone_at:
            return None
        gone = await self._try(self._reading, self._level.gone)
        if gone is not None:
            self._gone_at = changed_at
        return None if gone is None else [*gone, *self._to_forget]

    async def settle(self) -> None:
        """Wait for what is being written."""
        while self._writes:
            await asyncio.gather(*self._writes, return_exceptions=True)

    async def close(self) -> None:
        """Wait for what is being written and stop the threads."""
        await self.settle()
        await asyncio.to_thread(self._executor.shutdown)

    async def _write(
        self, object_id: str, blocks: Mapping[int, bytes], size: int, when_gone: Callable[[], None]
    ) -> None:
        try:
            written = await self._try(self._writing, lambda: self._level.write(object_id, blocks))
        finally:
            self._waiting_bytes -= size
        if isinstance(written, Written):
            self._meters.evicted_from_disk.inc(written.evicted)
            if written.is_gone:
                when_gone()

    async def _forget(self) -> None:
        waiting = list(self._to_forget)[:_MOST_TO_FORGET]
        if not waiting:
            return

        def forget() -> bool:
            self._level.forget(waiting)
            return True

        if await self._try(self._writing, forget):
            for object_id in waiting:
                self._to_forget.pop(object_id, None)

    async def _try(self, trouble: _Trouble, job: Callable[[], Result]) -> Result | None:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._executor, job)
        except OSError as error:
            trouble.begin(error)
            return None
        trouble.end()
        return result
