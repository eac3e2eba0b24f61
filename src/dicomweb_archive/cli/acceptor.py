"""A uvicorn server that takes new connections one at a time, so that several workers share a burst of them."""

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Callable

import uvicorn

from dicomweb_archive.web.streams import SEND_TIMEOUT_SECONDS

# After an error of `accept` (no descriptors left), as asyncio's own servers do.
_PAUSE_SECONDS = 1.0
# The more connections a worker has, the longer it leaves the next one to others: time for them to wake.
_STEP_SECONDS = 0.0005
_LONGEST_STEP_SECONDS = 0.001
# Linux has it. What a server has handed over is in the kernel's hands and in its own: closing waits for the client.
_STALLED_OPTION: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)

logger = logging.getLogger(__name__)


class SharingServer(uvicorn.Server):
    """Accepts from a socket that several processes share.

    The servers of uvloop and asyncio empty the queue of a listening socket as soon as they wake, so that one
    of two idle workers takes all connections that a client opens at once (seen: 8 of 8, 16 of 16) and keeps
    them for as long as they live. Here a worker takes one, lets its other work go on, and comes back: a busy
    worker takes fewer.
    """

    def __init__(self, config: uvicorn.Config, listening_socket: socket.socket) -> None:
        super().__init__(config)
        self._listening_socket = listening_socket
        self._acceptor: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then the acceptor in place of uvicorn's own listeners."""
        await super().startup(sockets=[])
        self._listening_socket.setblocking(False)
        self._acceptor = asyncio.create_task(self._accept())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, then end as uvicorn does: running requests may finish."""
        if self._acceptor is not None:
            self._acceptor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._acceptor
        self._listening_socket.close()
        await super().shutdown(sockets=[])

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        # uvicorn types the class as a bare Protocol, and gives it these arguments itself.
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        protocol = functools.partial(
            make,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listening_socket)
                _set_up(connection)
                await loop.connect_accepted_socket(protocol, connection)
            except OSError as error:
                logger.warning("a connection could not be accepted: %s", type(error).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)
            # The next one waits in the queue meanwhile, for us or for a worker with fewer.
            await asyncio.sleep(min(len(self.server_state.connections) * _STEP_SECONDS, _LONGEST_STEP_SECONDS))


def _set_up(connection: socket.socket) -> None:
    """Send what is written at once, and end a connection whose client has taken nothing for long, closed or not."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _STALLED_OPTION is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _STALLED_OPTION, int(SEND_TIMEOUT_SECONDS * 1000))
