"""Heads of answers as they are written on a connection."""

import asyncio
import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from dicomweb_archive.cli import http_protocol
from dicomweb_archive.cli.http_protocol import HeadWriter

DATE = (b"date", b"Sun, 22 Nov 2026 12:00:00 GMT")
TYPE = (b"content-type", b"application/dicom")


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def written(*messages: Message, ours: bool, method: str = "GET", keep_alive: bool = True) -> tuple[bytes, bool]:
    """Return what an answer is on the wire, written by us or by uvicorn alone, and whether it is complete."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    transport: Any = Transport()
    cycle = RequestResponseCycle(
        scope={"type": "http", "method": method},  # type: ignore[arg-type, typeddict-item]
        transport=transport,
        flow=FlowControl(transport),
        logger=logging.getLogger("uvicorn.error"),
        access_logger=logging.getLogger("uvicorn.access"),
        access_log=False,
        default_headers=[DATE],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )
    await cycle.run_asgi(HeadWriter(app, cycle) if ours else app)  # type: ignore[arg-type]
    return transport.written, cycle.response_complete


def head(status: int, *fields: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [TYPE, *fields]}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


CASES: dict[str, tuple[list[Message], str, bool]] = {
    "of known length": ([head(200, (b"content-length", b"4")), body(b"ab", more=True), body(b"cd")], "GET", True),
    "of unknown length": ([head(200), body(b"ab", more=True), body(b"cd")], "GET", True),
    "the head alone": ([head(200, (b"content-length", b"4")), body(b"")], "HEAD", True),
    "unchanged": ([head(304, (b"etag", b'"1"')), body(b"")], "GET", True),
    "the last of a connection": ([head(200, (b"content-length", b"2")), body(b"ab")], "GET", False),
    "ending its connection": (
        [head(408, (b"connection", b"close"), (b"content-length", b"2")), body(b"ab")],
        "GET",
        True,
    ),
    "names in capitals": ([head(200, (b"ETag", b"1"), (b"content-length", b"0")), body(b"")], "GET", True),
    "length in capitals": ([head(200, (b"Content-Length", b"2")), body(b"ab")], "GET", True),
    "with a long field": (
        [head(200, (b"content-location", b"/frames/" + b"1," * 4000), (b"content-length", b"0")), body(b"")],
        "GET",
        True,
    ),
    "shorter than it says": ([head(200, (b"content-length", b"4")), body(b"ab")], "GET", True),
}


@pytest.mark.parametrize("case", CASES)
async def test_an_answer_is_written_as_uvicorn_itself_writes_it(case: str) -> None:
    messages, method, keep_alive = CASES[case]
    theirs = await written(*messages, ours=False, method=method, keep_alive=keep_alive)
    assert await written(*messages, ours=True, method=method, keep_alive=keep_alive) == theirs
    assert theirs[0].startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("field", [(b"etag", b"a\r\nset-cookie: b"), (b"a b", b"c"), (b"etag\r\n", b"a")])
async def test_a_field_that_would_end_before_its_end_is_never_written(field: tuple[bytes, bytes]) -> None:
    wire, complete = await written(head(200, (b"content-length", b"2"), field), body(b"ab"), ours=True)
    assert wire.startswith(b"HTTP/1.1 500 ")
    assert complete
    assert b"set-cookie" not in wire


async def test_fields_of_all_lengths_take_little_memory() -> None:
    http_protocol._kept_line.cache_clear()
    for number in range(20):
        for length in (20, 8000):
            location = b"/%d/" % number + bytes(length).replace(b"\0", b"1")
            await written(head(200, (b"content-length", b"0"), (b"content-location", location)), body(b""), ours=True)
    # Date, type, length and the short ones.
    assert http_protocol._kept_line.cache_info().currsize == 23
    with pytest.raises(RuntimeError):
        http_protocol._line(b"content-location", b"1" * 8000 + b"\r\n")
