"""Store: receive instances, judge each one, keep the good ones, answer for all (PS3.18 10.5)."""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from dicomweb_archive.checks.findings import Finding
from dicomweb_archive.dicom.status import StoreOutcome
from dicomweb_archive.errors import DatabaseUnavailableError, StorageFullError
from dicomweb_archive.index.curation.conflicts import ConflictIndex
from dicomweb_archive.index.curation.findings import FindingIndex
from dicomweb_archive.index.writing.register import Register, Registration
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.destinations import Destination, Destinations
from dicomweb_archive.services.reception.convoys import Convoys
from dicomweb_archive.services.reception.limits import StoreLimits
from dicomweb_archive.services.reception.reception import Reception
from dicomweb_archive.services.series_at_hand import SeriesAtHand
from dicomweb_archive.services.settlement import Settlement
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.wire.multipart import Event, PartData
from dicomweb_archive.wire.roots import PUBLISHED, AskedRoot

__all__ = ["StoreLimits", "StoreService"]

logger = logging.getLogger(__name__)

_ROOM_ASKED_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoreService:
    """Stores instances: packs durable first, then one transaction, then the answer."""

    register: Register
    objects: ObjectStore
    limits: StoreLimits
    destinations: Destinations
    conflicts: ConflictIndex
    findings: FindingIndex
    at_hand: SeriesAtHand = field(default_factory=SeriesAtHand)
    convoys: Convoys = field(init=False)

    def __post_init__(self) -> None:
        convoys = Convoys(self.register, self.objects, at_once=self.limits.convoys_at_once)
        object.__setattr__(self, "convoys", convoys)

    async def destination_of(self, principal: Principal, asked: AskedRoot = PUBLISHED) -> Destination:
        """Return where a store of this principal through this root leads; see `Destinations.of`."""
        return await self.destinations.of(principal, asked)

    async def ensure_room(self, principal: Principal, announced_bytes: int = 0) -> None:
        """Refuse before a body is read when it may not or cannot be stored.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not store.
            StorageFullError: free space would fall under the watermark.
        """
        require(principal, Role.SUBMITTER)
        await self._ensure_room(announced_bytes)

    async def _ensure_room(self, announced_bytes: int = 0) -> None:
        free = await self.objects.free_bytes()
        if free is not None and free - announced_bytes < self.limits.free_space_watermark_bytes:
            message = "no room is left for what was sent; free some, or lower free_space_watermark_bytes"
            raise StorageFullError(message)

    async def store_instances(
        self,
        parts: AsyncIterator[Event],
        principal: Principal,
        destination: Destination | None = None,
        *,
        study_instance_uid: str | None = None,
    ) -> list[StoreOutcome]:
        """Store the instances of one request and say what became of each, in the order of the parts.

        A part that cannot be kept is an outcome. Whatever ends the request early (a client that left, a
        malformed end, a full disk) leaves nothing of it behind.

        Args:
            destination: see `destination_of`; `None`: the one of a store that names none.

        Raises:
            InvalidRequestError: the request holds no part.
            ConflictError: the submission was sealed meanwhile.
            StorageFullError, DatabaseUnavailableError: nothing was stored; trying again later may help.
        """
        require(principal, Role.SUBMITTER)
        if destination is None:
            destination = await self.destination_of(principal)
        settlement = Settlement(self.register, self.conflicts, self.objects, destination, actor=principal.name)
        reception = Reception(
            self.register, self.objects, self.limits, destination, self.at_hand, study_instance_uid=study_instance_uid
        )
        try:
            await reception.receive(self._while_room(parts))
            if await reception.go_along(self.convoys, actor=principal.name):
                return reception.ledger.outcomes(destination.room)
            packs = await reception.finish_packs()
        except BaseException:
            await reception.abort()
            raise
        if any(packs.values()):
            verdicts = await settlement.settle(packs)
            reception.ledger.take_verdicts(verdicts, settlement.waiting)
            fresh = [uid for uid in settlement.waiting if verdicts[uid] is Registration.STORED]
            await self._keep_findings(destination, reception.ledger.findings(fresh))
        return reception.ledger.outcomes(destination.room)

    async def _keep_findings(self, destination: Destination, findings: Sequence[Finding]) -> None:
        submission = destination.room.submission
        if not findings or submission is None:
            return
        try:
            await self.findings.add(submission.space_id, findings)
        except DatabaseUnavailableError:
            # The instances are stored, which is the answer; running the checks finds it again.
            logger.warning("findings could not be kept", extra={"findings": len(findings)})

    async def _while_room(self, parts: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """Ask for room again and again: a length may not be announced, and others store at the same time.

        The disk must not fill to its end, because the database may lie on it.
        """
        unasked_bytes = 0
        async for event in parts:
            if isinstance(event, PartData):
                unasked_bytes += len(event.data)
                if unasked_bytes >= _ROOM_ASKED_BYTES:
                    unasked_bytes = 0
                    await self._ensure_room()
            yield event
