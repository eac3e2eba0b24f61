"""What is decided on conflicts, and what there is to decide on: each conflict with what stands under its UID."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.curation.conflicts import ConflictDecision, Place
from dicomweb_archive.index.curation.submissions import Submission
from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.building import StoredInstance

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


async def plan_decisions(connection: Connection, submission: Submission, ids: Sequence[int]) -> list[Candidate]:
    """Return conflicts with what stands under their UIDs, in the order in which they came."""
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
