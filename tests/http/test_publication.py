"""Publishing over HTTP: from approved to published with one call, watched as a job."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.http.test_submissions import act, opened

from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.moving import Move, move_study

OCTETS = {"accept": "application/dicom; transfer-syntax=*"}


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive that does its jobs in process."""
    async with start_archive(job_slots=1) as archive:
        yield archive


async def approved(archive: Archive, *studies: int, **said: Any) -> dict[str, Any]:
    """Return an approved submission with these studies, which were stored a moment ago."""
    submission = await opened(archive, **said)
    assert archive.settings.database_url is not None
    async with await Database.open(archive.settings.database_url.get_secret_value()) as database:
        async with database.transaction() as connection:
            space = await connection.fetchval("select space_id from submission where name = $1", submission["name"])
            for study in studies:
                secret = await database.term_secret()
                await move_study(connection, Move(f"{UID}.{study}", ARCHIVE_SPACE, space, secret, "+0000"))
    for action in ("seal", "review", "approve"):
        assert (await act(archive, submission, action)).status_code == 200
    return submission


async def ended(archive: Archive, job: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            document: dict[str, Any] = (await archive.client.get(job)).json()
            if document["state"] not in ("waiting", "running"):
                return document
            await asyncio.sleep(0.02)


async def test_a_submission_goes_from_approved_to_published_with_one_call(archive: Archive) -> None:
    files = ct_series(2, study=2)
    await archive.store(*ct_series(3), *files)
    submission = await approved(archive, 1, 2)
    assert (await archive.get("/studies")).json() == []
    answer = await act(archive, submission, "publish")
    assert answer.status_code == 202
    assert answer.headers["location"] == answer.json()["job"]
    job = await ended(archive, answer.json()["job"])
    assert (job["state"], job["done"], job["total"], job["subject"]) == (
        "succeeded",
        5,
        5,
        f"/submissions/{submission['name']}",
    )
    assert job["result"] == {"studies": 2, "instances": 5, "same": 0, "conflicts": 0, "refused": 0}
    assert len((await archive.get("/studies")).json()) == 2
    instance = f"/studies/{UID}.2/series/{UID}.2.1/instances/{UID}.2.1.2"
    assert (await archive.get(instance, headers=OCTETS)).content == files[1]
    document = (await archive.client.get(f"/submissions/{submission['name']}")).json()
    assert (document["state"], document["held"]["instances"]) == ("published", 0)
    trail = (await archive.client.get(f"/submissions/{submission['name']}/events")).json()["events"]
    assert [event["kind"] for event in trail][-4:] == [
        "submission_state_changed",
        "study_published",
        "study_published",
        "submission_state_changed",
    ]
    assert trail[-1]["comment"] == "5 instances of 2 studies published"


async def test_what_conflicts_stays_and_leaves_the_submission_approved(archive: Archive) -> None:
    await archive.store(*ct_series(2), *ct_series(1, series=2))
    submission = await approved(archive, 1)
    await archive.store(*ct_series(1, PatientName="Roe^Jane"), *ct_series(1, series=2))
    answer = await act(archive, submission, "publish")
    job = await ended(archive, answer.json()["job"])
    assert job["result"] == {"studies": 1, "instances": 1, "same": 1, "conflicts": 1, "refused": 0}
    document = (await archive.client.get(f"/submissions/{submission['name']}")).json()
    assert (document["state"], document["held"]["instances"]) == ("approved", 1)
    assert len((await archive.get(f"/studies/{UID}.1/instances")).json()) == 3
    # The bytes that the archive had already are kept once.
    assert len(archive.files()) == 3


async def test_only_what_is_approved_is_published(archive: Archive) -> None:
    submission = await opened(archive)
    answer = await act(archive, submission, "publish")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:dicomweb-archive:problem:not-in-this-state")
    path = f"/submissions/{submission['name']}/publish"
    assert (await archive.client.post(path)).status_code == 428
    assert (await archive.client.post(path, headers={"if-match": '"99"'})).status_code == 412
    assert (await archive.client.post("/submissions/abc/publish", headers={"if-match": "*"})).status_code == 404
