"""Replacing: instances of a series get other bytes under their UIDs, all in one transaction.

Segments never change, so those that lose an instance are built anew from what remains, and what is new comes as
segments of its own.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.building import SegmentContent, build_segments
from dicomweb_archive.index.segments.rows import insert_packs, insert_segment
from dicomweb_archive.index.writing.counts import UPDATE_MODALITIES, vote_on_series, vote_on_study
from dicomweb_archive.index.writing.dictionary import add_to_dictionary
from dicomweb_archive.index.writing.packs import retire_free_packs
from dicomweb_archive.index.writing.rebuilding import Rebuilding
from dicomweb_archive.index.writing.register import PackRecord, only_instances

# Locks the study: stores, deletes and merges wait.
LOCK_STUDY: Final = "select facts, study_instance_uid from study where id = $1 and space_id = $2 for update"

# Where instances of a series of the locked study lie now.
FIND_INSTANCES: Final = """
select i.sop_instance_uid, i.digest, i.segment_id, i.position, i.pack_id, sg.series_id
from instance i join segment sg on sg.id = i.segment_id join series se on se.id = sg.series_id
where i.space_id = $1 and sg.study_id = $2 and se.series_instance_uid = $4 and i.sop_instance_uid = any($3::text[])
"""
LIST_POSITIONS: Final = "select position from instance where segment_id = $1"

MEASURE_SERIES: Final = """
update series s set revision = revision + 1, changed_at = now(), size_bytes = (
  select coalesce(sum(i.byte_length), 0)::int8 from segment sg join instance i on i.segment_id = sg.id
  where sg.series_id = s.id)
where id = $1 returning facts
"""
MEASURE_STUDY: Final = """
update study st set revision = revision + 1, changed_at = now(), size_bytes = (
  select coalesce(sum(se.size_bytes), 0)::int8 from series se where se.study_id = st.id)
where id = $1
"""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What was replaced.

    Attributes:
        uids: of the instances that have their new bytes; the others are gone, or others than they were.
        unused_object_keys: new objects that hold nothing that is wanted, to be deleted after the commit.
    """

    uids: frozenset[str]
    unused_object_keys: tuple[str, ...]


async def replace_instances(
    connection: Connection,
    packs: Sequence[PackRecord],
    before: Mapping[str, bytes],
    *,
    space_id: int,
    study_id: int,
    series_instance_uid: str,
    segments: Rebuilding,
) -> Replaced:
    """Let the instances of durable packs, all of one series, take the place of those that have their UIDs.

    The caller holds the transaction. Identifiers, SOP classes and transfer syntaxes are those that they were.

    Args:
        before: digests of the bytes that are replaced; an instance that has others by now is left as it is.
    """
    new_keys = tuple(pack.object_key for pack in packs)
    study = await connection.fetchrow(LOCK_STUDY, study_id, space_id)
    if study is None:
        return Replaced(frozenset(), new_keys)
    found = await connection.fetch(FIND_INSTANCES, space_id, study_id, list(before), series_instance_uid)
    rows = [row for row in found if row["digest"] == before[row["sop_instance_uid"]]]
    uids = frozenset(row["sop_instance_uid"] for row in rows)
    kept = only_instances(packs, uids)
    if not rows:
        return Replaced(uids, new_keys)
    series_id = rows[0]["series_id"]
    await _take_out(connection, rows, segments)
    await _put_in(connection, kept, series_id, space_id=space_id, study_id=study_id, segments=segments)
    facts = await connection.fetchval(MEASURE_SERIES, series_id)
    await vote_on_series(connection, series_id, facts)
    await connection.execute(MEASURE_STUDY, study_id)
    await vote_on_study(connection, study_id, study["facts"])
    await connection.execute(UPDATE_MODALITIES, study_id)
    about = study["study_instance_uid"], series_instance_uid
    await retire_free_packs(connection, sorted({row["pack_id"] for row in rows}), *about)
    return Replaced(uids, tuple(sorted(set(new_keys) - {pack.object_key for pack in kept})))


async def _take_out(connection: Connection, rows: Sequence[Mapping[str, Any]], segments: Rebuilding) -> None:
    by_segment: dict[int, set[int]] = {}
    for row in rows:
        by_segment.setdefault(row["segment_id"], set()).add(row["position"])
    for segment_id, positions in sorted(by_segment.items()):
        everything = {row["position"] for row in await connection.fetch(LIST_POSITIONS, segment_id)}
        await segments.part(connection, segment_id, [everything - positions])


async def _put_in(
    connection: Connection,
    packs: Sequence[PackRecord],
    series_id: int,
    *,
    space_id: int,
    study_id: int,
    segments: Rebuilding,
) -> None:
    pack_ids = await insert_packs(connection, [(pack.object_key, pack.size_bytes) for pack in packs])
    for pack in packs:
        contents = await asyncio.to_thread(_build, pack, segments)
        path_ids = await add_to_dictionary(connection, [content.terms for content in contents])
        for content in contents:
            await insert_segment(
                connection,
                content,
                space_id=space_id,
                study_id=study_id,
                series_id=series_id,
                pack_ids=[pack_ids[pack.object_key]] * len(content.instances),
                path_ids=path_ids,
            )


def _build(pack: PackRecord, segments: Rebuilding) -> list[SegmentContent]:
    built = (build_segments(part, segments.secret, timezone=segments.timezone) for part in pack.segments)
    return [content for contents in built for content in contents]
