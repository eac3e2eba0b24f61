"""Sealing: events get their places in the log within a second, whether anybody asks or not."""

import asyncio
import logging
import random
from dataclasses import dataclass

from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.index.events.sealing import Sealer
from dicomweb_archive.services.jobs.runner import is_ending

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SealingRounds:
    """Seals what was committed, round after round. Every process may have them: one of them seals at a time."""

    sealer: Sealer
    interval_seconds: float = 1.0

    async def run(self) -> None:
        """Seal until cancelled."""
        while not is_ending():
            # Processes that were started together do not seal together.
            await asyncio.sleep(self.interval_seconds * random.uniform(0.7, 1.3))  # noqa: S311 - no secret hangs on it
            try:
                await self.sealer.seal()
            except ArchiveError as error:
                logger.warning("events were not sealed", extra={"error": type(error).__name__})
            except Exception as error:
                # A bug: the rounds go on for as long as the process lives, the log unsealed until it is mended.
                logger.error("events were not sealed", exc_info=error)
