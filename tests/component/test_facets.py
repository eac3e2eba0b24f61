"""Facets hold the counts that going through every instance would give, from whichever part of the index."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from functools import cache
from io import BytesIO
from typing import Any

import pytest
import pytest_asyncio
from pydicom import Dataset, Sequence, dcmread
from tests.database import TestServer
from tests.factories import ROOT, ct_series, identified, mr_series, part10
from tests.searching import EVERYTHING, key, path
from tests.stored import pack_of, segment_of

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.facets import Calendar, Facet, FacetField
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.errors import InvalidParameterError, QueryTooExpensiveError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.search.facets import FacetIndex
from dicomweb_archive.index.search.sql.facets import Drive
from dicomweb_archive.index.upkeep.held_paths import HeldPathsIndex
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal

# One loop, so that they share open connections: a new one has all of the catalogue to learn.
pytestmark = pytest.mark.asyncio(loop_scope="module")

LEVELS = list(Level)
UNIQUE = {Level.STUDY: "StudyInstanceUID", Level.SERIES: "SeriesInstanceUID", Level.INSTANCE: "SOPInstanceUID"}


@cache
def series() -> tuple[list[bytes], ...]:
    """Return what is stored, made when the first test asks: those who only collect tests need it not."""
    return (
        ct_series(3, study=1),
        ct_series(1, study=1, series=2, KVP="100", BodyPartExamined="HEAD", StudyDescription=""),
        mr_series(40, study=2, StudyDate="20240201", BodyPartExamined="head", SeriesNumber=None),
        mr_series(2, study=3, StudyDate="", PatientName="Müller^Jörg=山田^太郎", SpecificCharacterSet="ISO_IR 192"),
        ct_series(2, study=4, StudyDate="20190704", ImageType=["DERIVED", "PRIMARY"]),
    )


PRIVATE = AttributePath((PathStep(0x00190002, "PHANTOM_01"),), "UN")


async def _fill(server: TestServer) -> str:
    name = await server.create_database()
    async with await Database.open(server.url_of(name)) as database:
        register = Register(database)
        for files in series():
            await register.register([pack_of(segment_of(files))], actor="tester")
        await HeldPathsIndex(database).catch_up(seconds=5)
        # Behind this the paths of segments are unknown, and what varies is read from the segments themselves.
        await register.register([pack_of(segment_of(ct_series(3, study=5, KVP="80")))], actor="tester")
    return name


@cache
def instances() -> list[Dataset]:
    """Return every instance as pydicom reads it."""
    return [dcmread(BytesIO(data)) for files in (*series(), ct_series(3, study=5, KVP="80")) for data in files]


@pytest.fixture(scope="module")
def filled(database_server: TestServer) -> str:
    return asyncio.run(_fill(database_server))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(database_server: TestServer, filled: str) -> AsyncIterator[Database]:
    async with await Database.open(database_server.url_of(filled)) as database:
        yield database


@pytest.fixture
def index(database: Database) -> FacetIndex:
    return FacetIndex(database, SearchIndex(database))


def field(name: str, interval: Calendar | float | None = None) -> FacetField:
    return FacetField(path(name), name, interval)


async def counted(index: FacetIndex, query: SearchQuery, *fields: FacetField, limit: int = 100) -> list[Facet]:
    return list((await index.count(query, EVERYTHING, fields, limit=limit)).facets)


def values(facet: Facet) -> dict[Any, int]:
    return {value.value: value.count for value in facet.values}


def expected(level: Level, keyword: str) -> dict[Any, int]:
    """Count the entities that hold each value, the slow way."""
    holders: dict[Any, set[str]] = defaultdict(set)
    for instance in instances():
        for value in _values(instance, keyword.split(".")):
            holders[value].add(instance[UNIQUE[level]].value)
    return {value: len(entities) for value, entities in holders.items()}


def _values(dataset: Dataset, keywords: list[str]) -> Iterator[Any]:
    element = dataset.get(keywords[0])
    if len(keywords) > 1:
        for item in element or ():
            yield from _values(item, keywords[1:])
        return
    for value in element if isinstance(element, list) or type(element).__name__ == "MultiValue" else [element]:
        if value is not None and value != "":
            yield float(value) if isinstance(value, float) else value


FIELDS = (
    "Modality",
    "KVP",
    "BodyPartExamined",
    "ImageType",
    "InstanceNumber",
    "SliceLocation",
    "ImagePositionPatient",
    "ProcedureCodeSequence.CodeValue",
    "StudyDate",
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "StudyDescription",
    "Occupation",
)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("drive", list(Drive))
async def test_every_value_has_the_number_of_its_holders(database: Database, level: Level, drive: Drive) -> None:
    unfold_seconds = 1.0 if drive is Drive.DICTIONARY else 0.0
    index = FacetIndex(database, SearchIndex(database), unfold_seconds=unfold_seconds)
    facets = await counted(index, SearchQuery(level), *map(field, FIELDS), limit=1000)
    for name, facet in zip(FIELDS, facets, strict=True):
        assert values(facet) == expected(level, name), name
        assert facet.distinct == len(facet.values)
        assert [value.count for value in facet.values] == sorted((v.count for v in facet.values), reverse=True)


async def test_private_attributes_and_names_are_counted_as_they_are_compared(index: FacetIndex) -> None:
    names, private = await counted(index, SearchQuery(Level.STUDY), field("PatientName"), FacetField(PRIVATE, "p"))
    assert values(names) == {"doe^jane": 4, "muller^jorg": 1, "山田^太郎": 1}
    assert private.vr == "SL"
    assert values(private)[709] == 5
    assert (await counted(index, SearchQuery(Level.INSTANCE), FacetField(PRIVATE, "p")))[0].values[0].count == 6


@pytest.mark.parametrize("level", LEVELS)
async def test_only_what_matches_is_counted(index: FacetIndex, level: Level) -> None:
    query = SearchQuery(level, keys=(key("Modality", "MR"), key("InstanceNumber", "2")), limit=1, offset=7)
    found = await index.count(query, EVERYTHING, [field("InstanceNumber"), field("BodyPartExamined")], limit=3)
    numbers, parts = found.facets
    assert found.total == 2
    assert values(parts) == {"head": 1}
    if level is Level.INSTANCE:
        assert values(numbers) == {2: 2}
        assert numbers.distinct == 1
    else:
        assert values(numbers) == {1: 2, 2: 2, 3: 1}
        assert numbers.distinct == 40


async def test_numbers_and_dates_are_put_into_bins(index: FacetIndex) -> None:
    fields = (
        field("StudyDate", Calendar.YEAR),
        field("PatientBirthDate", Calendar.MONTH),
        field("InstanceNumber", 10.0),
        field("SliceLocation", 0.5),
    )
    years, months, numbers, _ = await counted(index, SearchQuery(Level.INSTANCE), *fields)
    assert values(years) == {"2019": 2, "2024": 47}
    assert values(months) == {"1970-01": 51}
    assert [(value.value, value.upto) for value in numbers.values] == [(n, n + 10) for n in (0, 10, 20, 30, 40)]
    assert [value.count for value in numbers.values] == [20, 10, 10, 10, 1]
    with pytest.raises(InvalidParameterError):
        await counted(index, SearchQuery(Level.STUDY), field("Modality", Calendar.YEAR))


async def test_what_may_not_be_seen_is_not_counted(index: FacetIndex) -> None:
    found = await index.count(SearchQuery(Level.STUDY), Visibility(spaces=(9,)), [field("Modality")], limit=9)
    assert (found.total, found.facets[0].values, found.facets[0].distinct) == (0, (), 0)


async def test_long_sequences_are_counted_like_others(database: Database, index: FacetIndex) -> None:
    def codes(instance: int) -> Sequence:
        items = Sequence()
        for number in range(1500):
            item = Dataset()
            item.CodeValue = f"{number % 40 + instance}"
            item.CodeMeaning = "of one and the same meaning"
            items.append(item)
        return items

    files = [part10(identified(study=60, instance=n, ConceptNameCodeSequence=codes(n))) for n in (1, 2)]
    await Register(database).register([pack_of(segment_of(files))], actor="tester")
    asked = field("ConceptNameCodeSequence.CodeValue")
    for level, distinct, most in ((Level.STUDY, 41, 1), (Level.INSTANCE, 41, 2)):
        (facet,) = await counted(index, SearchQuery(level, study_instance_uid=f"{ROOT}.60"), asked)
        assert (facet.distinct, facet.values[0].count) == (distinct, most)
    await _forget(database)


async def _forget(database: Database) -> None:
    """Others count what they know of."""
    await Removal(database, InstanceIndex(database)).delete_study(f"{ROOT}.60", EVERYTHING, actor="tester")


async def test_nothing_found_has_no_values(index: FacetIndex) -> None:
    found = await index.count(SearchQuery(Level.SERIES, keys=(key("KVP", "7"),)), EVERYTHING, [field("KVP")], limit=9)
    assert (found.total, found.facets[0].values) == (0, ())


async def test_counting_ends_at_the_time_limit(database_server: TestServer, filled: str) -> None:
    async with await Database.open(database_server.url_of(filled), search_timeout_seconds=0.001) as database:
        with pytest.raises(QueryTooExpensiveError):
            await FacetIndex(database, SearchIndex(database)).count(
                SearchQuery(Level.INSTANCE, study_instance_uid=f"{ROOT}.2"), EVERYTHING, [field("Rows")] * 20, limit=9
            )


async def test_values_of_another_representation_than_the_attributes_own_spoil_no_facet(database_server: TestServer):
    strange = identified(study=1, SliceThickness="1e308")
    strange.add_new(0x00080022, "FD", 1e300)
    strange.add_new(0x00181012, "SL", -5)
    files = [part10(strange), part10(identified(study=1, instance=2, AcquisitionDate="20240131", SliceThickness="2"))]
    async with await Database.open(database_server.url_of(await database_server.create_database())) as database:
        for file in files:
            await Register(database).register([pack_of(segment_of([file]))], actor="tester")
        index = FacetIndex(database, SearchIndex(database))
        for level in LEVELS:
            asked = (
                field("AcquisitionDate"),
                field("AcquisitionDate", Calendar.YEAR),
                field("DateOfSecondaryCapture", Calendar.MONTH),
                field("SliceThickness", 1e-9),
            )
            dates, years, months, thick = await counted(index, SearchQuery(level), *asked)
            assert {value.value for value in dates.values} == {"20240131", 1e300}
            assert [value.value for value in years.values] == ["2024", ""]
            assert [value.value for value in months.values] == [""]
            assert [value.count for value in thick.values] == [1, 1]
