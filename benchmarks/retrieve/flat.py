"""One flat file by the archive's own server: its HTTP protocol, streams and folder, and nothing else."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from benchmarks.retrieve.servers import Server
from benchmarks.transactions.__main__ import running
from dicomweb_archive.cli.http_protocol import BoundedProtocol
from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.storage.spans import Span, stream_spans
from dicomweb_archive.web.streams import ByteStreamResponse


class FlatFile:
    """An ASGI app that answers every request with the file `flat` of a folder."""

    def __init__(self, folder: Path) -> None:
        self._store = FolderStore(folder)
        self._size = (folder / "flat").stat().st_size

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        if scope["type"] != "http":
            return
        chunks = stream_spans(self._store, [Span("flat", 0, self._size)])
        answer = ByteStreamResponse(chunks, content_length=self._size, media_type="application/octet-stream")
        await answer(scope, receive, send)


@contextmanager
def flat_file(folder: Path) -> Iterator[Server]:
    """Run a server of the folder's file `flat`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running(
        [sys.executable, "-m", "benchmarks.retrieve.flat", str(folder), str(port)], dict(os.environ)
    ) as process:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Server("flat", f"http://127.0.0.1:{port}", process.pid)


def main() -> None:
    """Serve the folder and port of the command line."""
    app = FlatFile(Path(sys.argv[1]))
    config = uvicorn.Config(
        app, port=int(sys.argv[2]), http=BoundedProtocol, ws="none", lifespan="off", access_log=False
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
