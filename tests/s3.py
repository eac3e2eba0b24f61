"""A real S3 service for tests: one SeaweedFS a test process, a place in it for each test, and faults at its door."""

import asyncio
import io
import itertools
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from dicomweb_archive.cli.seaweedfs import BUCKET, REGION, SeaweedServer
from dicomweb_archive.storage.s3.place import S3Place

_numbers = itertools.count(1)

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedServer]:
    """The S3 service of this test process; what it holds goes with it."""
    with (
        tempfile.TemporaryDirectory(prefix="dwa-s3-") as folder,
        SeaweedServer(Path(folder), durable=False) as server,
    ):
        yield server


@pytest.fixture
def s3_place(s3_server: SeaweedServer) -> S3Place:
    """An empty place for one test."""
    return S3Place(
        endpoint_url=s3_server.endpoint_url,
        region=REGION,
        bucket=BUCKET,
        prefix=f"test-{next(_numbers)}/",
        access_key_id=s3_server.access_key_id,
        secret_access_key=s3_server.secret_access_key,
        timeout_seconds=5,
    )


class FaultyDoor:
    """Stands before an S3 service and goes wrong as it is told, once for each fault of a method; else it forwards."""

    def __init__(self, place: S3Place, session: aiohttp.ClientSession) -> None:
        self._upstream = place.endpoint_url
        self._session = session
        self._faults: dict[str, deque[Fault]] = {}
        self.asked: list[str] = []
        self.ranges: list[str] = []

    def next(self, method: str, *faults: Fault) -> None:
        """Make the next requests of a method fail."""
        self._faults.setdefault(method, deque()).extend(faults)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.method)
        self.ranges.append(request.headers.get("Range", ""))
        waiting = self._faults.get(request.method)
        if waiting:
            return await waiting.popleft()(request)
        return await self.forward(request)

    async def forward(self, request: web.Request) -> web.Response:
        """Pass a request on as it is; the Host header stays, as it is signed."""
        url = URL(self._upstream + request.raw_path, encoded=True)
        body = await request.read()
        async with self._session.request(
            request.method, url, headers=request.headers, data=io.BytesIO(body) if body else None, allow_redirects=False
        ) as answer:
            headers = {name: value for name, value in answer.headers.items() if name.lower() != "transfer-encoding"}
            content = await answer.read()
        if request.method == "HEAD":
            return _HeadResponse(status=answer.status, headers=headers)
        headers.pop("Content-Length", None)
        return web.Response(status=answer.status, headers=headers, body=content)

    def failing(self, status: int, code: str) -> Fault:
        """Answer with an S3 error."""

        async def fault(request: web.Request) -> web.StreamResponse:
            await request.read()
            return web.Response(status=status, text=f"<Error><Code>{code}</Code><Message>secret</Message></Error>")

        return fault

    def failing_behind(self, position: int, status: int, code: str) -> Fault:
        """Answer with an S3 error to whoever asks for bytes from a position on: which request comes first is open."""
        fail = self.failing(status, code)

        async def fault(request: web.Request) -> web.StreamResponse:
            start = request.headers["Range"].removeprefix("bytes=").partition("-")[0]
            return await (self.forward if int(start) < position else fail)(request)

        return fault

    async def losing_the_answer(self, request: web.Request) -> web.StreamResponse:
        """Do as asked, and drop the connection instead of answering."""
        await self.forward(request)
        return await self.dropping(request)

    def next_done_without_an_answer(self, method: str) -> asyncio.Event:
        """Do the next request of a method as asked, set the event, and say nothing."""
        done = asyncio.Event()

        async def fault(request: web.Request) -> web.StreamResponse:
            await self.forward(request)
            done.set()
            await asyncio.sleep(5)
            return web.Response(status=500)

        self.next(method, fault)
        return done

    async def dropping(self, request: web.Request) -> web.StreamResponse:
        """Drop the connection."""
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def cutting(self, request: web.Request) -> web.StreamResponse:
        """Drop the connection in the middle of the answer's body."""
        await self._answer_half(request)
        return await self.dropping(request)

    async def stalling(self, request: web.Request) -> web.StreamResponse:
        """Fall silent in the middle of the answer's body, and drop the connection of a client that waits very long.

        Nothing may be answered after it: a client that comes late would take its head for the rest of the body.
        """
        await self._answer_half(request)
        await asyncio.sleep(5)
        return await self.dropping(request)

    async def _answer_half(self, request: web.Request) -> None:
        whole = await self.forward(request)
        body = bytes(whole.body or b"")  # type: ignore[arg-type]
        answer = web.StreamResponse(status=whole.status, headers={**whole.headers, "Content-Length": str(len(body))})
        await answer.prepare(request)
        await answer.write(body[: len(body) // 2])

    def slow(self, seconds: float) -> Fault:
        """Say nothing for a while."""

        async def fault(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(seconds)
            return web.Response(status=500)

        return fault


class _HeadResponse(web.Response):
    """An answer to HEAD, whose length is that of a body it does not have."""


@pytest.fixture
async def faulty_door(s3_place: S3Place) -> AsyncIterator[tuple[FaultyDoor, S3Place]]:
    """A door to the S3 service, and the place behind it."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        door = FaultyDoor(s3_place, session)
        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/{path:.*}", door.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield door, replace(s3_place, endpoint_url=f"http://127.0.0.1:{port}")
        await runner.cleanup()
