"""An archive behind a real server on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from tests.http.archive import Archive
from tests.http.conftest import StartArchive

from dicomweb_archive.cli.http_protocol import BoundedProtocol

# A bound for what will never come, not for what is slow: the machine runs other tests too.
PATIENCE_SECONDS = 60


class Served:
    """An archive behind a real server."""

    def __init__(self, archive: Archive, port: int) -> None:
        self.archive = archive
        self.port = port

    def client(self, **options: Any) -> httpx.AsyncClient:
        """Make a client, one that waits for what a busy machine takes; `options` are httpx's."""
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE_SECONDS, **options)

    async def send(self, *pieces: bytes, half_close: bool = False) -> bytes:
        """Send raw bytes and return what comes back until the other side closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if half_close:
                writer.write_eof()
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def is_well(self) -> bool:
        """Tell whether nothing was stored and the archive still serves."""
        async with self.client() as client:
            answer = await client.get("/dicom-web/instances")
        return answer.status_code == 200 and answer.json() == [] and self.archive.files() == []


@asynccontextmanager
async def serving(start_archive: StartArchive, **overrides: float | str) -> AsyncIterator[Served]:
    async with start_archive(**{"allowed_hosts": "a,archive", **overrides}) as archive:
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            archive.app, lifespan="off", log_config=None, access_log=False, http=BoundedProtocol, timeout_keep_alive=1
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
        try:
            yield Served(archive, listening.getsockname()[1])
        finally:
            server.should_exit = True
            await task


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until an asynchronous condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for is outside of this process's control
            await asyncio.sleep(0.05)
