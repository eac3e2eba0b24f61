"""`dicomweb-archive worker`: does the archive's jobs, in a process that serves nobody."""

import asyncio
import signal

import click

from dicomweb_archive.cli.configuration import read_settings
from dicomweb_archive.errors import SetupError
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.migrate import check_schema
from dicomweb_archive.index.events.sealing import Sealer
from dicomweb_archive.observability import configure_logging
from dicomweb_archive.services.own_objects import open_own_objects
from dicomweb_archive.settings import Settings


@click.command()
@click.option(
    "--slots",
    type=click.IntRange(1, 64),
    help="Jobs that people asked for, side by side [env: DICOMWEB_ARCHIVE_JOB_SLOTS].",
)
@click.option("--once", is_flag=True, help="Do the jobs that are due, and end.")
def worker(slots: int | None, *, once: bool) -> None:
    """Do the archive's jobs in the foreground until Ctrl-C or SIGTERM.

    `serve` does them beside its requests. With DICOMWEB_ARCHIVE_JOB_SLOTS=0 it leaves them to processes of this
    command, any number on any machine that reaches the database and the objects. What one of them is doing when it
    is stopped is gone on with by another.
    """
    settings = read_settings(job_slots=slots)
    configure_logging(settings.log_level, settings.log_format)
    asyncio.run(_work(settings, database_url(settings), once=once))


def database_url(settings: Settings) -> str:
    """Return the URL of the database that runs: the operator's own, or the private one of a running archive.

    Raises:
        SetupError: none runs that we know of.
    """
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    url = EmbeddedPostgres(settings.data_dir).running_url()
    if url is None:
        message = "The private database does not run; start it with `serve`, or set DICOMWEB_ARCHIVE_DATABASE_URL"
        raise SetupError(message)
    return url


async def _work(settings: Settings, url: str, *, once: bool) -> None:
    await check_schema(url)
    # Read late: the command's help does without the application.
    from dicomweb_archive.background import at_work, open_runner

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    connections = max(1, settings.job_slots) + 5
    async with await Database.open(url, point_connections=connections, search_connections=1) as database:
        objects = await open_own_objects(settings, database)
        try:
            runner = open_runner(settings, database, objects)
            if once:
                await runner.announce()
                while not stopped.is_set() and await runner.run_one() is not None:
                    pass
                return
            async with at_work(runner, Sealer(database)):
                click.echo("The worker does jobs. Stop with Ctrl-C.")
                await stopped.wait()
        finally:
            await objects.close()


commands: list[click.Command] = [worker]
