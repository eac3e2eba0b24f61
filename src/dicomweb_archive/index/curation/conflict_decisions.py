"""Decisions on conflicts: what stands stays, or gives way to what came and is kept in its place as the conflict.

A replacement swaps the two: the row of the conflict keeps what stood before, found by the submission and by nothing
else, so that the same decision asked for again takes it back. Readers see all of a batch at once, or nothing of it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from asyncpg import exceptions

from dicomweb_archive.errors import ConflictError, DatabaseUnavailableError, PreconditionFailedError
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.curation.conflicts import ConflictDecision, Place
from dicomweb_archive.index.curation.submissions import Submission, SubmissionState, note_event
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.jobs.queue import NewJob, insert_job
from dicomweb_archive.index.jobs.rows import Job
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.segments.building import SegmentContent, StoredInstance, build_segments
from dicomweb_archive.index.segments.locations import FileLayout, decode_locations
from dicomweb_archive.index.segments.rows import insert_segment
from dicomweb_archive.index.writing.counts import list_sop_classes
from dicomweb_archive.index.writing.dictionary import add_to_dictionary
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.index.writing.moving import recount_study
from dicomweb_archive.index.writing.purged_terms import mark_terms
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

# The conflicts, each with what stands under its UID in the collection: in the submission, else in the archive.
PLAN = f"""
select k.id, k.decision, k.study_instance_uid, k.series_instance_uid, k.sop_instance_uid, k.pack_id, p.object_key,
  k.byte_offset, k.byte_length, k.digest, o.segment_id, o.position, o.space_id, o.study_id, o.series_id,
  o.is_same_series, o.pack_id as old_pack_id, o.byte_offset as old_offset, o.byte_length as old_length,
  o.digest as old_digest
from conflict k left join pack p on p.id = k.pack_id left join lateral (
  select i.*, st.id as study_id, se.id as series_id, st.study_instance_uid = k.study_instance_uid
    and se.series_instance_uid = k.series_instance_uid as is_same_series
  from instance i join segment sg on sg.id = i.segment_id join series se on se.id = sg.series_id
  join study st on st.id = sg.study_id
  where i.space_id in ({ARCHIVE_SPACE}, $2) and i.sop_instance_uid = k.sop_instance_uid and st.collection_id = $3
  order by i.space_id desc limit 1
) o on true
where k.submission_id = $1 and k.id = any($4::int8[]) order by k.id
"""  # noqa: S608 - composed of constants

LOCK_STUDIES = "select id from study where id = any($1::int8[]) order by id for update"
LOCK_CONFLICTS = "select id from conflict where id = any($1::int8[]) order by id for update"

# What has replaced something cannot be kept away from it any more: that is taken back by the same decision.
DECIDE = """
update conflict set decision = $3, decided_by = $4, decided_at = now(), reason = $5
where submission_id = $1 and id = any($2::int8[]) and decision is distinct from $3
  and decision is distinct from 'replace'
returning id, study_instance_uid, series_instance_uid
"""

# What stood before becomes what is kept beside; what is taken back was once kept beside too.
SWAP = """
update conflict k set pack_id = n.pack_id, byte_offset = n.byte_offset, byte_length = n.byte_length, digest = n.digest,
  sop_class_uid = n.sop_class, transfer_syntax_uid = n.syntax, decided_by = $1, decided_at = now(), reason = $2,
  decision = case when k.decision = 'replace' then 'keep' else 'replace' end
from unnest($3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::bytea[], $8::text[], $9::text[])
  as n(id, pack_id, byte_offset, byte_length, digest, sop_class, syntax)
where k.id = n.id
"""

LIST_POSITIONS = "select position from instance where segment_id = $1"
READ_LOCATIONS = "select locations from segment_data where segment_id = $1"

# What the check has said of conflicts of these series goes when nothing contradicts there any more.
FORGET_FINDINGS = f"""
delete from finding f using unnest($3::text[], $4::text[]) as n(study, series)
where f.space_id = $1 and f.check_name = 'conflict' and f.study_instance_uid = n.study
  and f.series_instance_uid = n.series
  and not exists (
    select from conflict k where k.submission_id = $2 and k.decision is null
      and k.study_instance_uid = n.study and k.series_instance_uid = n.series)
  and not exists (
    select from study st join series se on se.study_id = st.id join segment sg on sg.series_id = se.id
    join instance i on i.segment_id = sg.id
    join instance o on o.space_id = {ARCHIVE_SPACE} and o.sop_instance_uid = i.sop_instance_uid and o.digest <> i.digest
    where st.space_id = $1 and st.study_instance_uid = n.study and se.series_instance_uid = n.series)
