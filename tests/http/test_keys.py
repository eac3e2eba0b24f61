"""Keys of the table at the door: what each opens, in requests and as the session of a browser, and how soon it ends."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.submitted import add_collection

from dicomweb_archive.services.access import Role
from dicomweb_archive.services.keys.giving import KeyService

OWN_PAGE = {"sec-fetch-site": "same-origin"}
STUDY = f"/dicom-web/studies/{UID}.1"


@pytest.fixture
async def locked(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive whose keys all come from its table, with a study in its default collection."""
    async with start_archive(authentication="keys", anonymous_read=False) as archive:
        yield archive


def keys_of(archive: Archive) -> KeyService:
    return KeyService(archive.app.state.services.keys._index)


def seconds_pass(archive: Archive) -> None:
    """What the process knows of keys is no longer fresh."""
    archive.app.state.services.keys._asked_at = float("-inf")


async def key_for(archive: Archive, *roles: Role, collections: list[str] | None = None) -> dict[str, str]:
    given = await keys_of(archive).create("somebody", roles, accessions=collections)
    seconds_pass(archive)
    return {"authorization": f"Bearer {given.text}"}


async def statuses(archive: Archive, headers: dict[str, str]) -> list[int]:
    """What searching, storing, asking for metrics and deleting are answered with."""
    found = await archive.get("/studies", headers=headers)
    stored = await archive.store(*ct_series(1), headers=headers)
    managed = await archive.client.get("/metrics", headers=headers)
    deleted = await archive.client.delete(STUDY, headers=headers)
    return [answer.status_code for answer in (found, stored, managed, deleted)]


async def test_each_role_opens_what_it_is_for(locked: Archive) -> None:
    assert await statuses(locked, {}) == [401, 401, 401, 401]
    assert await statuses(locked, await key_for(locked, Role.READER)) == [200, 403, 403, 403]
    assert await statuses(locked, await key_for(locked, Role.SUBMITTER)) == [403, 200, 403, 403]
    assert await statuses(locked, await key_for(locked, Role.MANAGER)) == [200, 200, 200, 204]


async def test_what_is_stored_and_deleted_is_done_in_the_name_of_the_key(locked: Archive) -> None:
    headers = await key_for(locked, Role.MANAGER)
    await statuses(locked, headers)
    index = keys_of(locked).index
    async with index._database.connection() as connection:
        actors = await connection.fetch("select kind, actor from event order by id")
    assert [tuple(row) for row in actors] == [
        ("key_created", "operator"),
        ("instances_stored", "somebody"),
        ("study_deleted", "somebody"),
    ]
    (key,) = await keys_of(locked).listed()
    assert key.last_used_at is not None


async def test_a_role_in_one_collection_is_none_in_another(locked: Archive) -> None:
    index = keys_of(locked).index
    async with index._database.connection() as connection:
        await connection.execute("insert into collection (accession, title) values ('OTHER-000001', 'Other')")
    assert (await locked.store(*ct_series(1), headers=await key_for(locked, Role.SUBMITTER))).status_code == 200
    elsewhere = await key_for(locked, Role.MANAGER, collections=["OTHER-000001"])
    assert (await locked.get("/studies", headers=elsewhere)).json() == []
    assert (await locked.client.get("/metrics", headers=elsewhere)).status_code == 403
    assert (await locked.client.delete(STUDY, headers=elsewhere)).status_code == 404
    home = await locked.client.get("/", headers={**elsewhere, "accept": "text/html"})
    assert (home.status_code, "Space left" in home.text) == (200, False)
    here = await key_for(locked, Role.MANAGER, collections=["default"])
    assert len((await locked.get("/studies", headers=here)).json()) == 1
    assert (await locked.client.delete(STUDY, headers=here)).status_code == 204


async def test_a_browser_signs_in_with_a_key_until_it_is_taken_back(locked: Archive) -> None:
    given = await keys_of(locked).create("Ann", {Role.SUBMITTER, Role.READER})
    seconds_pass(locked)
    answer = await sign_in(locked, given.text)
    assert answer.status_code == 303
    ((_, cookie),) = locked.client.cookies.items()
    assert given.text.rpartition("_")[2] not in cookie
    assert (await locked.get("/studies")).status_code == 200
    assert (await locked.store(*ct_series(1), headers=OWN_PAGE)).status_code == 200
    assert "Sign out" in (await locked.client.get("/", headers={"accept": "text/html"})).text

    await keys_of(locked).revoke(given.key.public_id)
    seconds_pass(locked)
    assert (await locked.get("/studies")).status_code == 401
    assert (await locked.get("/studies", headers={"authorization": f"Bearer {given.text}"})).status_code == 401
    locked.client.cookies.clear()
    assert (await sign_in(locked, given.text)).status_code == 401


