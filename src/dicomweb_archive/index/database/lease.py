"""Lease: work that only one process of the archive does at a time."""

import contextlib
from collections.abc import AsyncIterator

from asyncpg import exceptions

from dicomweb_archive.index.database.engine import Connection, Database

# Any number does, as long as it is always this one: "DICU" in ASCII.
MAINTENANCE_LOCK = 0x44494355

TAKE = "select pg_try_advisory_lock($1)"
GIVE_BACK = "select pg_advisory_unlock($1)"


@contextlib.asynccontextmanager
async def maintenance_lease(database: Database) -> AsyncIterator[Connection | None]:
    """Give a connection that holds the lease for this block, or `None` when another process holds it.

    A process that dies gives the lease back with its connection.
    """
    async with database.connection() as connection:
        if not await connection.fetchval(TAKE, MAINTENANCE_LOCK):
            yield None
            return
        try:
            yield connection
        finally:
            # A connection that is lost has given it back already.
            with contextlib.suppress(exceptions.InterfaceError, exceptions.PostgresConnectionError, OSError):
                await connection.execute(GIVE_BACK, MAINTENANCE_LOCK)
