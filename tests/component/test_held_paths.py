"""Which attributes there are, and in how many series: exact, as of now, and nothing of what may not be seen."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from tests.factories import ROOT, ct_series, mr_series
from tests.stored import pack_of, segment_of

from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.upkeep.held_paths import HeldPaths, HeldPathsIndex
from dicomweb_archive.index.upkeep.merging import SegmentMerger
from dicomweb_archive.index.upkeep.statistics import IndexUpkeep
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal
from dicomweb_archive.services.maintenance import IndexMaintenance

ALL = Visibility()
SERIES = (
    ct_series(3, study=1),
    ct_series(1, study=1, series=2, BodyPartExamined="HEAD"),
    mr_series(2, study=2, BodyPartExamined=""),
)


async def store(database: Database, *series: list[bytes], collection_id: int = 1) -> None:
    packs = [pack_of(*(segment_of(files) for files in series))]
    await Register(database).register(packs, actor="test", collection_id=collection_id)


def counted(held: HeldPaths) -> dict[str, int]:
    return {path.path: path.series for path in held.paths}


def expected(*series: list[bytes]) -> Counter[str]:
    """Count standard attributes with values, at the top and one level below, the slow way."""
    counts: Counter[str] = Counter()
    for files in series:
        counts.update({path for data in files for path in _paths(dcmread(BytesIO(data)))})
    return counts


def _paths(dataset: Dataset, prefix: str = "") -> Iterator[str]:
    for element in dataset:
        name = f"{prefix}{element.tag:08X}"
        if element.VR == "SQ":
            for item in element.value:
                yield from _paths(item, f"{name}.")
        elif element.VR != "OW" and not element.tag.is_private and element.keyword[-11:] != "InstanceUID":
            yield name


async def test_every_path_has_the_number_of_its_series(database: Database) -> None:
    await store(database, *SERIES)
    index = HeldPathsIndex(database)
    held = await index.count(ALL)
    found = counted(held)
    assert held.complete
    assert held.series == 3
    assert {path: count for path, count in found.items() if '"' not in path and path != "00190010"} == expected(*SERIES)
    assert found['0019"PHANTOM_01"02'] == 3
    varying = {path.path for path in held.paths if path.varies_in}
    assert {"00200013", "00200032", '0019"PHANTOM_01"02'} <= varying
    assert "00100010" not in varying
    assert {path.vr for path in held.paths if path.path == "00200032"} == {"DS"}
    of_study = await index.count(ALL, f"{ROOT}.2")
    assert (counted(of_study), of_study.series) == (expected(SERIES[2]) | _private(of_study), 1)


def _private(held: HeldPaths) -> Counter[str]:
    return Counter({path: count for path, count in counted(held).items() if path.startswith("0019")})


async def test_a_series_counts_once_however_it_came(database: Database) -> None:
    files = ct_series(4, study=1)
    for file in files[:3]:
        await store(database, [file])
    index = HeldPathsIndex(database)
    assert counted(await index.count(ALL))["00080060"] == 1
    await store(database, files[3:])
    assert counted(await index.count(ALL))["00080060"] == 1


async def test_what_is_deleted_is_not_counted(database: Database) -> None:
    await store(database, *SERIES)
    index = HeldPathsIndex(database)
    await index.count(ALL)
    removal = Removal(database, InstanceIndex(database))
    await removal.delete_series(f"{ROOT}.1", f"{ROOT}.1.2", ALL, actor="test")
    assert counted(await index.count(ALL))["00180015"] == 1
    await removal.delete_study(f"{ROOT}.2", ALL, actor="test")
    found = await index.count(ALL)
    assert "00180015" not in counted(found)
    assert found.series == 1


async def test_what_may_not_be_seen_leaves_no_trace(database: Database) -> None:
    async with database.connection() as connection:
        other = await connection.fetchval("insert into collection (accession, title) values ('x', 'X') returning id")
    await store(database, SERIES[0])
    await store(database, mr_series(1, study=5, BodyPartExamined="KNEE", Occupation="spy"), collection_id=other)
    index = HeldPathsIndex(database)
    everything, restricted = await index.count(ALL), await index.count(Visibility(collections=(1,)))
    assert "00102180" in counted(everything)
    assert counted(restricted) == counted(await index.count(ALL, f"{ROOT}.1"))
    assert "00102180" not in counted(restricted)
    with pytest.raises(NotFoundError):
        await index.count(Visibility(collections=(1,)), f"{ROOT}.5")


async def test_counting_says_when_it_has_not_seen_everything_yet(database: Database) -> None:
    await store(database, *(ct_series(1, study=study) for study in range(1, 6)))
    index = HeldPathsIndex(database, batch_segments=3)
    first = await index.count(ALL, seconds=0)
    assert not first.complete
    assert counted(first)["00080060"] == first.series == 3
    second = await index.count(ALL, seconds=0)
    assert second.complete
    assert counted(second)["00080060"] == 5


async def test_maintenance_looks_through_what_has_come(database: Database) -> None:
    await store(database, *SERIES)
    await IndexMaintenance(SegmentMerger(database), IndexUpkeep(database), HeldPathsIndex(database)).work()
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from segment_paths") == len(SERIES)


async def test_looking_through_waits_for_no_delete_or_merge(database: Database) -> None:
    await store(database, *SERIES)
    index = HeldPathsIndex(database)
    async with database.transaction() as connection:
        await connection.execute("delete from segment where id = (select max(id) from segment)")
        await asyncio.wait_for(index.catch_up(seconds=30), 60)
        assert await connection.fetchval("select count(*) from segment_paths") == len(SERIES) - 1


async def test_nobody_is_told_that_what_they_do_not_see_is_behind(database: Database) -> None:
    async with database.connection() as connection:
        other = await connection.fetchval("insert into collection (accession, title) values ('x', 'X') returning id")
    await store(database, *(ct_series(1, study=study) for study in range(1, 4)))
    await store(database, *(ct_series(1, study=study) for study in range(4, 9)), collection_id=other)
    index = HeldPathsIndex(database, batch_segments=3)
    restricted = await index.count(Visibility(collections=(1,)), seconds=0)
    assert (restricted.complete, restricted.series) == (True, 3)
    assert not (await index.count(ALL, seconds=0)).complete
