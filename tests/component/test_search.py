"""Search: the six resources of QIDO-RS on a real index; what is answered, in which order, and to whom."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta

import pytest
import pytest_asyncio
from pydicom.uid import MRImageStorage
from tests.database import TestServer
from tests.factories import ROOT, ct_series, image, mr_series, part10
from tests.searching import EVERYTHING, ROOT_URL, found, key, objects, path
from tests.stored import pack_of, segment_of

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.matching_keys import DateTimeRange, Range, UidList, Universal, WildCard
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.errors import InvalidMatchError, QueryTooExpensiveError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.writing.register import Register

STUDIES = SearchQuery(Level.STUDY)
SERIES = SearchQuery(Level.SERIES)
INSTANCES = SearchQuery(Level.INSTANCE)
ALL_SERIES = replace(SERIES, relational=True)
ALL_INSTANCES = replace(INSTANCES, relational=True)
FOREIGN = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Müller^Jörg=山田^太郎"}


async def _fill(server: TestServer) -> str:
    """Make a database with three studies: 1 with a CT and an MR series, 2 with a CT, 3 the newest with an MR."""
    name = await server.create_database()
    async with await Database.open(server.url_of(name)) as database:
        register = Register(database)
        for series in (
            ct_series(3),
            mr_series(2, study=1, series=2, SeriesDescription="T1 sag"),
            ct_series(1, study=2, StudyDate="20240130", KVP="100", **FOREIGN),
            mr_series(40, study=3, StudyDate="20240201", StudyTime="083000", SeriesNumber=None),
        ):
            await register.register([pack_of(segment_of(series))], actor="tester")
    return name


@pytest.fixture(scope="module")
def filled(database_server: TestServer) -> str:
    return asyncio.run(_fill(database_server))


@pytest_asyncio.fixture
async def database_url(database_server: TestServer, filled: str) -> AsyncIterator[str]:
    """URL of a fresh copy of the database with three studies."""
    name = await database_server.create_database(template=filled)
    yield database_server.url_of(name)
    await database_server.drop_database(name)


@pytest.fixture
def index(database: Database) -> SearchIndex:
    return SearchIndex(database)


async def only(index: SearchIndex, query: SearchQuery) -> dict[str, object]:
    """Return the one object of an answer."""
    (row,) = await objects(await index.search(query, EVERYTHING, service_root=ROOT_URL))
    return row


def study(number: int) -> str:
    return f"{ROOT}.{number}"


# --- the six resources and their attributes --------------------------------------------------------------------


async def test_studies_come_newest_first_with_the_attributes_of_the_table(index: SearchIndex):
    page = await index.search(STUDIES, EVERYTHING, service_root=ROOT_URL)
    rows = await objects(page)
    assert [row["0020000D"]["Value"][0] for row in rows] == [study(3), study(1), study(2)]
    assert rows[1] == {
        "00080020": {"vr": "DA", "Value": ["20240131"]},
        "00080030": {"vr": "TM", "Value": ["101500"]},
        "00080050": {"vr": "SH", "Value": ["A00001"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
        "00080090": {"vr": "PN", "Value": [{"Alphabetic": "Refer^Ring"}]},
        "00081190": {"vr": "UR", "Value": [f"{ROOT_URL}/studies/{study(1)}"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00100020": {"vr": "LO", "Value": ["P00001"]},
        "00100030": {"vr": "DA", "Value": ["19700102"]},
        "00100040": {"vr": "CS", "Value": ["F"]},
        "0020000D": {"vr": "UI", "Value": [study(1)]},
        "00200010": {"vr": "SH", "Value": ["1"]},
        "00201206": {"vr": "IS", "Value": [2]},
        "00201208": {"vr": "IS", "Value": [5]},
    }
    assert all(list(row) == sorted(row) for row in rows)


async def test_series_of_a_study_have_the_unique_key_of_the_study_and_no_other_of_its_attributes(index: SearchIndex):
    query = replace(SERIES, study_instance_uid=study(1))
    rows = await objects(await index.search(query, EVERYTHING, service_root=ROOT_URL))
    assert [row["00200011"]["Value"] for row in rows] == [[1], [2]]
    assert rows[1] == {
        "00080060": {"vr": "CS", "Value": ["MR"]},
        "0008103E": {"vr": "LO", "Value": ["T1 sag"]},
        "00081190": {"vr": "UR", "Value": [f"{ROOT_URL}/studies/{study(1)}/series/{ROOT}.1.2"]},
        "0020000D": {"vr": "UI", "Value": [study(1)]},
        "0020000E": {"vr": "UI", "Value": [f"{ROOT}.1.2"]},
        "00200011": {"vr": "IS", "Value": [2]},
        "00201209": {"vr": "IS", "Value": [2]},
    }


async def test_all_series_have_the_attributes_of_their_studies_too(index: SearchIndex):
    row = await only(index, replace(ALL_SERIES, keys=(key("SeriesInstanceUID", UidList((f"{ROOT}.1.2",))),)))
    assert row["00100020"]["Value"] == ["P00001"]
    assert row["00080061"]["Value"] == ["CT", "MR"]
    assert row["00201208"]["Value"] == [5]
    assert row["00201209"]["Value"] == [2]
    assert row["00081190"]["Value"] == [f"{ROOT_URL}/studies/{study(1)}/series/{ROOT}.1.2"]


async def test_instances_of_a_series_have_the_attributes_of_the_table(index: SearchIndex):
    query = replace(INSTANCES, study_instance_uid=study(1), series_instance_uid=f"{ROOT}.1.1")
    rows = await objects(await index.search(query, EVERYTHING, service_root=ROOT_URL))
    assert len(rows) == 3
    series_url = f"{ROOT_URL}/studies/{study(1)}/series/{ROOT}.1.1"
    assert rows[2] == {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00080018": {"vr": "UI", "Value": [f"{ROOT}.1.1.3"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00081190": {"vr": "UR", "Value": [f"{series_url}/instances/{ROOT}.1.1.3"]},
        "0020000D": {"vr": "UI", "Value": [study(1)]},
        "0020000E": {"vr": "UI", "Value": [f"{ROOT}.1.1"]},
        "00200013": {"vr": "IS", "Value": [3]},
        "00280010": {"vr": "US", "Value": [16]},
        "00280011": {"vr": "US", "Value": [16]},
        "00280100": {"vr": "US", "Value": [16]},
    }
    assert list(rows[2]) == sorted(rows[2])


async def test_instances_of_a_study_add_series_attributes_and_all_instances_study_attributes(index: SearchIndex):
    one = (key("SOPInstanceUID", f"{ROOT}.1.2.2"),)
    of_study = await only(index, replace(ALL_INSTANCES, study_instance_uid=study(1), keys=one))
    of_all = await only(index, replace(ALL_INSTANCES, keys=one))
    assert of_study["0008103E"]["Value"] == of_all["0008103E"]["Value"] == ["T1 sag"]
    assert of_study["00201209"]["Value"] == [2]
    assert "00100020" not in of_study
    assert of_all["00100020"]["Value"] == ["P00001"]
    assert of_all["00201208"]["Value"] == [5]


async def test_what_is_required_but_unknown_is_present_and_empty(index: SearchIndex):
    row = await only(index, replace(SERIES, study_instance_uid=study(3)))
    assert row["00200011"] == {"vr": "IS"}


async def test_a_required_attribute_that_some_instances_lack_is_empty_there(database: Database):
    files = [part10(image(study=9, instance=1)), part10(image(study=9, instance=2, InstanceNumber=None))]
    await Register(database).register([pack_of(segment_of(files))], actor="tester")
    query = replace(INSTANCES, study_instance_uid=study(9))
    rows = await objects(await SearchIndex(database).search(query, EVERYTHING, service_root=ROOT_URL))
    assert [row["00200013"] for row in rows] == [{"vr": "IS", "Value": [1]}, {"vr": "IS"}]


# --- includefield and matched attributes -----------------------------------------------------------------------


async def test_matched_and_included_attributes_are_answered_down_to_the_level(index: SearchIndex):
    query = replace(
        STUDIES,
        keys=(key("StudyDescription", "HEAD^ROUTINE"), key("KVP", "100")),
        include=(path("ProcedureCodeSequence.CodeValue"), path("SOPClassesInStudy"), path("Manufacturer")),
    )
    row = await only(index, query)
    assert row["00081030"]["Value"] == ["HEAD^ROUTINE"]
    assert row["00081032"]["Value"][0]["00080100"]["Value"] == ["24725-4"]
    assert row["00080062"] == {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}
    assert "00180060" not in row
    assert "00080070" not in row


async def test_a_universal_key_returns_its_attribute_without_narrowing(index: SearchIndex):
    query = replace(STUDIES, keys=(key("StudyDescription", Universal()),))
    rows = await objects(await index.search(query, EVERYTHING, service_root=ROOT_URL))
    assert len(rows) == 3
    assert all("00081030" in row for row in rows)


async def test_everything_of_a_study_is_what_is_known_at_its_level(index: SearchIndex):
    row = await only(index, replace(STUDIES, keys=(key("KVP", "100"),), include_all=True))
    assert {"00081030", "00081032", "00080062", "00201206", "00100010"} <= row.keys()
    assert not {"00080060", "00180060", "00280010"} & row.keys()


async def test_everything_of_an_instance_has_urls_for_bulk_values_and_exact_numbers(database: Database):
    dataset = image(study=9, PatientWeight="70.50", RescaleSlope="1.0E-3")
    await Register(database).register([pack_of(segment_of([part10(dataset)]))], actor="tester")
    query = replace(INSTANCES, study_instance_uid=study(9), include_all=True)
    page = await SearchIndex(database).search(query, EVERYTHING, service_root=ROOT_URL)
    (text,) = [row async for row in page.rows]
    url = f"{ROOT_URL}/studies/{ROOT}.9/series/{ROOT}.9.1/instances/{ROOT}.9.1.1/bulkdata/"
    assert b'"00101030":{"vr":"DS","Value":[70.50]}' in text
    assert b"\x1a" not in text
    if b"BulkDataURI" in text:
        assert f'"BulkDataURI":"{url}'.encode() in text


async def test_private_attributes_are_answered_with_their_creator(index: SearchIndex):
    private = AttributePath((PathStep(0x00190002, "PHANTOM_01"),), "UN")
    query = replace(INSTANCES, study_instance_uid=study(2), include=(private,))
    row = await only(index, query)
    assert row["00190010"]["Value"] == ["PHANTOM_01"]
    assert row["00191002"]["Value"] == [709]
    assert "00191023" not in row


# --- matching --------------------------------------------------------------------------------------------------

KEYS = {
    "study UID list": ((key("StudyInstanceUID", UidList((study(2), study(3), "1.2"))),), [3, 2]),
    "name without case and accents": ((key("PatientName", "MULLER^JORG"),), [2]),
    "name in another script": ((key("PatientName", "山田^太郎"),), [2]),
    "name prefix": ((key("PatientName", WildCard("doe*")),), [3, 1]),
    "name substring of a later group": ((key("PatientName", WildCard("*太*")),), [2]),
    "wild cards do not reach from one group into the next": ((key("PatientName", WildCard("muller*郎")),), []),
    "date": ((key("StudyDate", "2024.01.31"),), [1]),
    "date range": ((key("StudyDate", Range(date(2024, 1, 31).toordinal() * 86400.0, None)),), [3, 1]),
    "accession number": ((key("AccessionNumber", "A00002"),), [2]),
    "case of other texts counts": ((key("AccessionNumber", "a00002"),), []),
    "case of a pattern counts": ((key("AccessionNumber", WildCard("a0*")),), []),
    "a plus sign and a percent sign are themselves": ((key("StudyDescription", WildCard("HEAD+%*")),), []),
    "modalities in study": ((key("ModalitiesInStudy", "MR"),), [3, 1]),
    "modalities in study by pattern": ((key("ModalitiesInStudy", WildCard("C?")),), [1, 2]),
    "SOP classes in study by a list": ((key("SOPClassesInStudy", UidList((str(MRImageStorage), "1.2"))),), [3, 1]),
    "number by meaning": ((key("KVP", "1.0e2"),), [2]),
    "nested attribute": ((key("ProcedureCodeSequence.CodeValue", "24725-4"), key("KVP", "100")), [2]),
    "series and instance keys of one series": ((key("Modality", "MR"), key("SeriesDescription", "T1 sag")), [1]),
    "keys that no instance holds together": ((key("Modality", "CT"), key("SeriesDescription", "T1 sag")), []),
    "a value in a zone": ((key("InstanceNumber", "39"),), [3]),
    "a value that is nowhere": ((key("Manufacturer", "nobody"),), []),
    "an attribute that is nowhere": ((key("PatientComments", "x"),), []),
    "study by SOP Instance UID": ((key("SOPInstanceUID", f"{ROOT}.1.2.2"), key("Modality", "MR")), [1]),
    "number of instances": ((key("NumberOfStudyRelatedInstances", "40"),), [3]),
}


@pytest.mark.parametrize(("keys", "expected"), KEYS.values(), ids=KEYS.keys())
async def test_studies_are_found_by(index: SearchIndex, keys: tuple[object, ...], expected: list[int]):
    assert await found(index, replace(STUDIES, keys=keys)) == [study(number) for number in expected]


async def test_combined_date_and_time_are_one_interval(index: SearchIndex):
    day = date(2024, 1, 31).toordinal() * 86400.0
    window = DateTimeRange(path("StudyDate"), path("StudyTime"), day + 36_000, day + 86_400 + 8 * 3600 + 1799)
    assert await found(index, replace(STUDIES, combined=(window,))) == [study(1)]
    later = replace(window, high=window.high + 1)
    assert await found(index, replace(STUDIES, combined=(later,))) == [study(3), study(1)]


async def test_an_instance_key_leaves_the_instances_that_hold_it(index: SearchIndex):
    query = replace(ALL_INSTANCES, keys=(key("InstanceNumber", "2"),))
    assert set(await found(index, query)) == {f"{ROOT}.1.1.2", f"{ROOT}.1.2.2", f"{ROOT}.3.1.2"}


async def test_a_private_key_of_unknown_vr_is_matched_as_it_was_stored(index: SearchIndex):
    private = AttributePath((PathStep(0x00190002, "PHANTOM_01"),), "UN")
    query = replace(ALL_INSTANCES, keys=(replace(key("KVP", " 0748"), path=private),))
    assert await found(index, query) == [f"{ROOT}.3.1.40"]


async def test_a_wild_card_for_a_date_is_refused_by_name(index: SearchIndex):
    with pytest.raises(InvalidMatchError, match="StudyDate"):
        await index.search(
            replace(STUDIES, keys=(key("StudyDate", WildCard("2024*")),)), EVERYTHING, service_root=ROOT_URL
        )


# --- pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("keys", [(), (key("Manufacturer", "Phantom Works"),)], ids=["no key", "a common key"])
async def test_pages_join_to_the_whole_and_say_how_much_remains(
    index: SearchIndex, level: Level, keys: tuple[object, ...]
):
    query = SearchQuery(level, keys=keys, relational=level is not Level.STUDY)
    whole = await found(index, query)
    assert len(whole) == {Level.STUDY: 3, Level.SERIES: 4, Level.INSTANCE: 46}[level]
    step = 7 if level is Level.INSTANCE else 1
    joined = []
    for offset in range(0, len(whole) + step, step):
        part = replace(query, limit=step, offset=offset)
        page = await index.search(part, EVERYTHING, service_root=ROOT_URL)
        assert (page.remaining, page.capped) == (max(0, len(whole) - offset - step), False)
        joined += await found(index, part)
    assert joined == whole


async def test_a_limit_of_zero_is_an_empty_page_that_counts(index: SearchIndex):
    for query, total in ((STUDIES, 3), (ALL_SERIES, 4), (ALL_INSTANCES, 46)):
        page = await index.search(replace(query, limit=0, offset=1), EVERYTHING, service_root=ROOT_URL)
        assert await objects(page) == []
        assert page.remaining == total - 1


async def test_a_page_too_large_to_be_held_is_read_in_batches_of_the_same_rows(index: SearchIndex):
    for query in (STUDIES, ALL_SERIES):
        small = await index.search(query, EVERYTHING, service_root=ROOT_URL)
        large = await index.search(replace(query, limit=5000), EVERYTHING, service_root=ROOT_URL)
        assert [row async for row in large.rows] == [row async for row in small.rows]


async def test_documents_come_from_memory_the_second_time_and_out_of_a_small_cache_as_well(
    index: SearchIndex, database: Database
):
    first = await found(index, ALL_INSTANCES)
    assert await found(index, ALL_INSTANCES) == first
    assert await found(SearchIndex(database, cache_bytes=10), ALL_INSTANCES) == first


# --- visibility ------------------------------------------------------------------------------------------------

HIDDEN = {
    "another space": ("update study set space_id = 2 where study_instance_uid = $1", Visibility()),
    "a collection that one may not see": (
        "update study set collection_id = 2 where study_instance_uid = $1",
        Visibility(collections=(1,)),
    ),
    "none of several collections": (
        "update study set collection_id = 2 where study_instance_uid = $1",
        Visibility(collections=(1, 3)),
    ),
    "an embargo": (
        "update study set embargo_until = current_date + 1 where study_instance_uid = $1",
        Visibility(),
    ),
}


@pytest.mark.parametrize(("statement", "visibility"), HIDDEN.values(), ids=HIDDEN.keys())
async def test_what_may_not_be_seen_is_hidden_at_every_level_and_not_counted(
    index: SearchIndex, database: Database, statement: str, visibility: Visibility
):
    async with database.transaction() as connection:
        await connection.execute("insert into space (id, name) values (2, 'other')")
        await connection.execute("insert into collection (id, accession, title) values (2, 'two', 'Two')")
        await connection.execute(statement, study(3))
    for query, total in ((STUDIES, 2), (ALL_SERIES, 3), (ALL_INSTANCES, 6)):
        for keys in ((), (key("Manufacturer", "Phantom Works"),), (key("SOPInstanceUID", f"{ROOT}.3.1.1"),)):
            asked = replace(query, keys=keys)
            expected = 0 if keys and keys[0].path.tag == 0x00080018 else total
            assert len(await found(index, asked, visibility)) == expected
            page = await index.search(replace(asked, limit=0), visibility, service_root=ROOT_URL)
            assert page.remaining == expected
    assert await found(index, replace(SERIES, study_instance_uid=study(3)), visibility) == []


async def test_who_may_see_embargoed_studies_does_and_an_embargo_ends(index: SearchIndex, database: Database):
    async with database.transaction() as connection:
        await connection.execute("update study set embargo_until = current_date + 1")
    assert await found(index, STUDIES) == []
    assert len(await found(index, STUDIES, Visibility(see_embargoed=True))) == 3
    async with database.transaction() as connection:
        await connection.execute("update study set embargo_until = $1", date.today() - timedelta(days=1))  # noqa: DTZ011
    assert len(await found(index, STUDIES)) == 3


async def test_a_search_beyond_its_time_limit_is_too_expensive(database_url: str, index: SearchIndex):
    async with await Database.open(database_url, search_timeout_seconds=0.001) as hurried:
        async with hurried.transaction() as connection:
            await connection.execute("lock table study in access exclusive mode")
            with pytest.raises(QueryTooExpensiveError):
                await SearchIndex(hurried).search(STUDIES, EVERYTHING, service_root=ROOT_URL)
