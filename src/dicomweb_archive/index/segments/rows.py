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

# What hangs on a new segment, which the statement calls `new_segment`. Its numbers of parameters are those of
# `segment_parameters`.
DATA_AND_ZONES = """new_data as (
  insert into segment_data (segment_id, common, columns, document, locations, large)
  select id, $7::jsonb, $8::jsonb, $9::bytea, $10::bytea, $23::jsonb from new_segment
), new_zones as (
  insert into zone (segment_id, path_id, low, high, low_text, high_text, spacing)
  select s.id, z.* from new_segment s,
    unnest($11::int4[], $12::float8[], $13::float8[], $14::text[], $15::text[], $25::float8[]) z
)"""


def insert_instances(packs: str, pack_ids: str) -> str:
    """Compose the insert of the instances of `new_segment`.

    They go in sorted by UID: two stores of the same ones meet at the first and not, crosswise, at two. What each
    instance has comes as one text or byte string a column, which the server takes apart in a tenth of the time that
    the driver needs for the same as an array.

    Args:
        packs: one row with `lone`, the pack of all instances that have none of their own.
        pack_ids: an array of ids by instance, or an empty one.
    """
    return f"""
insert into instance
  (segment_id, position, space_id, sop_instance_uid, pack_id, byte_offset, byte_length, digest)
select s.id, i.position, $16::int4, i.uid, coalesce(i.pack_id, p.lone), i.byte_offset, i.byte_length,
  substr($22::bytea, (i.place::int4 - 1) * width.bytes + 1, width.bytes)
from new_segment s, {packs} p, (select octet_length($22::bytea) / $3::int4 as bytes) width,
  unnest(
    string_to_array($17::text, ',')::int4[], string_to_array($18::text, ','), {pack_ids},
    string_to_array($20::text, ',')::int8[], string_to_array($21::text, ',')::int8[]
  ) with ordinality as i(position, uid, pack_id, byte_offset, byte_length, place)
"""  # noqa: S608 - composed of constants


# Writes a segment and all that hangs on it. One statement, because each round trip costs a lone instance as much
# as its rows. A lone pack stands for that of all.
INSERT_SEGMENT = f"""
with new_segment as (
  insert into segment (study_id, series_id, instance_count, study_facts, series_facts, terms, varying)
  values ($1, $2, $3, $4, $5, $6, $24) returning id
), {DATA_AND_ZONES}
{insert_instances("(select ($19::int8[])[1] as lone)", "$19::int8[]")}
"""  # noqa: S608 - composed of constants


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
    order = _by_uid(content)
    packs = pack_ids[:1] if len(set(pack_ids)) == 1 else [pack_ids[place] for place in order]
    parameters = segment_parameters(content, space_id, path_ids, first=(study_id, series_id), packs=packs)
    await connection.execute(INSERT_SEGMENT, *parameters)


def segment_parameters(
    content: SegmentContent, space_id: int, path_ids: Mapping[str, int], *, first: tuple[object, object], packs: object
) -> tuple[object, ...]:
    """Return parameters 1 to 25 of a statement that writes a segment.

    Args:
        first: what the statement takes as its first two, and `packs` as number 19.
    """
    zones = content.terms.zones
    order = _by_uid(content)
    instances = [content.instances[place] for place in order]
    return (
        *first,
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
        joined_uids([stored.scanned.sop_instance_uid for stored in instances]),
        packs,
        _joined([stored.byte_offset for stored in instances]),
        _joined([stored.byte_length for stored in instances]),
        b"".join([stored.digest for stored in instances]),
        content.large,
        content.varying,
        [zone.spacing for zone in zones],
    )


def _by_uid(content: SegmentContent) -> list[int]:
    uids = [stored.scanned.sop_instance_uid for stored in content.instances]
    return sorted(range(len(uids)), key=uids.__getitem__)


def joined_uids(uids: Iterable[str]) -> str:
    """Write UIDs as one text, for `string_to_array(.., ',')`: they are digits and dots (PS3.5 9.1)."""
    return ",".join(uids)


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
