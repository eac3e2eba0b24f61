"""Overview, details of a study and figures, on a real database."""

import asyncio
import time
from datetime import date

import pytest
from pydicom import Dataset, Sequence
from tests.factories import ROOT, ct_series
from tests.stored import pack_of, segment_of

from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.figures import FiguresIndex
from dicomweb_archive.index.reading import overview as statements
from dicomweb_archive.index.reading import study_details
from dicomweb_archive.index.reading.overview import OverviewIndex
from dicomweb_archive.index.reading.study_details import StudyDetailsIndex
from dicomweb_archive.index.segments.document import Document, decode_document
from dicomweb_archive.index.writing.register import Register

ALL = Visibility()
MANAGER = Visibility(see_embargoed=True)


async def store(database: Database, *series: list[bytes]) -> None:
    await Register(database).register([pack_of(*(segment_of(files) for files in series))], actor="test")


async def embargo(database: Database, study: int, days: int) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "update study set embargo_until = current_date + $2::int where study_instance_uid = $1",
            f"{ROOT}.{study}",
            days,
        )


async def test_an_empty_archive_sums_up_to_nothing(database: Database) -> None:
    found = await OverviewIndex(database).summarise(ALL)
    assert (found.patients, found.studies, found.series, found.instances, found.size_bytes) == (0, 0, 0, 0, 0)
    assert found.modalities == []
    assert found.first_date is found.last_date is None


async def test_what_is_stored_is_summed_up_by_study_and_patient(database: Database) -> None:
    await store(
        database,
        ct_series(3, study=1),
        ct_series(1, study=1, series=2, Modality="SR"),
        ct_series(2, study=2, PatientID="P00001", StudyDate="20250210"),
        ct_series(1, study=3, PatientID="", StudyDate="", Modality="MR"),
    )
    found = await OverviewIndex(database).summarise(ALL)
    assert (found.patients, found.studies, found.series, found.instances) == (1, 3, 4, 7)
    assert found.modalities == [("CT", 2), ("MR", 1), ("SR", 1)]
    assert (found.first_date, found.last_date) == (date(2024, 1, 31), date(2025, 2, 10))
    sizes = await OverviewIndex(database).sizes(ALL, [f"{ROOT}.{number}" for number in (1, 2, 3, 4)])
    assert set(sizes) == {f"{ROOT}.{number}" for number in (1, 2, 3)}
    assert sum(sizes.values()) == found.size_bytes > 0


async def test_studies_under_embargo_count_for_who_may_see_them(database: Database) -> None:
    await store(database, ct_series(1, study=1), ct_series(1, study=2), ct_series(1, study=3))
    await embargo(database, 2, 7)
    await embargo(database, 3, -7)
    index, details = OverviewIndex(database), StudyDetailsIndex(database)
    hidden = f"{ROOT}.2"
    assert ((await index.summarise(ALL)).studies, (await index.summarise(MANAGER)).studies) == (2, 3)
    assert {study.study_instance_uid for study in await index.latest(ALL, 9)} == {f"{ROOT}.1", f"{ROOT}.3"}
    assert set(await index.sizes(ALL, [hidden])) == set()
    for read in (details.study(ALL, hidden), details.attributes(ALL, hidden, f"{hidden}.1")):
        with pytest.raises(NotFoundError):
            await read
    assert (await details.study(MANAGER, hidden)).instance_count == 1


async def test_the_latest_studies_come_in_the_order_of_storing(database: Database) -> None:
    for number in (2, 3, 1):
        await store(database, ct_series(1, study=number))
    latest = await OverviewIndex(database).latest(ALL, 2)
    assert [study.study_instance_uid for study in latest] == [f"{ROOT}.1", f"{ROOT}.3"]
    assert latest[0].attributes["00100020"]["Value"] == ["P00001"]
    assert list(latest[0].modalities) == ["CT"]


