"""Kinds of matching that look at what is not there, at several values and at long ones, at every level and shape."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import cache

import pytest
import pytest_asyncio
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.database import TestServer
from tests.factories import image, part10
from tests.searching import EVERYTHING, ROOT_URL, always_by_terms, always_ordered, found, key
from tests.stored import pack_of, segment_of

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.instance import Element
from dicomweb_archive.dicom.matching import matches
from dicomweb_archive.dicom.matching_keys import Empty, Key, Range, WildCard
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.search.execution import Chooser, SearchIndex
from dicomweb_archive.index.search.planning.shape import choose_shape
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.search_parameters import parse_search

# One loop, so that they share open connections: a new one has all of the catalogue to learn.
pytestmark = pytest.mark.asyncio(loop_scope="module")

SHAPES: dict[str, Chooser] = {"chosen": choose_shape, "ordered": always_ordered, "by terms": always_by_terms}
LONG = "word " * 150
"""750 characters."""


def item(**values: str | None) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def instances() -> Iterator[Dataset]:
    """Study 1 has what is asked for, 2 in some instances, 3 has it empty, 4 not at all."""
    for number in (1, 2):
        dataset = image(study=71, instance=number, PatientComments="c", BodyPartExamined="HEAD")
        dataset.RequestAttributesSequence = Sequence([item(ScheduledProcedureStepID="S1", RequestedProcedureID="R1")])
        dataset.private_block(0x0029, "EMPTY TEST", create=True).add_new(0x01, "LO", "here")
        dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
        dataset.DerivationDescription = LONG + str(number)
        dataset.ICCProfile = b"p" * 2000
        dataset.ContentCreatorName = "Doe^J=Kanji" if number == 1 else "Roe^J=Other"
        # More values than are terms, at a fixed distance.
        dataset.GridFrameOffsetVector = [5 * place for place in range(40)]
        # Longer than what is kept with other attributes.
        dataset.ReferencedImageSequence = Sequence([item(CodeValue=f"{number}.{n}") for n in range(1500)])
        yield dataset
    for number in (1, 2):
        dataset = image(study=72, instance=number, PatientID="P72", StudyDate="notadate", SeriesNumber=None)
        dataset.ImageType = ["ORIGINAL", "PRIMARY"] if number == 1 else ["DERIVED", "SECONDARY"]
        inner = [item(ScheduledProcedureStepID="S1"), item(ScheduledProcedureStepID="S2", RequestedProcedureID="R2")]
        dataset.RequestAttributesSequence = Sequence(inner)
        if number == 1:
            dataset.PatientComments = "c"
            dataset.private_block(0x0029, "EMPTY TEST", create=True).add_new(0x01, "LO", None)
        dataset.ReferencedImageSequence = Sequence([item(CodeValue="1.1500" if number == 1 else "x")])
        people = [item(PersonName="Doe^J=Kanji"), item(PersonName="Roe^J=Other")]
        dataset.VerifyingObserverSequence = Sequence(people)
        yield dataset
    dataset = image(study=73, PatientID="", StudyDate="", StudyTime=None, AccessionNumber="", Modality="", KVP=None)
    dataset.PatientComments = None
    dataset.RequestAttributesSequence = Sequence([])
    dataset.PatientName = "^^"
    yield dataset
    bare = image(study=74, BodyPartExamined="CHEST")
    del bare.PatientName, bare.StudyTime, bare.KVP
    yield bare
    # Half past nine in the evening in New York is the next day in Paris. Instances of one series may differ.
    for number, zone in ((1, "-0500"), (2, "-0500"), (3, "+0100")):
        dataset = image(study=75, instance=number, StudyDate="20240131", StudyTime="213000.5")
        dataset.TimezoneOffsetFromUTC = "-0500"
        if number == 3:
            dataset = image(study=76, series=1, instance=1, StudyDate="20240201", StudyTime="033000.5")
            dataset.TimezoneOffsetFromUTC = zone
        dataset.BodyPartExamined = "ZONE"
        dataset.ContentDate, dataset.ContentTime = dataset.StudyDate, dataset.StudyTime
        dataset.AcquisitionDateTime = dataset.StudyDate + dataset.StudyTime
        yield dataset
    for number, zone in ((1, "+0900"), (2, None)):
        dataset = image(study=77, instance=number, BodyPartExamined="ZONE", PatientComments="c", KVP="120")
        dataset.ContentDate, dataset.ContentTime = "20240201", "0030"
        dataset.AcquisitionDateTime = "202402010030"
        if zone:
            dataset.TimezoneOffsetFromUTC = zone
        yield dataset


async def _fill(server: TestServer) -> str:
    name = await server.create_database()
    async with await Database.open(server.url_of(name)) as database:
        register = Register(database)
        by_study: dict[str, list[bytes]] = {}
        for dataset in instances():
            by_study.setdefault(dataset.StudyInstanceUID, []).append(part10(dataset))
        for files in by_study.values():
            await register.register([pack_of(segment_of(files))], actor="tester")
    return name


@pytest.fixture(scope="module")
def filled(database_server: TestServer) -> str:
    return asyncio.run(_fill(database_server))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(database_server: TestServer, filled: str) -> AsyncIterator[Database]:
    """The database of all tests here; none of them changes it."""
    async with await Database.open(database_server.url_of(filled)) as opened:
        yield opened


def expected(query: SearchQuery) -> set[str]:
    """What the plain matcher finds."""
    keyword = {Level.STUDY: 0x0020000D, Level.SERIES: 0x0020000E, Level.INSTANCE: 0x00080018}[query.level]
    return {str(each[keyword].values[0]) for each in scanned() if matches(each, query)}


@cache
def scanned() -> list[dict[int, Element]]:
    """What the oracle looks at."""
    return [scan(part10(dataset)).attributes() for dataset in instances()]


PRIVATE = AttributePath((PathStep(0x00290001, "EMPTY TEST"),), "UN")
STEP = "RequestAttributesSequence.ScheduledProcedureStepID"
PROCEDURE = "RequestAttributesSequence.RequestedProcedureID"

EMPTY_KEYS = {
    "a text column": ((key("PatientID", Empty()),), 1),
    "a name column": ((key("PatientName", Empty()),), 2),
    "a date column, where what is no date is no empty date": ((key("StudyDate", Empty()),), 1),
    "a time column": ((key("StudyTime", Empty()),), 2),
    "a series column": ((key("Modality", Empty()),), 1),
    "a number column of the series": ((key("SeriesNumber", Empty()),), 1),
    "a UID, which is never empty": ((key("StudyInstanceUID", Empty()),), 0),
    "an attribute absent in some instances": ((key("PatientComments", Empty()),), 5),
    "an attribute present, empty and absent": ((key("KVP", Empty()),), 2),
    "a private attribute": ((Key(PRIVATE, Empty()),), 6),
    "an attribute that is nowhere": ((key("CountryOfResidence", Empty()),), 7),
    "bulk values, which are there": ((key("ICCProfile", Empty()),), 6),
    "pixels, which are everywhere": ((key("PixelData", Empty()),), 0),
    "a sequence": ((key("RequestAttributesSequence", Empty()),), 5),
    "a long sequence": ((key("ReferencedImageSequence", Empty()),), 5),
    "an item without the attribute": ((key(PROCEDURE, Empty()),), 6),
    "an item of which another attribute has a value": ((key(PROCEDURE, Empty()), key(STEP, "S1")), 1),
    "no item has both": ((key(PROCEDURE, Empty()), key(STEP, "S2")), 0),
    "a path through a sequence that is nowhere": ((key("ReferencedStudySequence.CodeValue", Empty()),), 7),
    "beside a value": ((key("PatientComments", Empty()), key("BodyPartExamined", "CHEST")), 1),
}


@pytest.mark.parametrize(("keys", "studies"), EMPTY_KEYS.values(), ids=EMPTY_KEYS.keys())
@pytest.mark.parametrize("shape", SHAPES)
async def test_what_has_no_value_is_found(database: Database, keys: tuple[Key, ...], studies: int, shape: str):
    index = SearchIndex(database, choose=SHAPES[shape])
    for level in Level if shape == "chosen" else (Level.STUDY, Level.INSTANCE):
        query = SearchQuery(level, keys)
        answer = await found(index, query)
        assert len(answer) == len(set(answer))
        assert set(answer) == expected(query)
        if level is Level.STUDY:
            assert len(answer) == studies
        if shape == "ordered":
            continue
        page = await index.search(replace(query, limit=0), EVERYTHING, service_root=ROOT_URL)
        assert page.remaining == len(answer)


ZONED = {
    "StudyDate=20240201&StudyTime=0300-0400&TimezoneOffsetFromUTC=%2B0100": {"75", "76"},
    "StudyDate=20240131-20240131&StudyTime=2100-2200&TimezoneOffsetFromUTC=-0500": {"75", "76"},
    "StudyDate=20240131-20240131&StudyTime=2100-2200": {"75"},
    "StudyTime=023000.5&BodyPartExamined=ZONE&TimezoneOffsetFromUTC=%2B0000": {"75", "76"},
    "StudyTime=0230-0300&BodyPartExamined=ZONE&TimezoneOffsetFromUTC=%2B0000": {"75", "76"},
    "ContentDate=20240201&ContentTime=0300-0400&TimezoneOffsetFromUTC=%2B0100": {"75", "76"},
    "ContentDate=20240131-&ContentTime=1500-&BodyPartExamined=ZONE&TimezoneOffsetFromUTC=%2B0000": {
        "75", "76", "77",
    },
    "ContentTime=0330-0331&TimezoneOffsetFromUTC=%2B0100&BodyPartExamined=ZONE": {"75", "76"},
    "ContentTime=1530&TimezoneOffsetFromUTC=%2B0000": {"77"},
    "AcquisitionDateTime=20240201023000.5": {"75", "76"},
    "AcquisitionDateTime=20240131-20240131153000": {"77"},
    "AcquisitionDateTime=202402010030": {"77"},
}  # fmt: skip


@pytest.mark.parametrize("asked", ZONED)
@pytest.mark.parametrize("shape", SHAPES)
async def test_dates_and_times_of_different_zones_are_compared_as_instants(database: Database, asked: str, shape: str):
    index = SearchIndex(database, choose=SHAPES[shape])
    for level in (Level.STUDY, Level.INSTANCE):
        query = parse_search(split_query(asked.encode()), level).query
        answer = await found(index, query)
        assert set(answer) == expected(query)
        if level is Level.STUDY:
            assert {uid.rpartition(".")[2] for uid in answer} == ZONED[asked]


SEVERAL = {
    "two of three, in any order": (("AXIAL", "DERIVED"), {"71"}),
    "two that no instance has together": (("PRIMARY", "SECONDARY"), set()),
    "two that different studies have": (("DERIVED", "SECONDARY"), {"72"}),
}


@pytest.mark.parametrize(("values", "studies"), SEVERAL.values(), ids=SEVERAL.keys())
async def test_an_attribute_has_each_of_several_values(database: Database, values: tuple[str, ...], studies: set[str]):
    keys = tuple(key("ImageType", value) for value in values)
    for choose in SHAPES.values():
        answer = await found(SearchIndex(database, choose=choose), SearchQuery(Level.STUDY, keys))
        assert {uid.rpartition(".")[2] for uid in answer} == studies


LONG_KEYS = {
    "one of two long texts that begin alike": (key("DerivationDescription", LONG + "2"),),
    "a long text that differs behind what patterns see": (key("DerivationDescription", LONG + "3"),),
    "an item of a long sequence": (key("ReferencedImageSequence.CodeValue", "1.1499"),),
    "an item of a long sequence in another instance": (
        key("ReferencedImageSequence.CodeValue", "2.7"),
        key("InstanceNumber", "1"),
    ),
    "an item of a sequence that is long elsewhere": (
        key("ReferencedImageSequence.CodeValue", "1.1500"),
        key("InstanceNumber", "1"),
    ),
}


@pytest.mark.parametrize("keys", LONG_KEYS.values(), ids=LONG_KEYS.keys())
@pytest.mark.parametrize("shape", SHAPES)
async def test_long_texts_and_sequences_are_matched_exactly(database: Database, keys: tuple[Key, ...], shape: str):
    index = SearchIndex(database, choose=SHAPES[shape])
    for level in (Level.STUDY, Level.INSTANCE):
        query = SearchQuery(level, keys)
        assert set(await found(index, query)) == expected(query)


async def test_the_digest_beside_a_long_text_is_no_text_of_its_own(database: Database):
    # Hexadecimal digits stand at its end, where the texts have a blank.
    numbers = (key("InstanceNumber", "1"),)
    for ending in "0123456789abcdef":
        query = SearchQuery(Level.INSTANCE, (key("DerivationDescription", WildCard(f"*{ending}")), *numbers))
        assert await found(SearchIndex(database), query) == []


@pytest.mark.parametrize("choose", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", ["ContentCreatorName", "VerifyingObserverSequence.PersonName"])
async def test_all_groups_of_a_name_are_those_of_one_value(database: Database, name: str, choose: Chooser) -> None:
    index = SearchIndex(database, choose=choose)
    for level in Level:
        assert await found(index, SearchQuery(level, (key(name, "Doe^J=Kanji"),)))
        assert not await found(index, SearchQuery(level, (key(name, "Roe^J=Kanji"),)))


@pytest.mark.parametrize("bound", [1e-323, -1e-323, 1e308, -1e308])
async def test_bounds_at_the_ends_of_numbers_are_answered_by_zones_of_a_fixed_distance(
    database: Database, bound: float
) -> None:
    index = SearchIndex(database, choose=always_by_terms)
    for matching in (Range(bound, None), Range(None, bound), Range(bound, bound)):
        query = SearchQuery(Level.INSTANCE, (key("GridFrameOffsetVector", matching),))
        assert set(await found(index, query)) == expected(query)
