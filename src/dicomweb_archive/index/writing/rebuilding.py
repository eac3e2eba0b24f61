"""Rebuilding: a segment gives way to others that hold some of its instances, or fewer.

Segments never change, so caches need only ask whether one still exists: what loses an instance, or is parted, is built
anew under other ids from its document and locations.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.building import SegmentContent, StoredInstance, build_segments
from dicomweb_archive.index.segments.document import decode_document
from dicomweb_archive.index.segments.locations import decode_locations
from dicomweb_archive.index.segments.restored import restore_instances
from dicomweb_archive.index.segments.rows import insert_segment
from dicomweb_archive.index.writing.dictionary import add_to_dictionary

# Reads all that a segment is built from.
READ_SEGMENT = """
select sg.study_id, sg.series_id, st.space_id, st.study_instance_uid, se.series_instance_uid, sg.instance_count,
  d.document, d.locations, d.common ->> '00080005' as character_set, d.columns ->> '00080005' as character_sets
from segment sg join segment_data d on d.segment_id = sg.id
join series se on se.id = sg.series_id join study st on st.id = sg.study_id
where sg.id = $1
"""

# Lists the instances of a segment.
LIST_INSTANCES = """
select position, sop_instance_uid, pack_id, byte_offset, byte_length, digest
from instance where segment_id = $1 order by position
"""

DELETE_SEGMENT = "delete from segment where id = $1"


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """What segments are built with: the secret of their terms, and the offset from UTC where nothing tells one."""

    secret: bytes = field(repr=False)
    timezone: str

    async def part(self, connection: Connection, segment_id: int, parts: Sequence[Collection[int]]) -> None:
        """Replace a segment by segments of its own series, one or more for each part.

        Args:
            parts: positions that stay together. Instances in none of them are dropped.

        Callers hold the lock of the study, and correct its counters.
        """
        segment = await connection.fetchrow(READ_SEGMENT, segment_id)
        rows = await connection.fetch(LIST_INSTANCES, segment_id)
        await connection.execute(DELETE_SEGMENT, segment_id)
        for part in parts:
            kept = [row for row in rows if row["position"] in part]
            if kept:
                await self._insert(connection, segment, kept)

    async def _insert(
        self, connection: Connection, segment: Mapping[str, Any], kept: Sequence[Mapping[str, Any]]
    ) -> None:
        contents = await asyncio.to_thread(_rebuild, segment, kept, self.secret, self.timezone)
        path_ids = await add_to_dictionary(connection, [content.terms for content in contents])
        pack_of = {row["sop_instance_uid"]: row["pack_id"] for row in kept}
        for content in contents:
            await insert_segment(
                connection,
                content,
                space_id=segment["space_id"],
                study_id=segment["study_id"],
                series_id=segment["series_id"],
                pack_ids=[pack_of[stored.scanned.sop_instance_uid] for stored in content.instances],
                path_ids=path_ids,
            )


def _rebuild(
    segment: Mapping[str, Any], kept: Sequence[Mapping[str, Any]], secret: bytes, timezone: str
) -> list[SegmentContent]:
    """Build the segments of what is kept from document and locations of the old one."""
    scanned = restore_instances(
        decode_document(segment["document"]),
        decode_locations(segment["locations"]),
        [row["position"] for row in kept],
        study_instance_uid=segment["study_instance_uid"],
        series_instance_uid=segment["series_instance_uid"],
        sop_instance_uids={row["position"]: row["sop_instance_uid"] for row in kept},
        byte_lengths={row["position"]: row["byte_length"] for row in kept},
        character_sets=_character_sets(segment),
    )
    stored = [
        StoredInstance(each, row["byte_offset"], row["byte_length"], row["digest"])
        for each, row in zip(scanned, kept, strict=True)
    ]
    return build_segments(stored, secret, timezone=timezone)


def _character_sets(segment: Mapping[str, Any]) -> list[list[str] | None]:
    """Read by position what the files of a segment say of their character set."""
    if segment["character_sets"] is not None:
        varying: list[list[str] | None] = orjson.loads(segment["character_sets"])
        return varying
    common = segment["character_set"]
    return [None if common is None else orjson.loads(common)] * segment["instance_count"]
