"""Lone instances of one series are written together, and none fails or waits for what another one does."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.factories import ct_series

from dicomweb_archive.checks.catalogue import STRUCTURAL
from dicomweb_archive.checks.structural import InstanceJudge
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.raw_walk import SeriesTemplate
from dicomweb_archive.errors import DatabaseUnavailableError, StorageFullError
from dicomweb_archive.index.writing.register import KnownInstance, PackRecord, Registration, SpaceClosedError
from dicomweb_archive.services.destinations import Destination, WaitingRoom
from dicomweb_archive.services.reception import convoys as module
from dicomweb_archive.services.reception.batches import Held
from dicomweb_archive.services.reception.convoys import Convoys
from dicomweb_archive.services.reception.ledger import Kept
from dicomweb_archive.services.settlement import Lane
from dicomweb_archive.storage.base import Buffer

FIRST, *SERIES = ct_series(9)
TEMPLATE = SeriesTemplate(FIRST, scan(FIRST))


@dataclass
class Store:
    """Objects in memory."""

    objects: dict[str, bytes] = field(default_factory=dict)
    is_full: bool = False

    async def create(self, key: str) -> "Writer":
        return Writer(self, key)

    async def delete(self, key: str) -> None:
        self.objects.pop(key, None)


@dataclass
class Writer:
    """An object in memory."""

    store: Store
    key: str
    data: bytearray = field(default_factory=bytearray)

    async def write(self, pieces: Sequence[Buffer]) -> None:
        if self.store.is_full:
            raise StorageFullError("the disk is full")
        self.data += b"".join(pieces)

    async def commit(self) -> None:
        self.store.objects[self.key] = bytes(self.data)

    async def abort(self) -> None:
        self.data.clear()


@dataclass
class Register:
    """A register that waits until it is let go on, and notes what it was asked to store together."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    known: dict[str, KnownInstance] = field(default_factory=dict)
    stored: list[list[str]] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0
    error: Exception | None = None
    error_after: int = 0
    refused: set[str] = field(default_factory=set)

    async def find_digests(self, space_id: int, uids: Sequence[str]) -> dict[str, KnownInstance]:
        return {uid: self.known[uid] for uid in uids if uid in self.known}

    async def register(self, packs: Sequence[PackRecord], **said: Any) -> dict[str, Registration]:
        uids = [stored.scanned.sop_instance_uid for pack in packs for segment in pack.segments for stored in segment]
        self.stored.append(uids)
        fails = len(self.stored) > self.error_after
        self.said.append(said)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        await self.gate.wait()
        self.busy -= 1
        if self.error is not None and fails:
            raise self.error
        return {uid: Registration.CONFLICT if uid in self.refused else Registration.STORED for uid in uids}


@dataclass
class Depot:
    """Convoys with all that they stand on."""

    register: Register = field(default_factory=Register)
    store: Store = field(default_factory=Store)
    at_once: int = 1

    def __post_init__(self) -> None:
        self.convoys = Convoys(self.register, self.store, at_once=self.at_once)  # type: ignore[arg-type]

    def send(self, number: int, *, actor: str = "somebody", where: Destination | None = None) -> "asyncio.Task[Any]":
        where = where or destination()
        return asyncio.create_task(self.convoys.carry(held(SERIES[number]), where, actor=actor))

    async def send_one_and_hold_it_up(self) -> "asyncio.Task[Any]":
        task = self.send(0)
        await until_waiting(self, 1)
        return task


async def until_waiting(depot: Depot, count: int) -> None:
    while len(depot.register.stored) < count:  # noqa: ASYNC110 - turns of the loop are what is waited for
        await asyncio.sleep(0)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def held(data: bytes, *, scanned: ScannedInstance | None = None, lane: Lane = Lane.PUBLISHED) -> Held:
    walked = scanned or TEMPLATE.walk(data)
    assert walked is not None
    return Held(0, walked, data, lane)


def destination(collection_id: int = 1) -> Destination:
    room = WaitingRoom(None, collection_id, actor="somebody")  # type: ignore[arg-type]
    return Destination(collection_id, room, InstanceJudge(STRUCTURAL))


def uid(number: int) -> str:
    return scan(SERIES[number]).sop_instance_uid


@pytest.fixture
async def depot() -> Depot:
    return Depot()


async def test_who_comes_alone_goes_at_once(depot: Depot) -> None:
    depot.register.gate.set()
    for number in range(3):
        kept = await depot.send(number)
        assert kept.position == 0
    assert depot.register.stored == [[uid(0)], [uid(1)], [uid(2)]]
    assert len(depot.store.objects) == 3


async def test_those_who_come_meanwhile_share_a_pack_and_a_transaction(depot: Depot) -> None:
    first = await depot.send_one_and_hold_it_up()
    others = [depot.send(number) for number in range(1, 5)]
    await turns()
    assert len(depot.register.stored) == 1
    depot.register.gate.set()
    kept = await asyncio.gather(first, *others)
    assert depot.register.stored == [[uid(0)], [uid(number) for number in range(1, 5)]]
    assert len({each.digest for each in kept}) == 5
    assert len(depot.store.objects) == 2
    assert depot.register.busiest == 1


async def test_who_was_just_answered_may_send_the_next_one_with_those_who_gathered(depot: Depot) -> None:
    first = await depot.send_one_and_hold_it_up()
    second = depot.send(1)
    depot.register.gate.set()
    await first
    third = depot.send(2)
    await asyncio.gather(second, third)
    assert depot.register.stored == [[uid(0)], [uid(1), uid(2)]]


