"""`serve`: one supervisor that owns database and workers, and leaves nothing running however it ends."""

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.clusters import open_folder, put_cluster
from tests.database import TestServer

# A start makes a database and imports the application twice, on a machine that runs other tests too.
PATIENCE_SECONDS = 60


@dataclass
class RunningArchive:
    """A supervisor in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    announcement: str
    log: Path

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        return [child for child in self.children() if is_worker(child)]

    def nursery(self) -> psutil.Process:
        (found,) = (child for child in self.children() if child.name() == "archive-nursery")
        return found

    def postgres(self) -> psutil.Process:
        direct = psutil.Process(self.process.pid).children()
        (found,) = (child for child in direct if child.name() == "postgres")
        return found

    def status_of(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def is_ready(self) -> bool:
        try:
            return self.status_of("/health/ready") == 200
        except OSError:
            return False


def wait_until(condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_worker(process: psutil.Process) -> bool:
    try:
        return process.name() == "archive-worker"
    except psutil.NoSuchProcess:
        # It ended, or is a zombie, since it was listed.
        return False


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def are_gone(processes: list[psutil.Process]) -> bool:
    return all(map(is_gone, processes))


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


Start = Callable[..., RunningArchive]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start an archive on a free port; whatever a failed test leaves is killed."""
    started: list[RunningArchive] = []

    def run(*options: str, with_cluster: bool = True, **settings: str) -> RunningArchive:
        if with_cluster and "database_url" not in settings and not (folder / "data").exists():
            put_cluster(folder / "data")
        log = folder / f"log-{len(started)}"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "dicomweb_archive",
                    "serve",
                    "--port",
                    "0",
                    "--data-dir",
                    str(folder / "data"),
                    *options,
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=folder,
                env=environment(**settings),
            )
        archive = RunningArchive(process, 0, "", log)
        started.append(archive)
        assert process.stdout is not None
        while "Stop with Ctrl-C" not in archive.announcement:
            line = process.stdout.readline()
            assert line, f"the archive did not start:\n{log.read_text()}"
            archive.announcement += line
        port = re.search(r"http://127\.0\.0\.1:(\d+)/dicom-web", archive.announcement)
        assert port is not None
        archive.port = int(port[1])
        return archive

    yield run
    for archive in started:
        if archive.process.poll() is None:
            children = archive.children()
            archive.process.kill()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        archive.process.wait()
        assert archive.process.stdout is not None
        archive.process.stdout.close()


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DICOMWEB_ARCHIVE_")}
    given = {f"DICOMWEB_ARCHIVE_{name.upper()}": value for name, value in settings.items()}
    return {"DICOMWEB_ARCHIVE_FREE_SPACE_WATERMARK_BYTES": "0", **kept, **given}


@pytest.fixture
def operators(database_server: TestServer) -> str:
    """URL of a database of the operator's: a start without one of its own takes half as long."""
    # Not the template: the archive leaves jobs in its database, and every later one would begin with them.
    return database_server.url_of(asyncio.run(database_server.create_database()))


def test_a_signal_ends_workers_and_database_cleanly(start: Start, folder: Path) -> None:
    # That Ctrl-C does too is seen with a private S3 service below.
    archive = start(with_cluster=False)
    assert archive.status_of("/health/live") == 200
    wait_until(archive.is_ready)
    everything = archive.children()
    assert len(archive.workers()) == 2
    archive.process.send_signal(signal.SIGTERM)
    assert archive.process.wait(PATIENCE_SECONDS) == 0
    assert are_gone(everything)
    assert "database system is shut down" in (folder / "data" / "postgres.log").read_text()


def test_the_announcement_says_what_to_do_next(start: Start, operators: str) -> None:
    archive = start(workers="1", database_url=operators)
    root = f"http://127.0.0.1:{archive.port}"
    assert f"{root}/dicom-web\n" in archive.announcement
    assert f"{root}/docs\n" in archive.announcement
    assert f"python -m dicomweb_archive store FOLDER --to {root}/dicom-web" in archive.announcement


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the database ends with the next start")
def test_nothing_is_left_of_a_supervisor_that_was_killed(start: Start) -> None:
    archive = start()
    everything = archive.children()
    assert len(everything) > 3
    archive.process.kill()
    archive.process.wait()
    wait_until(lambda: are_gone(everything))
    # What was committed is there, and nothing has to be cleared away by hand.
    again = start(workers="1")
    wait_until(again.is_ready)


def test_a_worker_that_dies_is_replaced_while_the_other_serves(start: Start, operators: str) -> None:
    archive = start(database_url=operators)
    wait_until(archive.is_ready)
    killed = archive.workers()[0]
    killed.kill()
    wait_until(lambda: are_gone([killed]))
    assert archive.status_of("/health/live") == 200
    wait_until(lambda: len(archive.workers()) == 2)
    assert killed.pid not in {worker.pid for worker in archive.workers()}


