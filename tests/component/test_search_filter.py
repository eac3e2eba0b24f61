"""A filter in SQL equals its plain evaluation: generated data sets, random filters, every level and shape."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from tests.component.test_search_differential import ALL_PATHS, Oracle, oracle_of, studies, values_at
from tests.database import TestServer
from tests.searching import always_by_terms, always_ordered, found, key, path
from tests.stored import in_pack, pack_of, sharing_base

from dicomweb_archive.dicom.attribute_path import AttributePath
from dicomweb_archive.dicom.comparable_values import NUMBER_VRS, RANGE_VRS
from dicomweb_archive.dicom.filter_matching import evaluate
from dicomweb_archive.dicom.filter_values import comparable, like_text
from dicomweb_archive.dicom.instance import Element
from dicomweb_archive.dicom.matching import matches
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.query_filter import (
    And,
    Between,
    Comparison,
    Expression,
    IsNull,
    Like,
    Not,
    OneOf,
    Operator,
    Or,
)
from dicomweb_archive.errors import InvalidMatchError
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.search.planning.shape import choose_shape
from dicomweb_archive.index.writing.register import Register

SEED = 7
QUERIES = 60
SHAPES = {"chosen": choose_shape, "ordered": always_ordered, "by terms": always_by_terms}
COUNTS = tuple(
    map(path, ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"))
)
PROPERTIES = (*ALL_PATHS, *COUNTS, path("RequestAttributesSequence"))


@dataclass(frozen=True)
class Filled:
    """A database with generated studies, and the plain evaluation over them."""

    database: str
    oracle: Oracle

    def expected(self, query: SearchQuery) -> set[str]:
        assert query.filter is not None
        number = {Level.STUDY: 1, Level.SERIES: 2, Level.INSTANCE: 3}[query.level]
        return {
            entry[number]
            for entry in self.oracle.instances
            if matches(entry[0], query) and evaluate(entry[0], query.filter) is True
        }


async def _fill(server: TestServer) -> Filled:
    all_studies = list(studies(random.Random(SEED), 12))
    oracle = oracle_of(all_studies)
    for study in all_studies:
        uids = {scanned.study_instance_uid for series in study for scanned in series}
        for attributes, _, series_uid, _ in (entry for entry in oracle.instances if entry[1] in uids):
            of_series = sum(entry[2] == series_uid for entry in oracle.instances)
            counts = (len(study), sum(map(len, study)), of_series)
            attributes |= {at.tag: Element("IS", b"", (count,)) for at, count in zip(COUNTS, counts, strict=True)}
    name = await server.create_database()
    async with await Database.open(server.url_of(name)) as database:
        register = Register(database)
        for study in all_studies:
            packs = [pack_of(in_pack(sharing_base(series))) for series in study]
            await register.register(packs, actor="tester")
        async with database.connection() as connection:
            await connection.execute("analyze")
    return Filled(name, oracle)


@pytest.fixture(scope="module")
def filled(database_server: TestServer) -> Filled:
    return asyncio.run(_fill(database_server))


@pytest_asyncio.fixture
async def database(database_server: TestServer, filled: Filled) -> AsyncIterator[Database]:
    async with await Database.open(database_server.url_of(filled.database)) as database:
        yield database


class Chance:
    """Random filters near what one instance says, so that many of them find something."""

    def __init__(self, oracle: Oracle, seed: int) -> None:
        self._random = random.Random(seed)
        self._oracle = oracle
        self._attributes = oracle.instances[0][0]

    def query(self) -> SearchQuery:
        self._attributes = self._random.choice(self._oracle.instances)[0]
        level = self._random.choice(list(Level))
        keys = (key("Modality", "CT"),) if self._random.random() < 0.1 else ()
        if self._random.random() < 0.1:
            keys += (key("RequestAttributesSequence.RequestedProcedureID", "R1"),)
        return SearchQuery(level, keys, filter=self.expression(self._random.choice([0, 1, 1, 2, 3])), limit=5000)

    def expression(self, depth: int) -> Expression:
        kind = self._random.random()
        if depth == 0 or kind < 0.2:
            return self._condition()
        if kind < 0.35:
            return Not(self.expression(depth - 1))
        operands = tuple(self.expression(depth - 1) for _ in range(self._random.choice([2, 2, 3])))
        return (And if kind < 0.7 else Or)(operands)

    def _condition(self) -> Expression:
        while True:
            # Many conditions lie below two sequences, so that they meet in items.
            nested = [at for at in ALL_PATHS if len(at.steps) > 1]
            at = self._random.choice(nested if self._random.random() < 0.4 else PROPERTIES)
            if self._random.random() < 0.2:
                return IsNull(at)
            values = [value for value in values_at(self._attributes, at.steps) if isinstance(value, str | int | float)]
            condition = self._near(at, self._random.choice(values)) if values and at.vr != "UN" else None
            if condition is not None and _is_valid(condition):
                return condition

    def _near(self, at: AttributePath, value: str | float) -> Expression:
        if isinstance(value, str):
            value = value.split("=")[0]
        chance = self._random.random()
        if chance < 0.3:
            return Comparison(at, Operator.EQUAL, value)
        if chance < 0.5:
            return Comparison(at, self._random.choice(list(Operator)), value)
        if chance < 0.6:
            return Between(at, value, value)
        if chance < 0.75 or at.vr in NUMBER_VRS | RANGE_VRS:
            return OneOf(at, (value, value, "1" if at.vr in NUMBER_VRS else "20240101" if at.vr == "DA" else value))
        text = str(value)[:100].replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
        cut = self._random.randrange(len(text) + 1)
        pattern = self._random.choice([f"{text[:cut]}%", f"%{text[cut:]}", f"_{text[1:]}", text, f"%{text[:2]}%"])
        any_case = self._random.random() < 0.4
        return Like(at, pattern.swapcase() if any_case else pattern, any_case)


def _is_valid(condition: Expression) -> bool:
    try:
        match condition:
            case Comparison(at, _, value):
                # In an order long texts stand by their first 512 characters.
                is_long = isinstance(value, str) and len(value) > 512
                return bool(comparable(at, value)) and (not is_long or condition.operator is Operator.EQUAL)
            case Between(at, low, _):
                return bool(comparable(at, low)) and len(str(low)) <= 512
            case OneOf(at, values):
                return all(comparable(at, value) for value in values)
            case Like(at, pattern):
                return bool(like_text(at, pattern))
    except InvalidMatchError:
        return False
    return True


async def test_every_level_and_shape_finds_what_the_plain_evaluation_finds(database: Database, filled: Filled) -> None:
    chance = Chance(filled.oracle, SEED)
    indexes = {name: SearchIndex(database, choose=choose) for name, choose in SHAPES.items()}
    hits = 0
    for number in range(QUERIES):
        query = chance.query()
        expected = filled.expected(query)
        hits += bool(expected)
        for name, index in indexes.items():
            answer = await found(index, query)
            assert len(answer) == len(set(answer)), (number, name, query)
            assert set(answer) == expected, (number, name, query)
    assert hits > QUERIES / 3