async def test_a_study_is_described_with_its_series_in_order(database: Database) -> None:
    await store(database, ct_series(1, series=3), ct_series(2, series=2), ct_series(1, series=4, SeriesNumber=None))
    study = await StudyDetailsIndex(database).study(ALL, f"{ROOT}.1")
    assert (study.series_count, study.instance_count) == (3, 4)
    assert [series.series_number for series in study.series] == [2, 3, None]
    assert study.series[0].instance_count == 2
    assert study.series[0].attributes["0008103E"]["Value"] == ["Axial 5 mm"]
    assert study.attributes["00081030"]["Value"] == ["HEAD^ROUTINE"]


async def test_attributes_of_a_series_are_put_together_from_its_segments(database: Database) -> None:
    await store(database, ct_series(2))
    await store(database, ct_series(4, KVP="100")[2:])
    found = await StudyDetailsIndex(database).attributes(ALL, f"{ROOT}.1", f"{ROOT}.1.1")
    by_tag = {attribute.tag: attribute for attribute in found.attributes}
    assert list(by_tag) == sorted(by_tag)
    assert found.instances == by_tag["00180060"].instances == 4
    assert [element["Value"] for element in by_tag["00180060"].elements] == [[120], [100]]
    assert [element["Value"] for element in by_tag["00200013"].elements] == [[1], [2], [3], [4]]
    assert by_tag["7FE00010"].elements[0]["vr"] == "OW"


async def test_many_values_and_segments_are_read_up_to_their_bounds(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_details, "MOST_VALUES", 2)
    monkeypatch.setattr(study_details, "MOST_SEGMENTS", 1)
    await store(database, ct_series(3))
    await store(database, ct_series(5)[3:])
    found = await StudyDetailsIndex(database).attributes(ALL, f"{ROOT}.1", f"{ROOT}.1.1")
    numbers = next(attribute for attribute in found.attributes if attribute.tag == "00200013")
    assert (len(numbers.elements), numbers.instances, found.instances) == (2, 3, 3)


async def test_of_large_attributes_no_more_is_read_than_is_shown(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_details, "MOST_BYTES", 1000)
    for number in range(3):
        item = Dataset()
        item.RequestedProcedureID = str(number)
        await store(database, ct_series(number + 1, RequestAttributesSequence=Sequence([item]))[number:])
    index = StudyDetailsIndex(database)
    found = await index.attributes(ALL, f"{ROOT}.1", f"{ROOT}.1.1")
    assert found.instances == 1, "further segments are left out once so much was read"
    monkeypatch.undo()
    whole = await index.attributes(ALL, f"{ROOT}.1", f"{ROOT}.1.1")
    sequence = next(attribute for attribute in whole.attributes if attribute.tag == "00400275")
    assert (len(sequence.elements), sequence.different, sequence.instances) == (1, 3, 3)


async def test_attributes_are_put_together_for_one_page_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(database, ct_series(1))
    at_once, most = 0, 0

    def decode(document: bytes) -> Document:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.02)
        at_once -= 1
        return decode_document(document)

    monkeypatch.setattr(study_details, "decode_document", decode)
    index = StudyDetailsIndex(database)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(index.attributes(ALL, f"{ROOT}.1", f"{ROOT}.1.1"))
    assert most == 1


@pytest.mark.parametrize("statement", [statements.SUM_STUDIES, statements.COUNT_PATIENTS])
async def test_summing_up_reads_the_rows_of_studies_alone(database: Database, statement: str) -> None:
    async with database.search_connection() as connection:
        plan = "\n".join(row[0] for row in await connection.fetch(f"explain {statement}", *ALL.parameters()))
    assert "on study" in plan
    assert not any(f"on {table}" in plan for table in ("segment", "instance", "series", "term"))


async def test_figures_measure_the_database(database: Database) -> None:
    index = FiguresIndex(database)
    await store(database, ct_series(3), ct_series(1, study=2))
    server, packs, events = await index.server(), await index.packs(), await index.events(5)
    assert int(server.version.split(".")[0]) >= 15
    assert {"study", "segment", "term", "path", "pack"} <= {table.name for table in server.tables}
    assert 0 < sum(table.table_bytes + table.index_bytes for table in server.tables) <= server.size_bytes
    assert server.rows("no such table") == 0
    assert packs.packs == 1
    assert packs.size_bytes > 0
    assert [event.detail["instances"] for event in events] == [1, 3]
    assert events[0].actor == "test"