"""  # noqa: S608 - composed of constants

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


class PlanChangedError(Exception):
    """What was planned is no longer what there is; nothing has changed, and it is to be planned anew."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is decided, by whom and why."""

    decision: ConflictDecision
    actor: str
    reason: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which undecided conflicts of a submission are meant; `None` leaves a condition out."""

    ids: tuple[int, ...] | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Stood:
    """The instance that stands under the UID of a conflict, in the same collection."""

    segment_id: int
    position: int
    space_id: int
    study_id: int
    series_id: int
    is_same_series: bool
    pack_id: int
    byte_offset: int
    byte_length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A conflict that may replace what stands.

    Attributes:
        place: `None` when its bytes have gone.
    """

    id: int
    decision: ConflictDecision | None
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    pack_id: int | None
    place: Place | None
    digest: bytes
    stood: Stood | None


@dataclass(frozen=True, slots=True)
class Replacement:
    """A conflict and what its file holds, read before; those of one series share a base."""

    candidate: Candidate
    stored: StoredInstance


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
            return await _plan(connection, submission, ids)

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
            await _conclude(connection, submission, series, ruling)
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
        contents = await asyncio.to_thread(_build, batch, segments)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    async with self._database.transaction() as connection:
                        moved = await _take_hold(connection, submission, of_revision=of_revision)
                        await _replace(connection, moved, batch, contents, segments, ruling)
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


async def _plan(connection: Connection, submission: Submission, ids: Sequence[int]) -> list[Candidate]:
    rows = await connection.fetch(PLAN, submission.id, submission.space_id, submission.collection_id, list(ids))
    return [_candidate(row) for row in rows]


def _candidate(row: Mapping[str, Any]) -> Candidate:
    stood = None
    if row["segment_id"] is not None:
        same = {name: row[name] for name in Stood.__slots__[:6]}
        stood = Stood(**same, pack_id=row["old_pack_id"], byte_offset=row["old_offset"],
                      byte_length=row["old_length"], digest=row["old_digest"])  # fmt: skip
    key = row["object_key"]
    return Candidate(
        row["id"],
        None if row["decision"] is None else ConflictDecision(row["decision"]),
        row["study_instance_uid"],
        row["series_instance_uid"],
        row["sop_instance_uid"],
        row["pack_id"],
        None if key is None else Place(key, row["byte_offset"], row["byte_length"]),
        row["digest"],
        stood,
    )


_Contents = Mapping[int, Sequence[SegmentContent]]
"""What goes into each series, by the id of its row."""


def _build(batch: Sequence[Replacement], segments: Rebuilding) -> _Contents:
    by_series: dict[int, list[StoredInstance]] = defaultdict(list)
    for each in batch:
        assert each.candidate.stood is not None
        by_series[each.candidate.stood.series_id].append(each.stored)
    return {
        series_id: build_segments(stored, segments.secret, timezone=segments.timezone)
        for series_id, stored in by_series.items()
    }


async def _replace(
    connection: Connection,
    submission: Submission,
    batch: Sequence[Replacement],
    contents: _Contents,
    segments: Rebuilding,
    ruling: Ruling,
) -> None:
    candidates = [each.candidate for each in batch]
    stood = {each.id: each.stood for each in candidates if each.stood is not None}
    ids = sorted(stood)
    await connection.fetch(LOCK_STUDIES, sorted({each.study_id for each in stood.values()}))
    await connection.fetch(LOCK_CONFLICTS, ids)
    waiting = [each for each in candidates if stood[each.id].space_id == submission.space_id]
    if waiting and submission.state is SubmissionState.APPROVED:
        message = "what is approved stays as it is; take the approval back to replace something in it"
        raise ConflictError(message)
    # What has changed before the locks were ours shows now.
    if await _plan(connection, submission, ids) != sorted(candidates, key=lambda each: each.id):
        raise PlanChangedError
    layouts = await _take_out(connection, list(stood.values()), segments)
    await _put_in(connection, candidates, contents)
    await _swap(connection, stood, layouts, ruling)
    by_study: dict[tuple[int, int, str], int] = defaultdict(int)
    for each in candidates:
        old = stood[each.id]
        by_study[old.study_id, old.space_id, each.study_instance_uid] += 1
    for (study_id, space_id, uid), instances in sorted(by_study.items()):
        await recount_study(connection, study_id, await list_sop_classes(connection, study_id), None)
        if space_id == ARCHIVE_SPACE:
            await insert_event(
                connection,
                EventKind.INSTANCES_REPLACED,
                actor=ruling.actor,
                space_id=space_id,
                study_instance_uid=uid,
                detail={"study": study_id, "instances": instances},
            )
    series = [(each.study_instance_uid, each.series_instance_uid) for each in candidates]
    unchecked = Counter(each.study_instance_uid for each in waiting)
    await _conclude(connection, submission, series, ruling, unchecked)


