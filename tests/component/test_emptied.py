"""Databases of tests: one that was used is as new for the next test, or is not used again."""

import pytest
from asyncpg import InterfaceError, PostgresError
from tests.database import TestServer
from tests.factories import ct_series
from tests.stored import pack_of, segment_of

from dicomweb_archive.index.database.engine import Connection, Database, connect
from dicomweb_archive.index.writing.register import Register

_TABLES = "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind = $1 order by 1"
_COUNTED = "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables"


async def content(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows, and where all sequences stand."""
    names = [row["relname"] for kind in (b"r", b"S") for row in await connection.fetch(_TABLES, kind)]
    return {name: sorted(map(tuple, await connection.fetch(f"table {name}")), key=str) for name in names}


async def test_a_database_that_was_filled_is_as_new(database_server: TestServer) -> None:
    new = await database_server.create_database()
    used = await database_server.borrow_database()
    async with await Database.open(database_server.url_of(used)) as database:
        await Register(database).register([pack_of(segment_of(ct_series(2)))], actor="tester")
        async with database.transaction() as connection:
            await connection.execute("delete from archive_state")
            await connection.execute("update collection set title = 'Other'")
    database_server.return_database(used)
    again = await database_server.borrow_database()
    assert again == used
    connections = [await connect(database_server.url_of(name)) for name in (new, again)]
    expected, found = [await content(connection) for connection in connections]
    # How far the log of a sequence reaches says nothing.
    assert {name: [row[:1] for row in rows] for name, rows in found.items()} == {
        name: [row[:1] for row in rows] for name, rows in expected.items()
    }
    assert found["archive_state"] == expected["archive_state"]
    assert found["collection"] == expected["collection"]
    assert await connections[1].fetchval(_COUNTED) == 0
    for connection in connections:
        await connection.close()
    database_server.return_database(again)
    await database_server.drop_database(new)


@pytest.mark.parametrize("statement", ["alter table study add note text", "analyze space", "truncate event"])
async def test_a_database_of_which_more_than_rows_has_changed_is_not_used_again(
    database_server: TestServer, statement: str
) -> None:
    used = await database_server.borrow_database()
    connection = await connect(database_server.url_of(used))
    await connection.execute(statement)
    await connection.close()
    database_server.return_database(used)
    other = await database_server.borrow_database()
    assert other != used
    database_server.return_database(other)


async def test_a_database_that_is_still_used_is_not_given_to_another(database_server: TestServer) -> None:
    used = await database_server.borrow_database()
    connection = await connect(database_server.url_of(used))
    database_server.return_database(used)
    other = await database_server.borrow_database()
    assert other != used
    database_server.return_database(other)
    with pytest.raises((PostgresError, InterfaceError)):
        await connection.execute("select 1")
