"""Merging: few segments instead of many, and every answer stays what it was."""

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import orjson
import pytest
from tests.database import TestServer
from tests.factories import ROOT, identified, part10
from tests.searching import ROOT_URL, found, key, objects
from tests.stored import pack_of, segment_of

from dicomweb_archive.dicom.matching_keys import Range, WildCard
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.lease import maintenance_lease
from dicomweb_archive.index.reading.documents import MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceIndex, Scope
from dicomweb_archive.index.reading.metadata_answers import Coding
from dicomweb_archive.index.reading.representatives import RepresentativeIndex
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.upkeep.merging import (
    MERGED_BYTES,
    Merged,
    SegmentMerger,
    SmallSegment,
    plan_merges,
)
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal

EVERYTHING = Visibility()
NAMES = ("Axial", "Coronal", "Sagittal")


def file_of(study: int, series: int, number: int, chance: random.Random) -> bytes:
    """An instance some of whose values follow from its series, and some from chance."""
    dataset = identified(
        study=study,
        series=series,
        instance=number,
        SpecificCharacterSet="ISO_IR 100",
        Modality="MR",
        PatientName=chance.choice(["Doe^Jane"] * 5 + ["Roe^Jane"]),
        PatientID=f"P{study}",
        StudyDate="20240131",
        SeriesDescription=NAMES[series % 3],
        AcquisitionNumber=chance.choice([1, 2]),
        SliceLocation=f"{number * 1.5:.2f}",
        InstanceNumber=number,
    )
    if chance.random() < 0.5:
        dataset.ImageComments = chance.choice(["first", "second", ""])
    return part10(dataset)


def split_of(file: bytes) -> tuple[str, str, str]:
    (stored,) = segment_of([file])
    return (
        stored.scanned.study_instance_uid,
        stored.scanned.series_instance_uid,
        stored.scanned.sop_instance_uid,
    )


@dataclass
class Archive:
    """The index of one archive, as its users see it."""

    database: Database
    register: Register
    instances: InstanceIndex
    removal: Removal
    search: SearchIndex
    merger: SegmentMerger

    @classmethod
    def of(cls, database: Database) -> "Archive":
        instances = InstanceIndex(database)
        return cls(
            database,
            Register(database),
            instances,
            Removal(database, instances),
            SearchIndex(database),
            SegmentMerger(database, quiet_seconds=-1, cold_seconds=-1),
        )

    async def store(self, files: Sequence[bytes]) -> None:
        await self.register.register([pack_of(segment_of(files))], actor="tester")

    async def segments(self) -> int:
        async with self.database.connection() as connection:
            count: int = await connection.fetchval("select count(*) from segment")
        return count

    async def metadata(self, study: str) -> list[str]:
        answer = await MetadataIndex(self.database, kept_root="").study_metadata(
            study, EVERYTHING, service_root=ROOT_URL
        )
        text = b"".join([chunk async for chunk in answer.encoded(Coding.IDENTITY)])
        return sorted(orjson.dumps(each).decode() for each in orjson.loads(text))

    async def answers(self, studies: Sequence[str]) -> dict[str, object]:
        """Everything that can be asked, with the order of instances left aside."""
        given: dict[str, object] = {}
        for number, query in enumerate(queries(studies)):
            page = await self.search.search(query, EVERYTHING, service_root=ROOT_URL)
            rows = sorted(orjson.dumps(row).decode() for row in await objects(page))
            # Which instances a cut page holds follows from the order, which merging changes.
            given[f"query {number}"] = (len(rows) if page.remaining else rows, page.remaining)
        for study in studies:
            located = [each for part in await self.instances.locate(Scope(study), EVERYTHING) for each in part]
            given[f"places {study}"] = sorted((e.sop_instance_uid, e.byte_offset, e.byte_length) for e in located)
            given[f"metadata {study}"] = await self.metadata(study)
        async with self.database.connection() as connection:
            given["studies"] = await connection.fetch(
                "select study_instance_uid, attributes, series_count, instance_count, size_bytes, revision from study"
                " order by 1"
            )
            given["series"] = await connection.fetch(
                "select series_instance_uid, attributes, instance_count, size_bytes, revision from series order by 1"
            )
        return given


