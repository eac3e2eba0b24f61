"""uvicorn's HTTP protocol with bounds on what it leaves unbounded: request heads, trailers, connections left open.

Bodies have bounds of their own, where they are read (`web/streams.py`). Heads of answers are written here.
"""

import asyncio
from collections import deque
from functools import lru_cache

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

HEAD_BYTES = 64 * 1024
"""Most bytes in a row that bring a request no further: a head, chunk extensions or trailers without end."""

HEAD_SECONDS = 30.0
"""Longest time until the head of a request is complete, counted from the connection or from its first bytes."""

_REFUSALS = {
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
}


_KEPT_LINES = 2048
"""Header fields that are kept as they are written: most are the same in every answer, or in those of a resource."""

_LONGEST_KEPT = 512
"""Longer values are written anew each time: lists of frames in addresses, links to pages that nobody asks for twice."""

PLAIN_BYTES = 64 * 1024
"""A body of so many bytes is not worth being copied through the parser of heads and chunks."""

_BODILESS = frozenset({204, 304})
_CONNECTION_FIELDS = frozenset({b"connection", b"transfer-encoding"})


class BoundedProtocol(HttpToolsProtocol):
    """One connection; what a client may make it hold before anybody has looked at the request is bounded."""

    _deadline: asyncio.TimerHandle | None = None
    _idle_bytes = 0
    _moved = False
    _asked = False
    # What is still to come of a body whose length is known.
    _plain_left = 0

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
        if self._plain_left:
            self._take_plain(data)
        else:
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
        # uvicorn adds to it and asks for its length; the application takes pieces out of it (`HeadWriter.receive`).
        self.cycle.body = ReceivedBody()  # type: ignore[assignment]
        self._asked = True
        self._plain_left = 0 if self.parser.should_upgrade() else _plain_length(self.headers)

    def on_body(self, body: bytes) -> None:
        """Take some of a body; the rest of one that was answered early is read while it comes."""
        self._moved = True
        self._plain_left = max(0, self._plain_left - len(body))
        if not self._is_serving():
            self._clear_deadline()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._moved = True
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        super()._start_asgi_task(cycle, HeadWriter(app, cycle))  # type: ignore[arg-type]

    def _take_plain(self, data: bytes) -> None:
        """Pass on bytes of a body as they came.

        Hot path: the parser copies each piece, which of a slice takes as long as hashing it (benchmarks/store).
        """
        self._unset_keepalive_if_required()
        length = self._plain_left
        if len(data) < length:
            self.on_body(data)
            return
        self.on_body(data if len(data) == length else data[:length])
        # The parser waits for a body that it has not seen, so that another one reads the next request.
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.on_message_complete()
        if len(data) > length and self.cycle.keep_alive:
            super().data_received(data[length:])

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


class ReceivedBody:
    """What has come of a body and has not been taken yet; takes the place of uvicorn's `bytearray`.

    Hot path: added to that and made `bytes` again, each piece was copied twice on its way (benchmarks/store).
    """

    __slots__ = ("_length", "_pieces")

    def __init__(self) -> None:
        self._pieces: deque[bytes | bytearray] = deque()
        self._length = 0

    def __iadd__(self, piece: bytes) -> "ReceivedBody":
        """Add a piece; small ones are joined, or each byte of a chunked body would be a message of its own."""
        self._length += len(piece)
        last = self._pieces[-1] if self._pieces else None
        if len(piece) >= PLAIN_BYTES:
            self._pieces.append(piece)
        elif isinstance(last, bytearray) and len(last) < PLAIN_BYTES:
            last += piece
        else:
            self._pieces.append(bytearray(piece) if last is not None else piece)
        return self

    def __len__(self) -> int:
        return self._length

    def take(self) -> bytes:
        """Take the first piece out, nothing when there is none."""
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        self._length -= len(piece)
        return bytes(piece)


class HeadWriter:
    """Writes the plain head of an answer on a connection that goes on; everything else uvicorn writes.

    Hot path: uvicorn searches each name and value of each answer for characters that must not be there, which took
    as long as making the answer from memory (docs/design/0007-hot-path.md). Here a field is searched when it is met
    first.
    """

    __slots__ = ("_app", "_cycle")

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        await self._app(scope, self.receive, self._send)

    async def receive(self) -> Message:
        """Give the next piece of the body, as `RequestResponseCycle.receive` gives all that has come.

        While the application works on a piece the next one comes, and no more than that.
        """
        cycle = self._cycle
        body: ReceivedBody = cycle.body  # type: ignore[assignment]
        if cycle.waiting_for_100_continue and not cycle.transport.is_closing():
            cycle.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        if not cycle.disconnected and not cycle.response_complete:
            if not body:
                cycle.flow.resume_reading()
            await cycle.message_event.wait()
        if cycle.disconnected or cycle.response_complete:
            return {"type": "http.disconnect"}
        piece = body.take()
        if not body:
            cycle.message_event.clear()
            cycle.flow.resume_reading()
        return {"type": "http.request", "body": piece, "more_body": cycle.more_body or len(body) > 0}

    async def _send(self, message: Message) -> None:
        cycle = self._cycle
        if cycle.response_started or message["type"] != "http.response.start" or not cycle.keep_alive:
            await cycle.send(message)  # type: ignore[arg-type]
            return
        length: int | None = None
        for name, value in message["headers"]:
            if name == b"content-length":
                length = int(value)
            elif name in _CONNECTION_FIELDS:
                await cycle.send(message)  # type: ignore[arg-type]
                return
        if length is None and message["status"] not in _BODILESS:
            await cycle.send(message)  # type: ignore[arg-type]
            return
        await self._write(message, length)

    async def _write(self, message: Message, length: int | None) -> None:
        """Write the head as `RequestResponseCycle.send` does."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        lines = [
            _kept_line(name, value) if len(value) <= _LONGEST_KEPT else _line(name, value)
            for name, value in (*cycle.default_headers, *message["headers"])
        ]
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        if length is not None:
            cycle.expected_content_length = length
            cycle.chunked_encoding = False
        cycle.transport.write(b"".join((STATUS_LINE[message["status"]], *lines, b"\r\n")))


def _plain_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the length of a long body that is nothing but its bytes, 0 of others; the parser has judged the head."""
    length = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return 0
        if name == b"content-length":
            length = int(value)
    return length if length >= PLAIN_BYTES else 0


def _line(name: bytes, value: bytes) -> bytes:
    """Return a field as it is written.

    Raises:
        RuntimeError: it would end before its end; that is a bug, and nothing of the head is written.
    """
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        message = "a header field of an answer has a character that it must not have"
        raise RuntimeError(message)
    return b"%b: %b\r\n" % (name.lower(), value)


_kept_line = lru_cache(maxsize=_KEPT_LINES)(_line)
