"""Edits of submissions as rows: begun with their job, ended, listed, and told change by change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from dicomweb_archive.errors import ConflictError, PreconditionFailedError
from dicomweb_archive.index.curation.submissions import Submission, SubmissionState, note_event
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.jobs.queue import NewJob, insert_job
from dicomweb_archive.index.jobs.rows import Job
from dicomweb_archive.index.writing.events import EventKind

APPLY_EDIT: Final = "apply-edit"
"""The kind of job that applies or undoes an edit; counts instances that were looked at."""

EDITABLE_STATES: Final = (SubmissionState.FAILED_CHECKS, SubmissionState.IN_REVIEW)
"""While it takes instances a submission is its submitter's; what is approved must not change behind the approval."""


class EditState(StrEnum):
    """How far an edit has come."""

    APPLYING = "applying"
    APPLIED = "applied"
    STOPPED = "stopped"
    """It was cancelled, or the submission left review; what was done until then stays."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of a submission.

    Attributes:
        undoes: the edit that this one takes back; it has no rules then.
        undone_by: the edit that takes this one back; one that was stopped leaves that to another.
        instances: how many it has changed.
        unfit: how many it is meant for and has left as they are.
    """

    id: int
    undoes: int | None
    undone_by: int | None
    rules: Sequence[Mapping[str, Any]]
    reason: str
    state: EditState
    actor: str
    instances: int
    unfit: int
    created_at: datetime
    changed_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class TalliedChange:
    """What became of one value, in so many instances; see `dicom.editing.planning.Change`."""

    path: str
    vr: str
    kind: str
    before: str | None
    after: str | None
    instances: int


@dataclass(frozen=True, slots=True)
class EditedInstance:
    """What an edit has done to one instance.

    Attributes:
        digest_before, digest_after: of its bytes; there is no digest after where it was left as it is.
        problem: why it was.
        changes: path, VR, kind, before and after of each attribute.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    digest_before: bytes
    digest_after: bytes | None
    problem: str
    changes: Sequence[Sequence[str | None]]


_COLUMNS: Final = """
e.id, e.undoes,
  (select max(u.id) from edit u where u.undoes = e.id and u.state <> 'stopped') as undone_by,
  e.rules, e.reason, e.state, e.actor,
  e.instances, e.unfit, e.created_at, e.changed_at, e.finished_at
"""

# The edits of a submission before one of them, the newest first.
LIST_EDITS: Final = f"""
select {_COLUMNS} from edit e where e.submission_id = $1 and ($2::int8 is null or e.id < $2) order by e.id desc limit $3
"""  # noqa: S608 - composed of constants

FIND_EDIT: Final = f"select {_COLUMNS} from edit e where e.submission_id = $1 and e.id = $2"  # noqa: S608 - composed of constants

# Edits that have not come to their end, and that nothing has taken back.
FIND_UNFINISHED: Final = """
select e.id from edit e where e.submission_id = $1 and e.state = 'applying'
  and not exists (select from edit u where u.undoes = e.id) order by e.id limit 1
"""

# Whether something of a submission was edited or replaced after checks were begun that have come to their end.
IS_UNCHECKED: Final = """
select exists (select from edit e where e.submission_id = s.id and e.changed_at > c.checked_at)
  or exists (
    select from event v where v.space_id = s.space_id and v.space_id > 1000 and v.kind = 'conflicts_decided'
      and v.detail ? 'unchecked' and v.at > c.checked_at)
