"""A PostgreSQL cluster with a migrated database: made once a run, which takes seconds of a processor, and copied."""

import asyncio
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.util import Finalize
from pathlib import Path

from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.embedded_account import choose_account
from dicomweb_archive.index.database.embedded_cluster import find_installation
from dicomweb_archive.index.database.engine import connect
from dicomweb_archive.index.database.migrate import upgrade

MIGRATED = "migrated"
"""A second migrated database of the cluster, to be copied, beside the one that an archive uses."""

_FOLDER = "DWA_TESTS_CLUSTER"


def keep_cluster_until_the_end() -> None:
    """Name a folder in which the processes of this run keep the cluster that they copy; it goes with this process."""
    folder = tempfile.mkdtemp(prefix="dwa-cluster-")
    os.environ[_FOLDER] = folder
    Finalize(None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-50)


def put_cluster(data: Path) -> None:
    """Put a cluster, not durable and as after a clean stop, into the data folder of an archive that has none."""
    folder = Path(os.environ[_FOLDER])
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "postgres").exists():
            # In a thread: where a browser is being driven, a loop runs in this one.
            with ThreadPoolExecutor(1) as executor:
                executor.submit(_make, folder).result()
    data.mkdir(mode=0o711, exist_ok=True)
    cluster = data / "postgres"
    # As root it is another one's, and whose depends on who reaches the folder.
    owner = choose_account(find_installation(), cluster).owner
    subprocess.run(["cp", "-R", folder / "postgres", cluster], check=True)
    subprocess.run(["chown", "-R", "{}:{}".format(*owner), cluster], check=True)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A short-named folder that other users may pass through; pytest's own are private, and root drops to a user."""
    with tempfile.TemporaryDirectory(prefix="dwa-test-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def _make(folder: Path) -> None:
    with open_folder() as made:
        with EmbeddedPostgres(made, durable=False) as postgres:
            asyncio.run(_migrate(postgres.url))
        shutil.copytree(made / "postgres", folder / "unfinished")
    (folder / "unfinished").rename(folder / "postgres")


async def _migrate(url: str) -> None:
    await upgrade(url)
    connection = await connect(url.replace("@/postgres?", "@/template1?"))
    try:
        await connection.execute(f"create database {MIGRATED} template postgres strategy file_copy")
    finally:
        await connection.close()