def queries(studies: Sequence[str]) -> list[SearchQuery]:
    """Queries of each kind that the index has a way of its own for."""
    keys = [
        (key("AcquisitionNumber", "1"),),
        (key("AcquisitionNumber", "2"), key("ImageComments", "first")),
        (key("SliceLocation", "4.50"),),
        (key("InstanceNumber", Range(20.0, 50.0)), key("AcquisitionNumber", "1")),
        (key("InstanceNumber", "3"), key("PatientName", "Roe^Jane")),
        (key("SeriesDescription", WildCard("*AL")), key("ImageComments", WildCard("s*"))),
        (key("SpecificCharacterSet", "ISO_IR 100"),),
        (key("SOPInstanceUID", f"{ROOT}.1.1.3"),),
        (),
    ]
    made = [SearchQuery(level, each, limit=1000) for each in keys for level in Level]
    return made + [SearchQuery(Level.INSTANCE, keys[0], study_instance_uid=study, limit=5) for study in studies[:1]]


@pytest.fixture
async def archive(database: Database) -> Archive:
    return Archive.of(database)


@pytest.fixture
async def open_archive(
    database_server: TestServer,
) -> AsyncIterator[Callable[[], "asyncio.Future[Archive]"]]:
    opened: list[tuple[str, Database]] = []

    async def open_one() -> Archive:
        name = await database_server.create_database()
        opened.append((name, await Database.open(database_server.url_of(name))))
        return Archive.of(opened[-1][1])

    yield open_one  # type: ignore[misc]
    for name, database in opened:
        await database.close()
        await database_server.drop_database(name)


@pytest.mark.parametrize("seed", [1, 2])
async def test_any_sequence_of_stores_deletes_and_merges_answers_as_without_merges(
    open_archive: Callable[[], "asyncio.Future[Archive]"], seed: int
):
    chance = random.Random(seed)
    plain, merging = await open_archive(), await open_archive()
    numbers = iter(range(1, 1000))
    live: list[tuple[str, str, str]] = []
    for step in range(45):
        if live and chance.random() < 0.15:
            gone = live.pop(chance.randrange(len(live)))
            for each in (plain, merging):
                await each.removal.delete_instance(*gone, EVERYTHING, actor="tester")
        else:
            study, series = chance.choice([(1, 1), (1, 1), (1, 2), (2, 3)])
            files = [file_of(study, series, next(numbers), chance) for _ in range(chance.choice([1, 1, 1, 3]))]
            live += map(split_of, files)
            for each in (plain, merging):
                await each.store(files)
        if chance.random() < 0.2:
            await merging.merger.merge()
        if step % 15 == 14:
            await merging.merger.merge()
            studies = sorted({uids[0] for uids in live})
            assert await merging.answers(studies) == await plain.answers(studies)
    assert await merging.segments() < await plain.segments() / 3


async def test_a_series_of_single_stores_becomes_one_segment_and_merging_again_changes_nothing(archive: Archive):
    chance = random.Random(0)
    for number in range(1, 41):
        await archive.store([file_of(1, 1, number, chance)])
    async with archive.database.connection() as connection:
        facts = await connection.fetchval("select count(distinct study_facts) from segment")
    merged = await archive.merger.merge()
    assert merged is not None
    assert (merged.segments_after, merged.instances) == (facts, 40)
    assert await archive.segments() == facts
    assert await archive.merger.merge() == Merged()
    async with archive.database.connection() as connection:
        assert await connection.fetchval("select count(*) from segment_data") == facts
        assert await connection.fetchval("select count(*) from instance i join segment s on s.id = i.segment_id") == 40


async def test_a_growing_series_waits_until_it_is_quiet(archive: Archive):
    chance = random.Random(0)
    for number in range(1, 5):
        await archive.store([file_of(1, 1, number, chance)])
    assert await SegmentMerger(archive.database).merge() == Merged()
    assert (await SegmentMerger(archive.database, quiet_seconds=-1).merge()) != Merged()


async def test_what_was_locked_or_failed_in_one_round_is_merged_by_a_later_one(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
):
    chance = random.Random(0)
    for number in range(1, 5):
        await archive.store([file_of(1, 1, number, chance)])
    monkeypatch.setattr("dicomweb_archive.index.upkeep.merging.LOCK_SECONDS", 0.05)
    async with archive.database.transaction() as connection:
        await connection.execute("select 1 from study for update")
        assert await archive.merger.merge() == Merged()
    assert await archive.merger.merge() != Merged()


async def test_a_series_that_cannot_be_merged_stands_in_the_way_of_no_other(archive: Archive):
    chance = random.Random(0)
    for series in (1, 2):
        for number in range(1, 5):
            await archive.store([file_of(1, series, number, chance)])
    async with archive.database.connection() as connection:
        await connection.execute(
            "update segment_data set document = '' where segment_id in"
            " (select id from segment where series_id = (select min(series_id) from segment))"
        )
    with pytest.raises(zlib.error):
        await archive.merger.merge()
    assert await archive.merger.merge() != Merged()


