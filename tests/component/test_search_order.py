"""Order and pages of a search on a real index: every order is total, and pages stay right while rows come and go."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import pytest_asyncio
from asyncpg.exceptions import QueryCanceledError
from tests.database import TestServer
from tests.factories import ROOT, ct_series, image, mr_series, part10
from tests.searching import EVERYTHING, ROOT_URL, UNIQUE, always_by_terms, always_ordered, found, key, objects, path
from tests.stored import pack_of, segment_of

from dicomweb_archive.dicom.matching_keys import Key
from dicomweb_archive.dicom.query import Counting, Level, OrderKey, SearchQuery
from dicomweb_archive.errors import InvalidParameterError, QueryTooExpensiveError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.search import execution as search
from dicomweb_archive.index.search import paging
from dicomweb_archive.index.search.execution import Chooser, SearchIndex
from dicomweb_archive.index.search.kept_figures import REVISION, KeptFigures
from dicomweb_archive.index.search.milestones import Milestones
from dicomweb_archive.index.search.paging import PageSearch
from dicomweb_archive.index.search.planning.key_prunes import Finding
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice, Statistics, choose_shape
from dicomweb_archive.index.search.sql import levels
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal

# One loop, so that they share open connections: a new one has all of the catalogue to learn.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENTS = {1: "Doe^Jane", 2: "adams^ann", 3: "", 4: "Évans^Zoë", 5: "Doe^Jane", 6: "Baker^Bob"}
DATES = {1: "20240131", 2: "20240130", 3: "20240201", 4: "", 5: "20240131", 6: "20240115"}
NUMBERS = {1: 3, 2: 1, 3: None, 4: 2, 5: 1, 6: 1}
MAKER = key("Manufacturer", "Phantom Works")
SHAPES = {"chosen": choose_shape, "ordered": always_ordered, "by terms": always_by_terms}


def attributes(study: int) -> dict[str, object]:
    named = {"PatientName": PATIENTS[study], "StudyDate": DATES[study], "SeriesNumber": NUMBERS[study]}
    return named | {"SpecificCharacterSet": "ISO_IR 192"}


async def _fill(server: TestServer) -> str:
    """Make a database with six studies; the first has two series, one of them in two segments that interlace."""
    name = await server.create_database()
    async with await Database.open(server.url_of(name)) as database:
        register = Register(database)
        for study in PATIENTS:
            await store(register, ct_series(study + 1, study=study, **attributes(study)))
        await store(register, mr_series(2, study=1, series=2, **attributes(1) | {"SeriesNumber": None}))
        late = [part10(image(study=1, series=1, instance=number, **attributes(1))) for number in (15, 11)]
        await store(register, late)
    return name


async def store(register: Register, files: Sequence[bytes]) -> None:
    await register.register([pack_of(segment_of(list(files)))], actor="tester")


@pytest.fixture(scope="module")
def filled(database_server: TestServer) -> str:
    return asyncio.run(_fill(database_server))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(database_server: TestServer, filled: str) -> AsyncIterator[Database]:
    """A copy of the filled database, for tests that change nothing."""
    # What is connected to cannot be copied.
    name = await database_server.create_database(template=filled)
    async with await Database.open(database_server.url_of(name)) as database:
        yield database


@pytest_asyncio.fixture(loop_scope="module")
async def copy(database_server: TestServer, filled: str) -> AsyncIterator[Database]:
    """Another copy, for a test that stores and deletes."""
    name = await database_server.create_database(template=filled)
    async with await Database.open(database_server.url_of(name)) as database:
        yield database
    await database_server.drop_database(name)


@pytest.fixture
def index(database: Database) -> SearchIndex:
    return SearchIndex(database)


def order(*names: str) -> tuple[OrderKey, ...]:
    return tuple(OrderKey(path(name.removeprefix("-")), name.startswith("-")) for name in names)


def studies(*numbers: int) -> list[str]:
    return [f"{ROOT}.{number}" for number in numbers]


async def page_of(index: SearchIndex, query: SearchQuery) -> tuple[list[str], SearchQuery | None, int]:
    """Read a page: its unique keys, the search of the page behind it, and how many that one and further ones have."""
    page = await index.search(query, EVERYTHING, service_root=ROOT_URL)
    uids = [row[UNIQUE[query.level]]["Value"][0] for row in await objects(page)]
    return uids, None if page.last is None else replace(query, after=page.last), page.remaining


async def paged(index: SearchIndex, query: SearchQuery, size: int) -> list[str]:
    """Read a search page by page, each from behind the last row of the one before."""
    whole: list[str] = []
    behind: SearchQuery | None = replace(query, limit=size)
    counted: list[int] = []
    while behind is not None:
        uids, behind, remaining = await page_of(index, behind)
        whole += uids
        counted.append(len(whole) + remaining)
    # What a page has said to remain is what has come.
    assert set(counted) == {len(whole)}
    return whole


ORDERS = {
    ("PatientName",): (2, 6, 1, 5, 4, 3),
    ("-PatientName",): (4, 5, 1, 6, 2, 3),
    ("StudyDate",): (6, 2, 1, 5, 3, 4),
    ("-StudyDate",): (3, 5, 1, 2, 6, 4),
    ("-StudyDate", "PatientID", "StudyInstanceUID"): (3, 1, 5, 2, 6, 4),
    ("PatientName", "-StudyInstanceUID"): (2, 6, 5, 1, 4, 3),
    ("-NumberOfStudyRelatedInstances",): (6, 5, 1, 4, 3, 2),
    (): (3, 5, 1, 2, 6, 4),
}


@pytest.mark.parametrize("choose", SHAPES.values(), ids=SHAPES.keys())
async def test_studies_are_sorted_and_paged_alike_by_every_shape_and_unknown_values_come_last(
    database: Database, choose: Chooser
):
    index = SearchIndex(database, choose=choose)
    for names, expected in ORDERS.items():
        for keys in ((), (MAKER,)):
            query = SearchQuery(Level.STUDY, keys, order=order(*names))
            assert await found(index, query) == studies(*expected), names
            assert await paged(index, query, 4) == studies(*expected), names


SERIES_ORDERS: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("3.1", "5.1", "1.1", "1.2", "2.1", "6.1", "4.1"),
    ("PatientName",): ("2.1", "6.1", "1.1", "1.2", "5.1", "4.1", "3.1"),
    ("SeriesNumber", "-StudyDate", "SeriesInstanceUID"): ("5.1", "2.1", "6.1", "4.1", "1.1", "3.1", "1.2"),
    ("-SeriesNumber", "Modality", "StudyInstanceUID"): ("1.1", "4.1", "2.1", "5.1", "6.1", "3.1", "1.2"),
    ("-NumberOfSeriesRelatedInstances", "SeriesInstanceUID"): ("6.1", "5.1", "4.1", "1.1", "3.1", "2.1", "1.2"),
}


@pytest.mark.parametrize("choose", SHAPES.values(), ids=SHAPES.keys())
async def test_series_are_sorted_and_paged_alike_by_every_shape(database: Database, choose: Chooser):
    index = SearchIndex(database, choose=choose)
    for names, numbers in SERIES_ORDERS.items():
        for keys in ((), (MAKER,)):
            query = SearchQuery(Level.SERIES, keys, order=order(*names), relational=True)
            expected = [f"{ROOT}.{number}" for number in numbers]
            assert await found(index, query) == expected, names
            assert await paged(index, query, 2) == expected, names


@pytest.mark.parametrize("choose", SHAPES.values(), ids=SHAPES.keys())
async def test_instances_come_by_series_and_uid_and_are_paged_alike_by_every_shape(database: Database, choose: Chooser):
    index = SearchIndex(database, choose=choose)
    for keys in ((), (MAKER,)):
        query = SearchQuery(Level.INSTANCE, keys, relational=True)
        whole = await found(index, query)
        assert len(whole) == len(set(whole)) == 31
        assert whole[:4] == [f"{ROOT}.1.1.{number}" for number in (1, 11, 15, 2)]
        assert await paged(index, query, 3) == whole
        assert await found(index, replace(query, limit=5, offset=2)) == whole[2:7]


async def test_instances_are_sorted_by_any_attribute_of_their_series(index: SearchIndex):
    query = SearchQuery(Level.INSTANCE, study_instance_uid=f"{ROOT}.1", series_instance_uid=f"{ROOT}.1.1")
    for names, numbers in {
        ("InstanceNumber",): (1, 2, 11, 15),
        ("-InstanceNumber",): (15, 11, 2, 1),
        ("-SOPInstanceUID",): (2, 15, 11, 1),
        ("Manufacturer", "-InstanceNumber"): (15, 11, 2, 1),
        ("-ProtocolName", "ImagePositionPatient", "InstanceNumber"): (1, 2, 11, 15),
    }.items():
        for keys in ((), (MAKER,)):
            sorted_query = replace(query, keys=keys, order=order(*names))
            expected = [f"{ROOT}.1.1.{number}" for number in numbers]
            assert await found(index, sorted_query) == expected, names
            assert await paged(index, sorted_query, 1) == expected, names


async def test_instances_of_all_studies_are_sorted_by_number_and_by_columns_of_their_study(index: SearchIndex):
    query = SearchQuery(Level.INSTANCE, relational=True, order=order("PatientName", "-InstanceNumber"))
    whole = await found(index, query)
    assert whole[:4] == [f"{ROOT}.2.1.3", f"{ROOT}.2.1.2", f"{ROOT}.2.1.1", f"{ROOT}.6.1.7"]
    assert await paged(index, query, 7) == whole


REFUSED = {
    "a series attribute of studies": SearchQuery(Level.STUDY, order=order("Modality")),
    "an attribute without a column": SearchQuery(Level.SERIES, order=order("SeriesDescription")),
    "an attribute of instances of several series": SearchQuery(Level.INSTANCE, order=order("SliceLocation")),
    "a sequence": SearchQuery(
        Level.INSTANCE, series_instance_uid=f"{ROOT}.1.1", order=order("RequestAttributesSequence")
    ),
    "an attribute within a sequence": SearchQuery(
        Level.INSTANCE, series_instance_uid=f"{ROOT}.1.1", order=order("ProcedureCodeSequence.CodeValue")
    ),
}


@pytest.mark.parametrize("query", REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_sorted_by_is_refused_and_what_can_is_named(index: SearchIndex, query: SearchQuery):
    with pytest.raises(InvalidParameterError, match=r"orderby.*StudyDate.*PatientName"):
        await index.search(query, EVERYTHING, service_root=ROOT_URL)


# --- pages while rows come and go ------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [(), (MAKER,)], ids=["no key", "a common key"])
async def test_pages_neither_repeat_nor_skip_while_instances_arrive_and_go(copy: Database, keys: tuple[Key, ...]):
    index, register, removal = SearchIndex(copy), Register(copy), Removal(copy, InstanceIndex(copy))
    query = SearchQuery(Level.INSTANCE, keys, relational=True, limit=3)
    beginning = await found(index, replace(query, limit=100))
    first, behind, _ = await page_of(index, query)
    assert first == [f"{ROOT}.1.1.{number}" for number in (1, 11, 15)]
    # The series goes on in segments with other ids, some of its instances before and some behind the page; its last
    # row itself is gone.
    for gone in (11, 15):
        await removal.delete_instance(f"{ROOT}.1", f"{ROOT}.1.1", f"{ROOT}.1.1.{gone}", EVERYTHING, actor="tester")
    arrived = [part10(image(study=1, series=1, instance=number, **attributes(1))) for number in (10, 3)]
    await store(register, arrived)
    await store(register, ct_series(1, study=7, **attributes(6)))
    rest: list[str] = []
    while behind is not None:
        uids, behind, _ = await page_of(index, behind)
        rest += uids
    assert rest == [*beginning[3:4], f"{ROOT}.1.1.3", *beginning[4:], f"{ROOT}.7.1.1"]


@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES])
async def test_pages_of_studies_and_series_go_on_behind_a_row_that_is_gone(copy: Database, level: Level):
    index, register, removal = SearchIndex(copy), Register(copy), Removal(copy, InstanceIndex(copy))
    query = SearchQuery(level, relational=level is Level.SERIES, order=order("PatientName"))
    beginning = await found(index, query)
    first, behind, _ = await page_of(index, replace(query, limit=2))
    await removal.delete_study(f"{ROOT}.6", EVERYTHING, actor="tester")
    # One study arrives before the page, one behind it.
    await store(register, ct_series(1, study=8, **attributes(2)))
    await store(register, ct_series(1, study=9, **attributes(5)))
    assert behind is not None
    rest = await paged(index, behind, 2)
    new = f"{ROOT}.9" if level is Level.STUDY else f"{ROOT}.9.1"
    assert first == beginning[:2]
    assert [uid for uid in rest if uid != new] == beginning[2:]
    assert new in rest


# --- counts ----------------------------------------------------------------------------------------------------


async def test_what_remains_is_counted_up_to_a_cap_or_exactly_or_not_at_all(database: Database):
    index = SearchIndex(database, count_cap=2)
    for level, keys, total in ((Level.STUDY, (), 6), (Level.INSTANCE, (MAKER,), 31)):
        query = SearchQuery(level, keys, relational=level is not Level.STUDY, limit=1)
        page = await index.search(query, EVERYTHING, service_root=ROOT_URL)
        assert (page.remaining, page.capped) == (2, True)
        exact = await index.search(replace(query, counting=Counting.EXACT), EVERYTHING, service_root=ROOT_URL)
        assert (exact.remaining, exact.capped) == (total - 1, False)
        none = await index.search(replace(query, counting=Counting.NONE), EVERYTHING, service_root=ROOT_URL)
        assert (none.remaining, none.uncounted, none.last) == (0, True, page.last)
    # Sums of counters cost the same whatever they come to.
    page = await index.search(SearchQuery(Level.INSTANCE, relational=True, limit=1), EVERYTHING, service_root=ROOT_URL)
    assert (page.remaining, page.capped) == (30, False)


@pytest.mark.parametrize("level", list(Level))
async def test_what_would_cost_too_much_to_count_is_said_to_be_there_only_where_it_is(
    database: Database, monkeypatch: pytest.MonkeyPatch, level: Level
):
    monkeypatch.setattr(search, "count_is_cheap", lambda *_: False)
    index = SearchIndex(database)
    query = SearchQuery(level, (MAKER,), relational=level is not Level.STUDY, limit=1)
    page = await index.search(query, EVERYTHING, service_root=ROOT_URL)
    assert (page.remaining, page.capped, page.uncounted) == (1, True, True)
    # A page of no rows is asked for because of its count.
    counted = await index.search(replace(query, limit=0), EVERYTHING, service_root=ROOT_URL)
    assert (counted.remaining > 1, counted.capped, counted.uncounted) == (True, False, False)
    index.figures.clear()
    monkeypatch.setattr(PageSearch, "_within", _out_of_time)
    page = await index.search(replace(query, limit=0), EVERYTHING, service_root=ROOT_URL)
    assert page.uncounted
    # Both are there, but never in one instance.
    apart = (MAKER, key("Modality", "MR"), key("InstanceNumber", "7"))
    page = await index.search(replace(query, keys=apart, limit=0), EVERYTHING, service_root=ROOT_URL)
    assert (page.remaining, page.capped, page.uncounted) == (0, False, False)


async def test_an_exact_count_that_takes_too_long_is_an_error(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PageSearch, "_within", _out_of_time)
    query = SearchQuery(Level.STUDY, (MAKER,), limit=1, counting=Counting.EXACT)
    with pytest.raises(QueryTooExpensiveError):
        await SearchIndex(database).search(query, EVERYTHING, service_root=ROOT_URL)


async def _out_of_time(*_: object) -> int:
    raise QueryCanceledError


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_page_whose_count_takes_too_long_is_found_all_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch, shape: str
):
    monkeypatch.setattr(PageSearch, "_within", _out_of_time)
    query = SearchQuery(Level.STUDY, (MAKER,), limit=2)
    page = await SearchIndex(database, choose=SHAPES[shape]).search(query, EVERYTHING, service_root=ROOT_URL)
    assert (len(await objects(page)), page.remaining, page.uncounted) == (2, 1, True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("level", list(Level))
async def test_a_count_is_kept_for_further_pages_until_anything_is_stored(copy: Database, shape: str, level: Level):
    index, register = SearchIndex(copy, choose=SHAPES[shape]), Register(copy)

    async def remaining(offset: int, visibility: Visibility = EVERYTHING) -> int:
        query = SearchQuery(level, (MAKER,), relational=level is not Level.STUDY, limit=1, offset=offset)
        return (await index.search(query, visibility, service_root=ROOT_URL)).remaining

    behind = {Level.STUDY: 5, Level.SERIES: 6, Level.INSTANCE: 30}[level]
    assert [await remaining(offset) for offset in (0, 0, 2, behind)] == [behind, behind, behind - 2, 0]
    assert await remaining(0, Visibility(spaces=(9,))) == 0
    await store(register, ct_series(1, study=11, **attributes(2)))
    assert [await remaining(offset) for offset in (0, 2)] == [behind + 1, behind - 1]
    await Removal(copy, InstanceIndex(copy)).delete_study(f"{ROOT}.11", EVERYTHING, actor="tester")
    assert await remaining(1) == behind - 1


async def test_a_kept_figure_holds_for_the_rows_that_it_was_made_of(copy: Database):
    figures, register = KeptFigures(), Register(copy)
    ours, others = figures.name("text", [1]), figures.name("text", [2])
    async with copy.search_connection() as connection:
        figures.keep(ours, await connection.fetchval(f"select {REVISION}"), 7)
        assert (await figures.find(connection, ours), await figures.find(connection, others)) == (7, None)
        await store(register, ct_series(1, study=12, **attributes(3)))
        assert await figures.find(connection, ours) is None
        # Counted before somebody else's figure, and said after it.
        now = await connection.fetchval(f"select {REVISION}")
        figures.keep(others, now, 8)
        assert await figures.find(connection, others) == 8
        figures.keep(ours, None, 7)
        assert await figures.find(connection, ours) is None
        figures.clear()
        assert await figures.find(connection, others) is None


# --- shapes ----------------------------------------------------------------------------------------------------


def ordered_in_a_window_of_one(plan: SearchPlan, findings: Sequence[Finding], sizes: Statistics) -> Choice:
    return replace(always_ordered(plan, findings, sizes), window=1)


@pytest.mark.parametrize("level", list(Level))
async def test_an_order_driven_search_that_comes_short_begins_again_from_the_terms(database: Database, level: Level):
    # Only the last of six studies holds the key, so the window ends before it.
    index = SearchIndex(database, choose=ordered_in_a_window_of_one)
    query = SearchQuery(level, (key("InstanceNumber", "7"),), relational=level is not Level.STUDY)
    expected = {Level.STUDY: f"{ROOT}.6", Level.SERIES: f"{ROOT}.6.1", Level.INSTANCE: f"{ROOT}.6.1.7"}
    assert await found(index, query) == [expected[level]]
    query = replace(query, keys=(MAKER,))
    assert await found(index, query) == await found(SearchIndex(database), query)
    assert await paged(index, query, 4) == await found(index, query)


# --- deep pages of instances -----------------------------------------------------------------------------------


async def test_deep_pages_of_instances_are_those_that_counting_from_the_first_one_finds(
    copy: Database, monkeypatch: pytest.MonkeyPatch
):
    for statement in (levels, "MILESTONE_SERIES", 2), (paging, "DEEP_OFFSET", 1):
        monkeypatch.setattr(*statement)
    index, register = SearchIndex(copy), Register(copy)
    query = SearchQuery(Level.INSTANCE, relational=True)
    restricted = Visibility(spaces=(1, 9))
    for _ in range(2):
        whole = await found(index, query)
        for visibility in (EVERYTHING, restricted):
            for limit in (1, 4, 40):
                pages = [
                    await found(index, replace(query, limit=limit, offset=offset), visibility)
                    for offset in range(len(whole) + 2)
                ]
                assert pages == [whole[offset : offset + limit] for offset in range(len(whole) + 2)]
        # It lies in the first study, so that all milestones move.
        await store(register, [part10(image(study=1, series=1, instance=99, **attributes(1)))])


async def test_milestones_go_no_further_than_pages_that_were_asked_for(copy: Database, monkeypatch: pytest.MonkeyPatch):
    """An archive of millions of small series is not gone through for a page near its beginning."""
    for statement in (levels, "MILESTONE_SERIES", 2), (paging, "DEEP_OFFSET", 1):
        monkeypatch.setattr(*statement)
    made: list[Milestones] = []

    def keep(self: KeptFigures, name: bytes, revision: str | None, figure: object) -> None:
        if isinstance(figure, Milestones):
            made.append(figure)
        kept(self, name, revision, figure)

    kept = KeptFigures.keep
    monkeypatch.setattr(KeptFigures, "keep", keep)
    for study in range(13, 23):
        await store(Register(copy), ct_series(1, study=study, **attributes(2)))
    index, query = SearchIndex(copy), SearchQuery(Level.INSTANCE, relational=True, limit=1)
    whole = await found(index, replace(query, limit=100))
    pages = [await found(index, replace(query, offset=offset)) for offset in (1, 1, 0, len(whole) - 1, 1)]
    assert pages == [[whole[offset]] for offset in (1, 1, 0, -1, 1)]
    assert {(len(milestones.series), milestones.whole) for milestones in made} == {(4, False), (9, True)}
