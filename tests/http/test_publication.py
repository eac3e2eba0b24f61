"""Publishing over HTTP: from approved to published with one call, watched as a job."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.http.test_submissions import act, opened

from dicomweb_archive.errors import InvalidParameterError, PreconditionFailedError
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.curation.submissions import Submission, SubmissionScope
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.jobs.queue import NewJob
from dicomweb_archive.index.writing.moving import Move, move_study
from dicomweb_archive.index.writing.rebuilding import Rebuilding
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included
from dicomweb_archive.services.submissions.publishing_job import (
    PUBLISH_SUBMISSION,
    publishing_arguments,
    publishing_key,
)
from dicomweb_archive.services.submissions.transitions import Action

INSTANCE = f"/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.1"
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
                segments = Rebuilding(await database.term_secret(), "+0000")
                await move_study(connection, Move(f"{UID}.{study}", ARCHIVE_SPACE, space, segments))
    assert (await act(archive, submission, "seal")).status_code == 200
    path = f"/submissions/{submission['name']}"
    async with asyncio.timeout(30):
        while True:
            if (await archive.client.get(path)).json()["state"] == "in_review":
                break
            await asyncio.sleep(0.02)
    assert (await act(archive, submission, "approve")).status_code == 200
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


async def test_what_contradicts_what_is_published_is_kept_as_a_conflict_and_decided_on(archive: Archive) -> None:
    await archive.store(*ct_series(2), *ct_series(1, series=2))
    submission = await approved(archive, 1)
    await archive.store(*ct_series(1, PatientName="Roe^Jane"), *ct_series(1, series=2))
    path = f"/submissions/{submission['name']}"
    foreseen = (await archive.client.get(f"{path}/publish")).json()
    (study,) = foreseen["studies"]
    assert (study["published"], study["same"], study["conflicts"], study["joins"]) == (1, 1, 1, True)
    assert (foreseen["total"], foreseen["undecided_conflicts"], foreseen["next"]) == (1, 0, None)
    answer = await act(archive, submission, "publish")
    job = await ended(archive, answer.json()["job"])
    assert job["result"] == {"studies": 1, "instances": 1, "same": 1, "conflicts": 1, "refused": 0}
    document = (await archive.client.get(path)).json()
    assert (document["state"], document["held"]["instances"]) == ("published", 0)
    assert len((await archive.get(f"/studies/{UID}.1/instances")).json()) == 3
    # The bytes that the archive had already are kept once.
    assert len(archive.files()) == 3
    (conflict,) = (await archive.client.get(f"{path}/conflicts")).json()["conflicts"]
    compared = (await archive.client.get(f"{path}/conflicts/{conflict['id']}")).json()
    assert [each["keyword"] for each in compared["differences"]] == ["PatientName"]
    said = {"if-match": f'"{document["revision"]}"'}
    url = f"{path}/conflicts/{conflict['id']}/decision"
    assert (await archive.client.post(url, json={"decision": "replace"}, headers=said)).status_code == 200
    assert (await archive.get(INSTANCE, headers=OCTETS)).content == ct_series(2)[0]


async def test_studies_of_a_submission_are_published_one_after_the_other(archive: Archive) -> None:
    await archive.store(*ct_series(1), *ct_series(1, study=2), *ct_series(1, study=3))
    submission = await approved(archive, 1, 2, 3)
    path = f"/submissions/{submission['name']}"
    assert (await act(archive, submission, "publish", studies=[f"{UID}.1", f"{UID}.9"])).status_code == 404
    assert (await act(archive, submission, "publish", studies=[])).status_code == 400
    for left, state, studies in ((1, "approved", [f"{UID}.3", f"{UID}.1"]), (0, "published", [f"{UID}.2"])):
        answer = await act(archive, submission, "publish", studies=studies)
        job = await ended(archive, answer.json()["job"])
        assert (job["result"]["studies"], job["done"], job["total"]) == (len(studies), len(studies), len(studies))
        document = (await archive.client.get(path)).json()
        assert (document["held"]["studies"], document["state"]) == (left, state)
        assert len((await archive.get("/studies")).json()) == 3 - left


async def test_the_next_studies_may_be_published_as_soon_as_the_submission_is_approved_again(archive: Archive) -> None:
    services, asked = await begun(archive)
    name = asked.arguments["submission"]
    # A round that has ended, and whose job has not noted it yet.
    await services.publishing.stop(name, actor="c")
    job = await services.jobs.queue.put(replace(asked, key=f"{name}:7", delay_seconds=3600))
    document = (await archive.client.get(f"/submissions/{name}")).json()
    answer = await act(archive, document, "publish")
    assert answer.json()["job"] != f"{archive.client.base_url}/jobs/{job.id}"
    assert (await ended(archive, answer.json()["job"]))["result"]["studies"] == 1


async def test_while_some_studies_are_published_others_are_not_asked_for(archive: Archive) -> None:
    services, asked = await begun(archive)
    name = asked.arguments["submission"]
    begun_as = await services.submissions.submissions.find(name, SubmissionScope(None))
    some = [f"{UID}.1"]
    arguments = publishing_arguments(begun_as, some)
    job = await services.jobs.queue.put(
        replace(asked, arguments=arguments, key=publishing_key(begun_as), delay_seconds=3600)
    )
    document = (await archive.client.get(f"/submissions/{name}")).json()
    assert (await act(archive, document, "publish", studies=some)).json()["job"].endswith(f"/jobs/{job.id}")
    assert (await act(archive, document, "publish")).status_code == 409


async def test_what_publishing_would_do_is_told_page_by_page(archive: Archive) -> None:
    await archive.store(*ct_series(2), *ct_series(1, study=2))
    submission = await approved(archive, 1, 2)
    path = f"/submissions/{submission['name']}/publish"
    first = (await archive.client.get(path, params={"limit": 1})).json()
    second = (await archive.client.get(path, params={"limit": 1, "since": first["next"]})).json()
    assert [(each["studies"][0]["study"], each["studies"][0]["published"]) for each in (first, second)] == [
        (f"{UID}.1", 2),
        (f"{UID}.2", 1),
    ]
    assert (first["studies"][0]["joins"], first["studies"][0]["is_elsewhere"]) == (False, False)
    # Nothing has happened.
    assert (await archive.get("/studies")).json() == []
    archive.let_in(Principal("anonymous", PrincipalKind.KEY_HOLDER, with_included([Role.SUBMITTER])))
    headers = {"authorization": "Bearer anonymous"}
    assert (await archive.client.get(path, headers=headers)).status_code == 403


async def test_only_what_is_approved_is_published(archive: Archive) -> None:
    submission = await opened(archive)
    answer = await act(archive, submission, "publish")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:dicomweb-archive:problem:not-in-this-state")
    path = f"/submissions/{submission['name']}/publish"
    assert (await archive.client.post(path)).status_code == 428
    assert (await archive.client.post(path, headers={"if-match": '"99"'})).status_code == 412
    assert (await archive.client.post("/submissions/abc/publish", headers={"if-match": "*"})).status_code == 404


async def test_a_job_begun_anew_publishes_nothing_that_was_rejected_meanwhile(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    submission = await approved(archive, 1)
    services = archive.app.state.services
    found = await services.submissions.submissions.find(submission["name"], SubmissionScope(None))
    asked = NewJob(PUBLISH_SUBMISSION, "c", publishing_arguments(found), collection_id=1, delay_seconds=3600)
    path = f"/jobs/{(await services.jobs.queue.put(asked)).id}"
    assert (await archive.client.post(f"{path}/cancel")).json()["state"] == "cancelled"
    assert (await act(archive, submission, "reject", reason="phi_in_pixels")).status_code == 200
    assert (await archive.client.post(f"{path}/run-again")).status_code == 200
    job = await ended(archive, path)
    assert (job["state"], "rejected" in job["problem"]) == ("failed", True)
    assert (await archive.get("/studies")).json() == []


async def test_a_publication_that_is_cancelled_leaves_its_submission_approved(archive: Archive) -> None:
    services, asked = await begun(archive)
    path = f"/jobs/{(await services.jobs.queue.put(replace(asked, delay_seconds=3600))).id}"
    assert (await archive.client.post(f"{path}/cancel")).json()["state"] == "cancelled"
    document = (await archive.client.get(f"/submissions/{asked.arguments['submission']}")).json()
    assert document["state"] == "approved"


async def test_a_publication_whose_end_nobody_has_noted_has_succeeded(archive: Archive) -> None:
    services, asked = await begun(archive)

    async def tell(report: object, total: int) -> None:
        pass

    # As if the process had been killed between the end of the work and that of the job.
    await services.publishing.publish(asked.arguments["submission"], asked.arguments["space"], actor="c", tell=tell)
    job = await ended(archive, f"/jobs/{(await services.jobs.queue.put(asked)).id}")
    assert job["state"] == "succeeded"


async def test_publishing_begins_only_of_the_revision_that_was_asked_for(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    submission = await approved(archive, 1)
    service = archive.app.state.services.submissions
    found = (await archive.client.get(f"/submissions/{submission['name']}")).json()
    # Somebody else is quicker, after the revision was compared.
    await act(archive, submission, "reconsider")
    await act(archive, submission, "approve")
    with pytest.raises(PreconditionFailedError):
        await service.advance(found["name"], Action.BEGIN_PUBLISHING, actor="c", revision=found["revision"])
    begun = await service.advance(found["name"], Action.BEGIN_PUBLISHING, actor="c", revision=found["revision"] + 2)
    assert begun.state == "publishing"


async def test_nothing_is_being_published_without_its_job(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    name = (await approved(archive, 1))["name"]
    services = archive.app.state.services

    def no_job(_: Submission) -> NewJob:
        raise InvalidParameterError("comment", accepted="none")

    with pytest.raises(InvalidParameterError):
        await services.submissions.begin_work(name, Action.BEGIN_PUBLISHING, no_job, actor="c")
    assert (await archive.client.get(f"/submissions/{name}")).json()["state"] == "approved"
    # One that was left like that by an earlier version is given its job when it is asked for again.
    await services.submissions.advance(name, Action.BEGIN_PUBLISHING, actor="c")
    document = (await archive.client.get(f"/submissions/{name}")).json()
    answer = await act(archive, document, "publish")
    assert (await ended(archive, answer.json()["job"]))["state"] == "succeeded"


async def begun(archive: Archive) -> tuple[Any, NewJob]:
    """Begin to publish a submission, and return the services and the job that would do it."""
    await archive.store(*ct_series(1))
    submission = await approved(archive, 1)
    services = archive.app.state.services
    found = await services.submissions.advance(submission["name"], Action.BEGIN_PUBLISHING, actor="c")
    return services, NewJob(PUBLISH_SUBMISSION, "c", publishing_arguments(found), collection_id=1)


async def withdraw(archive: Archive, **asked: Any) -> httpx.Response:
    return await archive.client.post("/withdrawals", json={"study": f"{UID}.1", "reason": "phi_in_header", **asked})


async def test_a_withdrawn_study_is_gone_with_its_reason_and_comes_back_when_it_is_published(archive: Archive) -> None:
    files = ct_series(2)
    await archive.store(*files, *ct_series(1, study=2))
    assert (await archive.get(f"{INSTANCE}/metadata")).status_code == 200
    answer = await withdraw(archive, comment="A name in the comments")
    assert answer.status_code == 201
    document = answer.json()
    assert (document["instances"], answer.headers["location"]) == (2, document["submission"])
    for path in (f"/studies/{UID}.1", INSTANCE, f"{INSTANCE}/frames/1", f"{INSTANCE}/metadata"):
        gone = await archive.get(path)
        assert gone.status_code == 410
        assert "phi_in_header" in gone.json()["detail"]
        assert "comments" not in gone.text
    assert len((await archive.get("/studies")).json()) == 1
    there = await archive.client.get(f"{document['dicomweb']}{INSTANCE}", headers=OCTETS)
    assert there.content == files[0]
    submission = (await archive.client.get(document["submission"])).json()
    assert (submission["state"], submission["held"]["instances"]) == ("in_review", 2)
    trail = (await archive.client.get(f"{document['submission']}/events")).json()["events"]
    assert [(event["kind"], event["comment"]) for event in trail] == [
        ("submission_opened", ""),
        ("study_withdrawn", "A name in the comments"),
    ]
    assert (await withdraw(archive)).status_code == 410
    assert (await act(archive, submission, "approve")).status_code == 200
    await ended(archive, (await act(archive, submission, "publish")).json()["job"])
    assert (await archive.get(INSTANCE, headers=OCTETS)).content == files[0]


async def test_withdrawing_needs_a_known_study_a_reason_and_the_role(start_archive: StartArchive) -> None:
    async with start_archive(api_key="secret") as archive:
        assert (await withdraw(archive)).status_code == 401
        archive.client.headers["authorization"] = "Bearer secret"
        assert (await withdraw(archive)).status_code == 404
        for asked in ({"reason": "because"}, {"reason": None}, {"study": "1.2\n"}, {"comment": "\0"}, {"other": 1}):
            answer = await withdraw(archive, **asked)
            assert answer.status_code == 400, answer.text
            assert next(iter(asked)) in answer.json()["detail"] or "other" in asked


async def test_a_withdrawn_study_that_is_sent_again_waits_for_a_curator(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    await withdraw(archive)
    for files in (ct_series(1), ct_series(2, series=2)):
        answer = await archive.store(*files)
        assert answer.status_code == 202
    assert (await archive.get("/studies")).json() == []
    assert (await archive.get(f"/studies/{UID}.1")).status_code == 410
    # What comes besides is published as ever.
    assert (await archive.store(*ct_series(1), *ct_series(1, study=2))).status_code == 202
    assert len((await archive.get("/studies")).json()) == 1
    held = (await archive.client.get("/submissions")).json()["submissions"]
    assert sorted(each["held"]["instances"] for each in held) == [1, 3]
