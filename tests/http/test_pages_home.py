"""The home page: what it says, finds and hides, complete without a script."""

import logging
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.factories import ROOT as UID_ROOT
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.http.html import Node, barriers, parse

from dicomweb_archive.index.database.engine import connect
from dicomweb_archive.index.search.planning import shape as search_shape

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def get(archive: Archive, path: str = "/", **params: object) -> Node:
    answer = await archive.client.get(path, params=params or None, headers=BROWSER)
    assert answer.status_code == 200, answer.text
    return parse(answer.text)


def uids(page: Node) -> list[str]:
    tables = page.find("table", id="studies")
    rows = tables[0].find("tr") if tables else []
    return [row.attributes["data-study-uid"] for row in rows if "data-study-uid" in row.attributes]


def figure(page: Node, name: str) -> str:
    return page.one(id="summary").one(data_figure=name).text


async def fill(archive: Archive, studies: int, **overrides: object) -> None:
    files = [data for number in range(1, studies + 1) for data in ct_series(1, study=number, **overrides)]
    assert (await archive.store(*files)).status_code == 200


ACCEPTS = {
    BROWSER["accept"]: True,
    "text/html": True,
    "text/*": True,
    "application/json;q=0.5, text/html;q=0.4": False,
    "application/json": False,
    "*/*": False,
    "": False,
}


async def test_browsers_get_the_page_and_programs_the_pointer(archive: Archive) -> None:
    for accept, is_page in ACCEPTS.items():
        for method in ("GET", "HEAD"):
            answer = await archive.client.request(method, "/", headers={"accept": accept})
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/html" if is_page else "application/json"), accept
            assert "Accept" in answer.headers["vary"]


async def test_an_empty_archive_shows_the_first_steps(archive: Archive) -> None:
    page = await get(archive)
    assert barriers(page) == []
    assert figure(page, "studies") == "0"
    text = page.one("main").text
    assert "dicomweb-archive demo --to http://archive.example/dicom-web" in text
    assert "dicomweb-archive store" in text
    assert page.find("table") == []


async def test_the_page_sums_up_the_archive_and_lists_its_studies(archive: Archive) -> None:
    await archive.store(*ct_series(3), *ct_series(2, study=2, Modality="MR", StudyDate="20250210"))
    page = await get(archive)
    assert barriers(page) == []
    assert {name: figure(page, name) for name in ("patients", "studies", "series", "instances")} == {
        "patients": "2",
        "studies": "2",
        "series": "2",
        "instances": "5",
    }
    assert "31 Jan 2024 to 10 Feb 2025" in page.one("main").text
    assert uids(page) == [f"{UID_ROOT}.2", f"{UID_ROOT}.1"]
    row = page.one("tr", data_study_uid=f"{UID_ROOT}.1").text
    for shown in (
        "Doe, Jane",
        "P00001",
        "31 Jan 2024",
        "10:15",
        "CT",
        "HEAD^ROUTINE",
        "A00001",
        "1 series",
        "3 instances",
    ):
        assert shown in row
    assert [link.attributes["href"] for link in page.one(id="modalities").find("a")] == [
        "/?modality=CT",
        "/?modality=MR",
    ]
    assert len(page.one(id="latest").find("li")) == 2


async def test_hostile_values_stay_text(archive: Archive) -> None:
    hostile = "<script>alert('x')</script>"
    await archive.store(*ct_series(1, PatientName=f'{hostile}^"Eve"', StudyDescription=f"'\"><img src=x>{hostile}"))
    answer = await archive.client.get(
        "/", params={"patient": hostile, "tag": hostile, "value": hostile}, headers=BROWSER
    )
    page = parse(answer.text)
    assert barriers(page) == []
    assert [script.attributes["type"] for script in page.find("script")] == ["module"]
    assert page.one("input", name="patient").attributes["value"] == hostile
    listed = parse((await archive.client.get("/", headers=BROWSER)).text)
    assert f'{hostile}, "Eve"' in listed.one("table").text
    assert all(img.attributes["src"].startswith("/dicom-web/") for img in listed.find("img"))


PATIENT_TEXTS = {
    "doe": True,
    "jane doe": True,
    "Doe, Jane": True,
    "DOE^JA*": True,
    "P00001": True,
    "p0": False,
    "*0001": True,
    "smith": False,
    "jane smith": False,
    "00001": False,
}


async def test_one_field_takes_a_name_in_either_order_or_the_beginning_of_an_id(archive: Archive) -> None:
    await fill(archive, 1)
    for text, is_found in PATIENT_TEXTS.items():
        page = await get(archive, patient=text)
        assert uids(page) == ([f"{UID_ROOT}.1"] if is_found else []), text
        assert ("No study matches" in page.one(id="results-status").text) is not is_found