async def test_of_one_uid_the_first_is_written_and_the_others_go_their_own_way(depot: Depot) -> None:
    first = await depot.send_one_and_hold_it_up()
    same = [depot.send(1) for _ in range(4)]
    await turns()
    depot.register.gate.set()
    await first
    kept = await asyncio.gather(*same)
    assert [each is not None for each in kept] == [True, False, False, False]
    assert depot.register.stored[1:] == [[uid(1)]]


async def test_what_is_known_is_told_and_not_written(depot: Depot) -> None:
    depot.register.known[uid(0)] = KnownInstance(b"digest", "", "")
    assert await depot.send(0) == Kept(b"digest", Lane.PUBLISHED)
    assert depot.store.objects == {}


async def test_a_member_that_somebody_else_has_stored_meanwhile_goes_its_own_way(depot: Depot) -> None:
    first = await depot.send_one_and_hold_it_up()
    others = [depot.send(number) for number in (1, 2)]
    await turns()
    depot.register.refused = {uid(1)}
    depot.register.gate.set()
    kept = await asyncio.gather(first, *others)
    assert [each is not None for each in kept] == [True, False, True]
    assert len(depot.store.objects) == 2


async def test_of_a_pack_in_which_nothing_was_stored_nothing_stays(depot: Depot) -> None:
    depot.register.refused = {uid(0)}
    depot.register.gate.set()
    assert await depot.send(0) is None
    assert depot.store.objects == {}


@pytest.mark.parametrize("error", [StorageFullError("full"), SpaceClosedError(), ValueError()], ids=repr)
async def test_a_convoy_that_fails_parts_and_leaves_nothing(depot: Depot, error: Exception) -> None:
    depot.register.error_after = 1
    first = await depot.send_one_and_hold_it_up()
    others = [depot.send(number) for number in (1, 2, 3)]
    await turns()
    depot.register.error = error
    depot.register.gate.set()
    assert (await first) is not None
    assert await asyncio.gather(*others) == [None, None, None]
    assert len(depot.store.objects) == 1


async def test_who_is_alone_hears_why_it_cannot_be_stored(depot: Depot) -> None:
    depot.register.gate.set()
    depot.register.error = DatabaseUnavailableError("the connection broke")
    with pytest.raises(DatabaseUnavailableError):
        await depot.send(0)
    # The commit may have taken place.
    assert len(depot.store.objects) == 1
    depot.register.error = None
    depot.store.is_full = True
    with pytest.raises(StorageFullError):
        await depot.send(1)
    assert len(depot.store.objects) == 1


async def test_a_client_that_leaves_before_its_convoy_is_left_out(depot: Depot) -> None:
    first = await depot.send_one_and_hold_it_up()
    others = [depot.send(number) for number in (1, 2, 3)]
    await turns()
    others[1].cancel()
    await turns()
    depot.register.gate.set()
    assert (await first) is not None
    assert None not in (await others[0], await others[2])
    assert depot.register.stored[1:] == [[uid(1), uid(3)]]


async def test_a_client_that_leaves_on_the_way_harms_nobody(depot: Depot) -> None:
    first = await depot.send_one_and_hold_it_up()
    second = depot.send(1)
    await turns()
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    depot.register.gate.set()
    assert (await second) is not None
    assert depot.register.stored == [[uid(0)], [uid(1)]]
    assert len(depot.store.objects) == 2


async def test_a_convoy_takes_so_many_and_so_much_first_come_first(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_MEMBERS", 3)
    monkeypatch.setattr(module, "_MOST_BYTES", 2 * len(SERIES[0]) + 10)
    first = await depot.send_one_and_hold_it_up()
    others = [depot.send(number) for number in range(1, 6)]
    await turns()
    depot.register.gate.set()
    await asyncio.gather(first, *others)
    assert depot.register.stored == [[uid(0)], [uid(1), uid(2)], [uid(3), uid(4)], [uid(5)]]


async def test_each_actor_and_each_collection_has_convoys_of_its_own(depot: Depot) -> None:
    tasks = [depot.send(0), depot.send(1, actor="another"), depot.send(2, where=destination(7))]
    await until_waiting(depot, 3)
    depot.register.gate.set()
    await asyncio.gather(*tasks)
    assert {(said["actor"], said["collection_id"]) for said in depot.register.said} == {
        ("somebody", 1),
        ("another", 1),
        ("somebody", 7),
    }


async def test_several_convoys_set_out_where_the_store_takes_them_side_by_side() -> None:
    depot = Depot(at_once=2)
    tasks = [await depot.send_one_and_hold_it_up(), depot.send(1)]
    await until_waiting(depot, 2)
    tasks += [depot.send(number) for number in range(2, 5)]
    await turns()
    depot.register.gate.set()
    await asyncio.gather(*tasks)
    assert depot.register.stored == [[uid(0)], [uid(1)], [uid(2), uid(3), uid(4)]]


async def test_what_no_template_has_read_goes_its_own_way(depot: Depot) -> None:
    alone = held(SERIES[0], scanned=scan(SERIES[0]))
    assert await depot.convoys.carry(alone, destination(), actor="somebody") is None


async def test_what_waits_in_no_named_submission_goes_its_own_way(depot: Depot) -> None:
    waiting = held(SERIES[0], lane=Lane.WAITING)
    assert await depot.convoys.carry(waiting, destination(), actor="somebody") is None
