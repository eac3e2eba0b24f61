"""`database …`: an operator upgrades, checks, backs up and restores, with the archive running or not."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clusters import open_folder
from tests.commands import type_command
from tests.database import TestServer
from tests.factories import ct_series
from tests.stored import pack_of, segment_of

from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Database, connect
from dicomweb_archive.index.writing.register import Register


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DICOMWEB_ARCHIVE_")}
    given = {f"DICOMWEB_ARCHIVE_{name.upper()}": value for name, value in settings.items()}
    words = ("database", "--data-dir", str(folder / "data"), *arguments)
    return type_command(*words, folder=folder, environment={**kept, **given})


def test_a_backup_is_restored_into_an_empty_folder_and_nowhere_else(folder: Path) -> None:
    assert run(folder, "upgrade").returncode == 0
    note = "insert into collection (accession, title) values ('kept', 'Kept')"
    assert run(folder, "shell", "-c", note).returncode == 0
    assert run(folder, "backup", "archive.dump").returncode == 0
    refused = run(folder, "restore", "archive.dump")
    assert refused.returncode == 1
    assert "holds an archive already" in refused.stderr
    (folder / "data").rename(folder / "old")
    assert run(folder, "restore", "archive.dump").returncode == 0
    found = run(folder, "shell", "-Atc", "select title from collection order by id")
    assert found.stdout.split("\n")[:2] == ["Default collection", "Kept"]


def test_commands_use_the_database_of_a_running_archive(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data", durable=False) as postgres:
        assert run(folder, "upgrade").returncode == 0
        assert run(folder, "url").stdout.strip() == postgres.url
        assert run(folder, "check").returncode == 0
        assert postgres.process_id is not None


def test_nothing_is_created_by_a_check(folder: Path) -> None:
    done = run(folder, "check")
    assert done.returncode == 1
    assert "There is no private database" in done.stderr
    assert not (folder / "data" / "postgres").exists()


def test_orphans_are_counted_and_deleted_only_when_asked(folder: Path) -> None:
    assert run(folder, "upgrade").returncode == 0
    assert "There is no object store" in run(folder, "orphans").stderr
    used, lost = (folder / "data" / "objects" / "packs" / name for name in ("used", "lost"))
    used.parent.mkdir(parents=True)
    for path in (used, lost):
        path.write_bytes(b"old")
        os.utime(path, (1, 1))
    assert (
        run(folder, "shell", "-c", "insert into pack (object_key, size_bytes) values ('packs/used', 3)").returncode == 0
    )
    counted = run(folder, "orphans")
    assert "1 objects without a row (3 bytes), 1 in use." in counted.stdout
    assert lost.exists()
    assert "have been deleted" in run(folder, "orphans", "--delete").stdout
    assert not lost.exists()
    assert used.exists()


async def test_small_segments_are_merged_when_asked(folder: Path, database: Database, database_url: str) -> None:
    for file in ct_series(3):
        await Register(database).register([pack_of(segment_of([file]))], actor="tester")
    done = await asyncio.to_thread(run, folder, "merge", database_url=database_url)
    assert (done.returncode, done.stdout) == (0, "3 segments of 3 instances have become 1.\n")


def test_the_url_of_a_database_that_does_not_run_is_not_made_up(folder: Path) -> None:
    done = run(folder, "url")
    assert done.returncode == 1
    assert "does not run" in done.stderr


async def test_a_server_of_the_operator_is_upgraded_and_checked(folder: Path, database_server: TestServer) -> None:
    name = await database_server.create_database(template="template0")
    url = database_server.url_of(name)
    assert "no schema yet" in run(folder, "check", database_url=url).stderr
    assert run(folder, "upgrade", database_url=url).returncode == 0
    assert run(folder, "check", database_url=url).returncode == 0
    assert "yours to start" in run(folder, "start", database_url=url).stderr
    connection = await connect(url)
    assert await connection.fetchval("select count(*) from space") == 1
    await connection.close()
    await database_server.drop_database(name)
