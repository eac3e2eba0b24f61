"""Database: the two connection pools of a process, their transactions, and driver errors in our words."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self, TypeAlias

import asyncpg
from asyncpg import exceptions

from dicomweb_archive.errors import (
    DatabaseUnavailableError,
    QueryTooExpensiveError,
    SetupError,
    StorageFullError,
)

OLDEST_SERVER = 15
"""Oldest major version of PostgreSQL that is supported."""

Connection: TypeAlias = Any
"""An `asyncpg.Connection` or its pool proxy; asyncpg ships no types that mypy could use."""

logger = logging.getLogger(__name__)

# What PostgreSQL or the driver says when trying again later may help (SQLSTATE classes 08, 53, 57P, 28, 3D).
_UNAVAILABLE = (
    exceptions.PostgresConnectionError,
    exceptions.InsufficientResourcesError,
    exceptions.AdminShutdownError,
    exceptions.CrashShutdownError,
    exceptions.CannotConnectNowError,
    exceptions.InvalidAuthorizationSpecificationError,
    exceptions.InvalidCatalogNameError,
    exceptions.LockNotAvailableError,
    exceptions.ReadOnlySQLTransactionError,
)

# How the driver says that a connection or pool is gone; it takes a lost one out of the borrower's hands.
_SIGNS_OF_LOSS = ("is closed", "is closing", "was closed", "released back to the pool")


@contextlib.contextmanager
def translated_errors(*, is_search: bool = False) -> Iterator[None]:
    """Turn what asyncpg and the socket raise into `ArchiveError`s; the body must hold database work only.

    Raises:
        QueryTooExpensiveError: a search ran into its time limit.
        StorageFullError: the database has no room left.
        DatabaseUnavailableError: the server is away, restarting, full of connections or refuses us, or another
            statement ran into its time limit.
    """
    try:
        yield
    except exceptions.QueryCanceledError as error:
        if is_search:
            message = "The statement took longer than it may; narrow the search"
            raise QueryTooExpensiveError(message) from error
        # A point query is never broad: it waited for somebody's lock, or the server is overloaded.
        message = "A statement took longer than it may; try again later"
        raise DatabaseUnavailableError(message) from error
    except exceptions.DiskFullError as error:
        message = "The disk of the database is full"
        raise StorageFullError(message) from error
    except _UNAVAILABLE as error:
        # The class alone: the server's own text may quote a value of the statement.
        message = f"The database cannot serve us now ({type(error).__name__})"
        raise DatabaseUnavailableError(message) from error
    except exceptions.InterfaceError as error:
        # The driver has one class for a connection that was lost and for our own mistakes; those stay bugs.
        if not any(sign in str(error) for sign in _SIGNS_OF_LOSS):
            raise
        message = "The connection to the database was closed"
        raise DatabaseUnavailableError(message) from error
    except exceptions.InternalClientError as error:
        # A statement met the server's farewell half read; asyncpg has no better class for that moment.
        message = "The connection to the database was closed"
        raise DatabaseUnavailableError(message) from error
    except OSError as error:
        # ConnectionRefusedError, a missing socket, and TimeoutError of the pool or of a statement.
        message = f"The database cannot be reached ({type(error).__name__})"
        raise DatabaseUnavailableError(message) from error


def asyncpg_url(url: str) -> str:
    """Return the URL in the form that asyncpg takes: SQLAlchemy's driver suffix is dropped."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        message = "The database URL must begin with postgresql://"
        raise SetupError(message)
    return f"postgresql://{rest}"


async def connect(url: str, *, timeout_seconds: float = 10, **settings: str) -> Connection:
    """Open one connection outside of any pool, for set-up work; `settings` are parameters of the session.

    Raises:
        SetupError: the URL is wrong, or the server is too old.
        DatabaseUnavailableError: the server cannot be reached.
    """
    dsn = asyncpg_url(url)
    with translated_errors(), _told_of_url():
        connection = await asyncpg.connect(
            dsn,
            timeout=timeout_seconds,
            server_settings={"application_name": "dicomweb-archive", "timezone": "UTC", **settings},
        )
    try:
        _refuse_old_server(connection)
    except SetupError:
        await connection.close()
        raise
    return connection


@contextlib.contextmanager
def _told_of_url() -> Iterator[None]:
    try:
        yield
    except (ValueError, exceptions.ClientConfigurationError) as error:
        # asyncpg's text may quote the password, so it stays out.
        message = "The database URL cannot be read; accepted: postgresql://user:password@host:port/database"
        raise SetupError(message) from error


def _refuse_old_server(connection: Connection) -> None:
    version: int = connection.get_server_version().major
    if version < OLDEST_SERVER:
        message = f"The server runs PostgreSQL {version}; {OLDEST_SERVER} or newer is needed"
        raise SetupError(message)


