"""What a migration itself needs, Alembic and SQLAlchemy; `migrate` decides whether there is one to run."""

import logging
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection as SqlConnection
from sqlalchemy.ext.asyncio import create_async_engine

from dicomweb_archive.index.database.engine import Connection

# Its lines of information say less than ours.
logging.getLogger("alembic").setLevel(logging.WARNING)


async def run_migrations(connection: Connection, folder: Path) -> None:
    """Run all migrations of the folder that the database has not seen yet, in the session of this connection."""

    async def given() -> Any:
        return connection

    # The session that holds the lock and the time limits is the one that migrates.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=given)
    try:
        async with engine.connect() as sql_connection:
            await sql_connection.run_sync(_upgrade_on, alembic_configuration(folder))
            await sql_connection.commit()
    finally:
        await engine.dispose(close=False)


def alembic_configuration(folder: Path) -> Config:
    """Return the configuration by which Alembic finds the migrations."""
    config = Config()
    # ConfigParser would expand a percent sign of the path.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _upgrade_on(sql_connection: SqlConnection, config: Config) -> None:
    config.attributes["connection"] = sql_connection
    command.upgrade(config, "head")
