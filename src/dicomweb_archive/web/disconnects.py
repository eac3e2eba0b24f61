"""Work that is worth doing only while its client is there."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

from dicomweb_archive.web.streams import ClientVanishedError, until_disconnect


class WhileClientWaits:
    """Runs the body of `async with` until the client closes its connection; then the body is cancelled.

    A statement that the body waits for is cancelled in the database too, so that nobody's search goes on for
    nobody. The body of the request must have been read.

    Raises:
        ClientVanishedError: the client has gone.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._vanished = False

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._task = asyncio.current_task()
        self._watch = asyncio.create_task(until_disconnect(self._receive))
        self._watch.add_done_callback(self._end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._watch.remove_done_callback(self._end)
        self._watch.cancel()
        # As `asyncio.timeout` does: a cancellation from elsewhere is passed on.
        if self._vanished and self._task is not None and self._task.uncancel() <= 0 and kind is not None:
            raise ClientVanishedError from error

    def _end(self, watch: "asyncio.Task[None]") -> None:
        if self._task is not None and not watch.cancelled() and watch.exception() is None:
            self._vanished = True
            self._task.cancel()
