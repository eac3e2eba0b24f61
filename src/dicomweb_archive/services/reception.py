"""Reception: one store request in its course, part by part (PS3.18 10.5)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dicomweb_archive.checks.findings import Finding, Severity, merge_findings
from dicomweb_archive.checks.structural import passes
from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import Identity
from dicomweb_archive.dicom.status import AttributeNote, StoreOutcome
from dicomweb_archive.errors import (
    InvalidInstanceError,
    InvalidRequestError,
    RequestTimeoutError,
)
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.writing.register import PackRecord, Register, Registration
from dicomweb_archive.services.destinations import Destination
from dicomweb_archive.services.intake import Intake, SeriesKey, series_key
from dicomweb_archive.services.large_part import LargePart, joined_if_many, skip_part
from dicomweb_archive.services.outcomes import refused, repeated, set_aside, stored
from dicomweb_archive.services.packing import Packing
from dicomweb_archive.services.settlement import Lane
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.content import digest_of
from dicomweb_archive.wire.multipart import Event, PartBegin, PartData, PartEnd, PartJudged

# One batch is looked up, hashed and written as one job. In the spike four parts of 0.5 MB
# a job cost 5 % less than one.
_BATCH_BYTES = 2 * 1024 * 1024
_BATCH_PARTS = 32

_OTHER_HOME = "the study has another home or was withdrawn"

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
    """A part that is whole in memory and fit to be kept, unless its UID is taken."""

    position: int
    scanned: ScannedInstance
    data: bytes
    lane: Lane


class _Kept(NamedTuple):
    """What has a UID: in this request, by the part at a position, or in the archive or submission before it."""

    digest: bytes
    lane: Lane
    position: int = -1


class Reception:
    """One store request in its course.

    Args:
        destination: where instances go.
        study_instance_uid: the only study that instances may belong to.
    """

    def __init__(
        self,
        register: Register,
        objects: ObjectStore,
        limits: StoreLimits,
        destination: Destination,
        *,
        study_instance_uid: str | None = None,
    ) -> None:
        self._register = register
        self._objects = objects
        self._limits = limits
        self._destination = destination
        # Not the monotonic clock, which may stand still while the machine sleeps: objects age by this one.
        self._begun_at = time.time()
        self._study_instance_uid = study_instance_uid
        self._intake = Intake()
        self._packings: dict[Lane, Packing] = {}
        self._outcomes: list[StoreOutcome | None] = []
        # What this request keeps, by SOP Instance UID.
        self._kept: dict[str, _Kept] = {}
        # Further parts with a UID that this request keeps; what becomes of the first decides on them too.
        self._repeats: dict[str, list[int]] = {}
        # Digests of what contradicts, by SOP Instance UID.
        self._contradicting: dict[str, set[bytes]] = {}
        # Positions of parts that wait, and why.
        self._waiting: dict[int, str] = {}
        # What was found in those that did not pass, by SOP Instance UID.
        self._found: dict[str, tuple[Finding, ...]] = {}
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
            elif sum(each.attribute_bytes for each in self._packings.values()) > self._limits.attribute_bytes:
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

    async def finish_packs(self) -> dict[Lane, list[PackRecord]]:
        """Make every pack durable.

        Raises:
            RequestTimeoutError: the request took so long that its first packs may soon be taken for orphans.
        """
        packs = {lane: await packing.finish() for lane, packing in self._packings.items()}
        if time.time() - self._begun_at > self._limits.request_seconds:
            message = f"a request may take at most {self._limits.request_seconds:g} s; send fewer instances at once"
            raise RequestTimeoutError(message)
        return packs

    def take_verdicts(self, registrations: Mapping[str, Registration], waiting: frozenset[str]) -> None:
        """Correct what was said of parts by what became of them; `waiting` names those that wait."""
        for sop_instance_uid, registration in registrations.items():
            # Another request may have stored the same UID since we looked.
            if registration is not Registration.STORED:
                self._judge_again(sop_instance_uid, same=registration is Registration.SAME)
        for sop_instance_uid in waiting:
            for position in self._positions(sop_instance_uid):
                self._waiting.setdefault(position, _OTHER_HOME)

    def findings(self, sop_instance_uids: Iterable[str]) -> list[Finding]:
        """Return what keeps these instances from being published, what is said of many in a series once."""
        return merge_findings(found for uid in sop_instance_uids for found in self._found.get(uid, ()))

    async def abort(self) -> None:
        """Leave nothing of the request behind."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])
            # Its error, if any, is the one that brought us here, or no longer matters; asyncio wants it looked at.
            if not self._settling.cancelled():
                self._settling.exception()
        for packing in self._packings.values():
            await packing.abort()

    def outcomes(self) -> list[StoreOutcome]:
        """Return what became of each part."""
        complete = [outcome for outcome in self._outcomes if outcome is not None]
        assert len(complete) == len(self._outcomes)
        submission = self._destination.room.submission
        if submission is not None and self._destination.room.named is None:
            for position, why in self._waiting.items():
                if complete[position].is_stored:
                    complete[position] = set_aside(complete[position], submission.name, why)
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
        self._batch.append(_Held(position, scanned, data, self._judge(position, scanned)))
        self._batch_bytes += len(data)
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_PARTS:
            await self._settle_batch()

    async def _take_large(self, position: int, pieces: list[Buffer], parts: AsyncIterator[Event]) -> None:
        # What came before must be settled, so that a UID that it brought is known.
        await self._settle_batch()
        await self._settled()
        part = LargePart(self._packing(Lane.PUBLISHED), self._belongs)
        try:
            received = await part.receive(pieces, parts)
        except InvalidInstanceError as error:
            self._fail(position, error.failure, part.identity, comment=error.reason)
            return
        scanned, digest = received.scanned, received.placed.digest
        if (await self._find_published([scanned.sop_instance_uid])).get(scanned.sop_instance_uid) == digest:
            await received.member.drop()
            self._say_published(position, scanned)
            return
        lane = self._judge(position, scanned)
        known = (await self._find_known([(scanned.sop_instance_uid, lane)])).get(scanned.sop_instance_uid)
        if known is None:
            self._kept[scanned.sop_instance_uid] = _Kept(digest, lane, position)
            self._outcomes[position] = stored(scanned)
        else:
            self._say_repeated(position, scanned, known, same=digest == known.digest)
            lane = Lane.CONFLICTING
        if known is not None and digest == known.digest:
            await received.member.drop()
        else:
            await received.member.keep(scanned, received.placed, self._packing(lane))

    def _judge(self, position: int, scanned: ScannedInstance) -> Lane:
        """Decide whether an instance may be published at once, and note what keeps it from that."""
        judge = self._destination.judge
        findings = () if judge is None else judge.judge(scanned)
        if judge is not None and passes(findings):
            return Lane.PUBLISHED
        if findings:
            self._found[scanned.sop_instance_uid] = findings
        self._waiting[position] = next((found.message for found in findings if found.severity is Severity.BLOCK), "")
        return Lane.WAITING

    def _packing(self, lane: Lane) -> Packing:
        packing = self._packings.get(lane)
        if packing is None:
            limits = self._limits
            packing = Packing(self._objects, pack_bytes=limits.pack_bytes, pack_instances=limits.pack_instances)
            self._packings[lane] = packing
        return packing

    def _say_repeated(self, position: int, scanned: ScannedInstance, known: _Kept, *, same: bool) -> None:
        """Say what becomes of a part whose UID is taken."""
        self._note_repeat(scanned.sop_instance_uid, position)
        if known.lane is Lane.PUBLISHED:
            self._waiting.pop(position, None)
        self._outcomes[position] = repeated(stored(scanned), same=same)

    def _say_published(self, position: int, scanned: ScannedInstance) -> None:
        """Say that a part is published already, whatever this request keeps of its UID."""
        self._waiting.pop(position, None)
        self._outcomes[position] = repeated(stored(scanned), same=True)

    def _note_repeat(self, sop_instance_uid: str, position: int) -> None:
        if sop_instance_uid in self._kept:
            self._repeats.setdefault(sop_instance_uid, []).append(position)

    def _judge_again(self, sop_instance_uid: str, *, same: bool) -> None:
        """Correct what was said of the parts that this request alone would have kept."""
        for position in self._positions(sop_instance_uid):
            outcome = self._outcomes[position]
            if outcome is not None and outcome.is_stored:
                self._outcomes[position] = repeated(outcome, same=same)

    def _positions(self, sop_instance_uid: str) -> tuple[int, ...]:
        return (self._kept[sop_instance_uid].position, *self._repeats.get(sop_instance_uid, ()))

    def _belongs(self, study_instance_uid: str) -> bool:
        return self._study_instance_uid in (None, study_instance_uid)

    async def _find_known(self, asked: Sequence[tuple[str, Lane]]) -> dict[str, _Kept]:
        """Return what has the UIDs, each with the lane of its instance: in this request, or where that would go."""
        known = {uid: self._kept[uid] for uid, _ in asked if uid in self._kept}
        if self._destination.judge is not None:
            # Also of those that wait: what is published has the better claim to a UID.
            known |= await self._find_in(ARCHIVE_SPACE, Lane.PUBLISHED, [uid for uid, _ in asked if uid not in known])
        waiting = [uid for uid, lane in asked if lane is Lane.WAITING and uid not in known]
        room = await self._destination.room.find() if waiting else None
        if room is not None:
            known |= await self._find_in(room.space_id, Lane.WAITING, waiting)
        return known

    async def _find_published(self, sop_instance_uids: Sequence[str]) -> dict[str, bytes]:
        """Return the digests of what is published of instances that would all wait, as far as it may be told of."""
        seen = self._destination.seen
        return {} if seen is None else await self._register.find_seen(seen, sop_instance_uids)

    async def _without_published(self, batch: Sequence[_Held]) -> Sequence[_Held]:
        """Leave out what is published with the same bytes: it has nothing to wait for."""
        published = await self._find_published([held.scanned.sop_instance_uid for held in batch])
        if not published:
            return batch
        others = []
        for held in batch:
            digest = published.get(held.scanned.sop_instance_uid)
            if digest is not None and digest == await _digest_of(held):
                self._say_published(held.position, held.scanned)
            else:
                others.append(held)
        return others

    async def _find_in(self, space_id: int, lane: Lane, sop_instance_uids: Sequence[str]) -> dict[str, _Kept]:
        if not sop_instance_uids:
            return {}
        found = await self._register.find_digests(space_id, sop_instance_uids)
        return {uid: _Kept(entry.digest, lane) for uid, entry in found.items()}

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
        batch = await self._without_published(batch)
        known = await self._find_known([(held.scanned.sop_instance_uid, held.lane) for held in batch])
        fresh: dict[tuple[Lane, SeriesKey], list[_Held]] = {}
        repeats: list[_Held] = []
        taken = set(known)
        for held in batch:
            if held.scanned.sop_instance_uid in taken:
                repeats.append(held)
                continue
            taken.add(held.scanned.sop_instance_uid)
            fresh.setdefault((held.lane, series_key(held.scanned)), []).append(held)
        for (lane, key), instances in fresh.items():
            digests = await self._packing(lane).append(key, [(held.scanned, held.data) for held in instances])
            for held, digest in zip(instances, digests, strict=True):
                self._kept[held.scanned.sop_instance_uid] = _Kept(digest, lane, held.position)
                self._outcomes[held.position] = stored(held.scanned)
        for held in repeats:
            uid = held.scanned.sop_instance_uid
            await self._write_repeat(held, known.get(uid) or self._kept[uid])

    async def _write_repeat(self, held: _Held, known: _Kept) -> None:
        """Keep a part whose UID is taken when its bytes are others."""
        digest = await _digest_of(held)
        kept = self._contradicting.setdefault(held.scanned.sop_instance_uid, set())
        if digest not in {known.digest, *kept}:
            # A pack has room for one instance of a UID, so the further ones go into others.
            study, series = series_key(held.scanned)
            key = (study, f"{series} {len(kept)}")
            await self._packing(Lane.CONFLICTING).append(key, [(held.scanned, held.data)])
            kept.add(digest)
        self._say_repeated(held.position, held.scanned, known, same=digest == known.digest)

    def _fail(
        self, position: int, failure: int, identity: ScannedInstance | Identity | None = None, *, comment: str = ""
    ) -> None:
        self._outcomes[position] = refused(position, failure, identity, comment=comment)


async def _digest_of(held: _Held) -> bytes:
    neutralise = held.scanned.preamble_neutralised
    return await asyncio.to_thread(digest_of, held.data, neutralise_preamble=neutralise)
