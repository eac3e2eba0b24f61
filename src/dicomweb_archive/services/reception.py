"""Reception: one store request in its course, part by part (PS3.18 10.5)."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import Identity
from dicomweb_archive.dicom.status import AttributeNote, StoreOutcome
from dicomweb_archive.errors import (
    ArchiveError,
    DatabaseUnavailableError,
    InvalidInstanceError,
    InvalidRequestError,
    RequestTimeoutError,
)
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.writing.register import PackRecord, Register, Registration
from dicomweb_archive.services.intake import Intake, series_key
from dicomweb_archive.services.large_part import LargePart, joined_if_many, skip_part
from dicomweb_archive.services.outcomes import refused, repeated, stored
from dicomweb_archive.services.packing import Packing
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.content import digest_of
from dicomweb_archive.wire.multipart import Event, PartBegin, PartData, PartEnd, PartJudged

logger = logging.getLogger(__name__)

# One batch is looked up, hashed and written as one job. In the spike four parts of 0.5 MB
# a job cost 5 % less than one.
_BATCH_BYTES = 2 * 1024 * 1024
_BATCH_PARTS = 32

_ACCEPTED_PART_TYPES = frozenset({"", "application/dicom", "application/octet-stream"})


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bounds of a store request, see `settings.py`.

    Attributes:
        request_seconds: a request that took longer is refused at its end: objects without a row may be swept
            when they are twice as old (`services/maintenance.py`).
        attribute_bytes: JSON of attributes that one request may bring, since all of it is registered together:
            some thousand series, or some dozen structure sets. Parts beyond it are refused.
    """

    hold_bytes: int
    pack_bytes: int
    pack_instances: int
    free_space_watermark_bytes: int
    request_seconds: float = 12 * 3600.0
    attribute_bytes: int = 64 * 1024 * 1024


@dataclass(slots=True)
class _Held:
    """A part that is whole in memory and fit to be kept, unless the archive has its UID."""

    position: int
    scanned: ScannedInstance
    data: bytes


