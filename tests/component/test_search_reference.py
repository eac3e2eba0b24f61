"""Search equals the reference: generated studies, searches as text, every level and both shapes of statement.

A bounded number runs with the suite; `DICOMWEB_ARCHIVE_TEST_SEARCHES` raises it, `DICOMWEB_ARCHIVE_TEST_SEED` varies it
(`tests/reference_search.py` and `tests/reference_filter.py` say what is right).
"""

from io import BytesIO
from urllib.parse import quote

from pydicom import config, dcmread
from tests.factories import part10
from tests.generated_searches import SEARCHES, SEED, Search, searches
from tests.generated_studies import SERIES_LEVEL_VARIED, STUDY_LEVEL_VARIED, studies
from tests.reference_filter import evaluate, written
from tests.reference_search import Instance, ReferenceArchive, Study, plain
from tests.searching import ROOT_URL, UNIQUE, always_by_terms, always_ordered, objects
from tests.stored import in_pack, pack_of, sharing_base

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.search_parameters import parse_search

STUDIES = 12 if SEARCHES <= 100 else 40
SHAPES = {"ordered": always_ordered, "by terms": always_by_terms}


async def fill(database: Database, seed: int) -> ReferenceArchive:
    """Store generated studies through the register, and give them to the reference as pydicom reads them."""
    reference = ReferenceArchive(STUDY_LEVEL_VARIED, SERIES_LEVEL_VARIED)
    register = Register(database)
    async with database.transaction() as connection:
        await connection.execute("insert into collection (id, accession, title) values (2, 'two', 'Two')")
    for number, requests in enumerate(studies(seed, STUDIES)):
        study = Study(collection=2 if number % 4 == 3 else 1)
        for request in requests:
            files = [part10(dataset) for dataset in request]
            await register.register(
                [pack_of(in_pack(sharing_base(map(scan, files))))], actor="tester", collection_id=study.collection
            )
            study.instances += [Instance(plain(dcmread(BytesIO(data)))) for data in files]
        reference.add(study)
    async with database.connection() as connection:
        await connection.execute("analyze")
    return reference


async def answer(index: SearchIndex, search: Search, *, limit: int, offset: int) -> tuple[list[str], int]:
    """Ask as a client would, and return unique keys in order, and how many remain."""
    pairs = search.pairs if search.filter is None else (*search.pairs, ("filter", written(search.filter)))
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
    level = Level(search.level)
    asked = parse_search(
        [*split_query(text.encode()), ("limit", str(limit)), ("offset", str(offset))],
        level,
        study_instance_uid=search.study,
        series_instance_uid=search.series,
        relational=search.study is None and search.level != "study",
    )
    assert not any("ignored" in warning for warning in asked.warnings)
    page = await index.search(asked.query, Visibility(collections=search.collections), service_root=ROOT_URL)
    return [row[UNIQUE[level]]["Value"][0] for row in await objects(page)], page.remaining


async def check(index: SearchIndex, reference: ReferenceArchive, search: Search, name: str) -> int:
    """Compare one search by one shape with the reference; returns how many it finds."""
    expected = reference.search(
        search.level,
        search.pairs,
        study=search.study,
        series=search.series,
        collections=search.collections,
        passes=lambda view: search.filter is None or evaluate(view, search.filter) is True,
    )
    whole, remaining = await answer(index, search, limit=5000, offset=0)
    missing, added = sorted(expected - set(whole))[:3], sorted(set(whole) - expected)[:3]
    assert (missing, added, len(whole), remaining) == ([], [], len(expected), 0), f"{name}: {missing} {added} {search}"
    if search.level != "instance":
        place = reference.order(search.level)
        assert whole == sorted(whole, key=place.__getitem__), (name, search)
    if search.limit < 5000:
        page, remaining = await answer(index, search, limit=search.limit, offset=search.offset)
        end = search.offset + search.limit
        assert (page, remaining) == (whole[search.offset : end], max(0, len(whole) - end)), (name, search)
    return len(whole)


async def test_every_search_finds_what_the_reference_finds(database: Database):
    with config.disable_value_validation():
        reference = await fill(database, SEED)
    instances = [instance for study in reference.studies for instance in study.instances]
    indexes = {name: SearchIndex(database, choose=choose) for name, choose in SHAPES.items()}
    hits = 0
    for search in searches(SEED, SEARCHES, instances):
        for name, index in indexes.items():
            hits += bool(await check(index, reference, search, name))
    assert hits > SEARCHES / 2
