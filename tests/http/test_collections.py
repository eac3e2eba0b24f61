"""Collections: made, listed, shown, changed and closed."""

from typing import Any

import httpx
import pytest
from tests.factories import ct_series, image
from tests.http.archive import RELATED, Archive, related
from tests.http.conftest import StartArchive

KEY = {"authorization": "Bearer the-key"}
CT = "1.2.840.10008.5.1.4.1.1.2"
LISTS = {
    "attributes": ["00100020", "00400275.00400007"],
    "safe_private": ['0019"ACME 1.0"0C'],
    "approved_values": ["*"],
}


async def make(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/collections", json={"title": "A collection", **fields}, headers=KEY)


async def test_a_collection_is_made_shown_changed_and_closed(start_archive: StartArchive) -> None:
    async with start_archive(api_key="the-key", accession_prefix="LUNG") as archive:
        client = archive.client
        made = await make(
            client,
            title="Lungs of Graz",
            licence="cc-by-4.0",
            contact="help@example.org",
            policy="curated",
            rules={
                "sop_classes": ["CTImageStorage", CT],
                "sites": [" Graz "],
                "attributes": ["PatientID", "00400275.ScheduledProcedureStepDescription", "00100020"],
                "safe_private": ['0019"ACME 1.0"0c'],
                "approved_values": ["*"],
            },
        )
        assert made.status_code == 201
        collection = made.json()
        accession = collection["accession"]
        assert accession.startswith("LUNG-")
        assert len(accession) == len("LUNG-000123")
        assert made.headers["location"] == f"http://archive.example/collections/{accession}"
        assert collection["dicomweb"] == f"http://archive.example/collections/{accession}/dicom-web"
        assert (collection["licence"], collection["policy"], collection["access"]) == ("CC-BY-4.0", "curated", "open")
        assert collection["rules"] == {"sop_classes": [CT], "transfer_syntaxes": [], "sites": ["Graz"], **LISTS}

        path = f"/collections/{accession}"
        shown = await client.get(path)
        assert shown.json() == collection
        assert shown.headers["etag"] == made.headers["etag"] == '"1"'
        assert (await client.head(path)).headers["etag"] == '"1"'
        assert (await client.get(path, headers={"if-none-match": '"1"'})).status_code == 304

        change = {"rules": {"sites": ["Wien"]}, "description": "Two\nlines", "closed": True}
        changed = await client.patch(path, json=change, headers={**KEY, "if-match": '"1"'})
        assert changed.headers["etag"] == '"2"'
        assert changed.json()["rules"] == {"sop_classes": [CT], "transfer_syntaxes": [], "sites": ["Wien"], **LISTS}
        assert changed.json()["title"] == "Lungs of Graz"
        assert changed.json()["closed_at"] is not None
        reopened = await client.patch(path, json={"closed": False}, headers={**KEY, "if-match": "*"})
        assert (reopened.json()["closed_at"], reopened.headers["etag"]) == (None, '"3"')
        again = await client.patch(path, json={"closed": False}, headers={**KEY, "if-match": '"3"'})
        assert again.headers["etag"] == '"3"'

        second = (await make(client)).json()["accession"]
        assert int(second.removeprefix("LUNG-")) == int(accession.removeprefix("LUNG-")) + 1
        page = (await client.get("/collections", params={"limit": 1, "offset": 1})).json()
        assert page["total"] == 3
        assert [each["accession"] for each in page["collections"]] == [second]


async def test_a_change_names_the_revision_that_it_is_meant_for(archive: Archive) -> None:
    path = "/collections/default"
    missing = await archive.client.patch(path, json={"title": "New"})
    assert (missing.status_code, missing.json()["title"]) == (428, "The request needs a condition")
    assert (await archive.client.patch(path, json={"title": "New"}, headers={"if-match": '"1"'})).status_code == 200
    late = await archive.client.patch(path, json={"title": "Newer"}, headers={"if-match": '"1"'})
    assert late.status_code == 412
    assert (await archive.client.get(path)).json()["title"] == "New"
    closing = await archive.client.patch(path, json={"closed": True}, headers={"if-match": "*"})
    assert closing.status_code == 409
    assert (await archive.client.patch("/collections/COL-9", json={}, headers={"if-match": "*"})).status_code == 404
    assert (await archive.client.get("/collections/%00")).status_code == 400


async def test_what_does_not_fit_is_named_and_not_repeated(archive: Archive) -> None:
    bad: list[tuple[str, Any]] = [
        ("title", ""),
        ("title", "Jane\x00Doe"),
        ("title", None),
        ("licence", "Jane Doe's own"),
        ("access", "Jane"),
        ("policy", "Jane"),
        ("check_set", "Jane"),
        ("closed", "Jane"),
        ("contact", "Jane" * 200),
        ("Jane", 1),
        ("rules.sop_classes.0", {"sop_classes": ["Jane"]}),
        ("rules.transfer_syntaxes.0", {"transfer_syntaxes": [CT]}),
        ("rules.sites", {"sites": "Jane"}),
        ("rules.attributes.0", {"attributes": ["Jane"]}),
        ("rules.attributes.0", {"attributes": ["00190010"]}),
        ("rules.attributes.0", {"attributes": ["PatientID.PatientName"]}),
        ("rules.safe_private.0", {"safe_private": ["Jane"]}),
        ("rules.safe_private.0", {"safe_private": ['0018"EVEN GROUP"01']}),
        ("rules.safe_private.0", {"safe_private": ['0019"  "01']}),
        ("rules.approved_values.0", {"approved_values": ["Jane"]}),
        ("description", "\x1b Jane"),
    ]
    for name, value in bad:
        answer = await archive.client.post("/collections", json={"title": "One", name.partition(".")[0]: value})
        assert answer.status_code == 400, name
        if name != "Jane":
            assert name in answer.json()["detail"]
            assert "Jane" not in answer.text
    half = b'{"title": "Jane\\ud800"}'
    answer = await archive.client.post("/collections", content=half, headers={"content-type": "application/json"})
    assert (answer.status_code, "title" in answer.json()["detail"]) == (400, True)
    assert (await archive.client.get("/collections", params={"limit": "0"})).status_code == 400
    assert (await archive.client.get("/collections")).json()["total"] == 1


async def test_who_may_not_see_or_change_a_collection_learns_nothing_of_it(start_archive: StartArchive) -> None:
    async with start_archive(api_key="the-key") as archive:
        client = archive.client
        hidden = (await make(client, access="restricted")).json()["accession"]
        assert (await client.get("/collections")).json()["total"] == 1
        assert (await client.get("/collections", headers=KEY)).json()["total"] == 2
        absent = await client.get("/collections/COL-999999")
        secret = await client.get(f"/collections/{hidden}")
        assert (secret.status_code, secret.json()["detail"]) == (absent.status_code, absent.json()["detail"])
        assert (await client.get(f"/collections/{hidden}", headers=KEY)).status_code == 200
        assert (await client.post("/collections", json={"title": "Mine"})).status_code == 401
        refused = await client.patch("/collections/default", json={"title": "Mine"}, headers={"if-match": "*"})
        assert refused.status_code == 401
    async with start_archive(api_key="the-key", anonymous_read=False) as closed:
        assert (await closed.client.get("/collections")).status_code == 401
        assert (await closed.client.get("/collections/default")).status_code == 401


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_collection_is_never_deleted_so_that_its_accession_is_never_given_again(
    archive: Archive, method: str
) -> None:
    answer = await archive.client.request(method, "/collections/default")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH"}


async def test_checks_name_what_the_lists_of_a_collection_do_not_hold(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=0) as archive:
        held = [f"{element.tag:08X}" for element in image(study=840) if not element.tag.is_private]
        lists = {
            # All but one, and one of the two that are nested, by its path.
            "attributes": [*(tag for tag in held if tag != "00080070"), "00081032.00080100", "CodingSchemeDesignator"],
            "safe_private": ['0019"PHANTOM_01"02'],
        }
        made = await archive.client.post("/collections", json={"title": "Lists", "policy": "curated", "rules": lists})
        opened = await archive.client.post("/submissions", json={"collection": made.json()["accession"]})
        path = f"/submissions/{opened.json()['name']}"
        body = related(ct_series(2, study=840))
        stored = await archive.client.post(f"{path}/dicom-web/studies", content=body, headers={"content-type": RELATED})
        assert stored.status_code == 200
        asked = {"check_set": "public_release", "read_files": False}
        assert (await archive.client.post(f"{path}/checks", json=asked)).status_code == 202
        while await archive.app.state.services.jobs.wake.__self__.run_one() is not None:
            pass
        found = (await archive.client.get(f"{path}/findings")).json()["findings"]
        named = {each["path"] for each in found if each["check"] in ("allowed_attributes", "private_elements")}
        assert named == {"00080070", "00081032.00080104", '0019"PHANTOM_01"23'}
