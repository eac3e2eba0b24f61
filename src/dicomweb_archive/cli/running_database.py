"""The database that a command works on, started for it where nobody else runs it."""

import contextlib
from collections.abc import Iterator

from dicomweb_archive.errors import SetupError
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import asyncpg_url
from dicomweb_archive.settings import Settings


@contextlib.contextmanager
def running_database(settings: Settings, *, create: bool = True) -> Iterator[str]:
    """Give the URL of the database, started for this block when it is private and does not run."""
    if settings.database_url is not None:
        yield asyncpg_url(settings.database_url.get_secret_value())
        return
    postgres = EmbeddedPostgres(settings.data_dir)
    if not create and not postgres.cluster.exists():
        message = f"There is no private database in {postgres.data_dir}; `serve` or `database upgrade` makes one"
        raise SetupError(message)
    try:
        postgres.start()
    except SetupError:
        # In use by a running archive: so is its server.
        url = postgres.running_url()
        if url is None:
            raise
        yield url
        return
    try:
        yield postgres.url
    finally:
        postgres.stop()
