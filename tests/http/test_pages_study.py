"""The page of one study, and the one for operators."""

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.factories import ROOT as UID_ROOT
from tests.factories import ct_series, identified, part10
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.http.html import Node, barriers, parse
from tests.http.test_pages_home import BROWSER, get

from dicomweb_archive.index.reading.study_details import MOST_SEGMENTS

STUDY = f"{UID_ROOT}.1"
KEY = "a-key-for-tests-only"


def rows(page: Node) -> dict[str, str]:
    """Return the table of attributes: keyword -> value."""
    lines = page.one("table", class_="attributes").one("tbody").find("tr")
    return {line.one("th").text: line.one("td", class_="value").text for line in lines}


async def test_a_study_shows_its_facts_its_series_and_how_to_get_it(archive: Archive) -> None:
    report = identified(series=2, instance=9, sop_class="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    await archive.store(*ct_series(3), part10(report))
    page = await get(archive, f"/studies/{STUDY}")
    assert barriers(page) == []
    assert page.one("h1").text == "Doe, Jane"
    facts = page.one(id="facts").text
    for shown in ("31 Jan 2024, 10:15", "HEAD^ROUTINE", "A00001", "2 series, 4 instances", STUDY):
        assert shown in facts
    image, document = page.one(id="series").find("li", class_="panel")
    assert "Series 1: Axial 5 mm" in image.text
    thumbnail = image.one("img")
    assert thumbnail.attributes["src"] == f"/dicom-web/studies/{STUDY}/series/{STUDY}.1/thumbnail"
    assert thumbnail.attributes["loading"] == "lazy"
    assert document.find("img") == []
    ways = page.one(id="download").text
    root = "http://archive.example/dicom-web"
    assert f"dicomweb-archive download StudyInstanceUID={STUDY}" in ways
    assert f'DICOMwebClient("{root}")' in ways
    assert f"{root}/studies/{STUDY}/metadata" in ways


async def test_every_attribute_is_listed_once_with_its_different_values(archive: Archive) -> None:
    await archive.store(*ct_series(6), *ct_series(1, series=2, ImageType=["DERIVED"]))
    page = await get(archive, f"/studies/{STUDY}")
    found = rows(page)
    assert found["SliceThickness"] == "5.0"
    assert found["CodeMeaning"] == "CT Head"
    assert found["InstanceNumber"] == "1 · 2 · 3 · 4 … 6 different values"
    assert found["PixelData"] == "(kept in the file)"
    assert found["Private creator"] == "PHANTOM_01"
    second = await get(archive, f"/studies/{STUDY}", series=f"{STUDY}.2")
    assert rows(second)["ImageType"] == "DERIVED"


SOUGHT = {
    "slicethick": "SliceThickness",
    "(0018,0050)": "SliceThickness",
    "00180050": "SliceThickness",
    "phantom works": "Manufacturer",
    "sq": "ProcedureCodeSequence",
    "24725-4": "CodeValue",
}


async def test_attributes_are_found_by_keyword_tag_vr_and_value(archive: Archive) -> None:
    await archive.store(*ct_series(2))
    for find, name in SOUGHT.items():
        page = await get(archive, f"/studies/{STUDY}", find=find)
        assert list(rows(page)) == [name]
        assert page.one(id="attributes-status").text == "1 attribute"


async def test_a_series_that_came_in_many_pieces_says_how_much_of_it_was_read(archive: Archive) -> None:
    for data in ct_series(MOST_SEGMENTS + 1):
        await archive.store(data)
    page = await get(archive, f"/studies/{STUDY}")
    assert f"first {MOST_SEGMENTS} of {MOST_SEGMENTS + 1} instances" in page.one(id="attributes-result").text


async def test_an_attribute_that_is_not_there_is_said_so_without_running_it(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    page = await get(archive, f"/studies/{STUDY}", find="<b>nothing")
    assert barriers(page) == []
    assert "No attribute holds “<b>nothing”" in page.one(id="attributes-result").text


async def test_deep_and_hostile_values_stay_text(archive: Archive) -> None:
    inner = Dataset()
    inner.CodeMeaning = "</td><script>alert(1)</script>"
    outer = Dataset()
    outer.ContentSequence = Sequence([inner, inner])
    await archive.store(*ct_series(1, ContentSequence=Sequence([outer]), SeriesDescription="<i>x</i>"))
    page = await get(archive, f"/studies/{STUDY}")
    assert barriers(page) == []
    assert rows(page)["CodeMeaning"] == "</td><script>alert(1)</script>"
    assert "Series 1: <i>x</i>" in page.one(id="series").text


async def test_unknown_deleted_and_impossible_studies_have_pages_of_their_own(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    paths = {f"/studies/{STUDY}.7": 404, "/studies/a.b": 400, f"/studies/{STUDY}?series=1.2": 404}
    paths |= {f"/studies/{STUDY}?{query}": 400 for query in ("serie=1", "find=a&find=b", "series=1.2&series=1.3")}
    for path, status in paths.items():
        answer = await archive.client.get(path, headers=BROWSER)
        assert answer.status_code == status, path
        assert barriers(parse(answer.text)) == []
    await archive.client.delete(f"/dicom-web/studies/{STUDY}")
    gone = await archive.client.get(f"/studies/{STUDY}", headers=BROWSER)
    assert gone.status_code == 410
    assert "deleted" in parse(gone.text).one("h1").text


async def test_operators_see_how_the_archive_is(archive: Archive) -> None:
    await archive.store(*ct_series(2))
    page = await get(archive, "/status")
    assert barriers(page) == []
    text = page.one(id="pages-status").text
    for shown in ("Database answers", "Object store answers", "PostgreSQL", "Instances stored 2", "segment_data"):
        assert shown in text
    assert "No key is asked for" in page.one(id="advice").text
    assert "Doe" not in text


async def test_advice_stands_beside_what_is_wrong(start_archive: StartArchive) -> None:
    async with start_archive(free_space_watermark_bytes=2**60) as archive:
        page = await get(archive, "/status")
        assert "No room is left to store" in page.one(id="advice").text
        await archive.app.state.services.health.database.close()
        answer = await archive.client.get("/status", headers=BROWSER)
        assert answer.status_code == 503
        page = parse(answer.text)
        assert barriers(page) == []
        assert "The database does not answer" in page.one(id="advice").text
        home = await archive.client.get("/", headers=BROWSER)
        assert home.status_code == 503
        assert barriers(parse(home.text)) == []


async def test_a_page_of_a_problem_has_the_headers_of_the_problem(start_archive: StartArchive) -> None:
    async with start_archive(api_key=KEY) as archive:
        wrong = await archive.client.get("/status", headers={**BROWSER, "authorization": "Bearer wrong"})
        assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, 'Bearer realm="dicomweb-archive"')
        assert wrong.headers["cache-control"] == "no-store"
        await archive.app.state.services.health.database.close()
        away = await archive.client.get("/", headers=BROWSER)
        assert (away.status_code, away.headers["retry-after"]) == (503, "5")


async def test_only_who_manages_the_archive_sees_its_status(start_archive: StartArchive) -> None:
    async with start_archive(api_key=KEY) as archive:
        assert (await archive.client.get("/status", headers=BROWSER)).status_code == 303
        signed_in = {**BROWSER, "authorization": f"Bearer {KEY}"}
        assert (await archive.client.get("/status", headers=signed_in)).status_code == 200