class _Sessions:
    """What is done with sessions when they come back to their pool: nothing, unless their borrower was interrupted.

    Nobody changes a session outside of a transaction, and asyncpg has already rolled back what was open. Its own reset
    is one more round trip for every statement (an estimated 60 µs), to undo a `SET` that the index never makes.

    Who is interrupted between preparing a statement and beginning it leaves the server waiting for the rest, in a
    transaction that holds its locks: a search that nobody waits for would keep a migration from its table.
    """

    def __init__(self) -> None:
        # By the process ids of the server's side, which asyncpg tells of a connection wherever it is.
        self._interrupted: set[int] = set()

    def note_interrupted(self, pid: int) -> None:
        """Take note that somebody was interrupted who had the connection to this process of the server."""
        self._interrupted.add(pid)

    async def reset(self, connection: Connection) -> None:
        """Bring the server to the end of what it was told, where that may be open."""
        if self._interrupted and (pid := connection.get_server_pid()) in self._interrupted:
            self._interrupted.discard(pid)
            await connection.execute("select")


class Database:
    """The database as one process sees it: a pool for short hot statements and one for searches.

    Searches get plans made for their values, because a generic plan picks the wrong index for patterns and
    ranges (spike: 28 ms against 0.4), may only read, and end at a time limit. Build it with `open`.
    """

    def __init__(
        self, point_pool: Any, search_pool: Any, sessions: _Sessions, *, acquire_timeout_seconds: float
    ) -> None:
        self._point_pool = point_pool
        self._search_pool = search_pool
        self._sessions = sessions
        self._acquire_timeout_seconds = acquire_timeout_seconds

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        point_connections: int = 8,
        search_connections: int = 4,
        statement_timeout_seconds: float = 60,
        search_timeout_seconds: float = 10,
        acquire_timeout_seconds: float = 10,
    ) -> Self:
        """Open both pools; connections beyond the first of each are made when they are needed.

        Raises:
            SetupError: the URL is wrong, or the server is too old.
            DatabaseUnavailableError: the server cannot be reached.
        """
        sessions = _Sessions()
        point_pool = await _open_pool(url, sessions, point_connections, statement_timeout_seconds, {})
        try:
            async with point_pool.acquire() as connection:
                _refuse_old_server(connection)
            search_pool = await _open_pool(
                url,
                sessions,
                search_connections,
                search_timeout_seconds,
                {"plan_cache_mode": "force_custom_plan", "default_transaction_read_only": "on"},
            )
        except BaseException:
            point_pool.terminate()
            raise
        return cls(point_pool, search_pool, sessions, acquire_timeout_seconds=acquire_timeout_seconds)

    async def close(self, *, timeout_seconds: float = 5) -> None:
        """Close both pools; a connection that is still busy after the timeout is cut."""
        for pool in (self._search_pool, self._point_pool):
            try:
                async with asyncio.timeout(timeout_seconds):
                    await pool.close()
            except TimeoutError:
                logger.warning("database connections were still busy and have been cut")
                pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Borrow a connection for short statements, each a transaction of its own.

        Raises:
            DatabaseUnavailableError, StorageFullError: see `translated_errors`.
        """
        with translated_errors():
            async with self._point_pool.acquire(timeout=self._acquire_timeout_seconds) as connection:
                # Asked now: a connection that breaks is taken out of its borrower's hands.
                pid = connection.get_server_pid()
                try:
                    yield connection
                except (asyncio.CancelledError, GeneratorExit):
                    self._sessions.note_interrupted(pid)
                    raise

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Borrow a connection in a transaction: committed at the end, rolled back by any exception.

        Raises:
            DatabaseUnavailableError, StorageFullError: see `translated_errors`.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    @contextlib.asynccontextmanager
    async def search_connection(self) -> AsyncIterator[Connection]:
        """Borrow a connection for a search: read only, custom plans, ended at the search time limit.

        Raises:
            QueryTooExpensiveError: the search was too broad.
            DatabaseUnavailableError: see `translated_errors`.
        """
        with translated_errors(is_search=True):
            async with self._search_pool.acquire(timeout=self._acquire_timeout_seconds) as connection:
                # Asked now: a connection that breaks is taken out of its borrower's hands.
                pid = connection.get_server_pid()
                try:
                    yield connection
                except (asyncio.CancelledError, GeneratorExit):
                    self._sessions.note_interrupted(pid)
                    raise

    async def ping(self) -> None:
        """Prove that the database answers, for the readiness probe.

        Raises:
            DatabaseUnavailableError: it does not.
        """
        async with self.connection() as connection:
            await connection.fetchval("select 1")

    async def term_secret(self) -> bytes:
        """Return the secret that keys the hashes of terms; it never changes in the life of an archive."""
        async with self.connection() as connection:
            secret: bytes = await connection.fetchval("select value from archive_state where name = 'term_secret'")
        return secret


async def _open_pool(url: str, sessions: _Sessions, size: int, timeout_seconds: float, settings: dict[str, str]) -> Any:
    dsn = asyncpg_url(url)
    with translated_errors(), _told_of_url():
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            # The server ends a statement at its limit; ours is for a server that no longer answers at all.
            command_timeout=timeout_seconds + 5,
            timeout=10,
            reset=sessions.reset,
            server_settings={
                "application_name": "dicomweb-archive",
                "timezone": "UTC",
                "jit": "off",
                "statement_timeout": str(int(timeout_seconds * 1000)),
                "idle_in_transaction_session_timeout": "60000",
                **settings,
            },
        )
