"""The least that an archive on S3 can do: pass one ranged read on, or one GET an instance. An ASGI app, by uvicorn."""

import asyncio
import os
from collections import deque
from datetime import UTC, datetime
from typing import Any

import aiohttp
from yarl import URL

from dicomweb_archive.storage.s3.signature import EMPTY_SHA256, sign

URL_OF_PACK = os.environ.get("RELAY_URL", "http://localhost/")
SIZE = int(os.environ.get("RELAY_SIZE", "0"))
STEP = int(os.environ.get("RELAY_STEP", "1"))
REGION = os.environ.get("RELAY_REGION", "")
KEY = (os.environ.get("RELAY_KEY_ID", ""), os.environ.get("RELAY_KEY", ""))
AT_ONCE = 8
_BUFFER_BYTES = 256 * 1024

_opened: list[aiohttp.ClientSession] = []


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """GET `/whole`: what one request brings, as it comes. `/each`: by a request for each step, some at once."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % SIZE)]})
    await (_whole(send) if scope["path"] == "/whole" else _each(send))
    await send({"type": "http.response.body"})


async def _whole(send: Any) -> None:
    async with _get(0, SIZE) as answer:
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _each(send: Any) -> None:
    async def read(start: int) -> bytes:
        async with _get(start, min(start + STEP, SIZE)) as answer:
            return await answer.read()

    starts = deque(range(0, SIZE, STEP))
    reading: deque[asyncio.Task[bytes]] = deque()
    while starts or reading:
        while starts and len(reading) < AT_ONCE:
            reading.append(asyncio.create_task(read(starts.popleft())))
        await send({"type": "http.response.body", "body": await reading.popleft(), "more_body": True})


def _get(start: int, stop: int) -> Any:
    if not _opened:
        _opened.append(aiohttp.ClientSession(read_bufsize=_BUFFER_BYTES, auto_decompress=False))
    url = URL(URL_OF_PACK)
    headers = sign(
        "GET",
        url.path,
        "",
        {"host": url.authority, "range": f"bytes={start}-{stop - 1}"},
        payload_sha256=EMPTY_SHA256,
        now=datetime.now(UTC),
        region=REGION,
        access_key_id=KEY[0],
        secret_access_key=KEY[1],
    )
    return _opened[0].get(url, headers=headers)
