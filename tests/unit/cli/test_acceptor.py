"""Connections as they are accepted."""

import asyncio
import socket

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from dicomweb_archive.cli import acceptor
from dicomweb_archive.cli.acceptor import SharingServer
from dicomweb_archive.cli.http_protocol import BoundedProtocol


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with more than the kernel takes, and be done with it."""
    body = bytes(16 * 1024 * 1024)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@pytest.mark.skipif(acceptor._STALLED_OPTION is None, reason="this system has no such bound")
async def test_a_connection_whose_client_takes_nothing_is_ended_with_what_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceptor, "SEND_TIMEOUT_SECONDS", 0.5)
    config = uvicorn.Config(large, http=BoundedProtocol, lifespan="off", log_config=None, timeout_keep_alive=1)
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    server = SharingServer(config, listening)
    task = asyncio.create_task(server.serve())
    with socket.create_connection(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        connections = server.server_state.connections
        async with asyncio.timeout(60):
            while not connections:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
            while connections:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    server.should_exit = True
    await task
