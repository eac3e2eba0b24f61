"""Fuzzy matching over a real PostgreSQL: names of many scripts, every shape, zones, and archives from before it."""

import asyncio
import importlib.util
import random
from collections.abc import AsyncIterator, Iterator
from functools import cache
from types import ModuleType

import pytest
import pytest_asyncio
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from sqlalchemy.ext.asyncio import create_async_engine
from tests.database import TestServer
from tests.factories import identified, part10
from tests.pydicom_files import bundled_paths, read
from tests.searching import always_by_terms, always_ordered, found, key, path
from tests.stored import in_pack, pack_of, sharing_base

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.matching import matches
from dicomweb_archive.dicom.matching_keys import Fuzzy, Key, Matching, SingleValue, WildCard
from dicomweb_archive.dicom.name_words import key_words
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.errors import InvalidMatchError
from dicomweb_archive.index.database.engine import Database, connect
from dicomweb_archive.index.database.migrate import migrations_folder
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.search.planning.shape import choose_shape
from dicomweb_archive.index.writing.register import Register

NAMES = (
    "Müller^Jörg", "Mueller^Joerg", "Muller-Roe^Anna", "Miller^Anna", "Иванов^Юрий", "Ivanov^Anna",
    "Yamada^Tarou=山田^太郎=やまだ^たろう", "Παπανδρέου^Άννα", "O'Brien^Seán", "Łoś^Jürgen", "%_\\^x", "",
)  # fmt: skip
KEYS = (
    "müller", "Mueller", "anna", "Anna Mul", "jorg Mü", "ivan", "иванов юр", "yamada 太郎", "ヤマタ", "papandreou ann",
    "OBrien", "los jur", "Joerg", "Jörg", "operator", "operator 3 anna", "m", "x", "a b", "nobody",
)  # fmt: skip
WHERE = (
    "PatientName",
    "ReferringPhysicianName",
    "OperatorsName",
    "PerformingPhysicianName",
    "RequestAttributesSequence.RequestingPhysician",
    "ContentSequence.PersonName",
)
SHAPES = {"chosen": choose_shape, "ordered": always_ordered, "by terms": always_by_terms}


def fuzzy(name: str, value: str) -> Key:
    return Key(path(name), Fuzzy(key_words(value)))


def items(chance: random.Random, keyword: str, most: int) -> Sequence:
    sequence = []
    for _ in range(chance.randrange(most)):
        item = Dataset()
        setattr(item, keyword, chance.choice(NAMES))
        item.RequestedProcedureID = chance.choice(["R1", "R2"])
        sequence.append(item)
    return Sequence(sequence)


def series_of(chance: random.Random, study: int, series: int) -> list[ScannedInstance]:
    """A series whose operators vary; in every third one, so much that they become a zone."""
    fixed = random.Random(study)
    names = {"PatientName": fixed.choice(NAMES), "ReferringPhysicianName": fixed.choice(NAMES)}
    shared = chance.choice(NAMES)
    scanned = []
    for number in range(1, chance.choice([1, 3, 40]) + 1):
        dataset = identified(study=7000 + study, series=series, instance=number, **names)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientID = f"FUZZY{study}"
        dataset.PerformingPhysicianName = shared
        dataset.private_block(0x0019, "PHANTOM_01", create=True).add_new(0x10, "PN", shared)
        operators = [chance.choice(NAMES), f"Operator^{number}"]
        dataset.OperatorsName = operators
        dataset.RequestAttributesSequence = items(chance, "RequestingPhysician", 3)
        dataset.ContentSequence = items(chance, "PersonName", 3)
        scanned.append(scan(part10(dataset)))
    return scanned


def studies(chance: random.Random, count: int) -> Iterator[list[list[ScannedInstance]]]:
    for study in range(1, count + 1):
        yield [series_of(chance, study, series) for series in range(1, chance.choice([1, 2]) + 1)]


