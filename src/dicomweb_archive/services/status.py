"""Status: the figures by which an operator sees how the archive is."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dicomweb_archive.index.database.figures import FiguresIndex, PackFigures, PastEvent, ServerFigures
from dicomweb_archive.services.access import Principal, Role, require_everywhere
from dicomweb_archive.services.kept import Kept

_EVENTS = 12


@dataclass(frozen=True, slots=True)
class Figures:
    """What the index says of itself."""

    server: ServerFigures
    packs: PackFigures
    events: Sequence[PastEvent]


@dataclass(frozen=True, slots=True)
class StatusService:
    """Measures on behalf of who manages the archive.

    Attributes:
        workers: how many server processes the archive was started with.
        started_at: when this one began.
    """

    index: FiguresIndex
    workers: int
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    kept: Kept[PackFigures] = field(default_factory=Kept)

    async def figures(self, principal: Principal) -> Figures:
        """Measure the database, and say what happened last.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal does not manage the archive.
            DatabaseUnavailableError, QueryTooExpensiveError: it cannot be measured now.
        """
        require_everywhere(principal, Role.MANAGER)
        server, packs, events = await asyncio.gather(
            self.index.server(), self.kept.get("packs", self.index.packs), self.index.events(_EVENTS)
        )
        return Figures(server, packs.value, events)

    async def close(self) -> None:
        """Give up what is being measured."""
        await self.kept.close()
