"""Batches: instances that are whole in memory, looked up, hashed and written some at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.services.intake import SeriesKey, series_key
from dicomweb_archive.services.reception.claims import Asked, Claims
from dicomweb_archive.services.reception.lanes import Lanes
from dicomweb_archive.services.reception.ledger import Kept, Ledger
from dicomweb_archive.services.settlement import Lane
from dicomweb_archive.storage.content import digest_of

# One batch is looked up, hashed and written as one job, and handing it over to threads costs as much as hashing a MiB:
# four slices of a CT a batch took a quarter more of a worker's time than sixteen (benchmarks/store).
_BATCH_BYTES: Final = 8 * 1024 * 1024
_BATCH_PARTS: Final = 64


@dataclass(slots=True)
class Held:
    """A part that is whole in memory and fit to be kept, unless its UID is taken."""

    position: int
    scanned: ScannedInstance
    data: bytes
    lane: Lane


class Batches:
    """Collects the small instances of one request; while a batch is being written the next one is collected."""

    def __init__(self, ledger: Ledger, claims: Claims, lanes: Lanes) -> None:
        self._ledger = ledger
        self._claims = claims
        self._lanes = lanes
        # Digests of what contradicts, by SOP Instance UID.
        self._contradicting: dict[str, set[bytes]] = {}
        self._batch: list[Held] = []
        self._batch_bytes = 0
        self._settling: asyncio.Task[None] | None = None

    @property
    def lone(self) -> Held | None:
        """The one instance that was taken in, as long as nothing has been written."""
        return self._batch[0] if len(self._batch) == 1 and self._settling is None else None

    async def add(self, held: Held) -> None:
        """Take in an instance; the batch that it fills begins to be written."""
        self._batch.append(held)
        self._batch_bytes += len(held.data)
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_PARTS:
            await self._settle_batch()

    async def settle(self) -> None:
        """Wait until everything that was taken in is written."""
        await self._settle_batch()
        await self._settled()

    async def abort(self) -> None:
        """Stop writing."""
        if self._settling is None:
            return
        self._settling.cancel()
        await asyncio.wait([self._settling])
        # Its error, if any, is the one that brought us here, or no longer matters; asyncio wants it looked at.
        if not self._settling.cancelled():
            self._settling.exception()

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

    async def _write(self, batch: Sequence[Held]) -> None:
        batch = await self._without_published(batch)
        known = await self._claims.find([Asked(held.scanned, held.lane) for held in batch])
        fresh: dict[tuple[Lane, SeriesKey], list[Held]] = {}
        repeats: list[Held] = []
        taken = set(known)
        for held in batch:
            if held.scanned.sop_instance_uid in taken:
                repeats.append(held)
                continue
            taken.add(held.scanned.sop_instance_uid)
            fresh.setdefault((held.lane, series_key(held.scanned)), []).append(held)
        for (lane, key), instances in fresh.items():
            packing = self._lanes.packing(lane)
            digests = await packing.append(key, [(held.scanned, held.data) for held in instances])
            for held, digest in zip(instances, digests, strict=True):
                self._ledger.keep(held.position, held.scanned, digest, lane)
        for held in repeats:
            uid = held.scanned.sop_instance_uid
            await self._write_repeat(held, known.get(uid) or self._ledger.kept[uid])

    async def _write_repeat(self, held: Held, known: Kept) -> None:
        """Keep a part whose UID is taken when its bytes are others."""
        digest = await digest_of_held(held)
        kept = self._contradicting.setdefault(held.scanned.sop_instance_uid, set())
        if digest not in {known.digest, *kept}:
            # A pack has room for one instance of a UID, so the further ones go into others.
            study, series = series_key(held.scanned)
            key = (study, f"{series} {len(kept)}")
            await self._lanes.packing(Lane.CONFLICTING).append(key, [(held.scanned, held.data)])
            kept.add(digest)
        self._ledger.say_repeated(held.position, held.scanned, known, same=digest == known.digest)

    async def _without_published(self, batch: Sequence[Held]) -> Sequence[Held]:
        """Leave out what is published with the same bytes: it has nothing to wait for."""
        published = await self._claims.find_published([held.scanned.sop_instance_uid for held in batch])
        if not published:
            return batch
        others = []
        for held in batch:
            digest = published.get(held.scanned.sop_instance_uid)
            if digest is not None and digest == await digest_of_held(held):
                self._ledger.say_published(held.position, held.scanned)
            else:
                others.append(held)
        return others


async def digest_of_held(held: Held) -> bytes:
    """Return the digest of an instance as it would be kept."""
    neutralise = held.scanned.preamble_neutralised
    return await asyncio.to_thread(digest_of, held.data, neutralise_preamble=neutralise)
