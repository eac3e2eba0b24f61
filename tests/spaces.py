"""What a space of the index holds, without the numbers that differ from run to run, to compare spaces."""

from typing import Any

import orjson

from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.segments.document import decode_document

_STUDIES = "select * from study where space_id = $1 order by study_instance_uid"
_SERIES = """
select se.*, st.study_instance_uid from series se join study st on st.id = se.study_id where st.space_id = $1
order by st.study_instance_uid, se.series_instance_uid
"""
_INSTANCES = """
select i.sop_instance_uid, i.digest, i.byte_offset, i.byte_length, st.study_instance_uid, se.series_instance_uid,
  i.position, i.space_id = st.space_id and sg.study_id = se.study_id as agree, sg.study_facts, sg.series_facts,
  d.document
from instance i join segment sg on sg.id = i.segment_id join segment_data d on d.segment_id = sg.id
join series se on se.id = sg.series_id join study st on st.id = sg.study_id
where st.space_id = $1 order by i.sop_instance_uid
"""
_OF_RUN = frozenset({"id", "space_id", "study_id", "revision", "created_at", "changed_at", "document", "position"})
_OF_RUN_STUDY = _OF_RUN - {"study_id"}

COUNTERS = """
select count(*) from study st join lateral (
  select count(distinct sg.series_id)::int4 as series, count(*)::int4 as instances,
    coalesce(sum(i.byte_length), 0)::int8 as size_bytes, bool_and(i.space_id = st.space_id) as agree
  from segment sg join instance i on i.segment_id = sg.id where sg.study_id = st.id) c on true
where (st.series_count, st.instance_count, st.size_bytes) <> (c.series, c.instances, c.size_bytes)
  or c.agree is distinct from true
  or st.series_count <> (select count(*) from series where study_id = st.id)
"""
SERIES_COUNTERS = """
select count(*) from series se join lateral (
  select count(*)::int4 as instances, coalesce(sum(i.byte_length), 0)::int8 as size_bytes
  from segment sg join instance i on i.segment_id = sg.id where sg.series_id = se.id and sg.study_id = se.study_id) c
  on true
where (se.instance_count, se.size_bytes) <> (c.instances, c.size_bytes)
"""
LOOSE_INSTANCES = "select count(*) from instance i where not exists (select from segment s where s.id = i.segment_id)"
LOOSE_PACKS = "select count(*) from pack p where not exists (select from instance i where i.pack_id = p.id)"
STRAY_PATHS = """
select count(*) from segment_paths p join segment g on g.id = p.segment_id
where (p.study_id, p.series_id) <> (g.study_id, g.series_id)
"""


async def make_space(connection: Connection, space_id: int) -> int:
    """Make a space as a submission has one."""
    await connection.execute("insert into space (id, name) values ($1, $2)", space_id, f"space {space_id}")
    return space_id


async def content_of(database: Database, space_id: int) -> dict[str, list[dict[str, Any]]]:
    """Return studies, series and instances of a space as plain values, each instance with its metadata."""
    async with database.connection() as connection:
        rows = {
            "studies": [
                {k: v for k, v in row.items() if k not in _OF_RUN_STUDY}
                for row in await connection.fetch(_STUDIES, space_id)
            ],
            "series": [_plain(row) for row in await connection.fetch(_SERIES, space_id)],
        }
        instances = await connection.fetch(_INSTANCES, space_id)
    rows["instances"] = [
        _plain(row) | {"metadata": orjson.loads(decode_document(row["document"]).instance_text(row["position"], b""))}
        for row in instances
    ]
    return rows


async def disagreements(database: Database) -> list[int]:
    """Count rows that say something else than what is below them, or belong to nothing: all zero in a sound index."""
    async with database.connection() as connection:
        return [
            await connection.fetchval(statement)
            for statement in (COUNTERS, SERIES_COUNTERS, LOOSE_INSTANCES, LOOSE_PACKS, STRAY_PATHS)
        ]


def _plain(row: Any) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _OF_RUN}
