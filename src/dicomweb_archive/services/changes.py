"""Changes: what happened to the published archive, in order and without gaps, and waiting for what happens next."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.index.events.feed import Change, FeedIndex
from dicomweb_archive.index.events.sealing import Sealer
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.wire.feed_places import FeedPlaces

NOW = "now"
"""The place behind all that has happened."""

LONGEST_WAIT_SECONDS = 20.0
MOST_WAITING = 200

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class PlacedChange:
    """A change, and the place behind it."""

    place: str
    change: Change


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in their order, and the place to go on from."""

    changes: Sequence[PlacedChange]
    next: str


@dataclass(slots=True)
class ChangeService:
    """Reads the feed for principals.

    Those who wait are told by one task of this process, which looks into the log for all of them.
    """

    feed: FeedIndex
    sealer: Sealer
    _waiting: int = 0
    _looking: asyncio.Task[None] | None = None
    _happened: asyncio.Event = field(default_factory=asyncio.Event)
    _sealed_at: float = 0.0

    async def changes(
        self, since: str | None, principal: Principal, *, limit: int, wait_seconds: float = 0
    ) -> ChangePage:
        """Return the first changes behind a place that the principal may see.

        Args:
            since: a place that this feed has named, `now`, or `None` for the beginning.
            wait_seconds: how long to wait for a first one.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not read.
            InvalidParameterError: `since` is no place.
        """
        require(principal, Role.READER)
        places = FeedPlaces(await self.feed.secret())
        await self._seal()
        if since == NOW:
            after = await self.feed.last(principal.sees)
        else:
            after = 0 if since is None else places.open(since)
        found = await self._changes(after, principal, limit, wait_seconds)
        placed = [PlacedChange(places.seal(change.position), change) for change in found]
        return ChangePage(placed, placed[-1].place if placed else places.seal(after))

    async def close(self) -> None:
        """Let those who wait go with what there is."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _changes(self, after: int, principal: Principal, limit: int, wait_seconds: float) -> Sequence[Change]:
        deadline = time.monotonic() + wait_seconds
        while True:
            # Before reading: what comes between reading and waiting is not missed.
            happened = self._happened
            end = await self.feed.end()
            found = await self.feed.changes(principal.sees, after=after, end=end, limit=limit)
            left = deadline - time.monotonic()
            # With too many waiting already, a client comes back a little earlier than it wanted.
            if found or left <= 0 or self._waiting >= MOST_WAITING:
                return found
            # What may not be seen is not looked at again while this caller waits.
            after = max(after, end)
            await self._wait(happened, left)

    async def _wait(self, happened: asyncio.Event, seconds: float) -> None:
        self._waiting += 1
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await happened.wait()
        finally:
            self._waiting -= 1

    async def _look(self) -> None:
        """Look whether something has happened for as long as anybody waits for it."""
        seen: int | None = None
        while self._waiting:
            # What the database says when it is away, those who wait hear when they read.
            with suppress(ArchiveError):
                await self._seal()
                end = await self.feed.end()
                if end != seen:
                    # Everybody who waits once at first too: they may have read before `seen`.
                    seen = end
                    self._happened.set()
                    self._happened = asyncio.Event()
            await asyncio.sleep(_POLL_SECONDS)

    async def _seal(self) -> None:
        """Seal what is committed, so that whoever has stored finds it in the feed at once."""
        if time.monotonic() - self._sealed_at >= _POLL_SECONDS / 2:
            self._sealed_at = time.monotonic()
            await self.sealer.seal()
