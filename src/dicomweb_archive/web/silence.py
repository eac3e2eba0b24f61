"""Silence: a client that sends nothing for too long is given up, at the cost of one timer a body."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Message, Receive

from dicomweb_archive.errors import RequestTimeoutError


class SilenceWatch:
    """Watches how long a task waits for each message of a request, and ends a wait that is too long.

    Hot path: a timeout around each of the thousands of waits for a large body took a sixteenth of storing it
    (benchmarks/store). Here one timer looks from time to time when the present wait began.

    Args:
        seconds: the longest wait.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._since: float | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def wait_for(self, receive: Receive) -> Message:
        """Receive the next message.

        Raises:
            RequestTimeoutError: there was none for too long.
        """
        self._since = self._loop.time()
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)
        try:
            return await receive()
        except asyncio.CancelledError:
            # Whoever else has cancelled the task too is to be heard.
            if self._is_over and self._task.uncancel() <= self._cancelling:
                text = f"the request body paused for more than {self._seconds:g} s; send it again"
                raise RequestTimeoutError(text) from None
            raise
        finally:
            self._since = None

    def _look(self) -> None:
        now = self._loop.time()
        waiting = 0.0 if self._since is None else now - self._since
        if waiting >= self._seconds and self._task is not None:
            self._is_over = True
            self._task.cancel()
            return
        self._timer = self._loop.call_later(self._seconds - waiting, self._look)