async def test_dates_modality_and_attributes_narrow_the_search_together(archive: Archive) -> None:
    await archive.store(
        *ct_series(1, study=1, StudyDate="20240131"),
        *ct_series(1, study=2, StudyDate="20240201", Modality="MR"),
        *ct_series(1, study=3, StudyDate="20240202", SliceThickness="1.25"),
    )
    assert uids(await get(archive, **{"from": "2024-02-01"})) == [f"{UID_ROOT}.3", f"{UID_ROOT}.2"]
    assert uids(await get(archive, to="20240131")) == [f"{UID_ROOT}.1"]
    assert uids(await get(archive, modality="mr")) == [f"{UID_ROOT}.2"]
    for tag in ("SliceThickness", "slicethickness", "00180050", "(0018,0050)"):
        assert uids(await get(archive, tag=tag, value="1.25")) == [f"{UID_ROOT}.3"]
    assert uids(await get(archive, text='"head routine" phant', modality="MR")) == [f"{UID_ROOT}.2"]
    two = {"tag": ["ProcedureCodeSequence.CodeValue", "KVP"], "value": ["24725-4", "120"], "modality": "CT"}
    page = await get(archive, **two)
    assert uids(page) == [f"{UID_ROOT}.3", f"{UID_ROOT}.1"]
    assert [field.attributes["value"] for field in page.find("input", name="tag")] == two["tag"]
    private = {"tag": ["00190010", "00191002"], "value": ["PHANTOM_01", "709"]}
    assert len(uids(await get(archive, **private))) == 3


MISTAKES: list[tuple[dict[str, object], str, str]] = [
    ({"from": "yesterday"}, "from-error", "not a day"),
    ({"from": "2024-02-30"}, "from-error", "not a day"),
    ({"from": "2024-02-02", "to": "2024-02-01"}, "to-error", "before the first"),
    ({"tag": "SliceThicknes", "value": "5"}, "condition-1-error", "No such attribute"),
    ({"tag": "SliceThickness", "value": "thin"}, "condition-1-error", "a number"),
    ({"tag": ["KVP", "StudyDate"], "value": ["120", "last week"]}, "condition-2-error", "YYYYMMDD"),
    ({"tag": "", "value": "5"}, "condition-1-error", "Name the attribute"),
    ({"tag": "KVP.CodeValue", "value": "5"}, "condition-1-error", "sequences"),
    ({"tag": "00191002", "value": "5"}, "condition-1-error", "00190010"),
    ({"tag": "PixelData", "value": "5"}, "condition-1-error", "too large"),
    ({"tag": ["KVP", "KVP"], "value": ["120", "100"]}, "form-error", "once"),
    ({"text": "a"}, "text-error", "at least 2 letters"),
    ({"patient": "a*b*c*d*e*f*g*h*i*j"}, "patient-error", "asterisks"),
    ({"PatientName": "Nobody"}, "form-error", "no field"),
    ({"patient": ["Nobody", "P"]}, "form-error", "once"),
    ({"tag": ["KVP"] + [""] * 10 + ["SliceThickness"], "value": ["120"]}, "form-error", "at most 10"),
    ({"limit": "x"}, "form-error", "limit"),
    ({"limit": "101"}, "form-error", "limit"),
    ({"limit": "0"}, "form-error", "limit"),
    ({"offset": "-1"}, "form-error", "offset"),
    ({"offset": "10000001"}, "form-error", "offset"),
    ({"patient": "P", "as": "something"}, "form-error", "another search"),
    ({"patient": "P", "as": "reversed"}, "form-error", "another search"),
]


async def test_what_cannot_be_understood_is_said_beside_its_field(archive: Archive) -> None:
    await fill(archive, 1)
    for params, field, message in MISTAKES:
        page = await get(archive, **params)
        assert barriers(page) == []
        assert message in page.one(id=field).text, params
        assert uids(page) == []
        assert "Nothing was searched" in page.one(id="results-status").text
        wrong = page.find(aria_invalid="true")
        assert bool(wrong) is (field != "form-error")
        assert all(field in node.attributes["aria-describedby"].split() for node in wrong)


async def test_pages_follow_one_another_and_keep_the_search(archive: Archive) -> None:
    await fill(archive, 30)
    seen: list[str] = []
    address = "/?patient=P&tag=KVP&value=120"
    for _ in range(2):
        page = await get(archive, address)
        seen += uids(page)
        link = page.find("a", rel="next")
        address = link[0].attributes["href"] if link else ""
    assert address == ""
    assert len(set(seen)) == len(seen) == 30
    assert "26 to 30 of 30" in page.one(id="results-status").text
    query = parse_qs(urlsplit(page.one("a", rel="prev").attributes["href"]).query)
    assert query == {"patient": ["P"], "tag": ["KVP"], "value": ["120"]}
    beyond = await get(archive, offset="90")
    assert "nothing on this page" in beyond.one(id="results-status").text
    assert len(uids(await get(archive, limit="50"))) == 30


async def test_a_further_attribute_is_had_without_a_script(archive: Archive) -> None:
    await fill(archive, 1)
    page = await get(archive, tag="KVP", value="120", more="1")
    assert len(page.find("input", name="tag")) == 2
    assert "open" in page.one("details").attributes
    pressed_by_enter = page.one("form", id="search").find("button")[0]
    assert "name" not in pressed_by_enter.attributes
    assert len((await get(archive, tag=["KVP"] * 12, value=["1"] * 12)).find("input", name="tag")) == 10


