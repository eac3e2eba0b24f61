"""What all requests of a process share while instances are put together: bounds, budgets, and one turn."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicomweb_archive.errors import OverloadedError, RequestTooLargeError
from dicomweb_archive.services.composition.limits import CompositionLimits
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.storage.spool import MemoryBudget, Spool

LARGE_TEXT_BYTES: Final = 256 * 1024
"""Longer metadata are read in turn: what they become in memory is many times as much."""


@dataclass(slots=True)
class Shared:
    """Shared by the requests of one process.

    Attributes:
        large_texts: one request at a time reads a long text.
    """

    decoding: DecodingPool
    folder: Path
    limits: CompositionLimits
    large_texts: asyncio.Lock = field(default_factory=asyncio.Lock)
    held: MemoryBudget = field(init=False)
    memory: MemoryBudget = field(init=False)

    def __post_init__(self) -> None:
        self.held = MemoryBudget(self.limits.all_held_bytes)
        self.memory = MemoryBudget(self.limits.all_memory_bytes)

    def new_spool(self) -> Spool:
        """Return a spool within the bounds."""
        limits = self.limits
        return Spool(
            self.folder,
            memory_bytes=limits.memory_bytes,
            watermark_bytes=limits.watermark_bytes,
            budget=self.memory,
        )


class Holding:
    """What one request holds in memory beside its spools, counted."""

    def __init__(self, shared: Shared) -> None:
        self._most = shared.limits.held_bytes
        self._budget = shared.held
        self._held = 0
        self._is_closed = False

    def take(self, size: int) -> None:
        """Count so many bytes more.

        Raises:
            RequestTooLargeError: this request waits for too much.
            OverloadedError: all requests together do.
        """
        if self._held + size > self._most:
            message = "too much waits for the rest of its instance; send fewer instances at once"
            raise RequestTooLargeError(message)
        if not self._budget.take(size):
            message = "too many instances wait for their bulk data; send it again a little later"
            raise OverloadedError(message)
        self._held += size

    def give(self, size: int) -> None:
        """Count so many bytes less."""
        if not self._is_closed:
            self._held -= size
            self._budget.give(size)

    def close(self) -> None:
        """Give everything back."""
        self.give(self._held)
        self._is_closed = True
