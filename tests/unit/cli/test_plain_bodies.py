"""Long bodies: they pass by the parser of the HTTP protocol, and nobody can tell."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from dicomweb_archive.cli.http_protocol import PLAIN_BYTES, BoundedProtocol, ReceivedBody

LONG = bytes(range(256)) * (PLAIN_BYTES // 256) + b"end"
GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def serve(*pieces: bytes, app: Any = None) -> tuple[list[tuple[str, bytes]], Transport]:
    """Feed bytes of one connection piece by piece; return the requests with their bodies, and the connection."""
    requests: list[tuple[str, bytes]] = []

    async def collect(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        requests.append((scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app or collect, lifespan="off", log_config=None, access_log=False)
    protocol = BoundedProtocol(config, ServerState(), {})
    transport = Transport()
    protocol.connection_made(transport)
    for piece in pieces:
        protocol.data_received(piece)
        for _ in range(5):
            await asyncio.sleep(0)
    while protocol.tasks:
        await asyncio.wait(protocol.tasks, timeout=5)
    was_closed = transport.closed
    protocol.connection_lost(None)
    transport.closed = was_closed
    return requests, transport


def post(body: bytes, *fields: str) -> bytes:
    lines = ["POST /long HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize("step", [1000, 4096, PLAIN_BYTES, 3 * PLAIN_BYTES])
async def test_long_bodies_and_what_follows_come_whole_however_they_are_cut(step: int) -> None:
    sent = post(LONG) + GET + post(LONG[::-1]) + post(b"short") + GET
    requests, transport = await serve(*(sent[start : start + step] for start in range(0, len(sent), step)))
    assert [path for path, _ in requests] == ["/long", "/next", "/long", "/long", "/next"]
    # Compared one by one: a failure must not print them.
    wanted = (LONG, b"", LONG[::-1], b"short", b"")
    assert all(body == expected for (_, body), expected in zip(requests, wanted, strict=True))
    assert transport.written.count(b"HTTP/1.1 200") == 5
    assert not transport.closed


async def test_a_body_that_ends_with_its_piece_leaves_the_connection_in_step() -> None:
    head, body = post(LONG)[: -len(LONG)], LONG
    requests, _ = await serve(head, body[:100], body[100:], GET)
    assert [(path, len(body)) for path, body in requests] == [("/long", len(LONG)), ("/next", 0)]


async def test_nothing_behind_a_connection_s_last_request_is_read() -> None:
    head = post(LONG, "Connection: close")[: -len(LONG)]
    requests, transport = await serve(head, LONG[:100], LONG[100:] + GET)
    assert [path for path, _ in requests] == ["/long"]
    assert transport.closed


async def test_a_chunked_body_is_read_as_one() -> None:
    head = b"POST /long HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n" % (len(LONG), LONG)
    requests, _ = await serve(head, chunk[:5000], chunk[5000:], b"0\r\n\r\n" + GET)
    assert [path for path, _ in requests] == ["/long", "/next"]
    assert bool(requests[0][1] == LONG)


async def test_garbage_behind_a_long_body_is_refused() -> None:
    requests, transport = await serve(post(LONG)[:-10], LONG[-10:], b"\x00\x01 no request\r\n\r\n")
    assert [path for path, _ in requests] == ["/long"]
    assert b"HTTP/1.1 400" in transport.written


def test_pieces_of_a_body_are_given_on_as_they_came_and_tiny_ones_together() -> None:
    received = ReceivedBody()
    for piece in (LONG, *[b"x"] * 1000, LONG):
        received += piece
    assert len(received) == 2 * len(LONG) + 1000
    taken = []
    while received:
        taken.append(received.take())
    assert bool(b"".join(taken) == LONG + b"x" * 1000 + LONG)
    assert taken[0] is taken[-1] is LONG
    assert len(taken) == 3
    assert received.take() == b""


async def test_a_body_of_tiny_chunks_is_not_a_message_a_chunk() -> None:
    messages = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal messages
        more = True
        while more:
            more = (await receive())["more_body"]
            messages += 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    head = b"POST /long HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    await serve(head + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n", app=app)
    assert 0 < messages < 5
