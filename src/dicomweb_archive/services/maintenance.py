"""Maintenance: what the archive does by itself in the background, and what an operator starts by hand to tidy up."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from dicomweb_archive.errors import ConflictError
from dicomweb_archive.index.upkeep.held_paths import HeldPathsIndex
from dicomweb_archive.index.upkeep.merging import Merged, SegmentMerger
from dicomweb_archive.index.upkeep.statistics import IndexUpkeep, Refreshed
from dicomweb_archive.index.writing.packs import PackIndex
from dicomweb_archive.storage.base import ObjectStat, ObjectStore

GRACE_SECONDS = 24 * 3600.0
"""An object without a row is an orphan when it is older than this; a younger one may belong to a request that
is still coming in, which is given half as long (`services/reception/limits.py`)."""

_BATCH = 500
_PATHS_SECONDS = 30.0
_PREFIX = "packs/"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Orphans:
    """Packs that no row refers to, and how many of the others were seen."""

    found: tuple[ObjectStat, ...]
    known: int

    @property
    def size_bytes(self) -> int:
        """Room that they take."""
        return sum(orphan.size_bytes for orphan in self.found)


@dataclass(frozen=True, slots=True)
class MaintenanceService:
    """Finds and deletes the packs that a crash, a lost connection or an interrupted delete left behind.

    Args:
        clock: POSIX time, the one of the object store.
    """

    packs: PackIndex
    objects: ObjectStore
    clock: Callable[[], float] = time.time

    async def find_orphans(self) -> Orphans:
        """List all packs and ask the index for each; costs one statement for 500 packs."""
        oldest = self.clock() - GRACE_SECONDS
        found: list[ObjectStat] = []
        known = 0
        async for batch in self._batches():
            in_use = await self.packs.find_known([item.key for item in batch])
            known += len(in_use)
            found += [item for item in batch if item.key not in in_use and item.created_at < oldest]
        return Orphans(tuple(found), known)

    async def delete_orphans(self, orphans: Orphans) -> None:
        """Delete what `find_orphans` found.

        Raises:
            ConflictError: the index knows no pack at all; it is more likely the wrong one than all are orphans.
        """
        if orphans.found and not orphans.known:
            message = "the database knows none of these objects, so it may be another archive's; nothing was deleted"
            raise ConflictError(message)
        await self.objects.delete_many([orphan.key for orphan in orphans.found])

    async def _batches(self) -> AsyncIterator[list[ObjectStat]]:
        batch: list[ObjectStat] = []
        async for item in self.objects.list(_PREFIX):
            batch.append(item)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


@dataclass(frozen=True, slots=True)
class IndexMaintenance:
    """Keeps the index small and its statistics fresh, a round at a time.

    A lease in the database lets one process work at a time, whoever has asked for the round.
    """

    merger: SegmentMerger
    upkeep: IndexUpkeep
    paths: HeldPathsIndex | None = None

    async def work(self) -> tuple[Refreshed | None, Merged | None]:
        """Do one round: statistics first, because merging is planned by them too.

        Raises:
            DatabaseUnavailableError: what was done until then stays done.
        """
        refreshed = await self.upkeep.refresh()
        merged = await self.merger.merge()
        if merged is not None and merged.segments_before:
            logger.info("merged segments", extra={"before": merged.segments_before, "after": merged.segments_after})
        if merged is not None and self.paths is not None:
            # So that whoever asks which attributes there are does not wait for it.
            await self.paths.catch_up(seconds=_PATHS_SECONDS)
        return refreshed, merged
