"""The store service when something breaks: all or nothing, and nothing left behind."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.factories import ct_series, image, part10

from dicomweb_archive.dicom.status import INSTANCE_CONFLICT, OUT_OF_RESOURCES
from dicomweb_archive.errors import (
    DatabaseUnavailableError,
    RequestTimeoutError,
    StorageFullError,
    StorageUnavailableError,
)
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.curation.conflicts import ConflictIndex
from dicomweb_archive.index.curation.findings import FindingIndex
from dicomweb_archive.index.curation.submissions import SubmissionIndex
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import PackRecord, Register, Registration
from dicomweb_archive.services.access import KEY_HOLDER
from dicomweb_archive.services.destinations import Destinations
from dicomweb_archive.services.maintenance import GRACE_SECONDS
from dicomweb_archive.services.store import StoreLimits, StoreService
from dicomweb_archive.storage.base import Buffer, ObjectWriter
from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.wire.multipart import Event, PartBegin, PartData, PartEnd, PartHead

LIMITS = StoreLimits(hold_bytes=8 << 20, pack_bytes=512 << 20, pack_instances=1000, free_space_watermark_bytes=0)


class FullWriter:
    """A writer whose disk is full after some bytes, and slow to flush."""

    def __init__(self, writer: ObjectWriter, room: int, commit_seconds: float) -> None:
        self._writer = writer
        self._room = room
        self._commit_seconds = commit_seconds

    async def write(self, pieces: Sequence[Buffer]) -> None:
        self._room -= sum(map(len, pieces))
        if self._room < 0:
            raise StorageFullError("the disk is full")
        await self._writer.write(pieces)

    async def commit(self) -> None:
        await asyncio.sleep(self._commit_seconds)
        await self._writer.commit()

    async def abort(self) -> None:
        await self._writer.abort()


class FullStore(FolderStore):
    """A folder that gives each object only so much room."""

    room = 1 << 40
    commit_seconds = 0.0
    free = 1 << 40

    async def free_bytes(self) -> int | None:
        return self.free

    async def create(self, key: str) -> ObjectWriter:  # type: ignore[override]
        return FullWriter(await super().create(key), self.room, self.commit_seconds)


@dataclass
class LosingRegister:
    """A register whose database goes away."""

    register_really: Register
    error: Exception

    async def find_digests(self, space_id: int, uids: Sequence[str]) -> object:
        return await self.register_really.find_digests(space_id, uids)

    async def register(self, packs: Sequence[PackRecord], **said: Any) -> dict[str, Registration]:
        raise self.error


@dataclass
class OvertakenRegister:
    """A register that another request reaches first."""

    register_really: Register
    rival: StoreService
    rival_instances: Sequence[bytes]

    async def find_digests(self, space_id: int, uids: Sequence[str]) -> object:
        return await self.register_really.find_digests(space_id, uids)

    async def register(self, packs: Sequence[PackRecord], **said: Any) -> dict[str, Registration]:
        await self.rival.store_instances(events(*self.rival_instances), KEY_HOLDER)
        return await self.register_really.register(packs, **said)


def quarantine(database: Database) -> tuple[Destinations, ConflictIndex, FindingIndex]:
    return Destinations(SubmissionIndex(database)), ConflictIndex(database), FindingIndex(database)


async def events(*instances: bytes, error: Exception | None = None) -> AsyncIterator[Event]:
    for instance in instances:
        yield PartBegin(PartHead({}))
        yield PartData(instance)
        yield PartEnd()
    if error is not None:
        raise error


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def open_descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncIterator[FullStore]:
    store = await FullStore.open_folder(tmp_path)
    yield store
    await store.close()


async def known(database: Database, count: int = 3) -> int:
    uids = [f"1.2.826.0.1.3680043.10.1463.1.1.{number}" for number in range(1, count + 1)]
    return len(await Register(database).find_digests(ARCHIVE_SPACE, uids))


@pytest.mark.parametrize("room", [10, 1500, 4000])
async def test_a_disk_that_fills_up_ends_the_request_cleanly(
    database: Database, objects: FullStore, tmp_path: Path, room: int
) -> None:
    service = StoreService(Register(database), objects, LIMITS, *quarantine(database))
    objects.room = room
    with pytest.raises(StorageFullError):
        await service.store_instances(events(*ct_series(3)), KEY_HOLDER)
    assert files(tmp_path) == []
    assert await known(database) == 0
    objects.room = 1 << 40
    outcomes = await service.store_instances(events(*ct_series(3)), KEY_HOLDER)
    assert all(outcome.is_stored for outcome in outcomes)
    assert await known(database) == 3


async def test_a_long_request_ends_when_room_runs_short_before_the_disk_is_full(
    database: Database, objects: FullStore, tmp_path: Path
) -> None:
    """Nobody may have announced its length."""

    async def endless() -> AsyncIterator[Event]:
        yield PartBegin(PartHead({}))
        head = part10(image(PixelData=bytes(1 << 20)))
        yield PartData(head)
        for _ in range(200):
            yield PartData(bytes(1 << 20))
            objects.free -= 1 << 20
        pytest.fail("read to its end")

    service = StoreService(
        Register(database), objects, replace(LIMITS, free_space_watermark_bytes=1 << 30), *quarantine(database)
    )
    objects.free = (1 << 30) + (10 << 20)
    await service.ensure_room(KEY_HOLDER)
    with pytest.raises(StorageFullError):
        await service.store_instances(endless(), KEY_HOLDER)
    assert files(tmp_path) == []


async def test_a_request_that_breaks_off_leaves_nothing(database: Database, objects: FullStore, tmp_path: Path) -> None:
    limits = StoreLimits(hold_bytes=1000, pack_bytes=1000, pack_instances=1, free_space_watermark_bytes=0)
    for chosen in (LIMITS, limits):
        service = StoreService(Register(database), objects, chosen, *quarantine(database))
        with pytest.raises(ConnectionError):
            await service.store_instances(events(*ct_series(3), error=ConnectionError()), KEY_HOLDER)
        assert files(tmp_path) == []
        assert await known(database) == 0


async def test_a_request_that_is_cancelled_leaves_nothing_whenever_it_happens(
    database: Database, objects: FullStore, tmp_path: Path
) -> None:
    register = LosingRegister(Register(database), StorageFullError("the disk of the database is full"))
    limits = StoreLimits(hold_bytes=1 << 20, pack_bytes=1 << 20, pack_instances=1, free_space_watermark_bytes=0)
    service = StoreService(register, objects, limits, *quarantine(database))  # type: ignore[arg-type]
    objects.commit_seconds = 0.02
    instances, opened = ct_series(14), open_descriptors()
    for step in range(12):
        request = asyncio.create_task(service.store_instances(events(*instances), KEY_HOLDER))
        await asyncio.sleep(0.008 * step)
        request.cancel()
        with suppress(asyncio.CancelledError, StorageFullError):
            await request
        assert files(tmp_path) == []
    assert open_descriptors() <= opened


async def test_a_request_that_took_too_long_is_refused_before_its_packs_can_pass_for_orphans(
    database: Database, objects: FullStore, tmp_path: Path
) -> None:
    service = StoreService(Register(database), objects, replace(LIMITS, request_seconds=0), *quarantine(database))
    with pytest.raises(RequestTimeoutError, match="fewer instances"):
        await service.store_instances(events(*ct_series(3)), KEY_HOLDER)
    assert files(tmp_path) == []
    assert await known(database) == 0
    assert 2 * LIMITS.request_seconds <= GRACE_SECONDS


@pytest.mark.parametrize("hold_bytes", [8 << 20, 100], ids=["held", "large"])
async def test_a_request_brings_only_so_many_attributes(
    database: Database, objects: FullStore, hold_bytes: int
) -> None:
    """They are registered together, so they are all in memory; a hostile request could bring any number."""
    limits = replace(LIMITS, hold_bytes=hold_bytes, attribute_bytes=300_000)
    service = StoreService(Register(database), objects, limits, *quarantine(database))
    lone = [ct_series(1, study=study, ImageComments="x" * 9000)[0] for study in range(1, 101)]
    outcomes = await service.store_instances(events(*lone), KEY_HOLDER)
    assert 20 <= sum(outcome.is_stored for outcome in outcomes) < 100
    assert {outcome.failure for outcome in outcomes} == {None, OUT_OF_RESOURCES}
    # What a series shares counts once.
    series = ct_series(200, series=2, ImageComments="x" * 9000)
    if hold_bytes > 100:
        assert all(outcome.is_stored for outcome in await service.store_instances(events(*series), KEY_HOLDER))


@pytest.mark.parametrize("hold_bytes", [8 << 20, 100_000], ids=["held", "large"])
async def test_tiny_pieces_take_little_more_memory_than_their_bytes(
    database: Database, objects: FullStore, hold_bytes: int
) -> None:
    """Every piece is an object of some fifty bytes, and a client may send two bytes at a time."""
    data = part10(image(PixelData=bytes(400_000)))

    async def pieces() -> AsyncIterator[Event]:
        yield PartBegin(PartHead({}))
        for start in range(0, len(data), 2):
            yield PartData(data[start : start + 2])
        yield PartEnd()

    service = StoreService(Register(database), objects, replace(LIMITS, hold_bytes=hold_bytes), *quarantine(database))
    tracemalloc.start()
    try:
        (outcome,) = await service.store_instances(pieces(), KEY_HOLDER)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.is_stored
    assert peak < 10 * len(data)


async def test_a_failed_transaction_takes_its_objects_along(
    database: Database, objects: FullStore, tmp_path: Path
) -> None:
    register = LosingRegister(Register(database), StorageFullError("the disk of the database is full"))
    service = StoreService(register, objects, LIMITS, *quarantine(database))  # type: ignore[arg-type]
    with pytest.raises(StorageFullError):
        await service.store_instances(events(*ct_series(3)), KEY_HOLDER)
    assert files(tmp_path) == []


async def test_objects_of_a_transaction_with_unknown_outcome_stay(
    database: Database, objects: FullStore, tmp_path: Path
) -> None:
    # Deleting them could leave rows without their object, if the commit went through after all.
    register = LosingRegister(Register(database), DatabaseUnavailableError("the connection broke"))
    service = StoreService(register, objects, LIMITS, *quarantine(database))  # type: ignore[arg-type]
    with pytest.raises(DatabaseUnavailableError):
        await service.store_instances(events(*ct_series(3)), KEY_HOLDER)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("hold_bytes", [8 << 20, 100], ids=["held", "large"])
async def test_all_parts_with_a_uid_lose_when_another_request_wins_it(
    database: Database, objects: FullStore, tmp_path: Path, hold_bytes: int
) -> None:
    mine, other = ct_series(1)[0], ct_series(1, PatientWeight="70")[0]
    register = Register(database)
    rival = StoreService(register, objects, LIMITS, *quarantine(database))
    limits = replace(LIMITS, hold_bytes=hold_bytes)
    service = StoreService(OvertakenRegister(register, rival, [other]), objects, limits, *quarantine(database))  # type: ignore[arg-type]
    outcomes = await service.store_instances(events(mine, mine, other), KEY_HOLDER)
    assert [outcome.failure for outcome in outcomes] == [INSTANCE_CONFLICT] * 3
    # What lost is kept as a conflict, once; the third has the bytes that won.
    assert len(files(tmp_path)) == 2


async def test_all_parts_with_a_uid_are_known_when_another_request_stored_the_same(
    database: Database, objects: FullStore, tmp_path: Path
) -> None:
    mine, other = ct_series(1)[0], ct_series(1, PatientWeight="70")[0]
    register = Register(database)
    rival = StoreService(register, objects, LIMITS, *quarantine(database))
    service = StoreService(OvertakenRegister(register, rival, [mine]), objects, LIMITS, *quarantine(database))  # type: ignore[arg-type]
    outcomes = await service.store_instances(events(mine, other, mine), KEY_HOLDER)
    assert [outcome.already_stored for outcome in outcomes] == [True, False, True]
    assert [outcome.failure for outcome in outcomes] == [None, INSTANCE_CONFLICT, None]
    assert len(files(tmp_path)) == 2


async def test_an_object_that_cannot_be_deleted_does_not_spoil_the_answer(
    database: Database, objects: FullStore, tmp_path: Path
) -> None:
    class Stubborn(FullStore):
        async def delete(self, key: str) -> None:
            raise StorageUnavailableError("the folder of the object store fails")

    mine = ct_series(1)
    register = Register(database)
    rival = StoreService(register, objects, LIMITS, *quarantine(database))
    stubborn = await Stubborn.open_folder(tmp_path)
    service = StoreService(OvertakenRegister(register, rival, mine), stubborn, LIMITS, *quarantine(database))  # type: ignore[arg-type]
    (outcome,) = await service.store_instances(events(*mine), KEY_HOLDER)
    await stubborn.close()
    assert outcome.already_stored
