"""Large parts: an instance too large to be held is judged while it streams into a pack of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.file_meta import must_neutralise
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import Identity, Part10Scanner
from dicomweb_archive.errors import InvalidInstanceError
from dicomweb_archive.services.packing import LargeMember, Packing
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.packs import Placed
from dicomweb_archive.wire.multipart import Event, PartData, PartEnd

_JOB_BYTES = 1024 * 1024
"""One thread job scans, hashes and writes so much."""

_MOST_BEFORE_IDENTITY = 80 * 1024 * 1024
"""Identifiers stand before pixel data (PS3.5 7.1); what hides them behind more than this is not kept."""

_MOST_PIECES = 4096


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """A large instance that was received whole into a pack of its own; what becomes of the pack is to be decided."""

    scanned: ScannedInstance
    member: LargeMember
    placed: Placed


class LargePart:
    """One large part being received; memory is bounded whatever its size.

    It is written whatever the archive has under its UID: whether the bytes are the same is known at their end, and
    other ones are kept as a conflict.

    Attributes:
        identity: the identifiers, once they are read.
    """

    def __init__(self, packing: Packing, belongs: Callable[[str], bool]) -> None:
        self._packing = packing
        self._belongs = belongs
        self._scanner = Part10Scanner()
        self.identity: Identity | ScannedInstance | None = None
        self._member: LargeMember | None = None
        # Received, scanned, and waiting for the identifiers.
        self._waiting: list[Buffer] = []
        self._waiting_bytes = 0
        self._ended = False

    async def receive(self, pieces: Sequence[Buffer], parts: AsyncIterator[Event]) -> ReceivedInstance:
        """Receive the rest of the part behind `pieces`.

        Raises:
            InvalidInstanceError: it is none that can be kept; the part has been read to its end.
        """
        try:
            scanned = await self._receive_all(pieces, parts)
        except InvalidInstanceError:
            if self._member is not None:
                await self._member.drop()
            if not self._ended:
                await skip_part(parts)
            raise
        assert self._member is not None
        return ReceivedInstance(scanned, self._member, await self._member.finish())

    async def _receive_all(self, pieces: Sequence[Buffer], parts: AsyncIterator[Event]) -> ScannedInstance:
        await self._take(list(pieces))
        job: list[Buffer] = []
        job_bytes = 0
        async for event in parts:
            if isinstance(event, PartEnd):
                self._ended = True
                break
            assert isinstance(event, PartData)
            job.append(event.data)
            job = joined_if_many(job)
            job_bytes += len(event.data)
            if job_bytes >= _JOB_BYTES:
                await self._take(job)
                job, job_bytes = [], 0
        await self._take(job)
        scanned = await asyncio.to_thread(self._scanner.finish)
        if self._waiting:
            await self._decide(scanned)
            await self._put()
        return scanned

    async def _take(self, pieces: list[Buffer]) -> None:
        await asyncio.to_thread(self._feed, pieces)
        self._waiting.extend(pieces)
        self._waiting_bytes += sum(map(len, pieces))
        if self._member is None:
            identity = self._scanner.identity
            if identity is None:
                if self._waiting_bytes > _MOST_BEFORE_IDENTITY:
                    reason = "no identifiers before the bulk of the data"
                    raise InvalidInstanceError(reason, failure=status.LIMIT_EXCEEDED)
                return
            await self._decide(identity)
        await self._put()

    def _feed(self, pieces: Sequence[Buffer]) -> None:
        for piece in pieces:
            self._scanner.feed(piece)

    async def _decide(self, identity: Identity | ScannedInstance) -> None:
        """Decide by the identifiers whether the bytes are kept."""
        self.identity = identity
        if not self._belongs(identity.study_instance_uid):
            raise InvalidInstanceError(status.meaning_of(status.STUDY_UID_MISMATCH), failure=status.STUDY_UID_MISMATCH)
        # Nothing has been written yet, so what waits begins with the first byte of the instance.
        neutralise = must_neutralise(b"".join(piece[:128] for piece in self._waiting[:128])[:128])
        self._member = await self._packing.open_member(identity.sop_instance_uid, neutralise_preamble=neutralise)

    async def _put(self) -> None:
        """Write what was received."""
        pieces, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self._member is not None:
            await self._member.write(pieces)


def joined_if_many(pieces: list[Buffer]) -> list[Buffer]:
    """Return the pieces as one when a client sent them so small that keeping each would cost more than its bytes."""
    return [b"".join(pieces)] if len(pieces) > _MOST_PIECES else pieces


async def skip_part(parts: AsyncIterator[Event]) -> None:
    """Read a part to its end without keeping anything."""
    async for event in parts:
        if isinstance(event, PartEnd):
            return
