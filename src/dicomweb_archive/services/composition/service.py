"""The service: what the requests of one process share while instances are put together (PS3.18 10.5.1.4)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from dicomweb_archive.services.composition.composing import Composing
from dicomweb_archive.services.composition.limits import CompositionLimits
from dicomweb_archive.services.composition.shared import Shared
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.wire.multipart import Event


class CompositionService:
    """Puts instances together of their metadata and bulk data.

    Args:
        folder: where files are made for what waits and does not fit into memory.
    """

    def __init__(self, decoding: DecodingPool, folder: Path, limits: CompositionLimits) -> None:
        self._shared = Shared(decoding, folder, limits)

    async def compose(self, parts: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """Give the parts of a request as instances, each as soon as all of it is there.

        Raises:
            InvalidRequestError: metadata are no JSON or XML.
            RequestTooLargeError: there are too many instances, or too much waits for bulk data that have not come.
            OverloadedError: too much waits in all requests together.
            StorageFullError: no room is left for what has to wait.
        """
        composing = Composing(self._shared)
        try:
            async for event in composing.events(parts):
                yield event
        finally:
            if composing.has_file:
                await asyncio.to_thread(composing.close)
            else:
                composing.close()
