"""Conflicts: instances that came under a UID that was taken by other bytes, kept until somebody has decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.index.access import ARCHIVE_SPACE, Visibility
from dicomweb_archive.index.curation.submissions import Submission, note_event
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.segments.rows import insert_packs
from dicomweb_archive.index.writing.events import EventKind
from dicomweb_archive.index.writing.packs import delete_free_packs
from dicomweb_archive.index.writing.register import PackRecord

# Finds packs that have a row, and keeps them from being deleted until conflicts refer to them.
LOCK_PACKS = "select object_key, id from pack where object_key = any($1::text[]) for key share"

# Keeps conflicts; bytes that the submission keeps already, or that are no conflict any more, are left out.
INSERT_CONFLICTS = """
insert into conflict (submission_id, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid,
  transfer_syntax_uid, pack_id, byte_offset, byte_length, digest, received_by)
select $1, new.study, new.series, new.sop, new.class, new.syntax, new.pack, new.byte_offset, new.byte_length,
  new.digest, $2
from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int8[], $9::int8[], $10::int8[],
  $11::bytea[]) as new(study, series, sop, class, syntax, pack, byte_offset, byte_length, digest)
where not exists (
  select from instance i where i.space_id = any($12::int4[]) and i.sop_instance_uid = new.sop and i.digest = new.digest)
on conflict (submission_id, sop_instance_uid, digest) do nothing
returning pack_id, study_instance_uid
"""

_CONFLICT = """
select k.id, k.study_instance_uid, k.series_instance_uid, k.sop_instance_uid, k.sop_class_uid, k.transfer_syntax_uid,
  p.object_key, k.byte_offset, k.byte_length, k.byte_length as size_bytes, k.digest, k.received_by, k.received_at,
  k.decision, k.decided_by, k.decided_at, k.reason,
  o.space_id as standing_space_id, o.study_instance_uid as standing_study, o.series_instance_uid as standing_series,
  o.object_key as standing_key, o.byte_offset as standing_offset, o.byte_length as standing_length
from conflict k left join pack p on p.id = k.pack_id left join lateral (
  select i.space_id, st.study_instance_uid, se.series_instance_uid, ip.object_key, i.byte_offset, i.byte_length
  from instance i join segment sg on sg.id = i.segment_id join study st on st.id = sg.study_id
  join series se on se.id = sg.series_id join pack ip on ip.id = i.pack_id
  where i.space_id in ({space}, $2) and i.sop_instance_uid = k.sop_instance_uid
    and (i.space_id = $2 or (($3::int4[] is null or st.collection_id = any($3))
      and ($4::bool or st.embargo_until is null or st.embargo_until <= current_date)))
  order by i.space_id desc limit 1
) o on true
where k.submission_id = $1
"""

# The conflicts of a submission behind one of them, each with the instance that has its UID: of the submission, else of
# the archive, as far as it may be seen.
LIST_CONFLICTS = (
    _CONFLICT.format(space=ARCHIVE_SPACE)
    + " and k.id > $5 and ($7::bool is null or (k.decision is null) = $7) order by k.id limit $6"
)

# One of them.
FIND_CONFLICT = _CONFLICT.format(space=ARCHIVE_SPACE) + " and k.id = $5"

COUNT_CONFLICTS = """
select count(*)::int4 from conflict where submission_id = $1 and ($2::bool is null or (decision is null) = $2)
"""


class ConflictDecision(StrEnum):
    """What becomes of a conflict."""

    KEEP = "keep"
    """What stands stays."""
    REPLACE = "replace"
    """What came takes its place; the conflict then keeps what stood before."""
    REJECT = "reject"
    """What stands stays, and what came should not have come."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an instance lie."""

    object_key: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The instance that has the UID.

    Attributes:
        is_published: it is in the archive, not in the submission.
    """

    study_instance_uid: str
    series_instance_uid: str
    is_published: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Conflict:
    """An instance that is kept beside another of its UID.

    Attributes:
        digest: BLAKE3 of its bytes as they are kept.
        decision: `None` while nobody has decided. After a replacement the conflict is what stood before.
        place: `None` when its bytes have gone.
        standing: `None` when that one has gone meanwhile, or may not be seen.
    """

    id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    size_bytes: int
    digest: bytes
    received_by: str
    received_at: datetime
    decision: ConflictDecision | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str
    place: Place | None
    standing: Standing | None


class ConflictIndex:
    """Keeps and finds conflicts of submissions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(
        self, submission: Submission, packs: Sequence[PackRecord], *, registered: frozenset[str], actor: str
    ) -> frozenset[str]:
        """Keep every instance of the packs, all in one transaction; returns the keys of packs that are needed now.

        Args:
            registered: keys of packs that have a row, because others of their instances were stored.

        Raises:
            DatabaseUnavailableError: nothing is kept, and sending it again may help.
        """
        fresh = [(pack.object_key, pack.size_bytes) for pack in packs if pack.object_key not in registered]
        known = [pack.object_key for pack in packs if pack.object_key in registered]
        async with self._database.transaction() as connection:
            pack_ids = await insert_packs(connection, fresh)
            pack_ids |= dict(await connection.fetch(LOCK_PACKS, known))
            if len(pack_ids) < len(packs):
                message = "what was stored with a conflict has been deleted meanwhile; send it again"
                raise DatabaseUnavailableError(message)
            rows = await _insert(connection, submission, packs, pack_ids, actor)
            await delete_free_packs(connection, [pack_ids[key] for key, _ in fresh])
        used = {row["pack_id"] for row in rows}
        return frozenset(key for key, pack_id in pack_ids.items() if pack_id in used)

    async def list(
        self, submission: Submission, sees: Visibility, *, after: int, limit: int, undecided: bool | None = None
    ) -> tuple[Sequence[Conflict], int]:
        """Return conflicts in the order in which they came, and how many there are.

        Args:
            sees: which published instances may be told of.
            undecided: only those on which nobody has decided, or only the others.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_CONFLICTS, *_asked(submission, sees), after, limit, undecided)
            total = await connection.fetchval(COUNT_CONFLICTS, submission.id, undecided)
        return [_conflict(row) for row in rows], total

    async def find(self, submission: Submission, sees: Visibility, conflict_id: int) -> Conflict | None:
        """Return one conflict of a submission; see `list`."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_CONFLICT, *_asked(submission, sees), conflict_id)
        return None if row is None else _conflict(row)


