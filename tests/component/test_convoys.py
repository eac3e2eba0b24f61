"""Lone instances of one series, written together: each is answered for by itself, whatever the others bring."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.factories import ct_series

from dicomweb_archive.dicom.status import INSTANCE_CONFLICT, StoreOutcome
from dicomweb_archive.errors import ConflictError
from dicomweb_archive.index.curation.conflicts import ConflictIndex
from dicomweb_archive.index.curation.findings import FindingIndex
from dicomweb_archive.index.curation.submissions import SubmissionIndex, SubmissionScope
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.services.access import KEY_HOLDER
from dicomweb_archive.services.destinations import Destination, Destinations, WaitingRoom
from dicomweb_archive.services.store import StoreLimits, StoreService
from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.wire.multipart import Event, PartBegin, PartData, PartEnd, PartHead

LIMITS = StoreLimits(hold_bytes=8 << 20, pack_bytes=512 << 20, pack_instances=1000, free_space_watermark_bytes=0)

ADD_SUBMISSION = """
with made as (insert into space (id, name) values (nextval('submission_space'), 'waiting') returning id)
insert into submission (name, space_id, collection_id, state, opened_by)
select 'waiting', id, 1, 'open', 'key' from made
"""

COUNTS = """
select (select count(*) from pack) as packs, (select count(*) from segment) as segments,
  (select count(*) from event where kind = 'instances_stored') as events, (select count(*) from conflict) as conflicts,
  (select sum(instance_count) from study) as instances, (select count(*) from instance) as placed
"""


async def lone(data: bytes) -> AsyncIterator[Event]:
    yield PartBegin(PartHead({}))
    yield PartData(data)
    yield PartEnd()


async def store(service: StoreService, data: bytes, destination: Destination | None = None) -> StoreOutcome:
    (outcome,) = await service.store_instances(lone(data), KEY_HOLDER, destination)
    return outcome


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def counts(database: Database) -> dict[str, int]:
    async with database.connection() as connection:
        return dict(await connection.fetchrow(COUNTS))


@pytest.fixture
async def service(database: Database, tmp_path: Path) -> AsyncIterator[StoreService]:
    objects = await FolderStore.open_folder(tmp_path)
    destinations = Destinations(SubmissionIndex(database))
    yield StoreService(
        Register(database), objects, LIMITS, destinations, ConflictIndex(database), FindingIndex(database)
    )
    await objects.close()


async def test_each_of_a_convoy_gets_its_own_outcome(service: StoreService, database: Database, tmp_path: Path) -> None:
    series = ct_series(14)
    contradicting = [ct_series(3, PatientWeight=f"7{number}")[2] for number in range(3)]
    for data in series[:3]:
        assert (await store(service, data)).is_stored
    coming = [series[1], *series[3:], series[13], contradicting[0], *contradicting]
    outcomes = await asyncio.gather(*(store(service, data) for data in coming))
    assert [outcome.failure for outcome in outcomes] == [None] * 13 + [INSTANCE_CONFLICT] * 4
    assert [outcome.already_stored for outcome in outcomes[:13]] == [True] + [False] * 11 + [True]
    found = await counts(database)
    assert (found["instances"], found["placed"], found["conflicts"]) == (14, 14, 3)
    # Three came alone; of the others most were written together.
    assert found["packs"] - found["conflicts"] == found["segments"] == found["events"]
    assert found["segments"] < 9
    assert len(files(tmp_path)) == found["packs"]


async def test_a_convoy_into_a_submission_meets_its_seal(service: StoreService, database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(ADD_SUBMISSION)
    submissions = SubmissionIndex(database)
    named = await submissions.find("waiting", SubmissionScope(None))
    assert named is not None

    def destination() -> Destination:
        return Destination(1, WaitingRoom(submissions, 1, actor="key", named=named), None)

    series = ct_series(12)
    for data in series[:2]:
        await store(service, data, destination())
    outcomes = await asyncio.gather(*(store(service, data, destination()) for data in series[2:8]))
    assert all(outcome.is_stored for outcome in outcomes)
    before = await counts(database)
    assert (before["placed"], before["segments"] < 8) == (8, True)
    async with database.connection() as connection:
        await connection.execute("update submission set state = 'sealed'")
    answers = await asyncio.gather(
        *(store(service, data, destination()) for data in series[8:]), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {ConflictError}
    assert await counts(database) == before
