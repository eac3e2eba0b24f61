"""Convoys: lone instances of one series, from several requests, that are written together (docs/design/0011)."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dicomweb_archive.errors import ArchiveError, DatabaseUnavailableError
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.writing.register import PackRecord, Register, Registration, StoredInstance
from dicomweb_archive.services.destinations import Destination
from dicomweb_archive.services.packing import member_name
from dicomweb_archive.services.reception.batches import Held
from dicomweb_archive.services.reception.ledger import Kept
from dicomweb_archive.services.settlement import Lane, delete_objects
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.packs import Member, PackInfo, PackWriter, Placed, new_pack_key

logger = logging.getLogger(__name__)

# The bytes are held by their requests anyway; these bound how long one convoy keeps the next one waiting.
_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_MEMBERS: Final = 64

# Turns of the event loop in which clients that were just answered may send again, so that they do not miss the next
# convoy by a moment: 1.1 times the rate and 0.9 of the processor time of 64x64 (8 rounds in turn, 8 clients).
_TURNS: Final = 8


class _Road(NamedTuple):
    """What the members of a convoy have in common, so that one pack, one segment and one event are true of them all.

    `base` is the identity of the attributes that they share: instances that were read by one template are of one
    study and series. It stays theirs alone while one of them is on the way.
    """

    actor: str
    collection_id: int
    space_id: int
    lane: Lane
    base: int


@dataclass(slots=True, eq=False)
class _Member:
    """An instance on its way; `arrived` is done when it is stored, and when its client has left."""

    held: Held
    arrived: "asyncio.Future[Kept | None]"

    @property
    def uid(self) -> str:
        return self.held.scanned.sop_instance_uid


@dataclass(slots=True)
class _Traffic:
    """What is on one road: those who gather, and how many convoys are under way."""

    gathering: deque[_Member] = field(default_factory=deque)
    under_way: int = 0


class Convoys:
    """Writes lone instances as they come, and those that come meanwhile together.

    Nobody waits while there is room for a convoy: one sets out with whoever is there, and who arrives while it is on
    its way gathers for the next. So an instance that comes alone goes alone, at once, and the busier the archive the
    more of them share a file, its flushing, and a transaction. A client that leaves harms nobody: before its convoy has
    set out its instance is left out, later it is stored. What keeps a convoy from being written, and what is not simply
    new, sends members on their own way, as if they had never met.

    Args:
        at_once: convoys on one road at a time. One is best where the processor is what is short, more where the store
            lets each wait whatever it is given.
    """

    def __init__(self, register: Register, objects: ObjectStore, *, at_once: int = 1) -> None:
        self._register = register
        self._objects = objects
        self._at_once = at_once
        self._roads: dict[_Road, _Traffic] = {}
        self._drivers: set[asyncio.Task[None]] = set()

    async def carry(self, held: Held, destination: Destination, *, actor: str) -> Kept | None:
        """Store an instance, in company if there is any.

        Returns:
            what has its UID now: this instance, at its position, or what was there before it. `None` when it has to go
            its own way, and nothing of it was kept.

        Raises:
            ArchiveError: it was alone, and cannot be stored now.
        """
        road = _road_of(held, destination, actor)
        if road is None:
            return None
        traffic = self._roads.setdefault(road, _Traffic())
        member = _Member(held, asyncio.get_running_loop().create_future())
        traffic.gathering.append(member)
        if traffic.under_way < self._at_once:
            traffic.under_way += 1
            # A task of its own: whoever is cancelled leaves the others their convoy.
            driver = asyncio.create_task(self._drive(road, traffic))
            self._drivers.add(driver)
            driver.add_done_callback(self._drivers.discard)
        return await member.arrived

    async def _drive(self, road: _Road, traffic: _Traffic) -> None:
        """Write one convoy after the other, until nobody gathers."""
        members: list[_Member] = []
        try:
            while members := _next_convoy(traffic.gathering):
                await self._write_or_part(road, members)
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
        finally:
            # Members without an answer are left by a process that ends its tasks, and by nothing else.
            for member in (*members, *traffic.gathering):
                member.arrived.cancel()
            traffic.under_way -= 1
            if not traffic.under_way:
                del self._roads[road]

    async def _write_or_part(self, road: _Road, members: Sequence[_Member]) -> None:
        kept: dict[_Member, Kept] = {}
        try:
            kept = await self._write(road, members)
        except Exception as error:  # noqa: BLE001 - each member meets it again, by itself
            if len(members) == 1 and isinstance(error, ArchiveError):
                if not members[0].arrived.done():
                    members[0].arrived.set_exception(error)
                return
            # Each finds out for itself, so that none fails by what another one brought. Names of errors hold no values.
            logger.info("a convoy parts", extra={"members": len(members), "reason": type(error).__name__})
        for member in members:
            if not member.arrived.done():
                member.arrived.set_result(kept.get(member))

    async def _write(self, road: _Road, members: Sequence[_Member]) -> dict[_Member, Kept]:
        """Store what is new, and say what has the UIDs of these members; those that are left out have another way."""
        known = await self._register.find_digests(road.space_id, [member.uid for member in members])
        kept = {member: Kept(known[member.uid].digest, road.lane) for member in members if member.uid in known}
        # The same UID twice: the second one finds the first, later.
        fresh = {member.uid: member for member in reversed(members) if member not in kept}
        if fresh:
            kept |= await self._write_fresh(road, list(reversed(fresh.values())))
        return kept

    async def _write_fresh(self, road: _Road, members: Sequence[_Member]) -> dict[_Member, Kept]:
        pack, placed = await self._write_pack(members)
        stored = [
            StoredInstance(member.held.scanned, place.offset, place.length, place.digest)
            for member, place in zip(members, placed, strict=True)
        ]
        try:
            outcome = await self._register.register(
                [PackRecord(pack.key, pack.size_bytes, [stored])],
                actor=road.actor,
                space_id=road.space_id,
                collection_id=road.collection_id,
                while_open=road.lane is Lane.WAITING,
            )
        except DatabaseUnavailableError:
            # The commit may have taken place, so the object stays (`Settlement.settle`).
            logger.warning("outcome of a transaction is unknown, its object stays", extra={"object_key": pack.key})
            raise
        except Exception:
            await delete_objects(self._objects, [pack.key])
            raise
        kept = {
            member: Kept(place.digest, road.lane, member.held.position)
            for member, place in zip(members, placed, strict=True)
            if outcome[member.uid] is Registration.STORED
        }
        if not kept:
            await delete_objects(self._objects, [pack.key])
        return kept

    async def _write_pack(self, members: Sequence[_Member]) -> tuple[PackInfo, list[Placed]]:
        writer = await PackWriter.create(self._objects, new_pack_key())
        try:
            placed = await writer.append(
                [Member(member_name(m.uid), m.held.data, m.held.scanned.preamble_neutralised) for m in members]
            )
            pack = await writer.close()
        except BaseException:
            await writer.abort()
            raise
        assert pack is not None
        return pack, placed


def _road_of(held: Held, destination: Destination, actor: str) -> _Road | None:
    """Return the road of an instance; none when it differs from nothing, or more is to be asked of it on its way."""
    # What was read by a template differs from it, save for the very instance of which the template was made.
    if not held.scanned.delta:
        return None
    base = id(held.scanned.base)
    if destination.judge is not None:
        if held.lane is not Lane.PUBLISHED:
            return None
        return _Road(actor, destination.collection_id, ARCHIVE_SPACE, held.lane, base)
    named = destination.room.named
    if named is None or destination.seen is not None:
        return None
    return _Road(actor, destination.collection_id, named.space_id, held.lane, base)


def _next_convoy(gathering: deque[_Member]) -> list[_Member]:
    """Take those who are next: the first in any case, and as many behind it as there is room for."""
    members: list[_Member] = []
    size = 0
    while gathering and len(members) < _MOST_MEMBERS:
        member = gathering[0]
        if member.arrived.done():
            gathering.popleft()
            continue
        size += len(member.held.data)
        if members and size > _MOST_BYTES:
            break
        members.append(gathering.popleft())
    return members
