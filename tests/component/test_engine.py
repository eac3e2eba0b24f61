"""Pools, transactions, and driver errors in our words."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.database import TestServer

from dicomweb_archive.errors import DatabaseUnavailableError, QueryTooExpensiveError, SetupError
from dicomweb_archive.index.database import engine
from dicomweb_archive.index.database.engine import Database, connect


async def test_a_transaction_is_kept_when_its_block_ends(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("insert into path (path, vr) values ('00100020', 'LO')")
    async with database.connection() as connection:
        assert await connection.fetchval("select vr from path") == "LO"


async def test_a_transaction_is_rolled_back_by_any_exception(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.transaction() as connection:
            await connection.execute("insert into path (path, vr) values ('00100020', 'LO')")
            raise KeyError
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from path") == 0


async def test_a_cancelled_transaction_is_rolled_back_and_its_connection_used_again(database_url: str) -> None:
    async with await Database.open(database_url, point_connections=1) as database:
        begun = asyncio.Event()

        async def slow() -> None:
            async with database.transaction() as connection:
                await connection.execute("insert into path (path, vr) values ('00100020', 'LO')")
                begun.set()
                await connection.execute("select pg_sleep(60)")

        task = asyncio.create_task(slow())
        await begun.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with database.connection() as connection:
            assert await connection.fetchval("select count(*) from path") == 0


async def test_who_is_interrupted_before_a_statement_begins_leaves_no_transaction_open(database: Database) -> None:
    with pytest.raises(asyncio.CancelledError):
        async with database.search_connection() as connection:
            pid = connection.get_server_pid()
            await connection.prepare("select vr from path")
            raise asyncio.CancelledError
    async with database.connection() as watching:
        assert await watching.fetchval("select state from pg_stat_activity where pid = $1", pid) == "idle"
        assert not await watching.fetch("select from pg_locks where pid = $1", pid)


async def test_searches_may_only_read_and_get_plans_for_their_values(database: Database) -> None:
    async with database.search_connection() as connection:
        assert await connection.fetchval("show plan_cache_mode") == "force_custom_plan"
        assert await connection.fetchval("show jit") == "off"
        assert await connection.fetchval("show timezone") == "UTC"
    with pytest.raises(DatabaseUnavailableError, match="ReadOnly"):
        async with database.search_connection() as connection:
            await connection.execute("insert into path (path, vr) values ('00100020', 'LO')")


async def test_a_search_beyond_its_time_is_too_expensive(database_url: str) -> None:
    async with await Database.open(database_url, search_timeout_seconds=0.5) as database:
        with pytest.raises(QueryTooExpensiveError):
            async with database.search_connection() as connection:
                await connection.execute("select pg_sleep(10)")
        async with database.search_connection() as connection:
            assert await connection.fetchval("select 1") == 1


async def test_another_statement_beyond_its_time_is_to_be_tried_again(database_url: str) -> None:
    """A store or delete that waited too long for a lock is not told to narrow its search."""
    async with await Database.open(database_url, statement_timeout_seconds=0.5) as database:
        with pytest.raises(DatabaseUnavailableError, match="try again"):
            async with database.transaction() as connection:
                await connection.execute("select pg_sleep(10)")
        await database.ping()


async def test_an_exhausted_pool_is_unavailable_not_a_wait_without_end(database_url: str) -> None:
    async with await Database.open(database_url, point_connections=1, acquire_timeout_seconds=0.1) as database:
        async with database.connection():
            with pytest.raises(DatabaseUnavailableError, match="TimeoutError"):
                await database.ping()
        await database.ping()


async def test_a_connection_that_the_server_cut_is_unavailable_once(database_url: str) -> None:
    async with await Database.open(database_url, point_connections=1) as database:
        async with database.connection() as connection:
            process = await connection.fetchval("select pg_backend_pid()")
        killer = await connect(database_url)
        with pytest.raises(DatabaseUnavailableError):
            async with database.connection() as connection:
                await killer.execute("select pg_terminate_backend($1)", process)
                await connection.fetchval("select pg_sleep(5)")
        await killer.close()
        await database.ping()


async def test_a_closed_database_is_unavailable(database_url: str) -> None:
    database = await Database.open(database_url)
    await database.close()
    with pytest.raises(DatabaseUnavailableError):
        await database.ping()


async def test_closing_cuts_what_is_still_busy(database_url: str) -> None:
    database = await Database.open(database_url)
    async with database.connection():
        await database.close(timeout_seconds=0.1)


async def test_our_own_mistakes_stay_bugs(database: Database) -> None:
    with pytest.raises(Exception, match="no_such_table") as caught:
        async with database.connection() as connection:
            await connection.execute("select * from no_such_table")
    assert type(caught.value).__module__.startswith("asyncpg")


async def test_errors_never_quote_what_the_server_says(database_server: TestServer) -> None:
    with pytest.raises(DatabaseUnavailableError) as caught:
        await Database.open(database_server.url_of("secret_name"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["mysql://u:secret@h/d", "not a url", "postgresql://u:secret@h:notaport/d"],
    ids=["another database", "no URL", "a bad port"],
)
async def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        await Database.open(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("opened_by", [Database.open, connect], ids=["for serving", "for setting up"])
async def test_an_old_server_is_refused(
    database_url: str, opened_by: Callable[[str], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "OLDEST_SERVER", 99)
    with pytest.raises(SetupError, match="99 or newer is needed"):
        await opened_by(database_url)


async def test_the_driver_suffix_of_sqlalchemy_is_understood(database_url: str) -> None:
    async with await Database.open(database_url.replace("postgresql:", "postgresql+asyncpg:")) as database:
        await database.ping()
