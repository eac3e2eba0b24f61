"""The least that the HTTP server can do: keep a body durably, send a flat file. An ASGI app, run by uvicorn."""

import asyncio
import os
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
FOLDER = Path(os.environ.get("BARE_FOLDER", "."))


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """POST: write the body to a file and flush it. GET: send the file `flat`, or `small`, a MiB at a time."""
    if scope["type"] != "http":
        return
    if scope["method"] == "POST":
        await _keep(receive)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        return
    name = "small" if scope["path"] == "/small" else "flat"
    descriptor = os.open(FOLDER / name, os.O_RDONLY)
    size = os.fstat(descriptor).st_size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    for offset in range(0, size, MIB):
        body = os.pread(descriptor, MIB, offset)
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(0)
    os.close(descriptor)
    await send({"type": "http.response.body"})


async def _keep(receive: Any) -> None:
    descriptor = os.open(FOLDER / f"kept-{os.urandom(6).hex()}", os.O_WRONLY | os.O_CREAT, 0o600)
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        os.write(descriptor, message.get("body", b""))
    await asyncio.to_thread(os.fsync, descriptor)
    os.close(descriptor)
