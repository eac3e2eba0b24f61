"""Databases of tests that are emptied and used again: that takes PostgreSQL a tenth of making and dropping one."""

import asyncio
import contextlib
from typing import Self

import asyncpg

from dicomweb_archive.index.database.engine import Connection, connect

# What is deleted leaves dead rows behind, in tables and in indexes.
_MOST_USES = 40
_PATIENCE_SECONDS = 0.5

_TABLES = """
select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1
"""
_SEQUENCES = """
select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind = 'S' order by 1
"""

# Counts what was written to the catalogue of this database since the counters were reset, and what vacuum found:
# tests that change tables, or have them analysed, leave a database that is not as new.
_CHANGES = """
select array[
  sum(pg_stat_get_tuples_inserted(oid) + pg_stat_get_tuples_updated(oid) + pg_stat_get_tuples_deleted(oid))
    filter (where relnamespace = 'pg_catalog'::regnamespace),
  sum(relpages) filter (where relnamespace = 'public'::regnamespace)]::text
from pg_class where not relisshared and relkind in ('r', 'i')
"""
_USERS = "select pg_stat_get_db_numbackends(oid) from pg_database where datname = current_database()"


class ReusedDatabase:
    """A database that is as new when it has been emptied. Build it with `opened`."""

    def __init__(self, name: str, connection: Connection, as_new: str) -> None:
        self.name = name
        self._connection = connection
        self._as_new = as_new
        self._uses = 1

    @classmethod
    async def opened(cls, name: str, url: str) -> Self:
        """Look at a new database: what it holds now is what it is emptied to."""
        # Without constraints in the way, and without a trace in the counters that tests and upkeep read.
        connection = await connect(url, session_replication_role="replica", track_counts="off")
        statements = []
        for row in await connection.fetch(_TABLES):
            table = row["relname"]
            statements.append(f"delete from {table}")
            if await connection.fetchval(f"select exists (select from {table})"):
                await connection.execute(f"create temporary table kept_{table} as table {table}")
                statements.append(f"insert into {table} table kept_{table}")
        for row in await connection.fetch(_SEQUENCES):
            value, called = await connection.fetchrow(f"select last_value, is_called from {row['relname']}")
            statements.append(f"perform setval('{row['relname']}', {value}, {called})")
        body = "; ".join([*statements, "perform pg_stat_reset()"])
        await connection.execute(
            f"create function pg_temp.empty() returns void language plpgsql as $$ begin {body}; end $$"
        )
        await connection.execute("select pg_stat_reset()")
        return cls(name, connection, await connection.fetchval(_CHANGES))

    async def empty(self) -> bool:
        """Make it as new; False when it cannot be, since somebody still uses it or has changed more than rows."""
        self._uses += 1
        if self._uses > _MOST_USES:
            return False
        try:
            if not await self._is_left() or await self._connection.fetchval(_CHANGES) != self._as_new:
                return False
            await self._connection.execute("select pg_temp.empty()")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            # Some tests end every connection that there is, or leave locks.
            return False
        return True

    async def _is_left(self) -> bool:
        """Wait until we are alone with it: connections end, and tell what they counted, after they were closed."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while await self._connection.fetchval(_USERS) > 1:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.002)
        return True

    async def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await self._connection.close(timeout=_PATIENCE_SECONDS)
