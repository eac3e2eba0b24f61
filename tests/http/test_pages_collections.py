"""Pages of collections: what a browser gets where a program gets JSON."""

from tests.http.archive import Archive
from tests.http.conftest import StartArchive

HTML = {"accept": "text/html"}


async def test_a_browser_gets_pages_of_collections(archive: Archive) -> None:
    wanted = {
        "title": "Knees <b>of</b> Graz",
        "description": "First\nsecond",
        "licence": "CC-BY-4.0",
        "rules": {"sop_classes": ["CTImageStorage", "1.3.46.670589.11.0.0.12.1"]},
    }
    accession = (await archive.client.post("/collections", json=wanted)).json()["accession"]
    listed = await archive.client.get("/collections", headers=HTML)
    assert listed.headers["content-type"].startswith("text/html")
    assert f'href="/collections/{accession}"' in listed.text
    page = (await archive.client.get(f"/collections/{accession}", headers=HTML)).text
    for shown in ("CC-BY-4.0", "CT Image Storage, 1.3.46.670589.11.0.0.12.1", f"/collections/{accession}/dicom-web"):
        assert shown in page
    assert "<b>of</b>" not in page
    missing = await archive.client.get("/collections/COL-9", headers=HTML)
    assert (missing.status_code, "text/html" in missing.headers["content-type"]) == (404, True)


async def test_a_page_of_a_closed_archive_leads_to_signing_in(start_archive: StartArchive) -> None:
    async with start_archive(api_key="the-key", anonymous_read=False) as archive:
        answer = await archive.client.get("/collections", headers=HTML)
        assert answer.status_code == 303
