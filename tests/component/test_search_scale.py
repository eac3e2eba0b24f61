"""The bulk path of the scale benchmark writes the very rows that the register writes."""

from typing import Any

import pytest
from benchmarks.search_scale.headers import Shape, study_packs
from benchmarks.search_scale.load import fill
from benchmarks.search_scale.rows import ACTOR
from tests.database import TestServer

from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import Register

pytestmark = pytest.mark.asyncio

# Whole tables without ids and times; ids are replaced by what they stand for.
ROWS = {
    "study": "select to_jsonb(t) - '{id,created_at,changed_at}'::text[] from study t",
    "series": """select to_jsonb(s) - '{id,study_id,created_at,changed_at}'::text[] || jsonb_build_object(
      'of', t.study_instance_uid) from series s join study t on t.id = s.study_id""",
    "pack": "select to_jsonb(k) - '{id,created_at}'::text[] from pack k",
    "segment": """select to_jsonb(p) - '{id,study_id,series_id}'::text[] || jsonb_build_object(
      'study', t.study_instance_uid, 'series', s.series_instance_uid)
      from segment p join study t on t.id = p.study_id join series s on s.id = p.series_id""",
    "segment_data": """select to_jsonb(d) - 'segment_id' || jsonb_build_object('series', s.series_instance_uid)
      from segment_data d join segment p on p.id = d.segment_id join series s on s.id = p.series_id""",
    "zone": """select to_jsonb(z) - '{segment_id,path_id}'::text[] || jsonb_build_object(
      'series', s.series_instance_uid, 'path', h.path)
      from zone z join segment p on p.id = z.segment_id join series s on s.id = p.series_id
      join path h on h.id = z.path_id""",
    "instance": """select to_jsonb(i) - '{segment_id,pack_id}'::text[] || jsonb_build_object(
      'series', s.series_instance_uid, 'pack', k.object_key)
      from instance i join segment p on p.id = i.segment_id join series s on s.id = p.series_id
      join pack k on k.id = i.pack_id""",
    "event": "select to_jsonb(e) - '{id,at}'::text[] #- '{detail,study}' #- '{detail,series}' from event e",
    "term": """select to_jsonb(m) - 'path_id' || jsonb_build_object('path', h.path)
      from term m join path h on h.id = m.path_id""",
}
INDEXES = "select indexdef from pg_indexes where schemaname = 'public' order by 1"
CONSTRAINTS = """
select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
where connamespace = 'public'::regnamespace order by 1, 2
"""


async def _rows(database: Database) -> dict[str, list[str]]:
    async with database.connection() as connection:
        return {table: sorted(row[0] for row in await connection.fetch(query)) for table, query in ROWS.items()}


async def _definitions(database: Database) -> list[tuple[Any, ...]]:
    async with database.connection() as connection:
        rows = [*await connection.fetch(INDEXES), *await connection.fetch(CONSTRAINTS)]
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("shape", [Shape(34, 2), Shape(1, 2)], ids=["series of 34", "lone instances"])
async def test_bulk_loading_writes_the_rows_that_the_register_writes(database_server: TestServer, shape: Shape) -> None:
    urls = [database_server.url_of(await database_server.create_database()) for _ in range(2)]
    async with await Database.open(urls[0]) as registered:
        for number in range(3):
            await Register(registered).register(study_packs(number, shape), actor=ACTOR)
        # Terms hang on the secret of the archive.
        secret = await registered.term_secret()
        async with await Database.open(urls[1]) as loaded:
            async with loaded.connection() as connection:
                await connection.execute("update archive_state set value = $1 where name = 'term_secret'", secret)
            definitions = await _definitions(loaded)
            await fill(urls[1], shape, 3, sample=1, workers=0, say=lambda _: None)
            assert await _rows(loaded) == await _rows(registered)
            assert await _definitions(loaded) == definitions