def with_bundled_names() -> Iterator[list[list[ScannedInstance]]]:
    """A study for each of pydicom's files of character sets, which lack identifiers."""
    files = [file for file in bundled_paths() if file.parent.name == "charset_files"]
    for number, file in enumerate(files, 7900):
        dataset, own = read(file.read_bytes()), identified(study=number)
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            setattr(dataset, keyword, own[keyword].value)
        yield [[scan(part10(dataset))]]


@cache
def bundled() -> list[list[list[ScannedInstance]]]:
    """Return pydicom's own, made when the first test asks: those who only collect tests need them not."""
    return list(with_bundled_names())


@cache
def stored() -> list[list[list[ScannedInstance]]]:
    """Return all that is stored."""
    return [*studies(random.Random(4), 14), *bundled()]


async def _fill(server: TestServer) -> str:
    name = await server.create_database()
    async with await Database.open(server.url_of(name)) as database:
        register = Register(database)
        for study in stored():
            await register.register([pack_of(in_pack(sharing_base(series))) for series in study], actor="tester")
        async with database.connection() as connection:
            await connection.execute("analyze")
    return name


@pytest.fixture(scope="module")
def filled(database_server: TestServer) -> str:
    return asyncio.run(_fill(database_server))


@pytest_asyncio.fixture
async def shared(database_server: TestServer, filled: str) -> AsyncIterator[Database]:
    async with await Database.open(database_server.url_of(filled)) as database:
        yield database


def expected(query: SearchQuery) -> set[str]:
    return {
        (scanned.study_instance_uid, scanned.series_instance_uid, scanned.sop_instance_uid)[
            list(Level).index(query.level)
        ]
        for study in stored()
        for series in study
        for scanned in series
        if matches(scanned.attributes(), query)
    }


def random_query(chance: random.Random) -> SearchQuery:
    keys = [fuzzy(chance.choice(WHERE), chance.choice(KEYS)) for _ in range(chance.choice([1, 1, 2]))]
    keys = list({str(each.path): each for each in keys}.values())
    if chance.random() < 0.3:
        keys.append(key("RequestAttributesSequence.RequestedProcedureID", "R1"))
    keys.append(key("PatientID", f"FUZZY{chance.randrange(1, 15)}")) if chance.random() < 0.2 else None
    return SearchQuery(chance.choice(list(Level)), tuple(keys), limit=5000)


