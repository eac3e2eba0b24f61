"""Migrations: bring the schema to this release's, one starter at a time, and refuse one we do not know."""

import asyncio
import logging
from pathlib import Path

from asyncpg import exceptions

import dicomweb_archive
from dicomweb_archive.errors import SetupError
from dicomweb_archive.index.database.engine import Connection, connect, translated_errors

# Any number does, as long as it is always this one: "DICM" in ASCII.
MIGRATION_LOCK = 0x4449434D

_POLL_SECONDS = 0.1

logger = logging.getLogger(__name__)


def migrations_folder() -> Path:
    """Return the folder of the migrations: inside the installed package, or beside `src` in a checkout.

    Raises:
        SetupError: the installation lacks them.
    """
    package = Path(dicomweb_archive.__file__).parent
    for folder in (package / "migrations", package.parent.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    message = "The migrations are missing from this installation; install dicomweb-archive again"
    raise SetupError(message)


def newest_revision() -> str:
    """Return the revision of the schema that this release works with."""
    return max(_revisions())


async def upgrade(url: str, *, wait_seconds: float = 600) -> None:
    """Bring the schema to the newest revision; harmless when it is there already.

    Several starters may call this at once: an advisory lock lets one work and the others wait.

    Raises:
        SetupError: the schema is newer than this release, or another starter holds the lock for too long.
        DatabaseUnavailableError: the server cannot be reached.
    """
    # A migration that waits for a lock blocks everybody behind it: it gives up soon and is tried again.
    connection = await connect(url, lock_timeout="10s", statement_timeout="1h", jit="off")
    try:
        await _wait_for_lock(connection, wait_seconds)
        present = await _known_revision(connection)
        if present != newest_revision():
            logger.info("upgrading the schema from %s to %s", present or "nothing", newest_revision())
            # Read late: of most starts none migrates, and what it needs is half of what a command reads.
            from dicomweb_archive.index.database.migrating import run_migrations

            with translated_errors():
                await run_migrations(connection, migrations_folder())
    finally:
        # Closing the session gives the lock back, whatever happened.
        await connection.close()


async def check_schema(url: str) -> None:
    """Make sure that the schema is the one that this release works with.

    Raises:
        SetupError: it is older, newer or absent; the message says the way out.
        DatabaseUnavailableError: the server cannot be reached.
    """
    connection = await connect(url)
    try:
        present = await _known_revision(connection)
    finally:
        await connection.close()
    if present != newest_revision():
        state = "has no schema yet" if present is None else "has the schema of an older release"
        message = f"The database {state}; run `dicomweb-archive database upgrade`"
        raise SetupError(message)


async def _wait_for_lock(connection: Connection, wait_seconds: float) -> None:
    deadline = asyncio.get_running_loop().time() + wait_seconds
    with translated_errors():
        while not await connection.fetchval("select pg_try_advisory_lock($1)", MIGRATION_LOCK):
            if asyncio.get_running_loop().time() > deadline:
                message = "Another process has been upgrading the database for too long; see pg_stat_activity"
                raise SetupError(message)
            await asyncio.sleep(_POLL_SECONDS)


async def _known_revision(connection: Connection) -> str | None:
    """Return the revision of the schema, `None` for an empty database.

    Raises:
        SetupError: this release does not know the revision.
    """
    with translated_errors():
        try:
            revision: str | None = await connection.fetchval("select version_num from alembic_version")
        except exceptions.UndefinedTableError:
            return None
    if revision is None:
        return None
    if revision not in _revisions():
        message = (
            f"The database has schema {revision}, which this release ({newest_revision()} is its newest) does "
            "not know: a newer release has upgraded it. Start that release, or restore a backup made before"
        )
        raise SetupError(message)
    return revision


def _revisions() -> set[str]:
    """Return the revisions that this release knows; each is the number that its file's name begins with."""
    return {file.name.partition("_")[0] for file in (migrations_folder() / "versions").glob("[0-9]*.py")}
