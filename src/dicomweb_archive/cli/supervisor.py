"""Supervisor: keeps worker processes running, restarts the ones that crash, and ends them all."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from pathlib import Path

from prometheus_client import multiprocess

from dicomweb_archive.cli.nursery import Nursery, Worker
from dicomweb_archive.errors import SetupError
from dicomweb_archive.settings import Settings

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# A worker that ran for this long has been fine: the next crash is a new one.
_HEALTHY_AFTER_SECONDS = 60.0
_TRIES_BEFORE_FIRST_ANSWER = 3
# Room for the worker's own clean-up after its graceful timeout.
_EXTRA_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs `settings.workers` worker processes on one listening socket.

    The socket is bound once and inherited, not bound by each worker (SO_REUSEPORT): connections wait in one
    queue, so none is lost or stuck when a worker dies, whoever is idle takes the next one, a busy port is
    noticed before anything is started, and a second archive cannot share the port by accident.
    """

    def __init__(
        self, settings: Settings, listening_socket: socket.socket, nursery: Nursery, *, metrics_folder: Path
    ) -> None:
        self._settings = settings
        self._socket = listening_socket
        self._nursery = nursery
        self._metrics_folder = metrics_folder
        self._workers: set[Worker] = set()
        self._stopping = asyncio.Event()
        self._answered = False

    def request_stop(self) -> None:
        """Begin to stop; a second request ends the workers at once."""
        if self._stopping.is_set():
            self._kill_all()
            return
        self._stopping.set()
        for worker in self._workers:
            _signal(worker, signal.SIGTERM)

    async def run(self, announcement: "asyncio.Future[None] | None" = None) -> None:
        """Run the workers until `request_stop`; fulfil `announcement` when the archive answers.

        Raises:
            SetupError: the workers crash at once, again and again, before the archive has ever answered.
        """
        async with asyncio.TaskGroup() as tasks:
            keepers = [tasks.create_task(self._keep_worker()) for _ in range(self._settings.workers)]
            tasks.create_task(self._announce(announcement))
            tasks.create_task(self._kill_stragglers(keepers))

    async def _keep_worker(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        tries = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            await self._run_worker()
            if self._stopping.is_set():
                return
            tries += 1
            if not self._answered and tries >= _TRIES_BEFORE_FIRST_ANSWER:
                self.request_stop()
                message = "The server processes end as soon as they start; the reason stands above"
                raise SetupError(message)
            if time.monotonic() - started > _HEALTHY_AFTER_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _run_worker(self) -> None:
        worker = await self._nursery.start_worker(self._settings)
        if worker is None:
            logger.error("the process that starts server processes ended before it had started one")
            return
        self._workers.add(worker)
        try:
            if self._stopping.is_set():
                _signal(worker, signal.SIGTERM)
            status = await worker.ended
        finally:
            self._workers.discard(worker)
            multiprocess.mark_process_dead(worker.pid, str(self._metrics_folder))  # type: ignore[no-untyped-call]
        if not self._stopping.is_set():
            logger.error("a server process ended and is started again", extra={"exit_status": status})

    async def _announce(self, announcement: "asyncio.Future[None] | None") -> None:
        while not self._stopping.is_set():
            if await _answers(self._settings.host, self._settings.port):
                self._answered = True
                if announcement is not None and not announcement.done():
                    announcement.set_result(None)
                return
            await asyncio.sleep(0.05)

    async def _kill_stragglers(self, keepers: "list[asyncio.Task[None]]") -> None:
        await self._stopping.wait()
        # Workers hold the socket while they finish; ours must not keep the port open after them.
        self._socket.close()
        self._nursery.start_no_more()
        await asyncio.wait(keepers, timeout=self._settings.graceful_timeout_seconds + _EXTRA_SECONDS)
        if self._workers:
            logger.warning("server processes did not end in time and are killed")
            self._kill_all()

    def _kill_all(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # With whatever it has started.
                os.killpg(worker.pid, signal.SIGKILL)


def bind(host: str, port: int) -> socket.socket:
    """Bind and listen once for all workers; port 0 takes a free one.

    Raises:
        SetupError: the port is in use or may not be taken, or the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        message = f"{host} is not an address to listen on; set DICOMWEB_ARCHIVE_HOST"
        raise SetupError(message) from error
    try:
        # Connections of an earlier run that are still fading out do not keep the port.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        message = (
            f"Cannot listen on {host} port {port} ({os.strerror(error.errno or 0)}). Stop the program that "
            "uses it, or choose another port with --port or DICOMWEB_ARCHIVE_PORT"
        )
        raise SetupError(message) from error
    return listening


def reachable_host(host: str) -> str:
    """Return the address by which this machine reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - only compared, never bound


async def _answers(host: str, port: int) -> bool:
    """Ask /health/live over a connection of our own."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(reachable_host(host), port)
            try:
                writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return (await reader.readline()).startswith(b"HTTP/1.1 200")
            finally:
                writer.close()
    except OSError:
        return False


def _signal(worker: Worker, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker.pid, number)
