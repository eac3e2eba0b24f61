"""Nursery: where the supervisor gets its workers from, ready at once because the application is read only once."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from dicomweb_archive.cli.configuration import encode_settings
from dicomweb_archive.settings import Settings


@dataclass(frozen=True)
class Worker:
    """A worker that runs, or has run.

    Attributes:
        pid: its process id, and the id of the group of whatever it has started.
        ended: its exit status, once it has one; negative for the signal that has killed it.
    """

    pid: int
    ended: "asyncio.Future[int]"


class Nursery:
    """A process that reads the application and then forks a worker whenever it is asked to.

    Two seconds of a processor for all workers instead of two for each, also for those that take the place of a
    crashed one, and the memory of what was read is shared by all. It runs no event loop and no thread and has no
    connection to a database, so that a worker inherits nothing but what it needs: the listening socket, and standard
    input, whose end tells it that the supervisor is gone.

    Should it die, its workers die with it, and the next worker that is asked for gets a new one.
    """

    def __init__(self, listening_socket: socket.socket, *, metrics_folder: Path) -> None:
        self._listening_socket = listening_socket
        self._metrics_folder = metrics_folder
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reports: asyncio.Task[None] | None = None
        # Those that were asked for and do not run yet, in their order, and those that run.
        self._expected: list[asyncio.Future[Worker | None]] = []
        self._workers: dict[int, Worker] = {}
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Start the process unless it runs; it begins to read the application at once."""
        async with self._opening:
            if self._reports is not None and not self._reports.done():
                return
            await self._reap()
            await self._start()

    async def start_worker(self, settings: Settings) -> Worker | None:
        """Start a worker with these settings; `None` when the process has died before it could."""
        await self.open()
        assert self._writer is not None
        expected: asyncio.Future[Worker | None] = asyncio.get_running_loop().create_future()
        self._expected.append(expected)
        with contextlib.suppress(OSError):
            self._writer.write(encode_settings(settings) + b"\n")
            await self._writer.drain()
        return await expected

    def start_no_more(self) -> None:
        """Let the process give up the listening socket, and end after its last worker."""
        if self._writer is not None and self._writer.can_write_eof():
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    async def close(self) -> None:
        """End the process and whatever workers it still has."""
        if self._process is not None:
            _kill(self._process.pid)
        await self._reap()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "dicomweb_archive.cli.forking",
                str(theirs.fileno()),
                str(self._listening_socket.fileno()),
                # The pipe stays open: its end tells the workers that we are gone.
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(), self._listening_socket.fileno()),
                # Ctrl-C in a terminal reaches the supervisor alone, which passes it on.
                start_new_session=True,
                env=self._environment(),
            )
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._reports = asyncio.create_task(self._read_reports(reader))

    def _environment(self) -> dict[str, str]:
        # The threads of NumPy's linear algebra, which nobody in a worker needs, would not live on in a copy.
        own = {"OPENBLAS_NUM_THREADS": "1"}
        return {**own, **os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self._metrics_folder)}

    async def _reap(self) -> None:
        if self._process is not None:
            await self._process.wait()
        if self._reports is not None:
            await self._reports
        if self._writer is not None:
            self._writer.close()

    async def _read_reports(self, reader: asyncio.StreamReader) -> None:
        try:
            with contextlib.suppress(OSError):
                # Killed in the middle of a report it leaves a part of one.
                while (line := await reader.readline()).endswith(b"\n"):
                    self._take(orjson.loads(line))
        finally:
            self._give_up()

    def _take(self, report: dict[str, Any]) -> None:
        if "status" in report:
            _settle(self._workers.pop(report["pid"]).ended, report["status"])
            return
        worker = Worker(report["pid"], asyncio.get_running_loop().create_future())
        self._workers[worker.pid] = worker
        _settle(self._expected.pop(0), worker)

    def _give_up(self) -> None:
        """Take note that the process has ended, and nobody looks after its workers any more."""
        while self._expected:
            _settle(self._expected.pop(0), None)
        while self._workers:
            _, worker = self._workers.popitem()
            _kill(worker.pid)
            _settle(worker.ended, -signal.SIGKILL)


def _settle(future: "asyncio.Future[Any]", result: object) -> None:
    # Whoever waited may have been cancelled.
    if not future.done():
        future.set_result(result)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
