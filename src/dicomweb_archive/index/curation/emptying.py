"""Emptying: what nobody will publish any more leaves its submission for good; the trail and the findings stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import exceptions

from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.curation.edits.purged import forget_edits_of
from dicomweb_archive.index.curation.purged_approvals import forget_approvals_of
from dicomweb_archive.index.curation.submissions import (
    COLUMNS,
    Submission,
    SubmissionState,
    note_event,
    submission_of,
)
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.index.writing.events import EventKind
from dicomweb_archive.index.writing.packs import delete_free_packs
from dicomweb_archive.index.writing.removal import Removal

_ENDED = tuple(state.value for state in (SubmissionState.REJECTED, SubmissionState.WITHDRAWN, SubmissionState.EXPIRED))
_HAS_ENDED = "(s.state = any($2::text[]) and s.changed_at < $3::timestamptz)"

# What has replaced something keeps what stood before: that goes with a purge and not with time.
_DROPPABLE = f"""
k.pack_id is not null and k.decision is distinct from 'replace'
  and ({_HAS_ENDED} or k.decision is not null and k.decided_at < $3)
"""

# Submissions behind one of them that ended long ago and hold something, or that keep conflicts decided on long ago.
LIST_DUE = f"""
select {COLUMNS} from submission s join collection c on c.id = s.collection_id
where s.id > $1 and ({_HAS_ENDED} and exists (select from study st where st.space_id = s.space_id)
  or exists (select from conflict k where k.submission_id = s.id and {_DROPPABLE}))
order by s.id limit $4
"""  # noqa: S608 - composed of constants

LIST_STUDIES = "select study_instance_uid from study where space_id = $1 order by study_instance_uid limit 100"

# Holds a submission in its state: a curator who takes an expired one into review again waits, or keeps it.
HOLD_ENDED = f"select 1 from submission s where s.id = $1 and {_HAS_ENDED} for share"  # noqa: S608 - of constants

# Lets conflicts be without bytes, some at a time; returns the packs in which these lay.
DROP_CONFLICTS = f"""
with old as (
  select k.id, k.pack_id from conflict k join submission s on s.id = k.submission_id
  where s.id = $1 and {_DROPPABLE} order by k.id limit 1000 for update of k
), dropped as (
  update conflict k set pack_id = null from old where k.id = old.id
)
select pack_id from old
"""  # noqa: S608 - composed of constants

_TRY_AGAIN = (exceptions.DeadlockDetectedError, exceptions.SerializationError, exceptions.ForeignKeyViolationError)
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Dropped:
    """What has gone, and the objects that hold nothing any more, to be deleted now."""

    instances: int
    free_object_keys: tuple[str, ...]


class EmptyingIndex:
    """Finds what nobody will publish any more and drops it, a study or some hundred conflicts at a time.

    Args:
        since: the moment before which it must have ended; see `due`.
    """

    def __init__(self, database: Database, removal: Removal) -> None:
        self._database = database
        self._removal = removal

    async def due(self, since: datetime, *, after: int, limit: int) -> Sequence[Submission]:
        """Return submissions that were rejected, withdrawn or expired before then, or keep what was decided then."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_DUE, after, _ENDED, since, limit)
        return [submission_of(row) for row in rows]

    async def studies(self, submission: Submission) -> list[str]:
        """Return some of the studies that it holds."""
        async with self._database.connection() as connection:
            return [row["study_instance_uid"] for row in await connection.fetch(LIST_STUDIES, submission.space_id)]

    async def drop_study(self, submission: Submission, study: str, since: datetime, *, actor: str) -> Dropped | None:
        """Drop a study of a submission that has ended; `None` when it is not there, or the submission has moved on."""
        segments = await self._removal.segments()
        sees = Visibility((submission.space_id,), see_embargoed=True)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    async with self._database.transaction() as connection:
                        if await connection.fetchval(HOLD_ENDED, submission.id, _ENDED, since) is None:
                            return None
                        gone = await self._removal.delete_within(connection, Scope(study), sees, segments, actor=actor)
                        await forget_edits_of(connection, submission.id, study)
                        await forget_approvals_of(connection, submission.id)
                        return Dropped(gone.instances, gone.free_object_keys)
                except _TRY_AGAIN:
                    continue
        except NotFoundError:
            return None
        finally:
            self._removal.forget()
        # The next round finds it again.
        return None

    async def drop_conflicts(self, submission: Submission, since: datetime, *, actor: str) -> Dropped:
        """Drop the bytes of some conflicts; their rows stay, so that the same bytes are not asked about again."""
        for _ in range(_ATTEMPTS):
            try:
                async with self._database.transaction() as connection:
                    return await _drop_conflicts(connection, submission, since, actor)
            except _TRY_AGAIN:
                continue
        # The next round finds them again.
        return Dropped(0, ())


async def _drop_conflicts(connection: Connection, submission: Submission, since: datetime, actor: str) -> Dropped:
    rows = await connection.fetch(DROP_CONFLICTS, submission.id, _ENDED, since)
    if not rows:
        return Dropped(0, ())
    freed = await delete_free_packs(connection, sorted({row["pack_id"] for row in rows}))
    detail = {"submission": submission.id, "instances": len(rows)}
    await note_event(connection, EventKind.CONFLICTS_DROPPED, submission, actor=actor, detail=detail)
    return Dropped(len(rows), freed)
