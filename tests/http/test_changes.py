"""The change feed over HTTP: followed from any place, waited for, and silent about what is not published."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.stored import pack_of, segment_of
from tests.submitted import database_of

from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    async with start_archive(job_slots=0) as archive:
        yield archive


async def feed(archive: Archive, **asked: Any) -> dict[str, Any]:
    archive.app.state.services.changes._sealed_at = 0.0
    answer = await archive.client.get("/changes", params=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_changes_are_followed_from_place_to_place(archive: Archive) -> None:
    nothing = await feed(archive)
    assert nothing["changes"] == []
    for study in range(3):
        await archive.store(*ct_series(2, study=study))
    everything = (await feed(archive))["changes"]
    assert [change["kind"] for change in everything] == ["instances_stored"] * 3
    assert all(change["instances"] == 2 and len(change["series_instance_uids"]) == 1 for change in everything)
    first = await feed(archive, limit=2)
    rest = (await archive.client.get(first["next_url"])).json()
    assert first["changes"] + rest["changes"] == everything
    assert (await feed(archive, since=nothing["next"]))["changes"] == everything
    assert (await feed(archive, since=everything[0]["place"]))["changes"] == everything[1:]
    end = await feed(archive, since="now")
    assert (end["changes"], end["next"]) == ([], everything[-1]["place"])

    study = everything[0]["study_instance_uid"]
    await archive.client.delete(f"/dicom-web/studies/{study}")
    (deleted,) = (await feed(archive, since=end["next"]))["changes"]
    assert (deleted["kind"], deleted["study_instance_uid"]) == ("study_deleted", study)


async def test_what_waits_in_a_submission_leaves_no_trace(archive: Archive, database_url: str) -> None:
    await archive.store(*ct_series(1))
    before = await feed(archive)
    async with await Database.open(database_url) as database, database.connection() as connection:
        await connection.execute("insert into space (id, name) values (1001, 'waiting')")
        await Register(database).register([pack_of(segment_of(ct_series(1)))], actor="t", space_id=1001)
    assert await feed(archive) == before
    await archive.store(*ct_series(1, study=2))
    assert len((await feed(archive, since=before["next"]))["changes"]) == 1


async def test_whoever_waits_is_answered_when_something_happens(archive: Archive) -> None:
    waiting = [asyncio.create_task(feed(archive, since="now", wait=20)) for _ in range(3)]
    await asyncio.sleep(0.1)
    await archive.store(*ct_series(1))
    for page in await asyncio.gather(*waiting):
        assert len(page["changes"]) == 1
    assert (await feed(archive, since="now", wait=0.05))["changes"] == []


@pytest.mark.parametrize("asked", [{"since": "12"}, {"since": "x" * 65}, {"limit": 0}, {"wait": 3600}, {"wait": "nan"}])
async def test_what_is_no_place_is_refused(archive: Archive, asked: dict[str, Any]) -> None:
    answer = await archive.client.get("/changes", params=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert next(iter(asked)) in answer.json()["detail"]


async def test_only_readers_read_the_feed(start_archive: StartArchive) -> None:
    async with start_archive(api_key="a key of the tests", anonymous_read=False, job_slots=0) as archive:
        assert (await archive.client.get("/changes")).status_code == 401


async def test_what_is_withdrawn_or_under_embargo_tells_a_reader_no_more_than_its_tombstone(archive: Archive) -> None:
    reader = Principal("r", PrincipalKind.KEY_HOLDER, with_included([Role.READER]))
    sees_all = Visibility(see_embargoed=True)
    admin = Principal("a", PrincipalKind.KEY_HOLDER, with_included([Role.ADMIN]), sees=sees_all)
    withdrawn, deleted, hidden, gone = (f"{UID}.{number}" for number in (1, 2, 3, 4))
    for study in range(1, 5):
        await archive.store(*ct_series(2, study=study))
    await archive.client.delete(f"/dicom-web/studies/{withdrawn}/series/{withdrawn}.1/instances/{withdrawn}.1.1")
    async with database_of(archive).connection() as connection:
        embargo = "update study set embargo_until = '2999-01-01' where study_instance_uid = any($1)"
        await connection.execute(embargo, [hidden, gone])
    archive.let_in(reader, admin)
    r, a = ({"authorization": f"Bearer {name}"} for name in "ra")
    for study in (withdrawn, hidden):
        asked = {"study": study, "reason": "phi_in_header"}
        assert (await archive.client.post("/withdrawals", json=asked, headers=a)).status_code == 201
    for study in (deleted, gone):
        assert (await archive.client.delete(f"/dicom-web/studies/{study}", headers=a)).status_code < 300
    archive.app.state.services.changes._sealed_at = 0.0
    seen = (await archive.client.get("/changes", headers=r)).json()["changes"]
    assert [(each["kind"], each["study_instance_uid"]) for each in seen] == [
        ("instances_stored", withdrawn),
        ("instances_stored", deleted),
        ("instance_deleted", withdrawn),
        ("study_withdrawn", withdrawn),
        ("study_deleted", deleted),
    ]
    # The rows of its series have moved into quarantine with their ids.
    assert all(each["series_instance_uids"] == [] and each["sop_instance_uid"] is None for each in seen)
    for study, status in ((withdrawn, 410), (deleted, 410), (hidden, 404), (gone, 404)):
        assert (await archive.get(f"/studies/{study}", headers=r)).status_code == status, study
    # It ends for what has gone, too.
    async with database_of(archive).connection() as connection:
        await connection.execute("update tombstone set embargo_until = '2001-01-01' where embargo_until is not null")
    assert len((await archive.client.get("/changes", headers=r)).json()["changes"]) == 9
    assert (await archive.get(f"/studies/{hidden}", headers=r)).status_code == 410