class Reception:
    """One store request in its course.

    Args:
        actor: who stores, for the event.
        study_instance_uid: the only study that instances may belong to.
    """

    def __init__(
        self,
        register: Register,
        objects: ObjectStore,
        limits: StoreLimits,
        *,
        actor: str,
        study_instance_uid: str | None = None,
    ) -> None:
        self._register = register
        self._objects = objects
        self._limits = limits
        self._actor = actor
        # Not the monotonic clock, which may stand still while the machine sleeps: objects age by this one.
        self._begun_at = time.time()
        self._study_instance_uid = study_instance_uid
        self._intake = Intake()
        self._packing = Packing(objects, pack_bytes=limits.pack_bytes, pack_instances=limits.pack_instances)
        self._outcomes: list[StoreOutcome | None] = []
        # What this request keeps: SOP Instance UID -> digest and the part it came with.
        self._kept: dict[str, tuple[bytes, int]] = {}
        # Further parts with a UID that this request keeps; what becomes of the first decides on them too.
        self._repeats: dict[str, list[int]] = {}
        # What is to be said of attributes of the part at a position.
        self._notes: dict[int, tuple[AttributeNote, ...]] = {}
        self._batch: list[_Held] = []
        self._batch_bytes = 0
        self._settling: asyncio.Task[None] | None = None

    async def receive(self, parts: AsyncIterator[Event]) -> None:
        """Take all parts; while a batch of them is being written the next one is collected."""
        async for event in parts:
            if isinstance(event, PartJudged):
                self._outcomes.append(event.outcome)
                continue
            assert isinstance(event, PartBegin)
            position = len(self._outcomes)
            self._outcomes.append(None)
            if event.notes:
                self._notes[position] = event.notes
            if event.head.content_type.partition(";")[0].strip().lower() not in _ACCEPTED_PART_TYPES:
                await skip_part(parts)
                self._fail(position, status.PART_NOT_SUPPORTED)
            elif self._packing.attribute_bytes > self._limits.attribute_bytes:
                await skip_part(parts)
                comment = "too many attributes in one request, send fewer"
                self._fail(position, status.OUT_OF_RESOURCES, comment=comment)
            else:
                await self._receive_instance(position, parts)
        if not self._outcomes:
            message = "the request holds no part"
            raise InvalidRequestError(message)
        await self._settle_batch()
        await self._settled()

    async def finish_packs(self) -> list[PackRecord]:
        """Make every pack durable.

        Raises:
            RequestTimeoutError: the request took so long that its first packs may soon be taken for orphans.
        """
        packs = await self._packing.finish()
        if time.time() - self._begun_at > self._limits.request_seconds:
            message = f"a request may take at most {self._limits.request_seconds:g} s; send fewer instances at once"
            raise RequestTimeoutError(message)
        return packs

    async def register_packs(self, packs: Sequence[PackRecord]) -> None:
        """Make the instances visible, all in one transaction."""
        if not packs:
            return
        try:
            registrations = await self._register.register(packs, actor=self._actor)
        except DatabaseUnavailableError:
            # A lost connection may hide a commit that took place, so the objects stay: one without rows is an
            # orphan for the sweep, a row without its object would be a loss.
            logger.warning("outcome of a transaction is unknown, its objects stay", extra={"packs": len(packs)})
            raise
        except Exception:
            await self._packing.abort()
            raise
        for sop_instance_uid, registration in registrations.items():
            # Another request may have stored the same UID since we looked.
            if registration is not Registration.STORED:
                self._judge_again(sop_instance_uid, same=registration is Registration.SAME)
        for pack in packs:
            uids = [each.scanned.sop_instance_uid for segment in pack.segments for each in segment]
            if not any(registrations[uid] is Registration.STORED for uid in uids):
                await self._delete_unused(pack.object_key)

    async def abort(self) -> None:
        """Leave nothing of the request behind."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])
            # Its error, if any, is the one that brought us here, or no longer matters; asyncio wants it looked at.
            if not self._settling.cancelled():
                self._settling.exception()
        await self._packing.abort()

    def outcomes(self) -> list[StoreOutcome]:
        """Return what became of each part."""
        complete = [outcome for outcome in self._outcomes if outcome is not None]
        assert len(complete) == len(self._outcomes)
        for position, notes in self._notes.items():
            complete[position] = complete[position].with_notes(notes)
        return complete

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
            self._fail(position, error.failure, comment=error.reason)
            return
        if not self._belongs(scanned.study_instance_uid):
            self._fail(position, status.STUDY_UID_MISMATCH, scanned)
            return
        self._batch.append(_Held(position, scanned, data))
        self._batch_bytes += len(data)
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_PARTS:
            await self._settle_batch()

    async def _take_large(self, position: int, pieces: list[Buffer], parts: AsyncIterator[Event]) -> None:
        # What came before must be settled, so that a UID that it brought is known.
        await self._settle_batch()
        await self._settled()
        part = LargePart(self._packing, self._known_digest, self._belongs)
        try:
            received = await part.receive(pieces, parts)
        except InvalidInstanceError as error:
            self._fail(position, error.failure, part.identity, comment=error.reason)
            return
        outcome = stored(received.scanned)
        self._note_repeat(received.scanned.sop_instance_uid, position)
        if received.known_digest is None:
            self._kept[received.scanned.sop_instance_uid] = (received.digest, position)
        else:
            outcome = repeated(outcome, same=received.digest == received.known_digest)
        self._outcomes[position] = outcome

    def _note_repeat(self, sop_instance_uid: str, position: int) -> None:
        if sop_instance_uid in self._kept:
            self._repeats.setdefault(sop_instance_uid, []).append(position)

    def _judge_again(self, sop_instance_uid: str, *, same: bool) -> None:
        """Correct what was said of the parts that this request alone would have kept."""
        for position in (self._kept[sop_instance_uid][1], *self._repeats.get(sop_instance_uid, ())):
            outcome = self._outcomes[position]
            if outcome is not None and outcome.is_stored:
                self._outcomes[position] = repeated(outcome, same=same)

    async def _delete_unused(self, object_key: str) -> None:
        try:
            await self._objects.delete(object_key)
        except ArchiveError:
            # The instances are where another request has put them, and that is the answer.
            logger.warning("an object without rows could not be deleted", extra={"object_key": object_key})

    def _belongs(self, study_instance_uid: str) -> bool:
        return self._study_instance_uid in (None, study_instance_uid)

    async def _known_digest(self, sop_instance_uid: str) -> bytes | None:
        """Return the digest of the instance that has this UID, in this request or in the archive."""
        return (await self._known_digests([sop_instance_uid])).get(sop_instance_uid)

    async def _known_digests(self, sop_instance_uids: Sequence[str]) -> dict[str, bytes]:
        known = {uid: self._kept[uid][0] for uid in sop_instance_uids if uid in self._kept}
        unknown = [uid for uid in sop_instance_uids if uid not in known]
        if unknown:
            found = await self._register.find_digests(ARCHIVE_SPACE, unknown)
            known.update((uid, entry.digest) for uid, entry in found.items())
        return known

    async def _settled(self) -> None:
        if self._settling is not None:
            await self._settling
            self._settling = None

    async def _settle_batch(self) -> None:
        """Begin to write what was collected, as soon as the batch before it is written."""
        await self._settled()
        if self._batch:
            self._settling = asyncio.create_task(self._write(self._batch))
            self._batch, self._batch_bytes = [], 0

    async def _write(self, batch: Sequence[_Held]) -> None:
        known = await self._known_digests([held.scanned.sop_instance_uid for held in batch])
        fresh: dict[tuple[str, str], list[_Held]] = {}
        repeats: list[_Held] = []
        taken = set(known)
        for held in batch:
            if held.scanned.sop_instance_uid in taken:
                repeats.append(held)
                continue
            taken.add(held.scanned.sop_instance_uid)
            fresh.setdefault(series_key(held.scanned), []).append(held)
        for key, instances in fresh.items():
            digests = await self._packing.append(key, [(held.scanned, held.data) for held in instances])
            for held, digest in zip(instances, digests, strict=True):
                self._kept[held.scanned.sop_instance_uid] = (digest, held.position)
                self._outcomes[held.position] = stored(held.scanned)
        for held in repeats:
            uid = held.scanned.sop_instance_uid
            self._note_repeat(uid, held.position)
            expected = known.get(uid) or self._kept[uid][0]
            neutralise = held.scanned.preamble_neutralised
            digest = await asyncio.to_thread(digest_of, held.data, neutralise_preamble=neutralise)
            self._outcomes[held.position] = repeated(stored(held.scanned), same=digest == expected)

    def _fail(
        self, position: int, failure: int, identity: ScannedInstance | Identity | None = None, *, comment: str = ""
    ) -> None:
        self._outcomes[position] = refused(position, failure, identity, comment=comment)
