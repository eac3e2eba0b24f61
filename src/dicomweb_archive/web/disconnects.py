"""Work that is worth doing only while its client is there."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive


class ClientVanishedError(Exception):
    """The connection was closed before the request was complete; nobody is there to be answered."""


async def until_disconnect(receive: Receive) -> None:
    """Wait until the client closes its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


class WhileClientWaits:
    """Runs the body of `async with` until the client closes its connection; then the body is cancelled.

    A statement that the body waits for is cancelled in the database too, so that nobody's search goes on for
    nobody. The body of the request must have been read.

    Args:
        after_seconds: work that is done sooner is not worth the listening.

    Raises:
        ClientVanishedError: the client has gone.
        TimeoutError: the body took longer than it was given by `at_most`.
    """

    def __init__(self, receive: Receive, *, after_seconds: float = 0.0) -> None:
        self._receive = receive
        self._after_seconds = after_seconds
        self._vanished = False
        self._late = False
        self._most_seconds: float | None = None
        self._task: asyncio.Task[object] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Begin to listen, now or in a moment."""
        self._task = asyncio.current_task()
        if self._after_seconds:
            self._timer = asyncio.get_running_loop().call_later(self._after_seconds, self._listen)
        else:
            self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.remove_done_callback(self._end)
            self._watch.cancel()
        # As `asyncio.timeout` does: a cancellation from elsewhere is passed on.
        ended = ClientVanishedError if self._vanished else TimeoutError if self._late else None
        if ended is not None and self._task is not None and self._task.uncancel() <= 0 and kind is not None:
            raise ended from error

    def at_most(self, seconds: float) -> None:
        """Give the rest of the body so many seconds, counted from when we begin to listen.

        An `asyncio.timeout` around it would cost each request that takes a moment a timer of its own.
        """
        self._most_seconds = seconds
        if self._watch is not None:
            self._begin_to_count(seconds)

    def _begin_to_count(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._task is not None and not self._vanished:
            self._late = True
            self._task.cancel()

    def _listen(self) -> None:
        if self._most_seconds is not None:
            self._begin_to_count(self._most_seconds)
        self._watch = asyncio.create_task(until_disconnect(self._receive))
        self._watch.add_done_callback(self._end)

    def _end(self, watch: "asyncio.Task[None]") -> None:
        if self._task is not None and not self._late and not watch.cancelled() and watch.exception() is None:
            self._vanished = True
            self._task.cancel()