from submission s cross join lateral (
  select coalesce(max(r.started_at), '-infinity') as checked_at from check_run r where r.space_id = s.space_id
) c
where s.id = $1
"""

# A job of the submission that is waiting or at work.
FIND_JOB: Final = "select id from job where kind = $1 and key = $2 and state in ('waiting', 'running')"

BEGIN: Final = """
update submission set revision = revision + 1, changed_at = now() where id = $1 and revision = $2 and state = any($3)
returning revision
"""
INSERT_EDIT: Final = """
insert into edit (submission_id, undoes, rules, reason, state, actor) values ($1, $2, $3::jsonb, $4, 'applying', $5)
returning id
"""
STOP_UNDONE: Final = "update edit set state = 'stopped', finished_at = now() where id = $1 and state = 'applying'"
END: Final = """
update edit set state = $3, finished_at = now() where submission_id = $1 and id = $2 and state = 'applying'
returning instances, unfit
"""

_MOST_TOLD_BYTES: Final = 8 * 1024 * 1024
"""A page of changes or instances ends here, with one at least."""

# What became of each value, the most frequent first, as much as can be told at once.
TALLY: Final = """
with tallied as (
  select c ->> 0 as path, c ->> 1 as vr, c ->> 2 as kind, c ->> 3 as before, c ->> 4 as after,
    count(*)::int4 as instances, count(*) over ()::int4 as total
  from edit_instance i, jsonb_array_elements(i.changes) c where i.edit_id = $1 and i.problem = ''
  group by 1, 2, 3, 4, 5 order by instances desc, 1, 4, 5, 2, 3 limit $2 offset $3
), sized as (
  select *, row_number() over wide as number, coalesce(sum(
    octet_length(path) + coalesce(octet_length(before), 0) + coalesce(octet_length(after), 0)
  ) over (wide rows between unbounded preceding and 1 preceding), 0) as told
  from tallied window wide as (order by instances desc, path, before, after, vr, kind)
)
select path, vr, kind, before, after, instances, total from sized where told < $4 order by number
"""

# Instances that an edit was meant for, in the order of their UIDs, as many as can be told at once.
LIST_INSTANCES: Final = """
with found as (
  select study_instance_uid, series_instance_uid, sop_instance_uid, digest_before, digest_after, problem,
    changes::text as changes
  from edit_instance where edit_id = $1 and sop_instance_uid > $2 and ($3::text is null or sop_instance_uid = $3)
    and ($4::bool is null or (problem <> '') = $4)
  order by sop_instance_uid limit $5
), sized as (
  select *, count(*) over () as total, coalesce(sum(octet_length(changes)) over (
    order by sop_instance_uid rows between unbounded preceding and 1 preceding), 0) as told
  from found
)
select study_instance_uid, series_instance_uid, sop_instance_uid, digest_before, digest_after, problem, changes, total
from sized where told < $6 order by sop_instance_uid
"""


class EditIndex:
    """Begins, ends and finds edits; each change is one transaction with its event."""

    def __init__(self, database: Database, *, most_told_bytes: int = _MOST_TOLD_BYTES) -> None:
        self._database = database
        self._most_told_bytes = most_told_bytes

    async def begin(
        self,
        submission: Submission,
        rules: Sequence[Mapping[str, Any]],
        *,
        reason: str,
        actor: str,
        undoes: int | None = None,
    ) -> tuple[Edit, Job, int]:
        """Begin an edit, and put the job that applies it into the queue; returns the submission's new revision too.

        Raises:
            PreconditionFailedError: the submission has changed since it was read.
            ConflictError: another edit of it has not come to its end.
        """
        async with self._database.transaction() as connection:
            states = [state.value for state in EDITABLE_STATES]
            revision = await connection.fetchval(BEGIN, submission.id, submission.revision, states)
            if revision is None:
                message = "the submission has changed since it was read; read it again and decide anew"
                raise PreconditionFailedError(message)
            await _require_none_else(connection, submission, undoes)
            edit_id = await connection.fetchval(
                INSERT_EDIT, submission.id, undoes, orjson.dumps(rules).decode(), reason, actor
            )
            if undoes is not None:
                await connection.execute(STOP_UNDONE, undoes)
            detail = {"submission": submission.id, "edit": edit_id, **({} if undoes is None else {"undoes": undoes})}
            kind = EventKind.EDIT_BEGUN
            await note_event(connection, kind, submission, actor=actor, detail=detail, comment=reason)
            job = await insert_job(
                connection,
                NewJob(
                    APPLY_EDIT,
                    actor,
                    {"submission": submission.name, "edit": edit_id},
                    submission.name,
                    submission.collection_id,
                    f"/submissions/{submission.name}",
                ),
            )
            edit = _edit(await connection.fetchrow(FIND_EDIT, submission.id, edit_id))
        return edit, job, revision

    async def end(self, submission: Submission, edit_id: int, state: EditState, *, actor: str) -> None:
        """End an edit, and say how much it has changed; one that has ended stays as it is."""
        async with self._database.transaction() as connection:
            ended = await connection.fetchrow(END, submission.id, edit_id, state.value)
            if ended is not None:
                detail = {"submission": submission.id, "edit": edit_id, "state": state.value, **ended}
                await note_event(connection, EventKind.EDIT_ENDED, submission, actor=actor, detail=detail)

    async def list(self, submission: Submission, *, before: int | None, limit: int) -> Sequence[Edit]:
        """Return edits of a submission, the newest first, with ids below `before`."""
        async with self._database.connection() as connection:
            return [_edit(row) for row in await connection.fetch(LIST_EDITS, submission.id, before, limit)]

    async def find(self, submission: Submission, edit_id: int) -> Edit | None:
        """Return one edit of a submission."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_EDIT, submission.id, edit_id)
        return None if row is None else _edit(row)

    async def find_unfinished(self, submission: Submission) -> int | None:
        """Return the id of an edit of the submission that has not come to its end."""
        async with self._database.connection() as connection:
            found: int | None = await connection.fetchval(FIND_UNFINISHED, submission.id)
        return found

    async def is_unchecked(self, submission: Submission) -> bool:
        """Tell whether something of the submission was edited or replaced since checks were run over it."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(IS_UNCHECKED, submission.id))

    async def changes(self, edit_id: int, *, limit: int, offset: int) -> tuple[Sequence[TalliedChange], int]:
        """Return what became of each value, the most frequent first, and how many different changes there are.

        They may be fewer than `limit` also when there are more, where they are long.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(TALLY, edit_id, limit, offset, self._most_told_bytes)
        return [TalliedChange(*tuple(row)[:-1]) for row in rows], rows[0]["total"] if rows else 0

    async def instances(
        self, edit_id: int, *, after: str, sop_instance_uid: str | None, unfit: bool | None, limit: int
    ) -> tuple[Sequence[EditedInstance], str | None]:
        """Return instances that the edit was meant for, in the order of UIDs, behind one of them.

        Returns:
            also the last of them, where there may be more.
        """
        asked = edit_id, after, sop_instance_uid, unfit, limit, self._most_told_bytes
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_INSTANCES, *asked)
        is_cut = bool(rows) and (len(rows) < rows[0]["total"] or len(rows) == limit)
        return [_instance(row) for row in rows], rows[-1]["sop_instance_uid"] if is_cut else None


async def _require_none_else(connection: Connection, submission: Submission, undoes: int | None) -> None:
    job = await connection.fetchval(FIND_JOB, APPLY_EDIT, submission.name)
    unfinished = await connection.fetchval(FIND_UNFINISHED, submission.id)
    if job is not None or unfinished not in (None, undoes):
        message = "another edit of the submission has not come to its end; wait for its job, run it again, or undo it"
        raise ConflictError(message)


def _instance(row: Mapping[str, Any]) -> EditedInstance:
    said = {name: row[name] for name in EditedInstance.__slots__}
    return EditedInstance(**{**said, "changes": orjson.loads(row["changes"])})


def _edit(row: Mapping[str, Any]) -> Edit:
    said = dict(row)
    return Edit(**{**said, "rules": orjson.loads(said["rules"]), "state": EditState(said["state"])})
