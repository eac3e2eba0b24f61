"""Reception: the parts of one store request, each judged and taken (PS3.18 10.5)."""

import time
from collections.abc import AsyncIterator

from dicomweb_archive.checks.findings import Severity
from dicomweb_archive.checks.structural import passes
from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.errors import InvalidInstanceError, InvalidRequestError, RequestTimeoutError
from dicomweb_archive.index.writing.register import PackRecord, Register
from dicomweb_archive.services.destinations import Destination
from dicomweb_archive.services.intake import Intake
from dicomweb_archive.services.large_part import LargePart, joined_if_many, skip_part
from dicomweb_archive.services.reception.batches import Batches, Held, digest_of_held
from dicomweb_archive.services.reception.claims import Asked, Claims
from dicomweb_archive.services.reception.convoys import Convoys
from dicomweb_archive.services.reception.lanes import Lanes
from dicomweb_archive.services.reception.ledger import Ledger
from dicomweb_archive.services.reception.limits import StoreLimits
from dicomweb_archive.services.reception.oddities import notes_of
from dicomweb_archive.services.series_at_hand import SeriesAtHand
from dicomweb_archive.services.settlement import Lane
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.wire.multipart import Event, PartBegin, PartData, PartEnd, PartJudged

_ACCEPTED_PART_TYPES = frozenset({"", "application/dicom", "application/octet-stream"})


class Reception:
    """One store request in its course.

    Args:
        destination: where instances go.
        at_hand: series that other requests have brought instances of.
        study_instance_uid: the only study that instances may belong to.

    Attributes:
        ledger: what becomes of each part.
    """

    def __init__(
        self,
        register: Register,
        objects: ObjectStore,
        limits: StoreLimits,
        destination: Destination,
        at_hand: SeriesAtHand,
        *,
        study_instance_uid: str | None = None,
    ) -> None:
        self._limits = limits
        self._destination = destination
        # Not the monotonic clock, which may stand still while the machine sleeps: objects age by this one.
        self._begun_at = time.time()
        self._study_instance_uid = study_instance_uid
        self._intake = Intake(at_hand)
        self.ledger = Ledger()
        self._claims = Claims(register, destination, self.ledger)
        self._lanes = Lanes(objects, limits)
        self._batches = Batches(self.ledger, self._claims, self._lanes)

    async def receive(self, parts: AsyncIterator[Event]) -> None:
        """Take all parts; while a batch of them is being written the next one is collected."""
        async for event in parts:
            if isinstance(event, PartJudged):
                self.ledger.enter(event.outcome)
                continue
            assert isinstance(event, PartBegin)
            position = self.ledger.begin_part(event.notes)
            if event.head.content_type.partition(";")[0].strip().lower() not in _ACCEPTED_PART_TYPES:
                await skip_part(parts)
                self.ledger.fail(position, status.PART_NOT_SUPPORTED)
            elif self._lanes.is_full:
                await skip_part(parts)
                comment = "too many attributes in one request, send fewer"
                self.ledger.fail(position, status.OUT_OF_RESOURCES, comment=comment)
            else:
                await self._receive_instance(position, parts)
        if self.ledger.is_empty:
            message = "the request holds no part"
            raise InvalidRequestError(message)

    async def go_along(self, convoys: Convoys, *, actor: str) -> bool:
        """Let the only instance of the request be written with those of others; tells whether that was all of it."""
        held = self._batches.lone if self.ledger.is_of_one else None
        kept = None if held is None else await convoys.carry(held, self._destination, actor=actor)
        if held is None or kept is None:
            return False
        if kept.position == held.position:
            self.ledger.keep(held.position, held.scanned, kept.digest, held.lane)
        elif kept.digest == await digest_of_held(held):
            self.ledger.say_repeated(held.position, held.scanned, kept, same=True)
        else:
            return False
        return True

    async def finish_packs(self) -> dict[Lane, list[PackRecord]]:
        """Write what is left, and make every pack durable.

        Raises:
            RequestTimeoutError: the request took so long that its first packs may soon be taken for orphans.
        """
        await self._batches.settle()
        packs = await self._lanes.finish()
        if time.time() - self._begun_at > self._limits.request_seconds:
            message = f"a request may take at most {self._limits.request_seconds:g} s; send fewer instances at once"
            raise RequestTimeoutError(message)
        return packs

    async def abort(self) -> None:
        """Leave nothing of the request behind."""
        await self._batches.abort()
        await self._lanes.abort()

    async def _receive_instance(self, position: int, parts: AsyncIterator[Event]) -> None:
        pieces: list[Buffer] = []
        size = 0
        async for event in parts:
            if isinstance(event, PartEnd):
                # Joining copies, and gives the scanner one buffer to slice.
                await self._take_held(position, b"".join(pieces))
                return
            assert isinstance(event, PartData)
            pieces.append(event.data)
            pieces = joined_if_many(pieces)
            size += len(event.data)
            if size > self._limits.hold_bytes:
                await self._take_large(position, pieces, parts)
                return

    async def _take_held(self, position: int, data: bytes) -> None:
        try:
            scanned = await self._intake.scan(data)
        except InvalidInstanceError as error:
            self.ledger.fail(position, error.failure, comment=error.reason)
            return
        if not self._belongs(scanned.study_instance_uid):
            self.ledger.fail(position, status.STUDY_UID_MISMATCH, scanned)
            return
        if scanned.odd_attributes:
            self.ledger.note(position, notes_of(scanned.odd_attributes))
        await self._batches.add(Held(position, scanned, data, self._judge(position, scanned)))

    async def _take_large(self, position: int, pieces: list[Buffer], parts: AsyncIterator[Event]) -> None:
        # What came before must be settled, so that a UID that it brought is known.
        await self._batches.settle()
        part = LargePart(self._lanes.packing(Lane.PUBLISHED), self._belongs)
        try:
            received = await part.receive(pieces, parts)
        except InvalidInstanceError as error:
            self.ledger.fail(position, error.failure, part.identity, comment=error.reason)
            return
        scanned, digest = received.scanned, received.placed.digest
        uid = scanned.sop_instance_uid
        if scanned.odd_attributes:
            self.ledger.note(position, notes_of(scanned.odd_attributes))
        if (await self._claims.find_published([uid])).get(uid) == digest:
            await received.member.drop()
            self.ledger.say_published(position, scanned)
            return
        lane = self._judge(position, scanned)
        known = (await self._claims.find([Asked(scanned, lane)])).get(uid)
        if known is None:
            self.ledger.keep(position, scanned, digest, lane)
        else:
            self.ledger.say_repeated(position, scanned, known, same=digest == known.digest)
            lane = Lane.CONFLICTING
        if known is not None and digest == known.digest:
            await received.member.drop()
        else:
            await received.member.keep(scanned, received.placed, self._lanes.packing(lane))

    def _judge(self, position: int, scanned: ScannedInstance) -> Lane:
        """Decide whether an instance may be published at once, and note what keeps it from that."""
        judge = self._destination.judge
        findings = () if judge is None else judge.judge(scanned)
        if judge is not None and passes(findings):
            return Lane.PUBLISHED
        why = next((found.message for found in findings if found.severity is Severity.BLOCK), "")
        self.ledger.let_wait(position, scanned, findings, why)
        return Lane.WAITING

    def _belongs(self, study_instance_uid: str) -> bool:
        return self._study_instance_uid in (None, study_instance_uid)