def _asked(submission: Submission, sees: Visibility) -> tuple[int, int, list[int] | None, bool]:
    _, collections, see_embargoed = sees.parameters()
    return submission.id, submission.space_id, collections, see_embargoed


async def _insert(
    connection: Connection,
    submission: Submission,
    packs: Sequence[PackRecord],
    pack_ids: Mapping[str, int],
    actor: str,
) -> Sequence[Mapping[str, Any]]:
    placed = [(each, pack_ids[pack.object_key]) for pack in packs for segment in pack.segments for each in segment]
    rows: Sequence[Mapping[str, Any]] = await connection.fetch(
        INSERT_CONFLICTS,
        submission.id,
        actor,
        [each.scanned.study_instance_uid for each, _ in placed],
        [each.scanned.series_instance_uid for each, _ in placed],
        [each.scanned.sop_instance_uid for each, _ in placed],
        [each.scanned.sop_class_uid for each, _ in placed],
        [each.scanned.transfer_syntax_uid for each, _ in placed],
        [pack_id for _, pack_id in placed],
        [each.byte_offset for each, _ in placed],
        [each.byte_length for each, _ in placed],
        [each.digest for each, _ in placed],
        [ARCHIVE_SPACE, submission.space_id],
    )
    by_study: dict[str, int] = {}
    for row in rows:
        by_study[row["study_instance_uid"]] = by_study.get(row["study_instance_uid"], 0) + 1
    for study_instance_uid, instances in sorted(by_study.items()):
        detail = {"submission": submission.id, "instances": instances}
        await note_event(
            connection,
            EventKind.CONFLICT_KEPT,
            submission,
            actor=actor,
            detail=detail,
            study_instance_uid=study_instance_uid,
        )
    return rows


def _conflict(row: Mapping[str, Any]) -> Conflict:
    standing = None
    if row["standing_key"] is not None:
        standing = Standing(
            row["standing_study"],
            row["standing_series"],
            row["standing_space_id"] == ARCHIVE_SPACE,
            Place(row["standing_key"], row["standing_offset"], row["standing_length"]),
        )
    key = row["object_key"]
    place = None if key is None else Place(key, row["byte_offset"], row["byte_length"])
    decision = None if row["decision"] is None else ConflictDecision(row["decision"])
    named = {name: row[name] for name in Conflict.__slots__ if name not in ("place", "standing", "decision")}
    return Conflict(**named, decision=decision, place=place, standing=standing)
