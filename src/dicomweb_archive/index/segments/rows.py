"""Segment rows: a segment with its data, zones and instances, written by one statement."""

from collections.abc import Iterable, Mapping, Sequence

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.building import SegmentContent

# Writes packs; returns their ids in the order of the keys.
INSERT_PACKS = """
insert into pack (object_key, size_bytes)
select new.object_key, new.size_bytes
from unnest($1::text[], $2::int8[]) with ordinality as new(object_key, size_bytes, place)
order by new.place
returning object_key, id
"""

# Writes a segment and all that hangs on it. One statement, because each round trip costs a lone instance as much
# as its rows. Instances go in sorted by UID: two stores of the same ones meet at the first and not, crosswise,
# at two. What each instance has comes as one text or byte string a column, which the server takes apart in a tenth of
# the time that the driver needs for the same as an array; a lone pack stands for that of all.
INSERT_SEGMENT = """
with new_segment as (
  insert into segment (study_id, series_id, instance_count, study_facts, series_facts, terms, varying)
  values ($1, $2, $3, $4, $5, $6, $24) returning id
), new_data as (
  insert into segment_data (segment_id, common, columns, document, locations, large)
  select id, $7::jsonb, $8::jsonb, $9, $10, $23::jsonb from new_segment
), new_zones as (
  insert into zone (segment_id, path_id, low, high, low_text, high_text, spacing)
  select s.id, z.* from new_segment s,
    unnest($11::int4[], $12::float8[], $13::float8[], $14::text[], $15::text[], $25::float8[]) z
)
insert into instance
  (segment_id, position, space_id, sop_instance_uid, pack_id, byte_offset, byte_length, digest)
select s.id, i.position, $16, i.uid, coalesce(i.pack_id, ($19::int8[])[1]), i.byte_offset, i.byte_length,
  substr($22::bytea, (i.place::int4 - 1) * width.bytes + 1, width.bytes)
from new_segment s, (select octet_length($22::bytea) / $3::int4 as bytes) width,
  unnest(
    string_to_array($17::text, ',')::int4[], string_to_array($18::text, ','), $19::int8[],
    string_to_array($20::text, ',')::int8[], string_to_array($21::text, ',')::int8[]
  ) with ordinality as i(position, uid, pack_id, byte_offset, byte_length, place)
"""


async def insert_packs(connection: Connection, packs: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Write packs given by key and size; return the id of each key."""
    keys, sizes = [key for key, _ in packs], [size for _, size in packs]
    return dict(await connection.fetch(INSERT_PACKS, keys, sizes))


async def insert_segment(
    connection: Connection,
    content: SegmentContent,
    *,
    space_id: int,
    study_id: int,
    series_id: int,
    pack_ids: Sequence[int],
    path_ids: Mapping[str, int],
) -> None:
    """Write a segment whose instances lie in the packs given by position.

    Raises:
        asyncpg.UniqueViolationError: an instance is there already; the caller decides what that means.
    """
    zones = content.terms.zones
    order = sorted(range(len(content.instances)), key=lambda place: content.instances[place].scanned.sop_instance_uid)
    instances = [content.instances[place] for place in order]
    await connection.execute(
        INSERT_SEGMENT,
        study_id,
        series_id,
        len(instances),
        content.study_facts,
        content.series_facts,
        content.terms.hashes,
        content.common,
        content.columns,
        content.document,
        content.locations,
        [path_ids[zone.path] for zone in zones],
        [zone.low for zone in zones],
        [zone.high for zone in zones],
        [zone.low_text for zone in zones],
        [zone.high_text for zone in zones],
        space_id,
        _joined(order),
        joined_uids(stored.scanned.sop_instance_uid for stored in instances),
        pack_ids[:1] if len(set(pack_ids)) == 1 else [pack_ids[place] for place in order],
        _joined(stored.byte_offset for stored in instances),
        _joined(stored.byte_length for stored in instances),
        b"".join([stored.digest for stored in instances]),
        content.large,
        content.varying,
        [zone.spacing for zone in zones],
    )


def joined_uids(uids: Iterable[str]) -> str:
    """Write UIDs as one text, for `string_to_array(.., ',')`: they are digits and dots (PS3.5 9.1)."""
    return ",".join(uids)


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
