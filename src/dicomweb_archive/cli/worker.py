"""A worker: one server process under the supervisor, which hands it the settings and the listening socket."""

import asyncio
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

from dicomweb_archive.app import create_app
from dicomweb_archive.cli.acceptor import SharingServer
from dicomweb_archive.cli.configuration import decode_settings
from dicomweb_archive.cli.http_protocol import BoundedProtocol
from dicomweb_archive.observability import configure_logging
from dicomweb_archive.settings import Settings

_PR_SET_PDEATHSIG = 1


def run(listening_socket: socket.socket, settings: Settings) -> None:
    """Serve until a SIGTERM, and let running requests end within the graceful timeout."""
    configure_logging(settings.log_level, settings.log_format)
    config = uvicorn.Config(
        create_app(settings),
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Addresses of clients are taken from the connection: anybody can write a header.
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, int(settings.graceful_timeout_seconds)),
    )
    # What lives until the end need not be looked at by the garbage collector again and again.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(SharingServer(config, listening_socket).serve())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def die_with_supervisor() -> None:
    """Make sure that this process does not outlive the supervisor, however that one ends.

    On Linux the kernel sees to it, even when this process is stuck. Everywhere, a thread watches the pipe
    that only the supervisor can write to, and takes along what this process has started.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch_pipe, name="supervisor-watch", daemon=True).start()


def _watch_pipe() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    # The supervisor made this process the leader of its group.
    os.killpg(0, signal.SIGKILL)


def _read_line() -> bytes:
    """Read one line from the pipe, byte by byte so that nothing stays in a buffer."""
    line = bytearray()
    while (byte := os.read(sys.stdin.fileno(), 1)) not in (b"\n", b""):
        line += byte
    return bytes(line)


def main(arguments: list[str]) -> Any:
    """Take the number of the socket's descriptor as argument and the settings from standard input."""
    settings = decode_settings(_read_line())
    die_with_supervisor()
    run(socket.socket(fileno=int(arguments[1])), settings)


if __name__ == "__main__":
    main(sys.argv)
