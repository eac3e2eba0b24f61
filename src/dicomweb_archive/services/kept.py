"""Costly figures: asked for by one caller at a time, and kept the longer the more they cost."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from dicomweb_archive.errors import ArchiveError

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

QUICK_SECONDS = 0.1
"""What takes less is asked anew each time."""

MOST_FIGURES = 256
"""Each root has figures of its own, and there may be as many roots as submissions."""

_KEPT_FOR = 10
_KEPT_AT_MOST_SECONDS = 120.0
_HANDED_OUT_OLD = 2.0
"""How many times as long as it is good a figure may be handed out."""


@dataclass(frozen=True, slots=True)
class Held(Generic[Value]):
    """A figure and since when it holds."""

    value: Value
    at: datetime
    seconds: float
    good_until: float
    handed_out_until: float


class Kept(Generic[Value]):
    """Keeps figures by key; however many pages are viewed, they keep one connection busy for a tenth of the time.

    A figure that was costly is handed out a little old while it is asked for anew, so under steady use nobody
    waits for it. One that nobody has looked at for long is not handed out: what it tells may be an hour ago.
    Keys come from bounded sets.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: OrderedDict[Hashable, Held[Value]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[Held[Value]]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[Value]]) -> Held[Value]:
        """Return the figure of this key, as held or by asking; what `ask` raises is raised."""
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
        if held is not None and self._clock() < held.good_until:
            return held
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key, ask))
            task.add_done_callback(_note_failure)
        if held is not None and self._clock() < held.handed_out_until:
            return held
        # Others may wait for the same answer, so it is not given up with this caller.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Give up what is being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[Value]]) -> Held[Value]:
        begun = self._clock()
        try:
            value = await ask()
            ended = self._clock()
            seconds = ended - begun
            kept_for = min(seconds * _KEPT_FOR, _KEPT_AT_MOST_SECONDS) if seconds > QUICK_SECONDS else 0.0
            old_from = ended + kept_for * _HANDED_OUT_OLD
            held = self._held[key] = Held(value, datetime.now(UTC), seconds, ended + kept_for, old_from)
            self._held.move_to_end(key)
            if len(self._held) > MOST_FIGURES:
                self._held.popitem(last=False)
            return held
        finally:
            del self._asking[key]


def _note_failure(task: asyncio.Task[Held[Value]]) -> None:
    """Look at the outcome, for nobody may be waiting for it."""
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, ArchiveError):
        logger.warning("a figure of the overview could not be had: %s", type(error).__name__)
