"""A real PostgreSQL for tests: one server a test process, a database that is as new for each test."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from tests.clusters import MIGRATED, open_folder, put_cluster
from tests.emptied import ReusedDatabase

from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Connection, Database, connect

_DROP = "drop database {} with (force)"

Result = TypeVar("Result")

_numbers = itertools.count(1)


class TestServer:
    """A private server with a migrated template database. Build it with `running_server`."""

    __test__ = False

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._left: list[ReusedDatabase] = []
        self._borrowed: dict[str, ReusedDatabase] = {}
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        # Connections that outlive a test need a loop that does.
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="test-databases", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """URL of the server's own database."""
        return self._postgres.url

    def url_of(self, database: str) -> str:
        """URL of another database of this server."""
        return self.url.replace("@/postgres?", f"@/{database}?")

    async def borrow_database(self) -> str:
        """Return the name of a migrated database that holds nothing; somebody else may have used it before."""
        return await self._aside(self._borrow())

    def return_database(self, name: str) -> None:
        """Let a borrowed database be emptied when it is needed again."""
        self._left.append(self._borrowed.pop(name))

    async def create_database(self, *, template: str = MIGRATED) -> str:
        """Create a database as a copy of the template and return its name; some 20 ms."""
        name = f"test_{next(_numbers)}"
        await self.execute(f"create database {name} template {template} strategy file_copy")
        return name

    async def drop_database(self, name: str) -> None:
        """Drop a database, cutting connections that a failed test left open."""
        await self.execute(_DROP.format(name))

    async def execute(self, statement: str) -> None:
        """Run a statement in the server's own database."""
        await self._aside(self._execute(statement))

    def close(self) -> None:
        """Close the connections to databases that wait to be used again."""
        asyncio.run(self._aside(self._close()))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _borrow(self) -> str:
        while self._left:
            found = self._left.pop()
            if await found.empty():
                break
            await found.close()
            await self._execute(_DROP.format(found.name))
        else:
            name = f"test_{next(_numbers)}"
            await self._execute(f"create database {name} template {MIGRATED} strategy file_copy")
            found = await ReusedDatabase.opened(name, self.url_of(name))
        self._borrowed[found.name] = found
        return found.name

    async def _execute(self, statement: str) -> None:
        async with self._turn:
            self._connection = self._connection or await connect(self.url)
            await self._connection.execute(statement)

    async def _close(self) -> None:
        for database in [*self._left, *self._borrowed.values()]:
            await database.close()
        if self._connection is not None:
            await self._connection.close()

    async def _aside(self, work: Coroutine[Any, Any, Result]) -> Result:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


@contextmanager
def running_server(folder: Path) -> Iterator[TestServer]:
    """Start a server without fsync in the folder, and stop it at the end."""
    put_cluster(folder)
    with EmbeddedPostgres(folder, durable=False, max_connections=200) as postgres:
        server = TestServer(postgres)
        yield server
        server.close()


@pytest.fixture(scope="session")
def database_server() -> Iterator[TestServer]:
    """The private server of this test process."""
    with open_folder() as folder, running_server(folder) as server:
        yield server


@pytest_asyncio.fixture
async def database_url(database_server: TestServer) -> AsyncIterator[str]:
    """URL of a migrated database of the test's own that holds nothing."""
    name = await database_server.borrow_database()
    yield database_server.url_of(name)
    database_server.return_database(name)


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database of the test's own that holds nothing, open."""
    async with await Database.open(database_url) as database:
        yield database