async def test_only_one_process_merges_at_a_time(archive: Archive):
    async with maintenance_lease(archive.database) as connection:
        assert connection is not None
        assert await archive.merger.merge() is None
    assert await archive.merger.merge() == Merged()


async def test_positions_found_before_a_merge_are_followed(archive: Archive):
    chance = random.Random(3)
    for number in range(1, 7):
        await archive.store([file_of(1, 1, number, chance)])
    query = SearchQuery(Level.INSTANCE, (key("AcquisitionNumber", "1"),), limit=100)
    expected = await found(archive.search, query)
    assert expected
    representatives = RepresentativeIndex(archive.database)
    (series,) = await representatives.series(Scope(f"{ROOT}.1"), EVERYTHING)
    outlines = await representatives.instances(series.id)
    names = [await representatives.sop_instance_uid(outline) for outline in outlines]
    page = await archive.search.search(query, EVERYTHING, service_root=ROOT_URL)
    await archive.merger.merge()
    # A second merge moves what the first has moved.
    for number in range(7, 9):
        await archive.store([file_of(1, 1, number, chance)])
    await archive.merger.merge()
    assert [row["00080018"]["Value"][0] for row in await objects(page)] == expected
    assert [await representatives.sop_instance_uid(outline) for outline in outlines] == names


async def test_cached_places_and_tags_of_metadata_outlive_a_merge(archive: Archive):
    chance = random.Random(4)
    files = [file_of(1, 1, number, chance) for number in range(1, 5)]
    for file in files:
        await archive.store([file])
    uids = split_of(files[2])
    before = await archive.instances.locate_instance(*uids, EVERYTHING)
    metadata = MetadataIndex(archive.database, kept_root=ROOT_URL)
    tag = (await metadata.instance_metadata(*uids, EVERYTHING, service_root=ROOT_URL)).etag
    series_tag = (await metadata.series_metadata(*uids[:2], EVERYTHING, service_root=ROOT_URL)).etag
    await archive.merger.merge()
    assert await InstanceIndex(archive.database).locate_instance(*uids, EVERYTHING) == before
    assert await archive.instances.locate_instance(*uids, EVERYTHING) == before
    assert (await metadata.instance_metadata(*uids, EVERYTHING, service_root=ROOT_URL)).etag == tag
    assert (await metadata.series_metadata(*uids[:2], EVERYTHING, service_root=ROOT_URL)).etag == series_tag


async def test_stores_deletes_and_merges_at_once_lose_nothing(archive: Archive):
    chance = random.Random(5)
    files = [file_of(1, 1 + number % 2, number, chance) for number in range(1, 41)]

    async def store_some(part: Sequence[bytes]) -> None:
        for file in part:
            await archive.store([file])

    async def merge_often() -> None:
        for _ in range(6):
            await archive.merger.merge()
            await asyncio.sleep(0.02)

    async def delete_some() -> None:
        for file in files[:3]:
            await archive.removal.delete_instance(*split_of(file), EVERYTHING, actor="tester")

    await store_some(files[:6])
    await asyncio.gather(store_some(files[6:20]), store_some(files[20:]), merge_often(), delete_some())
    await archive.merger.merge()
    query = SearchQuery(Level.INSTANCE, (key("Modality", "MR"),), limit=100)
    assert sorted(await found(archive.search, query)) == sorted(split_of(file)[2] for file in files[3:])
    async with archive.database.connection() as connection:
        assert await connection.fetchval("select sum(instance_count) from segment") == 37
        assert await connection.fetchval("select instance_count from study") == 37


def small(number: int, instances: int = 1, *, facts: int = 0, size_bytes: int = 1000) -> SmallSegment:
    return SmallSegment(number, 1, 1, instances, facts, 0, size_bytes)


@pytest.mark.parametrize(
    ("segments", "is_cold", "runs"),
    [
        pytest.param([small(1)], True, [], id="nothing to merge with"),
        pytest.param([small(1), small(2)], False, [[1, 2]], id="two equals"),
        pytest.param([small(1, 100), small(2)], False, [], id="one outweighs the other"),
        pytest.param([small(1, 100), small(2)], True, [[1, 2]], id="cold"),
        pytest.param([small(1), small(2, facts=5), small(3)], False, [[1, 3]], id="facts differ"),
        pytest.param([small(n, 100) for n in range(1, 6)], False, [[1, 2], [3, 4]], id="full"),
        pytest.param(
            [small(n, size_bytes=MERGED_BYTES // 2) for n in range(1, 5)], False, [[1, 2], [3, 4]], id="too large"
        ),
    ],
)
def test_what_goes_together(segments: list[SmallSegment], is_cold: bool, runs: list[list[int]]):
    assert [[each.id for each in run] for run in plan_merges(segments, is_cold=is_cold)] == runs
