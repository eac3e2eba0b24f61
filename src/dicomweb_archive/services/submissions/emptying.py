"""Emptying submissions: what was rejected, withdrawn, expired or decided against goes with its bytes after a delay."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.index.curation.emptying import Dropped, EmptyingIndex
from dicomweb_archive.index.curation.submissions import Submission
from dicomweb_archive.storage.base import ObjectStore

logger = logging.getLogger(__name__)

Report = Callable[[int], Awaitable[None]]
"""Is told how many instances have gone so far; what it raises ends the round."""

_BATCH = 100


@dataclass(frozen=True, slots=True)
class Emptied:
    """What a round has dropped."""

    submissions: int
    instances: int
    conflicts: int


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class EmptyingService:
    """Drops what nobody will publish any more; trails, findings and manifests stay.

    Attributes:
        days: how long it is kept after the decision; 0: for ever.
        clock: tells the time.
    """

    emptying: EmptyingIndex
    objects: ObjectStore
    days: int
    clock: Callable[[], datetime] = _now

    async def empty(self, *, actor: str, report: Report | None = None) -> Emptied:
        """Do one round. Each study is dropped by itself, so a round that breaks off may be done again."""
        done = Emptied(0, 0, 0)
        since = self.clock() - timedelta(days=self.days)
        after = 0
        while self.days and (found := await self.emptying.due(since, after=after, limit=_BATCH)):
            for submission in found:
                instances = await self._drop_studies(submission, since, actor)
                conflicts = await self._drop_conflicts(submission, since, actor)
                done = Emptied(done.submissions + 1, done.instances + instances, done.conflicts + conflicts)
                if report is not None:
                    await report(done.instances + done.conflicts)
            after = found[-1].id
        return done

    async def _drop_studies(self, submission: Submission, since: datetime, actor: str) -> int:
        instances = 0
        while studies := await self.emptying.studies(submission):
            for study in studies:
                dropped = await self.emptying.drop_study(submission, study, since, actor=actor)
                if dropped is None:
                    # It has not ended, or somebody takes it up again.
                    return instances
                instances += dropped.instances
                await self._delete(dropped)
        return instances

    async def _drop_conflicts(self, submission: Submission, since: datetime, actor: str) -> int:
        conflicts = 0
        while (dropped := await self.emptying.drop_conflicts(submission, since, actor=actor)).instances:
            conflicts += dropped.instances
            await self._delete(dropped)
        return conflicts

    async def _delete(self, dropped: Dropped) -> None:
        try:
            await self.objects.delete_many(dropped.free_object_keys)
        except ArchiveError:
            # Their rows are gone, so they are orphans for the sweep.
            count = len(dropped.free_object_keys)
            logger.warning("objects without rows could not all be deleted", extra={"object_keys": count})
