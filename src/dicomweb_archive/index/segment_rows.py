"""Segment rows: segments with their data, zones and instances, written in bulk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicomweb_archive.index.engine import Connection
from dicomweb_archive.index.segments import SegmentContent

# Draws the ids of new rows beforehand, because COPY returns none.
ALLOCATE_IDS = """
select array(select nextval('pack_id_seq') from generate_series(1, $1)),
       array(select nextval('segment_id_seq') from generate_series(1, $2))
"""


@dataclass(frozen=True, slots=True)
class SegmentRows:
    """One segment ready to be written; `pack_ids` by position."""

    id: int
    study_id: int
    series_id: int
    content: SegmentContent
    pack_ids: Sequence[int]


async def allocate_ids(connection: Connection, packs: int, segments: int) -> tuple[list[int], list[int]]:
    """Draw ids for new packs and segments."""
    pack_ids, segment_ids = await connection.fetchrow(ALLOCATE_IDS, packs, segments)
    return pack_ids, segment_ids


async def insert_segments(
    connection: Connection, segments: Sequence[SegmentRows], path_ids: Mapping[str, int], *, space_id: int
) -> None:
    """Write segments and all that hangs on them.

    Raises:
        asyncpg.UniqueViolationError: an instance is there already; the caller decides what that means.
    """
    await _copy_segments(connection, segments)
    zones = [
        (segment.id, path_ids[zone.path], zone.low, zone.high, zone.low_text, zone.high_text)
        for segment in segments
        for zone in segment.content.terms.zones
    ]
    if zones:
        await connection.copy_records_to_table(
            "zone", records=zones, columns=["segment_id", "path_id", "low", "high", "low_text", "high_text"]
        )
    await _copy_instances(connection, segments, space_id)


async def _copy_segments(connection: Connection, segments: Sequence[SegmentRows]) -> None:
    rows = [
        (
            segment.id,
            segment.study_id,
            segment.series_id,
            len(segment.content.instances),
            segment.content.study_facts,
            segment.content.series_facts,
            segment.content.terms.hashes,
        )
        for segment in segments
    ]
    columns = ["id", "study_id", "series_id", "instance_count", "study_facts", "series_facts", "terms"]
    await connection.copy_records_to_table("segment", records=rows, columns=columns)
    data = [(s.id, s.content.common, s.content.columns, s.content.document, s.content.locations) for s in segments]
    columns = ["segment_id", "common", "columns", "document", "locations"]
    await connection.copy_records_to_table("segment_data", records=data, columns=columns)


async def _copy_instances(connection: Connection, segments: Sequence[SegmentRows], space_id: int) -> None:
    rows = [
        (
            segment.id,
            position,
            space_id,
            stored.scanned.sop_instance_uid,
            segment.pack_ids[position],
            stored.byte_offset,
            stored.byte_length,
            stored.digest,
        )
        for segment in segments
        for position, stored in enumerate(segment.content.instances)
    ]
    # Two stores of the same instances meet at the first of them and not, crosswise, at two.
    rows.sort(key=lambda row: row[3])
    columns = ["segment_id", "position", "space_id", "sop_instance_uid", "pack_id", "byte_offset", "byte_length"]
    await connection.copy_records_to_table("instance", records=rows, columns=[*columns, "digest"])
