"""uvicorn's HTTP protocol with bounds on what it leaves unbounded: request heads, trailers, connections left open.

Bodies have bounds of their own, where they are read (`web/streams.py`).
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
"""Most bytes in a row that bring a request no further: a head, chunk extensions or trailers without end."""

HEAD_SECONDS = 30.0
"""Longest time until the head of a request is complete, counted from the connection or from its first bytes."""

_REFUSALS = {
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
}


class BoundedProtocol(HttpToolsProtocol):
    """One connection; what a client may make it hold before anybody has looked at the request is bounded."""

    _deadline: asyncio.TimerHandle | None = None
    _idle_bytes = 0
    _moved = False
    _asked = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a connection over which nothing is asked is closed."""
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what brings nothing on, and watch over the time in which no request is being served."""
        self._moved = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._idle_bytes = 0 if self._moved else self._idle_bytes + len(data)
        if self._idle_bytes > HEAD_BYTES:
            self._refuse(431)
        elif self._is_serving():
            self._clear_deadline()
        elif self._deadline is None:
            self._set_deadline()

    def on_headers_complete(self) -> None:
        """Take the head of a request."""
        self._moved = True
        super().on_headers_complete()
        self._asked = True

    def on_body(self, body: bytes) -> None:
        """Take some of a body; the rest of one that was answered early is read while it comes."""
        self._moved = True
        if not self._is_serving():
            self._clear_deadline()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._moved = True
        super().on_message_complete()

    def _is_serving(self) -> bool:
        return self._asked and not self.cycle.response_complete

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self._is_serving():
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Close the connection, with an answer unless one is being given or has just been."""
        if not self._asked:
            self.transport.write(_REFUSALS[status] + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        self.transport.close()
