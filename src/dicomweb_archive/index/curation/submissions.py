"""Submissions: the rows of what waits in quarantine, changed one revision after the other."""

import base64
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from asyncpg.exceptions import UniqueViolationError

from dicomweb_archive.errors import PreconditionFailedError
from dicomweb_archive.index.curation.collections import Collection, find_collection
from dicomweb_archive.index.curation.purged_approvals import forget_approvals_of
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.jobs.queue import NewJob, insert_job
from dicomweb_archive.index.jobs.rows import Job
from dicomweb_archive.index.writing.events import Detail, EventKind, insert_event


class SubmissionState(StrEnum):
    """Where a submission stands on its way (docs/design/0008-quarantine.md)."""

    OPEN = "open"
    """Takes instances."""
    SEALED = "sealed"
    """Complete, says its submitter; takes nothing more."""
    CHECKING = "checking"
    FAILED_CHECKS = "failed_checks"
    IN_REVIEW = "in_review"
    """Waits for a curator's decision."""
    CHANGES_REQUESTED = "changes_requested"
    """Waits for its submitter."""
    APPROVED = "approved"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    """Taken back by its submitter."""
    EXPIRED = "expired"
    """Nothing happened for too long."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission as it stands in one revision.

    Attributes:
        name: what its URL ends with.
        space_id: the space that its studies are in, and nobody else's.
        collection: accession of the collection that it is for.
        opened_for: the day, of one that a store opened which named none.
    """

    id: int
    name: str
    space_id: int
    collection_id: int
    collection: str
    state: SubmissionState
    title: str
    contact: str
    site: str
    opened_by: str
    opened_for: date | None
    revision: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class SubmissionScope:
    """Which submissions a principal may know of.

    Attributes:
        collections: those of these collections; `None`: of all.
        opened_by: and those that this principal has opened.
    """

    collections: frozenset[int] | None
    opened_by: str | None = None

    def parameters(self) -> tuple[list[int] | None, str | None]:
        """Return the two values that `KNOWN` refers to, in order."""
        return None if self.collections is None else sorted(self.collections), self.opened_by


KNOWN = "($1::int4[] is null or s.collection_id = any($1) or s.opened_by = $2::text)"
"""The predicate of a `SubmissionScope`; it takes the first two parameters of a statement."""

COLUMNS = (
    "s.id, s.name, s.space_id, s.collection_id, c.accession as collection, s.state, s.title, s.contact, s.site,"
    " s.opened_by, s.opened_for, s.revision, s.created_at, s.changed_at"
)

# One submission by its name; unknown to this principal is as good as not there.
FIND_SUBMISSION = f"""
select {COLUMNS} from submission s join collection c on c.id = s.collection_id where s.name = $3 and {KNOWN}
"""  # noqa: S608 - composed of constants

# Several by their names, in the order in which they were opened.
FIND_SUBMISSIONS = f"""
select {COLUMNS} from submission s join collection c on c.id = s.collection_id
where s.name = any($3::text[]) and {KNOWN} order by s.id
"""  # noqa: S608 - composed of constants

# The open one of principal, collection and day.
FIND_SUBMISSION_OF_DAY = f"""
select {COLUMNS} from submission s join collection c on c.id = s.collection_id
where s.collection_id = $1 and s.opened_by = $2 and s.opened_for = $3 and s.state = 'open'
"""  # noqa: S608 - composed of constants

# Makes a space and the submission in it; nothing when somebody has just opened the one of the day.
OPEN_SUBMISSION = f"""
with place as (
  insert into space (id, name) values (nextval('submission_space'), 'submission ' || $1) returning id
), s as (
  insert into submission (name, space_id, collection_id, state, title, contact, site, opened_by, opened_for)
  select $1, id, $2, 'open', $3, $4, $5, $6, $7 from place
  returning *
)
select {COLUMNS} from s join collection c on c.id = s.collection_id
"""  # noqa: S608 - composed of constants

# Moves a submission to another state, unless it has changed since it was read.
CHANGE_STATE = """
update submission set state = $3, revision = revision + 1, changed_at = now() where id = $1 and revision = $2
returning revision, changed_at
"""

# Describes a submission anew, unless it has changed since it was read.
DESCRIBE = """
update submission set title = $3, contact = $4, site = $5, revision = revision + 1, changed_at = now()
where id = $1 and revision = $2 returning revision, changed_at
"""

# Keeps what somebody has written beside the event of it.
INSERT_NOTE = "insert into submission_note (event_id, submission_id, text) values ($1, $2, $3)"


def new_name() -> str:
    """Return a name that nobody can guess: 104 random bits, in letters and digits that can be read out."""
    return base64.b32encode(secrets.token_bytes(13)).decode().rstrip("=").lower()


def submission_of(row: Mapping[str, Any]) -> Submission:
    """Make a submission of its row, of the columns in `COLUMNS`."""
    values = {name: row[name] for name in Submission.__slots__}
    return Submission(**{**values, "state": SubmissionState(row["state"])})


