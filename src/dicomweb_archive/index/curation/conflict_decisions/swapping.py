"""The swap of a conflict and what stands: new segments, without the one and with the other, and the conflict's row."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from dicomweb_archive.errors import ConflictError
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.curation.conflict_decisions.concluding import conclude
from dicomweb_archive.index.curation.conflict_decisions.rulings import (
    Candidate,
    PlanChangedError,
    Replacement,
    Ruling,
    Stood,
    plan_decisions,
)
from dicomweb_archive.index.curation.submissions import Submission, SubmissionState
from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.building import SegmentContent, StoredInstance, build_segments
from dicomweb_archive.index.segments.locations import FileLayout, decode_locations
from dicomweb_archive.index.segments.rows import insert_segment
from dicomweb_archive.index.writing.counts import list_sop_classes
from dicomweb_archive.index.writing.dictionary import add_to_dictionary
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.index.writing.moving import recount_study
from dicomweb_archive.index.writing.purged_terms import mark_terms
from dicomweb_archive.index.writing.rebuilding import Rebuilding

LOCK_STUDIES = "select id from study where id = any($1::int8[]) order by id for update"
LOCK_CONFLICTS = "select id from conflict where id = any($1::int8[]) order by id for update"

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

SeriesContents = Mapping[int, Sequence[SegmentContent]]
"""What goes into each series, by the id of its row."""


def build_contents(batch: Sequence[Replacement], segments: Rebuilding) -> SeriesContents:
    """Build the segments of what comes, before anything is locked."""
    by_series: dict[int, list[StoredInstance]] = defaultdict(list)
    for each in batch:
        assert each.candidate.stood is not None
        by_series[each.candidate.stood.series_id].append(each.stored)
    return {
        series_id: build_segments(stored, segments.secret, timezone=segments.timezone)
        for series_id, stored in by_series.items()
    }


async def swap_instances(
    connection: Connection,
    submission: Submission,
    batch: Sequence[Replacement],
    contents: SeriesContents,
    segments: Rebuilding,
    ruling: Ruling,
) -> None:
    """Let conflicts take the place of what stands. The caller holds the transaction, and the submission in its state.

    Raises:
        PlanChangedError: one of them is no longer what was planned.
        ConflictError: what is approved stays as it is.
    """
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
    if await plan_decisions(connection, submission, ids) != sorted(candidates, key=lambda each: each.id):
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
    await conclude(connection, submission, series, ruling, unchecked)


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


async def _put_in(connection: Connection, candidates: Sequence[Candidate], contents: SeriesContents) -> None:
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
