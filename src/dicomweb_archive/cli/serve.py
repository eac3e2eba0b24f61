"""`dicomweb-archive serve`: database, migrations and server processes under one supervisor."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import click
from pydantic import SecretStr

from dicomweb_archive.cli.configuration import read_settings
from dicomweb_archive.cli.main import program_name
from dicomweb_archive.cli.nursery import Nursery
from dicomweb_archive.cli.seaweedfs import BUCKET, REGION, SeaweedServer
from dicomweb_archive.cli.supervisor import Supervisor, bind, reachable_host
from dicomweb_archive.errors import SetupError
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.migrate import upgrade
from dicomweb_archive.observability import configure_logging
from dicomweb_archive.services.own_objects import open_own_objects
from dicomweb_archive.settings import Settings
from dicomweb_archive.storage.opening import open_objects

# Migrations, psql and a second set while workers are replaced.
_SPARE_CONNECTIONS = 20
_METRICS_PREFIX = "dicomweb-archive-metrics-"

logger = logging.getLogger(__name__)


@click.command()
@click.option("--host", help="Address to listen on [env: DICOMWEB_ARCHIVE_HOST].")
@click.option("--port", type=int, help="Port to listen on, 0 for a free one [env: DICOMWEB_ARCHIVE_PORT].")
@click.option("--workers", type=int, help="Number of server processes [env: DICOMWEB_ARCHIVE_WORKERS].")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the database and the objects [env: DICOMWEB_ARCHIVE_DATA_DIR].",
)
@click.option("--private-s3", is_flag=True, help="Keep the objects in a private S3 service, a SeaweedFS: to try S3.")
def serve(host: str | None, port: int | None, workers: int | None, data_dir: Path | None, *, private_s3: bool) -> None:
    """Run the archive in the foreground until Ctrl-C or SIGTERM.

    Everything else is set by environment or file, see docs/settings.md.
    """
    settings = read_settings(host=host, port=port, workers=workers, data_dir=data_dir)
    configure_logging(settings.log_level, settings.log_format)
    # Before anything is started: a busy port is the most frequent mistake.
    with bind(settings.host, settings.port) as listening:
        asyncio.run(_serve(_complete(settings, listening), listening, private_s3=private_s3))


def _complete(settings: Settings, listening: socket.socket) -> Settings:
    """Fill in what is known only now: the real port and the absolute data folder."""
    return settings.model_copy(update={"port": listening.getsockname()[1], "data_dir": settings.data_dir.resolve()})


async def _serve(settings: Settings, listening: socket.socket, *, private_s3: bool) -> None:
    stop = asyncio.Event()
    supervisor: Supervisor | None = None

    def on_signal() -> None:
        stop.set()
        if supervisor is not None:
            supervisor.request_stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    async with (
        _objects(settings, private_s3=private_s3) as settings,
        _nursery(listening) as (nursery, metrics),
        _database(settings) as url,
    ):
        await upgrade(url)
        if stop.is_set():
            return
        await _check_objects(settings, url)
        settings = settings.model_copy(update={"database_url": SecretStr(url)})
        supervisor = Supervisor(settings, listening, nursery, metrics_folder=metrics)
        ready: asyncio.Future[None] = loop.create_future()
        ready.add_done_callback(lambda _: click.echo(next_steps(settings)))
        try:
            await supervisor.run(ready)
        except* SetupError as group:
            raise group.exceptions[0] from None


@contextlib.asynccontextmanager
async def _objects(settings: Settings, *, private_s3: bool) -> AsyncIterator[Settings]:
    """Give settings that name the store of objects; a private S3 service runs as long as this block."""
    if not private_s3:
        await _check_bucket(settings)
        yield settings
        return
    if settings.object_store_url is not None:
        message = "--private-s3 is itself a store of objects; leave DICOMWEB_ARCHIVE_OBJECT_STORE_URL out"
        raise SetupError(message)
    server = SeaweedServer(settings.data_dir / "seaweedfs")
    await asyncio.to_thread(server.start)
    try:
        yield settings.model_copy(
            update={
                "object_store_url": f"s3://{BUCKET}",
                "s3_endpoint_url": server.endpoint_url,
                "s3_region": REGION,
                "s3_access_key_id": SecretStr(server.access_key_id),
                "s3_secret_access_key": SecretStr(server.secret_access_key),
            }
        )
    finally:
        await asyncio.to_thread(server.stop)


async def _check_bucket(settings: Settings) -> None:
    """Say what is wrong with a bucket in one line, before each server process fails at it with a page of its own."""
    if settings.object_bucket is None:
        return
    await (await open_objects(settings)).close()


async def _check_objects(settings: Settings, url: str) -> None:
    """Say in one line when the objects are not those of the database, for the same reason."""
    async with await Database.open(url, point_connections=1, search_connections=1) as database:
        await (await open_own_objects(settings, database)).close()


@contextlib.asynccontextmanager
async def _nursery(listening: socket.socket) -> AsyncIterator[tuple[Nursery, Path]]:
    """Give a nursery, which reads the application while the database starts, and the folder of its workers' figures."""
    with _metrics_folder() as metrics:
        nursery = Nursery(listening, metrics_folder=metrics)
        await nursery.open()
        try:
            yield nursery, metrics
        finally:
            await nursery.close()


