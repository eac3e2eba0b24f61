"""Migrations: they make what the tables say, run once however many start, and refuse what they do not know."""

import asyncio
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine
from tests.database import TestServer

from dicomweb_archive.errors import DatabaseUnavailableError, SetupError
from dicomweb_archive.index.database.engine import Database, connect
from dicomweb_archive.index.database.migrate import check_schema, migrations_folder, newest_revision, upgrade
from dicomweb_archive.index.database.migrating import alembic_configuration
from dicomweb_archive.index.database.tables import metadata

# All that PostgreSQL knows of the tables, by name, so that two databases can be compared.
CATALOGUE = """
select 'column' as kind, c.relname || '.' || a.attname as name,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull::text, a.attidentity, co.collname,
                 a.attstorage, a.attstattarget, pg_get_expr(d.adbin, d.adrelid)) as definition
  from pg_attribute a join pg_class c on c.oid = a.attrelid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  left join pg_collation co on co.oid = a.attcollation
 where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
union all
select 'index', c.relname, pg_get_indexdef(c.oid) from pg_class c
 where c.relnamespace = 'public'::regnamespace and c.relkind = 'i'
union all
select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) from pg_constraint
 where connamespace = 'public'::regnamespace and conrelid <> 0
union all
select 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all
select 'options', relname, array_to_string(reloptions, ',') from pg_class
 where relnamespace = 'public'::regnamespace and relkind = 'r'
"""


async def catalogue(url: str) -> dict[tuple[str, str], str]:
    connection = await connect(url)
    try:
        rows = await connection.fetch(CATALOGUE)
    finally:
        await connection.close()
    return {
        (row["kind"], row["name"]): row["definition"] for row in rows if not row["name"].startswith("alembic_version")
    }


@pytest.fixture
async def empty_url(database_server: TestServer):
    name = await database_server.create_database(template="template0")
    yield database_server.url_of(name)
    await database_server.drop_database(name)


async def test_the_migrated_schema_is_the_one_of_the_table_definitions(database_url: str, empty_url: str) -> None:
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: connect(empty_url))
    async with engine.begin() as connection:
        await connection.exec_driver_sql("create extension pg_trgm")
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    assert await catalogue(database_url) == await catalogue(empty_url)


def test_each_file_of_a_migration_begins_with_its_revision_and_the_last_is_the_newest() -> None:
    scripts = ScriptDirectory.from_config(alembic_configuration(migrations_folder()))
    for script in scripts.walk_revisions():
        assert Path(script.path).name.startswith(f"{script.revision}_")
    assert scripts.get_heads() == [newest_revision()]


async def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    before = await catalogue(database_url)
    await upgrade(database_url)
    assert await catalogue(database_url) == before
    await check_schema(database_url)


async def test_several_starters_at_once_upgrade_once(empty_url: str) -> None:
    await asyncio.gather(*(upgrade(empty_url) for _ in range(4)))
    await check_schema(empty_url)
    connection = await connect(empty_url)
    assert await connection.fetchval("select count(*) from archive_state") == 3
    await connection.close()


async def test_a_starter_gives_up_on_a_lock_that_is_never_released(database_url: str, empty_url: str) -> None:
    holder = await connect(empty_url)
    await holder.execute("select pg_advisory_lock($1)", 0x4449434D)
    try:
        with pytest.raises(SetupError, match="upgrading the database for too long"):
            await upgrade(empty_url, wait_seconds=0.2)
    finally:
        await holder.close()


async def test_a_new_archive_has_its_space_collection_and_own_secret(database: Database) -> None:
    async with database.connection() as connection:
        assert await connection.fetchval("select name from space where id = 1") == "archive"
        assert await connection.fetchval("select accession from collection where id = 1") == "default"
        assert len(await connection.fetchval("select value from archive_state where name = 'archive_uuid'")) == 16
    assert len(await database.term_secret()) == 16


async def test_two_archives_have_different_secrets(empty_url: str, database: Database) -> None:
    await upgrade(empty_url)
    async with await Database.open(empty_url) as other:
        assert await other.term_secret() != await database.term_secret()


async def test_an_empty_database_is_refused_with_the_command_that_fills_it(empty_url: str) -> None:
    with pytest.raises(SetupError, match="no schema yet; run `dicomweb-archive database upgrade`"):
        await check_schema(empty_url)


async def test_the_schema_of_a_newer_release_is_refused(database_url: str) -> None:
    connection = await connect(database_url)
    await connection.execute("update alembic_version set version_num = '9999'")
    await connection.close()
    for attempt in (check_schema, upgrade):
        with pytest.raises(SetupError, match=rf"schema 9999, which this release \({newest_revision()} "):
            await attempt(database_url)


async def test_a_server_that_is_away_is_unavailable(empty_url: str) -> None:
    with pytest.raises(DatabaseUnavailableError):
        await upgrade("postgresql://archive@/postgres?host=/nowhere")
