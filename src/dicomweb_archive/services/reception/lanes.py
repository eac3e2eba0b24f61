"""Lanes: the packs of one request, apart by where their instances go."""

from dicomweb_archive.index.writing.register import PackRecord
from dicomweb_archive.services.packing import Packing
from dicomweb_archive.services.reception.limits import StoreLimits
from dicomweb_archive.services.settlement import Lane
from dicomweb_archive.storage.base import ObjectStore


class Lanes:
    """The packs that one request writes, made when they are needed."""

    def __init__(self, objects: ObjectStore, limits: StoreLimits) -> None:
        self._objects = objects
        self._limits = limits
        self._packings: dict[Lane, Packing] = {}

    @property
    def is_full(self) -> bool:
        """Whether the request has brought all the attributes that it may."""
        return sum(each.attribute_bytes for each in self._packings.values()) > self._limits.attribute_bytes

    def packing(self, lane: Lane) -> Packing:
        """Return the packs of a lane."""
        packing = self._packings.get(lane)
        if packing is None:
            limits = self._limits
            packing = Packing(self._objects, pack_bytes=limits.pack_bytes, pack_instances=limits.pack_instances)
            self._packings[lane] = packing
        return packing

    async def finish(self) -> dict[Lane, list[PackRecord]]:
        """Make every pack durable."""
        return {lane: await packing.finish() for lane, packing in self._packings.items()}

    async def abort(self) -> None:
        """Drop every pack."""
        for packing in self._packings.values():
            await packing.abort()
