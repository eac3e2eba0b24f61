"""`dicomweb-archive database`: look after the archive's database, private or the operator's own."""

import asyncio
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import click

from dicomweb_archive.cli.configuration import read_settings
from dicomweb_archive.cli.running_database import running_database
from dicomweb_archive.errors import SetupError
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.migrate import check_schema, newest_revision, upgrade
from dicomweb_archive.index.upkeep.merging import Merged, SegmentMerger
from dicomweb_archive.index.upkeep.statistics import IndexUpkeep
from dicomweb_archive.index.writing.packs import PackIndex
from dicomweb_archive.observability import configure_logging
from dicomweb_archive.services.maintenance import IndexMaintenance, MaintenanceService, Orphans
from dicomweb_archive.services.own_objects import open_own_objects
from dicomweb_archive.settings import Settings


@click.group()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the private database [env: DICOMWEB_ARCHIVE_DATA_DIR].",
)
@click.pass_context
def database(context: click.Context, data_dir: Path | None) -> None:
    """Look after the database: the one of DICOMWEB_ARCHIVE_DATABASE_URL, or the private one.

    A private database is started for as long as the command needs it; one that a running archive has started
    is used as it is.
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings.log_level, settings.log_format)
    context.obj = settings


@database.command("upgrade")
@click.pass_obj
def upgrade_command(settings: Settings) -> None:
    """Bring the schema to this release's; `serve` does so by itself."""
    with running_database(settings) as url:
        asyncio.run(upgrade(url))
    click.echo(f"The schema is at revision {newest_revision()}.")


@database.command()
@click.pass_obj
def check(settings: Settings) -> None:
    """Say whether the database can be reached and has this release's schema."""
    with running_database(settings, create=False) as url:
        asyncio.run(check_schema(url))
    click.echo(f"The database answers and its schema is at revision {newest_revision()}.")


@database.command()
@click.pass_obj
def start(settings: Settings) -> None:
    """Run the private database alone in the foreground, until Ctrl-C or SIGTERM."""
    if settings.database_url is not None:
        message = "DICOMWEB_ARCHIVE_DATABASE_URL is set: that server is yours to start"
        raise SetupError(message)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with EmbeddedPostgres(settings.data_dir) as postgres:
        click.echo(f"The database runs at {postgres.url}\nStop with Ctrl-C.")
        while not stop.wait(0.5):
            if postgres.process_id is None:
                message = f"PostgreSQL has ended, see {postgres.log_file}"
                raise SetupError(message)


@database.command("url")
@click.pass_obj
def url_command(settings: Settings) -> None:
    """Print the URL of the database that runs now, with its password if it has one."""
    if settings.database_url is not None:
        click.echo(settings.database_url.get_secret_value())
        return
    url = EmbeddedPostgres(settings.data_dir).running_url()
    if url is None:
        message = "The private database does not run; start it with `serve` or `database start`"
        raise SetupError(message)
    click.echo(url)


@database.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def shell(settings: Settings, arguments: tuple[str, ...]) -> None:
    """Open psql on the database; further arguments go to psql."""
    with running_database(settings, create=False) as url:
        status = _run_program("psql", url, *arguments)
    raise click.exceptions.Exit(status)


@database.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def backup(settings: Settings, file: Path) -> None:
    """Write a backup of the database to FILE (pg_dump, custom format), also while the archive runs.

    The packs in the object store are not in it: back them up after the database, see docs/operations.md.
    """
    unfinished = file.with_name(file.name + ".unfinished")
    with running_database(settings, create=False) as url:
        status = _run_program("pg_dump", "--format=custom", "--no-owner", f"--file={unfinished}", url)
    if status != 0:
        unfinished.unlink(missing_ok=True)
        message = "pg_dump failed; nothing was written"
        raise SetupError(message)
    unfinished.replace(file)
    click.echo(f"Wrote {file} ({file.stat().st_size:,} bytes).")


@database.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def restore(settings: Settings, file: Path) -> None:
    """Fill an empty database from a backup FILE; one that holds an archive is refused."""
    with running_database(settings) as url:
        try:
            asyncio.run(check_schema(url))
        except SetupError:
            pass
        else:
            message = "The database holds an archive already; restore into an empty one (another data folder)"
            raise SetupError(message)
        words = ("--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={url}")
        if _run_program("pg_restore", *words, str(file)) != 0:
            message = "pg_restore failed; the database is as it was"
            raise SetupError(message)
        asyncio.run(upgrade(url))
    click.echo("The database is restored and its schema up to date.")


@database.command()
@click.option("--delete", is_flag=True, help="Delete them; without it they are only counted.")
@click.pass_obj
def orphans(settings: Settings, delete: bool) -> None:
    """Find objects older than a day that no row refers to, also while the archive runs.

    Crashes and broken connections leave them behind. After an older backup was restored, what was stored since
    is among them: then do not delete.
    """
    with running_database(settings, create=False) as url:
        found = asyncio.run(_find_orphans(url, settings, delete=delete))
    click.echo(f"{len(found.found):,} objects without a row ({found.size_bytes:,} bytes), {found.known:,} in use.")
    if found.found:
        click.echo("They have been deleted." if delete else "`--delete` deletes them.")


@database.command()
@click.pass_obj
def merge(settings: Settings) -> None:
    """Merge the small segments of all series and refresh statistics now, also while the archive runs.

    The archive does so by itself, a little later: this is for the end of a large import.
    """
    with running_database(settings, create=False) as url:
        merged = asyncio.run(_merge(url))
    click.echo(
        f"{merged.segments_before:,} segments of {merged.instances:,} instances have become {merged.segments_after:,}."
    )


async def _merge(url: str) -> Merged:
    await check_schema(url)
    async with await Database.open(url, point_connections=1, search_connections=1) as index:
        # Whether a series is still growing is left aside.
        merger = SegmentMerger(index, quiet_seconds=0, cold_seconds=0)
        _, merged = await IndexMaintenance(merger, IndexUpkeep(index)).work()
    if merged is None:
        message = "The running archive is merging at this moment; try again later"
        raise SetupError(message)
    return merged


async def _find_orphans(url: str, settings: Settings, *, delete: bool) -> Orphans:
    await check_schema(url)
    folder = settings.object_folder
    if settings.object_bucket is None and not await asyncio.to_thread(folder.is_dir):
        message = f"There is no object store in {folder}"
        raise SetupError(message)
    async with await Database.open(url, point_connections=1, search_connections=1) as index:
        store = await open_own_objects(settings, index)
        try:
            service = MaintenanceService(PackIndex(index), store)
            found = await service.find_orphans()
            if delete:
                await service.delete_orphans(found)
        finally:
            await store.close()
    return found


def _run_program(name: str, *arguments: str) -> int:
    """Run one of PostgreSQL's client programs on our own terminal: the private server's, or the system's."""
    try:
        program = str(EmbeddedPostgres(Path()).programs / name)
    except SetupError:
        program = shutil.which(name) or name
    try:
        return subprocess.run([program, *arguments], check=False, env=dict(os.environ)).returncode  # noqa: S603 - a program of PostgreSQL
    except FileNotFoundError:
        message = f"{name} is not installed here"
        raise SetupError(message) from None


commands: list[click.Command] = [database]
