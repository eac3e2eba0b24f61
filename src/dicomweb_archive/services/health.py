"""Health: can this process serve, and is there room to store?"""

import asyncio
import logging
from dataclasses import dataclass

from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.storage.base import ObjectStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found: `room` is false when stores are refused for want of free space, reads go on."""

    database: bool
    storage: bool
    room: bool

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here; a full disk keeps nobody from reading."""
        return self.database and self.storage


@dataclass(frozen=True, slots=True)
class HealthService:
    """Asks the database and the object store how they are."""

    database: Database
    objects: ObjectStore
    free_space_watermark_bytes: int
    timeout_seconds: float = 3.0

    async def readiness(self) -> Readiness:
        """Ask both at once; what does not answer in time counts as away."""
        database, (storage, room) = await asyncio.gather(self._database(), self._storage())
        return Readiness(database, storage, room)

    async def free_bytes(self) -> int | None:
        """Return the room left for objects; `None` when the store knows no such thing or does not answer."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self.objects.free_bytes()
        except (ArchiveError, OSError, TimeoutError):
            logger.warning("object store does not answer")
            return None

    async def _database(self) -> bool:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self.database.ping()
        except (ArchiveError, TimeoutError):
            logger.warning("database does not answer")
            return False
        return True

    async def _storage(self) -> tuple[bool, bool]:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self.objects.ping()
                free = await self.objects.free_bytes()
        except (ArchiveError, OSError, TimeoutError):
            logger.warning("object store does not answer")
            return False, False
        return True, free is None or free > self.free_space_watermark_bytes
