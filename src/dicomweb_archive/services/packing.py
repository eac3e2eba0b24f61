"""Packing: instances of one request -> packs, one series each, closed when they are full."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.index.writing.register import PackRecord, StoredInstance
from dicomweb_archive.services.intake import SERIES_KEPT, SeriesKey
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.packs import Member, PackInfo, PackWriter, Placed, StreamedMember, new_pack_key

# Closing waits for the disk (fsync); so many may wait side by side.
_CLOSING_AT_ONCE = 8


@dataclass(slots=True)
class _OpenPack:
    """A pack and what was put into it, by the base that the instances share."""

    writer: PackWriter
    segments: dict[int, list[StoredInstance]] = field(default_factory=dict)

    def add(self, scanned: ScannedInstance, placed: Placed) -> int:
        """Take in an instance; returns the bytes of JSON that are kept for it until the request ends."""
        stored = StoredInstance(scanned, placed.offset, placed.length, placed.digest)
        # The instances keep their base alive, so its id stays its own.
        segment = self.segments.setdefault(id(scanned.base), [])
        segment.append(stored)
        kept = sum(len(element.json) for element in scanned.delta.values() if element is not None)
        if len(segment) == 1:
            kept += sum(len(element.json) for element in scanned.base.values())
        return kept

    def record(self, info: PackInfo) -> PackRecord:
        return PackRecord(info.key, info.size_bytes, list(self.segments.values()))


def member_name(sop_instance_uid: str) -> str:
    """Return the name of an instance inside its pack."""
    return f"{sop_instance_uid}.dcm"


class Packing:
    """The packs that one request writes; nothing is visible until the index knows them.

    Args:
        pack_bytes, pack_instances: a pack that has reached one of them is closed.

    Attributes:
        attribute_bytes: JSON of the attributes that are kept for the index; it takes two to thirteen times as much
            memory.
    """

    def __init__(self, store: ObjectStore, *, pack_bytes: int, pack_instances: int) -> None:
        self._store = store
        self._pack_bytes = pack_bytes
        self._pack_instances = pack_instances
        self._open: OrderedDict[SeriesKey, _OpenPack] = OrderedDict()
        self._alone: list[_OpenPack] = []
        self.attribute_bytes = 0
        self._closing: list[tuple[str, asyncio.Task[PackRecord | None]]] = []

    async def append(self, key: SeriesKey, members: Sequence[tuple[ScannedInstance, bytes]]) -> list[bytes]:
        """Put instances of one series into its pack and return their digests (BLAKE3-256 as kept).

        Raises:
            StorageFullError: the store has no room.
        """
        pack = await self._pack_of(key)
        placed = await pack.writer.append(
            [
                Member(member_name(scanned.sop_instance_uid), data, scanned.preamble_neutralised)
                for scanned, data in members
            ]
        )
        for (scanned, _), place in zip(members, placed, strict=True):
            self.attribute_bytes += pack.add(scanned, place)
        if pack.writer.size_bytes >= self._pack_bytes or pack.writer.members >= self._pack_instances:
            await self._close(self._open.pop(key))
        return [place.digest for place in placed]

    async def open_member(self, sop_instance_uid: str, *, neutralise_preamble: bool) -> "LargeMember":
        """Begin a pack for a single instance that is too large to be held."""
        writer = await PackWriter.create(self._store, new_pack_key())
        pack = _OpenPack(writer)
        self._alone.append(pack)
        name = member_name(sop_instance_uid)
        stream = await writer.open_member(name, neutralise_preamble=neutralise_preamble)
        return LargeMember(self, pack, stream)

    async def finish(self) -> list[PackRecord]:
        """Close what is open and return all packs, durable now, in the order of their closing."""
        while self._open:
            await self._close(self._open.popitem(last=False)[1])
        await self._closed()
        records = [task.result() for _, task in self._closing]
        return [record for record in records if record is not None]

    async def abort(self) -> None:
        """Drop every pack of the request, closed ones too; for use before the index has heard of them."""
        for pack in (*self._open.values(), *self._alone):
            await pack.writer.abort()
        await self._closed()
        for key, task in self._closing:
            # Whatever kept a pack from closing has already been raised or is why we are here.
            if not task.cancelled() and task.exception() is None and task.result() is None:
                continue
            with suppress(ArchiveError):
                await self._store.delete(key)

    async def _pack_of(self, key: SeriesKey) -> _OpenPack:
        pack = self._open.get(key)
        if pack is None:
            pack = self._open[key] = _OpenPack(await PackWriter.create(self._store, new_pack_key()))
            if len(self._open) > SERIES_KEPT:
                await self._close(self._open.popitem(last=False)[1])
        self._open.move_to_end(key)
        return pack

    async def _close(self, pack: _OpenPack) -> None:
        # A task before anything is waited for, so that a request that ends here still finds the pack.
        self._closing.append((pack.writer.key, asyncio.create_task(_close_pack(pack))))
        if len(self._closing) > _CLOSING_AT_ONCE:
            await asyncio.wait([self._closing[-_CLOSING_AT_ONCE - 1][1]])

    async def _closed(self) -> None:
        """Wait for the packs that are being closed; unlike awaiting them, being cancelled here cancels none."""
        if self._closing:
            await asyncio.wait([task for _, task in self._closing])

    async def keep_alone(self, pack: _OpenPack, scanned: ScannedInstance, placed: Placed) -> None:
        """Take over the pack of a single instance, and close it."""
        self.attribute_bytes += pack.add(scanned, placed)
        await self._close(pack)

    def let_go(self, pack: _OpenPack) -> None:
        """Leave the pack of a single instance to another packing."""
        self._alone.remove(pack)

    async def drop_alone(self, pack: _OpenPack) -> None:
        """Drop the pack of a single instance."""
        self._alone.remove(pack)
        await pack.writer.abort()


class LargeMember:
    """An instance being streamed into a pack of its own."""

    def __init__(self, packing: Packing, pack: _OpenPack, stream: StreamedMember) -> None:
        self._packing = packing
        self._pack = pack
        self._stream = stream

    async def write(self, pieces: Sequence[Buffer]) -> None:
        """Append the pieces in order."""
        await self._stream.write(pieces)

    async def finish(self) -> Placed:
        """End the member's bytes and say where they lie."""
        return await self._stream.finish()

    async def keep(self, scanned: ScannedInstance, placed: Placed, packing: Packing) -> None:
        """Accept the instance: its pack is one of these now."""
        self._packing.let_go(self._pack)
        await packing.keep_alone(self._pack, scanned, placed)

    async def drop(self) -> None:
        """Refuse the instance: its pack goes."""
        await self._packing.drop_alone(self._pack)


async def _close_pack(pack: _OpenPack) -> PackRecord | None:
    info = await pack.writer.close()
    return None if info is None else pack.record(info)