async def _take_out(
    connection: Connection, stood: Sequence[Stood], segments: Rebuilding
) -> Mapping[tuple[int, int], FileLayout]:
    """Take instances out of their segments; returns what their files are like."""
    gone: dict[int, set[int]] = defaultdict(set)
    for each in stood:
        gone[each.segment_id].add(each.position)
    # What stood before may be purged one day, when nobody can tell any more what its values were.
    await mark_terms(connection, sorted(gone))
    layouts: dict[tuple[int, int], FileLayout] = {}
    for segment_id, positions in sorted(gone.items()):
        locations = await asyncio.to_thread(decode_locations, await connection.fetchval(READ_LOCATIONS, segment_id))
        layouts |= {(segment_id, position): locations[position] for position in positions}
        everything = {row["position"] for row in await connection.fetch(LIST_POSITIONS, segment_id)}
        await segments.part(connection, segment_id, [everything - positions])
    return layouts


async def _put_in(connection: Connection, candidates: Sequence[Candidate], contents: _Contents) -> None:
    pack_of = {each.sop_instance_uid: each.pack_id for each in candidates}
    place_of = {each.stood.series_id: each.stood for each in candidates if each.stood is not None}
    for series_id, parts in sorted(contents.items()):
        for content in parts:
            path_ids = await add_to_dictionary(connection, [content.terms])
            packs = [pack_of[stored.scanned.sop_instance_uid] for stored in content.instances]
            await insert_segment(
                connection,
                content,
                space_id=place_of[series_id].space_id,
                study_id=place_of[series_id].study_id,
                series_id=series_id,
                pack_ids=[pack_id for pack_id in packs if pack_id is not None],
                path_ids=path_ids,
            )


async def _swap(
    connection: Connection,
    stood: Mapping[int, Stood],
    layouts: Mapping[tuple[int, int], FileLayout],
    ruling: Ruling,
) -> None:
    files = [layouts[each.segment_id, each.position] for each in stood.values()]
    old = list(stood.values())
    await connection.execute(
        SWAP,
        ruling.actor,
        ruling.reason,
        list(stood),
        [each.pack_id for each in old],
        [each.byte_offset for each in old],
        [each.byte_length for each in old],
        [each.digest for each in old],
        [each.sop_class_uid for each in files],
        [each.transfer_syntax_uid for each in files],
    )


async def _conclude(
    connection: Connection,
    submission: Submission,
    series: Sequence[tuple[str, str]],
    ruling: Ruling,
    unchecked: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Write the events of a decision, one for each study, and forget what checks have said against it.

    Args:
        unchecked: how many instances of a study were replaced in the submission, which checks have not looked at.
    """
    by_study: dict[str, int] = defaultdict(int)
    for study, _ in series:
        by_study[study] += 1
    comment = ruling.comment
    for study, instances in sorted(by_study.items()):
        detail: dict[str, int | str] = {
            "submission": submission.id,
            "decision": ruling.decision.value,
            "instances": instances,
        }
        if ruling.reason:
            detail["reason"] = ruling.reason
        if study in unchecked:
            detail["unchecked"] = unchecked[study]
        kind = EventKind.CONFLICTS_DECIDED
        await note_event(
            connection, kind, submission, actor=ruling.actor, detail=detail, comment=comment, study_instance_uid=study
        )
        comment = ""
    distinct = sorted(set(series))
    studies, names = [study for study, _ in distinct], [name for _, name in distinct]
    await connection.execute(FORGET_FINDINGS, submission.space_id, submission.id, studies, names)
