"""Kept files: the Part 10 file at a place in a pack, read again in bounded memory."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from blake3 import blake3

from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import Part10Scanner
from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.index.curation.conflicts import Place
from dicomweb_archive.storage.base import ObjectStore


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """Reads instances that are no resource of DICOMweb."""

    objects: ObjectStore

    async def scan(self, place: Place, *, digest: bytes | None = None) -> ScannedInstance:
        """Read what a file holds.

        Args:
            digest: BLAKE3 of its bytes, where they must be the ones that were stored.

        Raises:
            ObjectNotFoundError, DamagedObjectError: the file is not there as it was stored.
        """
        scanner, found = Part10Scanner(), blake3()
        reader = await self.objects.open(place.object_key)
        async with reader, aclosing(reader.stream(place.offset, place.length)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(scanner.feed, piece)
                if digest is not None:
                    await asyncio.to_thread(found.update, piece)
        if digest is not None and found.digest() != digest:
            message = "an instance has other bytes than were stored"
            raise DamagedObjectError(message)
        return await asyncio.to_thread(scanner.finish)

    async def digest(self, place: Place, offset: int, length: int) -> bytes:
        """Return the BLAKE3 of a part of a file."""
        found = blake3()
        reader = await self.objects.open(place.object_key)
        async with reader, aclosing(reader.stream(place.offset + offset, length)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(found.update, piece)
        return found.digest()