async def test_every_level_and_shape_finds_the_names_that_the_plain_matcher_finds(shared: Database) -> None:
    chance = random.Random(11)
    indexes = {name: SearchIndex(shared, choose=choose) for name, choose in SHAPES.items()}
    hits = 0
    for number in range(40):
        query = random_query(chance)
        wanted = expected(query)
        hits += bool(wanted)
        for name, index in indexes.items():
            answer = await found(index, query)
            assert len(answer) == len(set(answer)), (number, name, query)
            assert set(answer) == wanted, (number, name, query)
    assert hits > 15


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("buc jerome", "Buc^Jérôme"),
        ("aneas rudiger", "Äneas^Rüdiger"),
        ("dionysios", "Διονυσιος"),
        ("Lyukceмbypг", "Люкceмбypг"),
        ("yamada tarou", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("太郎 山", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("hong 길동", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("wang xiaodong 王", "Wang^XiaoDong=王^小東"),
        ("שרון", "שרון^דבורה"),
        ("لنز", "قباني^لنزار"),
    ],
)  # fmt: skip
async def test_names_of_the_bundled_character_sets_are_found(shared: Database, value: str, name: str) -> None:
    names = {
        scanned.study_instance_uid: str(element.values[0])
        for [[scanned]] in bundled()
        if (element := scanned.attributes().get(0x00100010)) is not None
    }
    wanted = {uid for uid, stored in names.items() if stored.startswith(name)}
    assert wanted
    query = SearchQuery(Level.STUDY, (fuzzy("PatientName", value),), limit=100)
    assert wanted <= set(await found(SearchIndex(shared), query))


@pytest.mark.parametrize("matching", [SingleValue("Anna mül"), WildCard("müll* anna*"), WildCard("?uller*a")])
async def test_a_private_name_is_found_fuzzily_though_its_vr_is_unknown(shared: Database, matching: Matching) -> None:
    at = AttributePath((PathStep(0x00190010, "PHANTOM_01"),), "UN")
    literal = isinstance(matching, WildCard) and matching.pattern.startswith("?")
    wanted = expected(SearchQuery(Level.STUDY, (Key(at, matching if literal else Fuzzy(key_words("anna mül"))),)))
    assert wanted
    query = SearchQuery(Level.STUDY, (Key(at, matching),), fuzzy=True)
    assert set(await found(SearchIndex(shared), query)) == wanted


async def test_too_many_words_of_a_private_name_are_refused(shared: Database) -> None:
    at = AttributePath((PathStep(0x00190010, "PHANTOM_01"),), "UN")
    query = SearchQuery(Level.STUDY, (Key(at, SingleValue(" ".join("abcdefghijklmnopqrs"))),), fuzzy=True)
    with pytest.raises(InvalidMatchError, match="at most 16 words"):
        await found(SearchIndex(shared), query)


WORDS = """
select w.hash, w.word, w.path_id, m.value from name_word w join term m on m.hash = w.hash
union all select id, patient_name_words, null, referring_physician_name_words from study order by 1, 2
"""
# Takes the schema and the dictionary back to what they were before.
BEFORE = """
drop table name_word; drop index study_patient_name_words_idx;
alter table study drop patient_name_words; alter table study drop referring_physician_name_words;
delete from term m using path p where p.id = m.path_id and p.vr = 'PN'
  and not exists (select 1 from segment s where s.terms @> array[m.hash])
"""


def migrate(connection: sa.Connection, name: str) -> None:
    """Run one migration, on the tables that later ones have changed since."""
    [file] = migrations_folder().glob(f"versions/*_{name}.py")
    spec = importlib.util.spec_from_file_location("name_words_migration", file)
    assert spec is not None
    assert spec.loader is not None
    migration: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(migration)
    with Operations.context(MigrationContext.configure(connection)):
        migration.upgrade()


async def test_an_archive_from_before_gets_the_words_of_its_names(
    database_server: TestServer, filled: str, shared: Database
) -> None:
    async with shared.connection() as connection:
        wanted = await connection.fetch(WORDS)
        zones = "select count(*) from zone z join path p on p.id = z.path_id where p.vr = 'PN'"
        assert await connection.fetchval(zones) > 0
        await connection.execute(BEFORE)
    await run_migration(database_server.url_of(filled), "name_words")
    async with shared.connection() as connection:
        assert await connection.fetch(WORDS) == wanted
        assert len(wanted) > 100


# Joerg as he was spelt.
SPELT_BEFORE = """
update study set patient_name_words = replace(patient_name_words, ' iorg', ' ioerg') where patient_name like '%joerg%';
update study set referring_physician_name_words = replace(referring_physician_name_words, ' iorg', ' ioerg')
where referring_physician_name like '%joerg%';
delete from name_word w using term t where t.hash = w.hash and w.word = 'iorg' and t.value like '%joerg%'
"""


async def test_names_from_before_are_found_however_an_umlaut_behind_j_is_written(
    database_server: TestServer, filled: str, shared: Database
) -> None:
    async with shared.connection() as connection:
        wanted = await connection.fetch(WORDS)
        await connection.execute(SPELT_BEFORE)
        assert await connection.fetch(WORDS) != wanted
    await run_migration(database_server.url_of(filled), "umlauts_behind_j")
    async with shared.connection() as connection:
        assert await connection.fetch(WORDS) == wanted


async def run_migration(url: str, name: str) -> None:
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: connect(url))
    async with engine.begin() as sql_connection:
        await sql_connection.run_sync(migrate, name)
    await engine.dispose()