@contextlib.asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[str]:
    """Give the URL of the database: the operator's own, or a private one that runs as long as this block."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    connections = settings.workers * (settings.database_connections + settings.search_connections)
    postgres = EmbeddedPostgres(settings.data_dir, max_connections=connections + _SPARE_CONNECTIONS)
    url = await asyncio.to_thread(postgres.start)
    watch = asyncio.create_task(_keep_running(postgres))
    try:
        yield url
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        await asyncio.to_thread(postgres.stop)


async def _keep_running(postgres: EmbeddedPostgres) -> None:
    """Start the private server again when it has died; the workers' pools connect anew by themselves."""
    while True:
        await asyncio.sleep(0.5)
        if postgres.process_id is None:
            logger.error("the private PostgreSQL has ended and is started again")
            try:
                await asyncio.to_thread(postgres.start)
            except SetupError as error:
                logger.error("the private PostgreSQL does not start: %s", error)
                await asyncio.sleep(10)


@contextlib.contextmanager
def _metrics_folder() -> Iterator[Path]:
    """Give an empty folder in which the workers keep their figures for one another, removed at the end."""
    temporary = Path(tempfile.gettempdir())
    for left in temporary.glob(f"{_METRICS_PREFIX}*") if Path("/proc/self").exists() else ():
        # A supervisor that was killed could not remove its own.
        owner = left.name.removeprefix(_METRICS_PREFIX).partition("-")[0]
        if left.lstat().st_uid == os.geteuid() and not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_METRICS_PREFIX}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def next_steps(settings: Settings) -> str:
    """Return what an operator reads when the archive is ready: where it is, and commands to type."""
    program = program_name()
    host = reachable_host(settings.host)
    root = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/dicom-web"
    usual = root == "http://127.0.0.1:8000/dicom-web"
    target, source = ("", "") if usual else (f" --to {root}", f" --from {root}")
    # Nobody can ask for "all addresses".
    shown = settings.model_copy(update={"host": host})
    return f"""
The archive is ready.

  Web page     {shown.base_url}/
  Viewer       {_viewer_line(settings, shown.base_url)}
  DICOMweb     {shown.service_root}
  API pages    {shown.base_url}/docs
  Data         {_data_line(settings)}
  Access       {_access_line(settings)}

What to do next, in another terminal:

  {program} demo{target}
      makes a study without a patient and stores it
  {program} store FOLDER{target}
      stores your own DICOM files
  {program} search{source}
      shows what is there

Stop with Ctrl-C; everything stored is kept.
"""


def _data_line(settings: Settings) -> str:
    objects = settings.object_store_url
    at = f" at {settings.s3_endpoint_url}" if settings.object_bucket and settings.s3_endpoint_url else ""
    return str(settings.data_dir) + (f", objects in {objects}{at}" if objects else "")


def _access_line(settings: Settings) -> str:
    if settings.is_open:
        return "open: everybody who reaches this address may do everything"
    reading = "reading needs none" if settings.anonymous_read else "reading too"
    return f"asks for keys, {reading}; `{program_name()} keys create` makes them"


def _viewer_line(settings: Settings, base_url: str) -> str:
    if settings.viewer_folder is not None:
        return f"{base_url}/ohif/"
    if settings.viewer_dir is not None:
        return "none, as DICOMWEB_ARCHIVE_VIEWER_DIR says"
    return f"not installed yet; `{program_name()} viewer install` installs it for the next start"


commands: list[click.Command] = [serve]
