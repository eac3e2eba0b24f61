"""Decisions on conflicts, each batch in one transaction with its events."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from asyncpg import exceptions

from dicomweb_archive.errors import ConflictError, DatabaseUnavailableError, PreconditionFailedError
from dicomweb_archive.index.curation.conflict_decisions.concluding import conclude
from dicomweb_archive.index.curation.conflict_decisions.rulings import (
    Candidate,
    Replacement,
    Ruling,
    Selection,
    plan_decisions,
)
from dicomweb_archive.index.curation.conflict_decisions.swapping import build_contents, swap_instances
from dicomweb_archive.index.curation.submissions import Submission, SubmissionState
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.jobs.queue import NewJob, insert_job
from dicomweb_archive.index.jobs.rows import Job
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.writing.rebuilding import Rebuilding

# A decision is one for the submission as it was read; another one makes the next revision.
NEXT_REVISION = """
update submission set revision = revision + 1, changed_at = now() where id = $1 and revision = $2
returning revision, changed_at
"""

# Holds a submission in its state: it is not published, rejected or withdrawn meanwhile.
HOLD_STATE = "select state from submission where id = $1 for share"

LIST_UNDECIDED = """
select id from conflict
where submission_id = $1 and decision is null and id > $2 and ($3::int8[] is null or id = any($3))
  and ($4::text is null or study_instance_uid = $4) and ($5::text is null or series_instance_uid = $5)
order by id limit $6
"""

# What has replaced something cannot be kept away from it any more: that is taken back by the same decision.
DECIDE = """
update conflict set decision = $3, decided_by = $4, decided_at = now(), reason = $5
where submission_id = $1 and id = any($2::int8[]) and decision is distinct from $3
  and decision is distinct from 'replace'
returning id, study_instance_uid, series_instance_uid
"""

SETTLED = frozenset(
    {SubmissionState.PUBLISHING, SubmissionState.REJECTED, SubmissionState.WITHDRAWN, SubmissionState.EXPIRED}
)
"""In these states nobody decides on conflicts: it is going on, or was decided for all of it."""

_ATTEMPTS = 5
_TRY_AGAIN = (
    exceptions.UniqueViolationError,
    exceptions.ForeignKeyViolationError,
    exceptions.DeadlockDetectedError,
    exceptions.SerializationError,
)


class ConflictDecisions:
    """Decides on conflicts; each batch is one transaction with its events.

    Args:
        instances: whose cache must not serve what was replaced; `None` in a process that serves nothing of it.
        timezone: offset from UTC of date-times that do not tell their own.
    """

    def __init__(self, database: Database, instances: InstanceIndex | None = None, *, timezone: str = "+0000") -> None:
        self._database = database
        self._instances = instances
        self._timezone = timezone

    async def begin(self, submission: Submission, job: NewJob) -> tuple[Submission, Job]:
        """Put a job that decides on many conflicts into the queue, for the submission as it was read.

        Raises:
            PreconditionFailedError: it has changed since.
            ConflictError: nobody decides on it in its state.
        """
        async with self._database.transaction() as connection:
            moved = await _next_revision(connection, submission)
            return moved, await insert_job(connection, job)

    async def select(self, submission: Submission, asked: Selection, *, after: int, limit: int) -> list[int]:
        """Return undecided conflicts behind one of them."""
        ids = None if asked.ids is None else list(asked.ids)
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                LIST_UNDECIDED, submission.id, after, ids, asked.study_instance_uid, asked.series_instance_uid, limit
            )
        return [row["id"] for row in rows]

    async def plan(self, submission: Submission, ids: Sequence[int]) -> list[Candidate]:
        """Return these conflicts with what stands under their UIDs."""
        async with self._database.connection() as connection:
            return await plan_decisions(connection, submission, ids)

    async def note(
        self, submission: Submission, ids: Sequence[int], ruling: Ruling, *, of_revision: bool = False
    ) -> tuple[Submission, int]:
        """Let what stands stay, and say why; returns the submission as it is then, and how many were decided.

        Args:
            of_revision: only of the revision that the submission was read in.

        Raises:
            PreconditionFailedError, ConflictError: see `begin`.
        """
        async with self._database.transaction() as connection:
            moved = await _take_hold(connection, submission, of_revision=of_revision)
            rows = await connection.fetch(
                DECIDE, submission.id, list(ids), ruling.decision.value, ruling.actor, ruling.reason
            )
            series = [(row["study_instance_uid"], row["series_instance_uid"]) for row in rows]
            await conclude(connection, submission, series, ruling)
        return moved, len(rows)

    async def replace(
        self, submission: Submission, batch: Sequence[Replacement], ruling: Ruling, *, of_revision: bool = False
    ) -> Submission:
        """Let conflicts take the place of what stands, all of them at once; see `note`.

        Raises:
            PlanChangedError: one of them is no longer what was planned.
            DatabaseUnavailableError: nothing has changed, and trying again later may help.
        """
        segments = Rebuilding(await self._database.term_secret(), self._timezone)
        contents = await asyncio.to_thread(build_contents, batch, segments)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    async with self._database.transaction() as connection:
                        moved = await _take_hold(connection, submission, of_revision=of_revision)
                        await swap_instances(connection, moved, batch, contents, segments, ruling)
                        return moved
                except _TRY_AGAIN:
                    continue
        finally:
            # Also after a failure: a connection that broke at the commit does not say which way it went.
            if self._instances is not None:
                self._instances.forget_deleted()
        message = "Too many stores and deletes of the same study at once; try again later"
        raise DatabaseUnavailableError(message)


async def _next_revision(connection: Connection, submission: Submission) -> Submission:
    changed = await connection.fetchrow(NEXT_REVISION, submission.id, submission.revision)
    if changed is None:
        message = "the submission has changed since it was read; read it again and decide anew"
        raise PreconditionFailedError(message)
    _require_unsettled(submission.state)
    return replace(submission, **changed)


async def _take_hold(connection: Connection, submission: Submission, *, of_revision: bool) -> Submission:
    if of_revision:
        return await _next_revision(connection, submission)
    state = SubmissionState(await connection.fetchval(HOLD_STATE, submission.id))
    _require_unsettled(state)
    return replace(submission, state=state)


def _require_unsettled(state: SubmissionState) -> None:
    if state in SETTLED:
        message = f"nobody decides on conflicts of what is {state.value}"
        raise ConflictError(message)
