"""A worker: one server process on the supervisor's listening socket, forked from the nursery (see `forking`)."""

import asyncio
import gc
import socket
from collections.abc import Callable

import uvicorn

from dicomweb_archive.app import create_app
from dicomweb_archive.cli.acceptor import SharingServer
from dicomweb_archive.cli.http_protocol import BoundedProtocol
from dicomweb_archive.observability import configure_logging
from dicomweb_archive.settings import Settings


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