def test_a_nursery_that_dies_takes_its_workers_along_and_is_replaced(start: Start, operators: str) -> None:
    archive = start(workers="1", database_url=operators)
    wait_until(archive.is_ready)
    gone = [archive.nursery(), *archive.workers()]
    # What runs in it would not live through a fork.
    assert gone[0].num_threads() == 1
    gone[0].kill()
    wait_until(lambda: are_gone(gone))
    wait_until(archive.is_ready)


def test_a_database_that_dies_is_started_again(start: Start) -> None:
    archive = start(workers="1")
    wait_until(archive.is_ready)
    killed = archive.postgres()
    killed.kill()
    wait_until(lambda: are_gone([killed]))
    wait_until(archive.is_ready)


def test_a_database_of_the_operator_is_used_and_left_running(start: Start, folder: Path, operators: str) -> None:
    archive = start(workers="1", database_url=operators)
    wait_until(archive.is_ready)
    assert not (folder / "data" / "postgres").exists()
    assert [child.name() for child in archive.children() if child.name() == "postgres"] == []
    archive.process.terminate()
    assert archive.process.wait(PATIENCE_SECONDS) == 0


def test_metrics_of_both_workers_are_gathered_and_their_folder_removed(start: Start, operators: str) -> None:
    archive = start(database_url=operators)
    assert archive.status_of("/metrics") == 200
    metrics = archive.nursery().environ()["PROMETHEUS_MULTIPROC_DIR"]
    assert {path.stem.rpartition("_")[2] for path in Path(metrics).glob("counter_*.db")} == {
        str(worker.pid) for worker in archive.workers()
    }
    assert Path(metrics).is_dir()
    archive.process.terminate()
    assert archive.process.wait(PATIENCE_SECONDS) == 0
    assert not Path(metrics).exists()


def run_to_end(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dicomweb_archive", "serve", "--data-dir", str(folder / "data"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(**settings),
        timeout=PATIENCE_SECONDS,
    )


def test_a_busy_port_is_named_before_anything_is_started(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_to_end(folder, "--port", str(port))
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "--port" in done.stderr
    assert not (folder / "data").exists()


def test_a_setting_that_does_not_fit_is_named_without_its_value(folder: Path) -> None:
    done = run_to_end(folder, port="a secret")
    assert done.returncode == 1
    assert "DICOMWEB_ARCHIVE_PORT" in done.stderr
    assert "secret" not in done.stderr


def test_a_database_that_cannot_be_reached_ends_the_start_with_a_message(folder: Path) -> None:
    done = run_to_end(folder, "--port", "0", database_url="postgresql://archive:secret@127.0.0.1:1/archive")
    assert done.returncode == 1
    assert "database cannot be reached" in done.stderr
    assert "secret" not in done.stderr


def test_workers_that_cannot_start_end_the_archive_and_its_database(folder: Path) -> None:
    # There is no viewer in its folder.
    put_cluster(folder / "data")
    done = run_to_end(folder, "--port", "0", "--workers", "1", viewer_dir=str(folder))
    assert done.returncode == 1
    assert "end as soon as they start" in done.stderr
    assert "database system is shut down" in (folder / "data" / "postgres.log").read_text()


def test_a_private_s3_service_starts_and_ends_with_the_archive(start: Start, folder: Path) -> None:
    archive = start("--private-s3", workers="1")
    wait_until(archive.is_ready)
    everything = archive.children()
    assert "weed" in [child.name() for child in everything]
    assert "objects in s3://archive at http://127.0.0.1:" in archive.announcement
    assert (folder / "data" / "seaweedfs" / "identity.json").stat().st_mode & 0o077 == 0
    archive.process.send_signal(signal.SIGINT)
    assert archive.process.wait(PATIENCE_SECONDS) == 0
    assert are_gone(everything)
    assert not (folder / "data" / "objects").exists()


def test_a_private_s3_service_beside_another_store_is_refused(folder: Path) -> None:
    done = run_to_end(folder, "--port", "0", "--private-s3", object_store_url=f"file://{folder}/objects")
    assert done.returncode == 1
    assert "--private-s3 is itself a store" in done.stderr


def test_a_bucket_that_cannot_be_used_ends_the_start_with_one_message(folder: Path) -> None:
    done = run_to_end(
        folder,
        "--port",
        "0",
        object_store_url="s3://archive",
        s3_endpoint_url="http://127.0.0.1:1",
        s3_access_key_id="somebody",
        s3_secret_access_key="hidden",
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Error: the S3 service cannot be reached")
    assert "Traceback" not in done.stderr + done.stdout
    assert not (folder / "data" / "postgres").exists()
