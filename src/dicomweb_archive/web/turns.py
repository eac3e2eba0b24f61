"""Turns: long streams step back while shorter requests are being answered by the same process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.types import Scope

_KEY: Final = "dicomweb_archive.turns"

_MOST_TURNS: Final = 5
"""A request that asks the database takes its next step in so many turns of the event loop, more often than not."""


class Turns:
    """Counts the requests of this process, and lets a long stream know whether others wait for their turn.

    A client that keeps up is never waited for, so its stream takes the event loop again as soon as it may. Between two
    pieces of half a MiB any other request made one step only, and to be answered it needs several.
    """

    def __init__(self) -> None:
        self._requests = 0
        self._streams = 0

    def begin(self, scope: Scope) -> None:
        """Count a request, and leave this with it."""
        scope[_KEY] = self
        self._requests += 1

    def end(self) -> None:
        """Count a request no more."""
        self._requests -= 1

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Count the request in hand as a long stream, for which no other one steps back."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def step_back(self) -> None:
        """Let others run: for one turn, and for some more while any of them is no long stream."""
        await asyncio.sleep(0)
        for _ in range(1, _MOST_TURNS):
            if self._requests <= self._streams:
                return
            await asyncio.sleep(0)


def turns_of(scope: Scope) -> Turns:
    """Return the turns of the process that serves this request; its own where nobody counts."""
    turns: Turns = scope.get(_KEY) or Turns()
    return turns
