"""A real PostgreSQL for tests: one server a test process, one fresh copy of the migrated database a test."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tests.clusters import MIGRATED, open_folder, put_cluster

from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Database, connect

_DROP = "drop database {} with (force)"

_numbers = itertools.count(1)


class TestServer:
    """A private server with a migrated template database. Build it with `running_server`."""

    __test__ = False

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._left: list[str] = []

    @property
    def url(self) -> str:
        """URL of the server's own database."""
        return self._postgres.url

    def url_of(self, database: str) -> str:
        """URL of another database of this server."""
        return self.url.replace("@/postgres?", f"@/{database}?")

    async def create_database(self, *, template: str = MIGRATED) -> str:
        """Create a database as a copy of the template and return its name; some 20 ms."""
        name = f"test_{next(_numbers)}"
        left, self._left = self._left, []
        drops = [_DROP.format(each) for each in left]
        await self.execute(*drops, f"create database {name} template {template} strategy file_copy")
        return name

    def leave_database(self, name: str) -> None:
        """Let a database be dropped with the next one that is created: that saves a connection."""
        self._left.append(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database, cutting connections that a failed test left open."""
        await self.execute(_DROP.format(name))

    async def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own, in the server's own database."""
        connection = await connect(self.url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def running_server(folder: Path) -> Iterator[TestServer]:
    """Start a server without fsync in the folder, and stop it at the end."""
    put_cluster(folder)
    with EmbeddedPostgres(folder, durable=False, max_connections=200) as postgres:
        yield TestServer(postgres)


@pytest.fixture(scope="session")
def database_server() -> Iterator[TestServer]:
    """The private server of this test process."""
    with open_folder() as folder, running_server(folder) as server:
        yield server


@pytest_asyncio.fixture
async def database_url(database_server: TestServer) -> AsyncIterator[str]:
    """URL of a fresh, migrated database, dropped after the test."""
    name = await database_server.create_database()
    yield database_server.url_of(name)
    database_server.leave_database(name)


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated database, open."""
    async with await Database.open(database_url) as database:
        yield database
