"""One flat file by the archive's own server: its HTTP protocol, streams and folder, and nothing else."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

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