async def test_keys_are_given_shown_once_and_taken_back_by_http(locked: Archive) -> None:
    ask = locked.client
    admin = await key_for(locked, Role.ADMIN)
    order = {"name": "Scanner 3", "roles": ["submitter"], "collections": ["default"]}
    given = await ask.post("/keys", json=order, headers=admin)
    assert (given.status_code, given.headers["cache-control"]) == (201, "no-store")
    document = given.json()
    assert (document["roles"], document["collections"], document["revoked_at"]) == (["submitter"], ["default"], None)
    days = datetime.fromisoformat(document["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=364) < days < timedelta(days=366)
    shown = await ask.get(given.headers["location"], headers=admin)
    assert shown.json() == {name: value for name, value in document.items() if name != "key"}
    listed = (await ask.get("/keys", params={"limit": 1, "offset": 1}, headers=admin)).json()
    # "Scanner 3" comes before "somebody", the admin.
    assert (listed["total"], [each["name"] for each in listed["keys"]]) == (2, ["somebody"])
    everywhere = {"name": "for ever", "roles": ["reader"], "expires_at": None}
    assert (await ask.post("/keys", json=everywhere, headers=admin)).json()["expires_at"] is None

    seconds_pass(locked)
    scanner = {"authorization": f"Bearer {document['key']}"}
    assert (await locked.store(*ct_series(1), headers=scanner)).status_code == 200
    assert (await ask.get("/keys", headers=scanner)).status_code == 403
    assert (await ask.get("/keys")).status_code == 401
    whoami = (await ask.get("/principal", headers=scanner)).json()
    assert whoami == {
        "name": "Scanner 3",
        "kind": "key_holder",
        "roles": ["submitter"],
        "collections": ["default"],
        "reads_open_collections": False,
        "asked_for_keys": True,
    }
    assert (await ask.get("/principal")).status_code == 401

    for _ in range(2):
        assert (await ask.delete(f"/keys/{document['id']}", headers=admin)).status_code == 204
    seconds_pass(locked)
    assert (await ask.get("/principal", headers=scanner)).status_code == 401
    assert (await ask.get("/keys", params={"ended": True}, headers=admin)).json()["total"] == 3
    assert (await ask.delete("/keys/abcdefghijkl", headers=admin)).status_code == 404
    async with keys_of(locked).index._database.connection() as connection:
        told = await connection.fetch("select kind, actor from event where detail->>'name' = 'Scanner 3' order by id")
    assert [tuple(row) for row in told] == [("key_created", "somebody"), ("key_revoked", "somebody")]


async def test_what_is_no_key_is_not_given(locked: Archive) -> None:
    admin = await key_for(locked, Role.ADMIN)
    refused: list[dict[str, Any]] = [
        {"name": "a"},
        {"name": "a", "roles": []},
        {"name": "a", "roles": ["king"]},
        {"name": "anonymous", "roles": ["reader"]},
        {"name": "a", "roles": ["reader"], "collections": []},
        {"name": "a", "roles": ["reader"], "collections": ["NONE-000001"]},
        {"name": "a", "roles": ["reader"], "collections": ["\0"]},
        {"name": "a", "roles": ["admin"], "collections": ["default"]},
        {"name": "a", "roles": ["reader"], "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "a", "roles": ["reader"], "expires_at": "2099-01-01T00:00:00"},
        # In UTC that is a year of which nobody knows.
        {"name": "a", "roles": ["reader"], "expires_at": "9999-12-31T23:59:59-12:00"},
    ]
    for order in refused:
        answer = await locked.client.post("/keys", json=order, headers=admin)
        assert answer.status_code == 400, order
    assert (await locked.client.get("/keys", headers=admin)).json()["total"] == 1


async def test_a_manager_gives_less_than_a_manager_has_in_collections_of_their_own(locked: Archive) -> None:
    ask = locked.client
    for accession in ("LUNG-000001", "KNEE-000001"):
        await add_collection(locked, accession)
    admin = await key_for(locked, Role.ADMIN)
    manager = await key_for(locked, Role.MANAGER, collections=["LUNG-000001"])

    async def give(name: str, role: str, *collections: str, by: dict[str, str] = manager) -> httpx.Response:
        order = {"name": name, "roles": [role], "collections": list(collections) or None}
        return await ask.post("/keys", json=order, headers=by)

    given = await give("Ann", "curator", "LUNG-000001")
    assert given.status_code == 201
    elsewhere = (await give("Bob", "submitter", "KNEE-000001", by=admin)).json()
    assert (await give("Cem", "manager", "LUNG-000001")).status_code == 403
    assert (await give("Cem", "reader")).status_code == 400
    assert (await give("Cem", "reader", "LUNG-000001", "KNEE-000001")).status_code == 400
    # A key of this name would show what Bob waits for in the other collection.
    assert (await give("Bob", "submitter", "LUNG-000001")).status_code == 409
    assert (await give("Ann", "submitter", "LUNG-000001")).status_code == 201

    seen = (await ask.get("/keys", headers=manager)).json()
    assert (seen["total"], {each["name"] for each in seen["keys"]}) == (2, {"Ann"})
    for method in ("GET", "DELETE"):
        answer = await ask.request(method, f"/keys/{elsewhere['id']}", headers=manager)
        assert answer.status_code == 404
    assert (await ask.delete(f"/keys/{given.json()['id']}", headers=manager)).status_code == 204


async def test_an_archive_that_asks_for_no_key_gives_none_by_http(archive: Archive) -> None:
    answer = await archive.client.post("/keys", json={"name": "later", "roles": ["admin"]})
    assert answer.status_code == 409
    whoami = (await archive.client.get("/principal")).json()
    assert (whoami["name"], whoami["collections"], whoami["asked_for_keys"]) == ("anonymous", None, False)
    assert whoami["roles"] == ["reader", "submitter", "curator", "manager", "admin"]


async def sign_in(archive: Archive, key: str) -> httpx.Response:
    return await archive.client.post("/sign-in", data={"key": key}, headers=OWN_PAGE)
