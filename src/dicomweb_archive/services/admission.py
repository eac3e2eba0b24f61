"""Admission: so many requests at once; others wait a little and are then sent away (PS3.18 8.5: 503)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dicomweb_archive.errors import OverloadedError


class Admission:
    """Turns for what holds memory for as long as a client takes to send.

    Who waits has sent nothing of its body yet but what the system's buffers hold, so waiting is cheap: short peaks
    are flattened, and nobody is told to come again for them.

    Args:
        most: turns at once.
        wait_seconds: longest wait for one.
    """

    def __init__(self, *, most: int, wait_seconds: float) -> None:
        self._turns = asyncio.Semaphore(most)
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it for as long as the block lasts.

        Raises:
            OverloadedError: none became free in time.
        """
        # Most of the time there is one, and a timer costs more than looking.
        if self._turns.locked():
            await self._wait()
        else:
            await self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._turns.acquire()
        except TimeoutError:
            message = "too many requests are being received at once; send it again a little later"
            raise OverloadedError(message) from None