class SubmissionIndex:
    """Opens, finds and changes submissions; each change is one transaction with its event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, name: str, scope: SubmissionScope) -> Submission | None:
        """Return the submission of this name when the principal may know of it."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_SUBMISSION, *scope.parameters(), name)
        return None if row is None else submission_of(row)

    async def find_many(self, names: Sequence[str], scope: SubmissionScope) -> Sequence[Submission]:
        """Return those of these names that the principal may know of, the oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_SUBMISSIONS, *scope.parameters(), list(names))
        return [submission_of(row) for row in rows]

    async def find_collection(self, accession: str) -> Collection | None:
        """Return the collection of this accession, closed or not; who may see it is the caller's to judge."""
        async with self._database.connection() as connection:
            return await find_collection(connection, accession)

    async def open(
        self, collection_id: int, *, actor: str, title: str = "", contact: str = "", site: str = ""
    ) -> Submission:
        """Open a submission with a space of its own."""
        async with self._database.transaction() as connection:
            return await _open(connection, collection_id, actor, title, contact, site, None)

    async def find_of_day(self, collection_id: int, *, actor: str, day: date) -> Submission | None:
        """Return the open submission of collection, principal and day."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_SUBMISSION_OF_DAY, collection_id, actor, day)
        return None if row is None else submission_of(row)

    async def open_of_day(self, collection_id: int, *, actor: str, day: date) -> Submission:
        """Return the open submission of collection, principal and day, opened when there is none."""
        while True:
            found = await self.find_of_day(collection_id, actor=actor, day=day)
            if found is not None:
                return found
            try:
                async with self._database.transaction() as connection:
                    return await _open(connection, collection_id, actor, f"Stores of {day:%Y-%m-%d}", "", "", day)
            except UniqueViolationError:
                # Another store has just opened it.
                continue

    async def change_state(
        self,
        submission: Submission,
        state: SubmissionState,
        *,
        action: str,
        actor: str,
        reason: str = "",
        comment: str = "",
        job: NewJob | None = None,
    ) -> Submission:
        """Move a submission to another state.

        Args:
            job: what follows from it, put into the queue in the same transaction.

        Raises:
            PreconditionFailedError: it has changed since it was read.
        """
        async with self._database.transaction() as connection:
            moved = await write_state(
                connection, submission, state, action=action, actor=actor, reason=reason, comment=comment
            )
            if job is not None:
                await insert_job(connection, job)
        return moved

    async def begin_work(
        self,
        submission: Submission,
        state: SubmissionState,
        job: Callable[[Submission], NewJob],
        *,
        action: str,
        actor: str,
        comment: str = "",
    ) -> tuple[Submission, Job]:
        """Move a submission to a state in which a job works at it: there is never the one without the other.

        Args:
            job: makes it, of the submission as it is then.

        Raises:
            PreconditionFailedError: it has changed since it was read.
        """
        async with self._database.transaction() as connection:
            moved = await write_state(connection, submission, state, action=action, actor=actor, comment=comment)
            return moved, await insert_job(connection, job(moved))

    async def describe(self, submission: Submission, *, title: str, contact: str, site: str, actor: str) -> Submission:
        """Give a submission another title, contact and site.

        Raises:
            PreconditionFailedError: it has changed since it was read.
        """
        async with self._database.transaction() as connection:
            changed = await connection.fetchrow(DESCRIBE, submission.id, submission.revision, title, contact, site)
            _require_changed(changed)
            detail = {"submission": submission.id}
            await note_event(connection, EventKind.SUBMISSION_DESCRIBED, submission, actor=actor, detail=detail)
        return replace(submission, title=title, contact=contact, site=site, **changed)

    async def comment(self, submission: Submission, text: str, *, actor: str) -> None:
        """Keep what somebody has to say about a submission; it changes nothing else."""
        detail = {"submission": submission.id}
        async with self._database.transaction() as connection:
            kind = EventKind.SUBMISSION_COMMENTED
            await note_event(connection, kind, submission, actor=actor, detail=detail, comment=text)


async def write_state(
    connection: Connection,
    submission: Submission,
    state: SubmissionState,
    *,
    action: str,
    actor: str,
    reason: str = "",
    comment: str = "",
) -> Submission:
    """Move a submission to another state, with the event of it. The caller holds the transaction.

    Raises:
        PreconditionFailedError: it has changed since it was read.
    """
    changed = await connection.fetchrow(CHANGE_STATE, submission.id, submission.revision, state.value)
    _require_changed(changed)
    if state is SubmissionState.PUBLISHING:
        # They are of what waits; the trail keeps who has approved what.
        await forget_approvals_of(connection, submission.id)
    detail: dict[str, int | str] = {
        "submission": submission.id,
        "action": action,
        "from": submission.state.value,
        "to": state.value,
    }
    if reason:
        detail["reason"] = reason
    kind = EventKind.SUBMISSION_STATE_CHANGED
    await note_event(connection, kind, submission, actor=actor, detail=detail, comment=comment)
    return replace(submission, state=state, **changed)


async def note_event(
    connection: Connection,
    kind: EventKind,
    submission: Submission,
    *,
    actor: str,
    detail: Detail,
    comment: str = "",
    study_instance_uid: str | None = None,
) -> None:
    """Write an event of a submission, and what was written with it. The caller holds the transaction."""
    event_id = await insert_event(
        connection,
        kind,
        actor=actor,
        space_id=submission.space_id,
        study_instance_uid=study_instance_uid,
        detail=detail,
    )
    if comment:
        await connection.execute(INSERT_NOTE, event_id, submission.id, comment)


async def _open(
    connection: Connection, collection_id: int, actor: str, title: str, contact: str, site: str, day: date | None
) -> Submission:
    row = await connection.fetchrow(OPEN_SUBMISSION, new_name(), collection_id, title, contact, site, actor, day)
    submission = submission_of(row)
    detail = {"submission": submission.id}
    await note_event(connection, EventKind.SUBMISSION_OPENED, submission, actor=actor, detail=detail)
    return submission


def _require_changed(row: Iterable[Any] | None) -> None:
    if row is None:
        message = "the submission has changed since it was read; read it again and decide anew"
        raise PreconditionFailedError(message)