async def test_strange_parameters_are_no_bug(archive: Archive) -> None:
    await fill(archive, 1)
    for query in (
        "limit=0&offset=99999999999",
        "limit=-1",
        "offset=x",
        "as=other&patient=doe",
        "patient=%00",
        "from=%FF",
    ):
        answer = await archive.client.get(f"/?{query}", headers=BROWSER)
        assert answer.status_code == 200, query
        assert barriers(parse(answer.text)) == []


async def test_studies_under_embargo_are_neither_listed_nor_counted(
    start_archive: StartArchive, database_url: str
) -> None:
    async with start_archive(api_key="a-key-for-tests-only") as archive:
        key = {"authorization": "Bearer a-key-for-tests-only"}
        await archive.store(*ct_series(1), *ct_series(1, study=2, PatientName="Hidden^Hanna"), headers=key)
        connection = await connect(database_url)
        try:
            await connection.execute(
                "update study set embargo_until = current_date + 7 where study_instance_uid = $1", f"{UID_ROOT}.2"
            )
        finally:
            await connection.close()
        page = await get(archive)
        assert uids(page) == [f"{UID_ROOT}.1"]
        assert figure(page, "studies") == figure(page, "patients") == "1"
        assert "Hidden" not in page.text
        answer = await archive.client.get(f"/studies/{UID_ROOT}.2", headers=BROWSER)
        assert answer.status_code == 404
        assert "Hidden" not in answer.text
        manager = parse((await archive.client.get("/", headers={**BROWSER, **key})).text)
        assert figure(manager, "studies") == "2"


async def test_who_may_not_read_is_led_to_signing_in(start_archive: StartArchive) -> None:
    async with start_archive(api_key="a-key-for-tests-only", anonymous_read=False) as archive:
        for path in ("/", "/?patient=doe", "/studies/1.2.3", "/status"):
            answer = await archive.client.get(path, headers=BROWSER)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/sign-in?next=")
        refused = await archive.client.get("/", headers={**BROWSER, "authorization": "Bearer wrong"})
        assert refused.status_code == 401


async def test_below_a_proxys_prefix_every_link_has_it(start_archive: StartArchive) -> None:
    async with start_archive(root_path="/archive") as archive:
        await fill(archive, 30)
        page = await get(archive, "/archive/")
        links = [
            node.attributes[key] for node in page.walk() for key in ("href", "src", "action") if key in node.attributes
        ]
        assert all(link.startswith(("/archive/", "#")) for link in links)
        for link in links:
            if "/assets/" in link:
                assert (await archive.client.get(link)).status_code == 200


async def test_no_page_is_kept_and_none_runs_anything_inline(archive: Archive) -> None:
    answer = await archive.client.get("/", headers=BROWSER)
    assert answer.headers["cache-control"] == "no-store"
    assert "'unsafe-inline'" not in answer.headers["content-security-policy"]
    assert "script-src 'self'" in answer.headers["content-security-policy"]


async def test_no_value_of_a_search_or_of_a_patient_is_logged(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="dicomweb_archive")
    await archive.store(*ct_series(1, PatientName="Unmistakable^Ulla", PatientID="ID-774411"))
    for params in ({"patient": "Unmistakable"}, {"patient": "ID-774411"}, {"tag": "KVP", "value": "Unmistakable"}):
        await get(archive, **params)
    await archive.client.get(f"/studies/{UID_ROOT}.1", params={"find": "Unmistakable"}, headers=BROWSER)
    logged = " ".join(str(vars(record)) for record in caplog.records if record.name.startswith("dicomweb_archive"))
    assert "nmistakable" not in logged
    assert "774411" not in logged
    assert UID_ROOT not in logged


async def test_assets_are_kept_for_ever_under_their_digest(archive: Archive) -> None:
    page = await get(archive)
    addresses = [page.one("script").attributes["src"], *(link.attributes["href"] for link in page.find("link"))]
    for address in addresses:
        answer = await archive.client.get(address, headers={"accept-encoding": "gzip"})
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        again = await archive.client.get(address, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
        plain: httpx.Response = await archive.client.get(
            address.partition("?")[0], headers={"accept-encoding": "identity"}
        )
        assert plain.content == answer.content
        assert "no-cache" in plain.headers["cache-control"]
    icon = await archive.client.get("/favicon.ico")
    assert icon.headers["content-type"] == "image/svg+xml"
    assert "no-cache" in icon.headers["cache-control"]
    assert (await archive.client.get("/assets/other.css")).status_code == 404
    assert (await archive.client.get("/assets/..%2Fhome.py")).status_code == 404


async def test_results_that_are_not_counted_have_a_next_page_all_the_same(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(archive, 2)
    monkeypatch.setattr(search_shape, "COUNT_WORTH_SECONDS", -1.0)
    page = await get(archive, tag="KVP", value="120", limit=1)
    assert page.one(id="results-status").text.strip() == "1 to 1 of at least 2"
    assert page.find("a", rel="next")
    page = await get(archive, tag="KVP", value="120", limit=1, offset=1)
    assert page.one(id="results-status").text.strip() == "2 to 2 of 2"
    assert not page.find("a", rel="next")
