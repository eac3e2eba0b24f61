"""Free text over a real PostgreSQL equals its plain evaluation: every kind of place that texts are kept in."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from functools import cache

import pytest
import pytest_asyncio
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.database import TestServer
from tests.factories import identified, part10
from tests.searching import EVERYTHING, ROOT_URL, always_by_terms, always_ordered, found, key, objects, path
from tests.stored import in_pack, pack_of, sharing_base

from dicomweb_archive.dicom.free_text import Phrase, folded_texts, texts_match
from dicomweb_archive.dicom.instance import Attributes, ScannedInstance
from dicomweb_archive.dicom.matching import matches
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.query import Level, OrderKey, SearchQuery
from dicomweb_archive.dicom.query_filter import Comparison, Not, Operator
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database, connect
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.search.phrases import FIND_TERMS
from dicomweb_archive.index.search.planning.shape import choose_shape
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.wire.free_text import parse_text

# One loop, so that they share open connections: a new one has all of the catalogue to learn.
pytestmark = pytest.mark.asyncio(loop_scope="module")

SHAPES = {"chosen": choose_shape, "ordered": always_ordered, "by terms": always_by_terms}
TEXTS = (
    "CHEST^ROUTINE", "Chest routine (Adult)", "Thorax_mit KM", "Schädel nativ", "SCHAEDEL", "Scha\u0308del",
    "MRT Kopf-Hals", "T1_TSE/TRA", "t2 tse cor", "頭部CT造影", "Große Straße", "œdème", "Łódź", "50% off", "",
    "Thorax « CT »", "１２３ＡＢＣ",
)  # fmt: skip
NAMES = ("Müller^Jörg", "Strauß^Anna", "Yamada^Tarou=山田^太郎", "O'Brien^Seán")
ASKED = (
    "chest", "CHEST routine", "routine adult", '"chest routine"', '"routine adult"', '"chest rout"',
    "schadel", "schädel", "SCHÄDEL nativ", "thor km", "tse tra", '"tse tra"', "kopf hals", "頭部", "造影", "部CT",
    "strasse", "straße", "grosse", "lodz", "50", "off", '"50 off"', "œd", "abc", "123abc", "ct", "tr",
    "muller jorg", "strauss chest", "seán brien", "太郎", "comment", "comment7", '"comment7"', "comment7 chest",
    "deep", "deep7 chest", "far", '"far 3"', "hidden", "common", "common thor", "shared", '"the end"',
    "letters beginning", "1.2.840", "nobody", "chest nobody", "several", "tse original",
)  # fmt: skip
THOROUGHLY = ("common thor", "comment7 chest", "schadel", "tse original")
LONG = f"beginning {'letters ' * 80}the end"


def _item(text: str) -> Dataset:
    inner, item = Dataset(), Dataset()
    inner.CodeMeaning = text
    item.ReferencedSOPInstanceUID = "1.2.840.7"
    item.PurposeOfReferenceCodeSequence = Sequence([inner])
    return item


def _instance(chance: random.Random, study: int, series: int, number: int) -> Dataset:
    fixed = random.Random(f"{study}.{series}")
    dataset = identified(study=9400 + study, series=series, instance=number, PatientName=NAMES[study % len(NAMES)])
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientID = f"TEXT{study}"
    dataset.SliceThickness = "1.5"
    for keyword in ("SeriesDescription", "ProtocolName", "StationName"):
        source = fixed if fixed.random() < 0.5 else chance
        if source.random() < 0.8:
            setattr(dataset, keyword, source.choice(TEXTS)[:16])
    dataset.ImageType = ["ORIGINAL", chance.choice(["PRIMARY", "SECONDARY"])]
    dataset.OperatorsName = chance.choice(NAMES)
    block = dataset.private_block(0x0029, 'ACME "1.0" TEXT', create=True)
    block.add_new(0x01, "LO", fixed.choice(["hidden", "shared"]))
    if series == 2:
        # More than 32 values of a path in a segment of 40: zones.
        dataset.ImageComments = f"comment{number} {chance.choice(TEXTS)}"
        dataset.ReferencedImageSequence = Sequence([_item(f"deep{number}"), _item(chance.choice(TEXTS))])
    if study == 2:
        dataset.DerivationDescription = LONG
    if study == 3 and series == 1:
        # Beyond 64 KB of JSON.
        dataset.ContentSequence = Sequence([_item(f"far {number} {'x' * 600} {each}") for each in range(120)])
    if study == 4:
        # More terms than a statement carries.
        many = dataset.private_block(0x0031, "ACME MANY", create=True)
        for element in range(34):
            value = [f"common {element} {each} {series}" for each in range(31)]
            many.add_new(element, "LO", value if number == 1 else "several")
    return dataset


@cache
def studies() -> list[list[list[ScannedInstance]]]:
    """Return what is stored, made when the first test asks: those who only collect tests need it not."""
    return list(_generated())


def _generated() -> Iterator[list[list[ScannedInstance]]]:
    chance = random.Random(11)
    for study in range(1, 13):
        yield [
            [
                scan(part10(_instance(chance, study, series, number)))
                for number in range(1, (40 if series == 2 and study < 5 else chance.choice([1, 2, 4])) + 1)
            ]
            for series in range(1, chance.choice([2, 3]) + 1)
        ]


@cache
def instances() -> list[tuple[Attributes, frozenset[str], ScannedInstance]]:
    """Return every instance with its attributes and its texts."""
    return [
        (scanned.attributes(), folded_texts(scanned.attributes()), scanned)
        for study in studies()
        for series in study
        for scanned in series
    ]


async def _fill(server: TestServer) -> str:
    name = await server.create_database()
    async with await Database.open(server.url_of(name)) as database:
        register = Register(database)
        for study in studies():
            await register.register([pack_of(in_pack(sharing_base(series))) for series in study], actor="tester")
        async with database.connection() as connection:
            await connection.execute("analyze")
    return name


@pytest.fixture(scope="module")
def filled(database_server: TestServer) -> str:
    return asyncio.run(_fill(database_server))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(database_server: TestServer, filled: str) -> AsyncIterator[Database]:
    async with await Database.open(database_server.url_of(filled)) as database:
        yield database


def words(text: str) -> tuple[Phrase, ...]:
    return parse_text(text)[0]


def expected(query: SearchQuery) -> set[str]:
    name = {Level.STUDY: "study_instance_uid", Level.SERIES: "series_instance_uid", Level.INSTANCE: "sop_instance_uid"}
    passing = (s for own, texts, s in instances() if texts_match(texts, query.text) and matches(own, query))
    return {str(getattr(scanned, name[query.level])) for scanned in passing}


async def test_free_text_finds_what_the_plain_evaluation_finds(shared: Database) -> None:
    asked = [(text, number % 3, number // 3 % 3) for number, text in enumerate(ASKED)]
    # Words that are common, in zones, in no ASCII, in several values: by every shape and at every level.
    asked += [(text, shape, level) for text in THOROUGHLY for shape in range(3) for level in range(3)]
    indexes = [SearchIndex(shared, choose=choose) for choose in SHAPES.values()]
    hits = 0
    for text, shape, level in asked:
        query = SearchQuery(list(Level)[level], text=words(text), limit=5000)
        answer, right = await found(indexes[shape], query), expected(query)
        assert len(answer) == len(set(answer))
        assert set(answer) == right, (text, list(SHAPES)[shape], query.level)
        hits += bool(answer)
    assert hits > len(asked) / 2


async def test_free_text_holds_for_the_instance_of_keys_and_filter(shared: Database) -> None:
    primary = Comparison(path("ImageType"), Operator.EQUAL, "PRIMARY")
    shapes = itertools.cycle(SearchIndex(shared, choose=choose) for choose in SHAPES.values())
    for level in Level:
        for keys, expression in (((key("PatientID", "TEXT1"),), None), ((), Not(primary)), ((), primary)):
            for text in ("comment7", "chest original"):
                query = SearchQuery(level, keys, filter=expression, text=words(text), limit=5000)
                of_type = {None: None, primary: True}.get(expression, False)
                right = expected(SearchQuery(level, keys, text=words(text)))
                if of_type is not None:
                    typed = [each for each in instances() if ("PRIMARY" in each[0][0x00080008].values) is of_type]
                    passing = [s for _, texts, s in typed if texts_match(texts, query.text)]
                    number = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")[list(Level).index(level)]
                    right = {str(getattr(scanned, number)) for scanned in passing}
                assert set(await found(next(shapes), query)) == right, (level, text)


async def test_free_text_goes_with_order_pages_and_counts(shared: Database) -> None:
    index = SearchIndex(shared)
    ordered = (OrderKey(path("PatientID"), descending=True),)
    query = SearchQuery(Level.STUDY, text=words("original"), limit=5, order=ordered)
    page = await index.search(query, EVERYTHING, service_root=ROOT_URL)
    first = [row["00100020"]["Value"][0] for row in await objects(page)]
    assert page.remaining == len(studies()) - 5
    rest = SearchQuery(Level.STUDY, text=words("original"), limit=50, order=ordered, after=page.last)
    later = [
        row["00100020"]["Value"][0] for row in await objects(await index.search(rest, EVERYTHING, service_root=""))
    ]
    assert first + later == sorted((f"TEXT{n}" for n in range(1, len(studies()) + 1)), reverse=True)


async def test_free_text_finds_nothing_for_who_may_see_nothing(shared: Database) -> None:
    nothing = Visibility(spaces=())
    for level in Level:
        query = SearchQuery(level, text=words("original chest"))
        assert await found(SearchIndex(shared), query, nothing) == []


async def test_words_are_found_by_indexes_of_the_dictionary(database_server: TestServer, filled: str) -> None:
    connection = await connect(database_server.url_of(filled))
    try:
        await connection.execute("set enable_seqscan = off")
        for text in ("ct", "schädel", '"t2 tse"'):
            plan = "\n".join(
                row[0] for row in await connection.fetch(f"explain {FIND_TERMS}", words(text)[0].pattern, ["LO"])
            )
            assert "term_value_trigram_idx" in plan
            assert "term_folded_trigram_idx" in plan
    finally:
        await connection.close()
