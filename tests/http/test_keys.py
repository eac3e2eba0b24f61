"""Keys of the table at the door: what each opens, in requests and as the session of a browser, and how soon it ends."""

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive

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


async def sign_in(archive: Archive, key: str) -> httpx.Response:
    return await archive.client.post("/sign-in", data={"key": key}, headers=OWN_PAGE)
