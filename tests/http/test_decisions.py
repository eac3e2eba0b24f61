"""Decisions on many submissions at once: an outcome for each, gone on with after an interruption."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import RELATED, Archive, related
from tests.http.conftest import StartArchive
from tests.http.test_submissions import act, opened

from dicomweb_archive.index.jobs.queue import JobQueue, Lease, Progress
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included
from dicomweb_archive.services.jobs.runner import JobRunner
from dicomweb_archive.services.submissions.decisions import DECIDE_SUBMISSIONS

DECISIONS = "/submissions/decisions"


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive whose jobs are done when a test says so."""
    async with start_archive(job_slots=0) as archive:
        yield archive


async def do_jobs(archive: Archive) -> None:
    runner: JobRunner = archive.app.state.services.jobs.wake.__self__
    while await runner.run_one() is not None:
        pass


async def decided(archive: Archive, **asked: Any) -> dict[str, Any]:
    """Decide, and return what became of it after all jobs were done."""
    answer = await archive.client.post(DECISIONS, json=asked)
    assert answer.status_code == 202, answer.text
    await do_jobs(archive)
    document: dict[str, Any] = (await archive.client.get(answer.headers["location"])).json()
    assert document["state"] == "succeeded"
    return document


def outcomes(document: dict[str, Any]) -> list[str]:
    return [each["outcome"] for each in document["submissions"]]


async def states(archive: Archive, *submissions: dict[str, Any]) -> list[str]:
    paths = [f"/submissions/{each['name']}" for each in submissions]
    return [(await archive.client.get(path)).json()["state"] for path in paths]


async def test_many_go_from_open_to_published_with_one_call_a_step(archive: Archive) -> None:
    submissions = [await opened(archive, site="Graz", title=f"Part {number}") for number in range(3)]
    for number, each in enumerate(submissions[:2]):
        body = related(ct_series(1, study=810 + number))
        path = f"/submissions/{each['name']}/dicom-web/studies"
        stored = await archive.client.post(path, content=body, headers={"content-type": RELATED})
        assert stored.status_code == 200, stored.text
    matching = {"site": ["Graz"], "text": "part"}
    # Sealing runs the checks, as it does for one.
    assert outcomes(await decided(archive, action="seal", filter=matching)) == ["done"] * 3
    assert await states(archive, *submissions) == ["in_review"] * 3
    await decided(archive, action="approve", filter=matching, comment="All of them")
    named = [{"name": each["name"], "revision": None} for each in submissions]
    await decided(archive, action="publish", submissions=named)
    assert await states(archive, *submissions) == ["published"] * 3
    assert len((await archive.get("/studies", params={"StudyInstanceUID": f"{UID}.810,{UID}.811"})).json()) == 2
    trail = (await archive.client.get(f"/submissions/{submissions[0]['name']}/events")).json()["events"]
    assert "All of them" in [event["comment"] for event in trail]
    # Nothing matches any more: there is nothing to do.
    answer = await archive.client.post(DECISIONS, json={"action": "publish", "filter": matching})
    assert (answer.status_code, answer.json()) == (202, {"jobs": []})


async def test_each_has_an_outcome_of_its_own(archive: Archive) -> None:
    good, changed, elsewhere, already = [await opened(archive, title=f"{number}") for number in range(4)]
    await act(archive, already, "reject", reason="corrupt")
    await act(archive, elsewhere, "seal")
    await archive.client.patch(f"/submissions/{changed['name']}", json={"title": "Another"}, headers={"if-match": "*"})
    named = [{"name": each["name"], "revision": each["revision"]} for each in (good, changed, elsewhere, already)]
    document = await decided(archive, action="reject", reason="duplicate", submissions=named)
    found = {each["name"]: each["outcome"] for each in document["submissions"]}
    assert [found[each["name"]] for each in (good, changed, elsewhere, already)] == [
        "done",
        "changed",
        "changed",
        "done",
    ]
    assert document["counts"]["done"] == 2
    assert "read it again" in next(each["problem"] for each in document["submissions"] if each["problem"])
    assert (await states(archive, good, changed))[1] == "open"
    only = await archive.client.get(f"{DECISIONS}/{await last_job(archive)}", params={"outcome": "changed", "limit": 1})
    assert (only.json()["total"], len(only.json()["submissions"])) == (2, 1)
    document = await decided(archive, action="approve", submissions=[{"name": changed["name"]}])
    assert outcomes(document) == ["not_in_this_state"]


async def last_job(archive: Archive) -> int:
    answer = await archive.client.get("/jobs", params={"kind": DECIDE_SUBMISSIONS, "limit": 1})
    found: int = answer.json()["jobs"][0]["id"]
    return found


async def test_an_interrupted_decision_goes_on_and_a_cancelled_one_says_what_was_done(archive: Archive) -> None:
    submissions = [await opened(archive, title="Interrupted") for _ in range(3)]
    named = [{"name": each["name"], "revision": each["revision"]} for each in submissions]
    await archive.client.post(DECISIONS, json={"action": "withdraw", "submissions": named})
    queue: JobQueue = archive.app.state.services.jobs.queue
    taken = await queue.take([DECIDE_SUBMISSIONS], "dead", lease_seconds=60)
    assert taken is not None
    # Its worker has decided on two, told of one, and died.
    for each in submissions[:2]:
        await act(archive, each, "withdraw")
    told = {"outcomes": [[submissions[0]["name"], "done", ""]]}
    lease = Lease(taken.id, "dead", 60)
    await queue.put_back(lease, Progress(1, 3, told), delay_seconds=0, problem=None, attempt=1)
    before = await archive.client.get(f"{DECISIONS}/{taken.id}")
    assert outcomes(before.json()) == ["done", "waiting", "waiting"]
    await do_jobs(archive)
    after = await archive.client.get(f"{DECISIONS}/{taken.id}")
    assert (outcomes(after.json()), after.json()["state"]) == (["done"] * 3, "succeeded")
    assert await states(archive, *submissions) == ["withdrawn"] * 3

    submissions = [await opened(archive, title="Cancelled") for _ in range(2)]
    named = [{"name": each["name"]} for each in submissions]
    answer = await archive.client.post(DECISIONS, json={"action": "withdraw", "submissions": named})
    taken = await queue.take([DECIDE_SUBMISSIONS], "worker", lease_seconds=60)
    assert taken is not None
    told = Progress(1, 2, {"outcomes": [[submissions[0]["name"], "done", ""]]})
    await queue.end(Lease(taken.id, "worker", 60), "cancelled", told, result=None, problem=None)
    document = (await archive.client.get(answer.headers["location"])).json()
    assert (document["state"], outcomes(document)) == ("cancelled", ["done", "waiting"])


async def test_who_begins_decisions_anew_decides_with_their_own_name_and_rights(archive: Archive) -> None:
    curators = [Principal(name, PrincipalKind.KEY_HOLDER, with_included([Role.CURATOR])) for name in ("one", "two")]
    submission = await opened(archive, title="Taken over")
    archive.let_in(*curators)
    one, two = ({"authorization": f"Bearer {each.name}"} for each in curators)
    asked = {"action": "reject", "reason": "other", "submissions": [{"name": submission["name"]}]}
    planned = (await archive.client.post(DECISIONS, json=asked, headers=one)).json()["jobs"][0]
    assert (await archive.client.post(f"{planned['job']}/cancel", headers=one)).status_code == 200
    again = await archive.client.post(f"{planned['job']}/run-again", headers=two)
    assert (again.status_code, again.json()["actor"]) == (200, "two")
    # What waits is only due earlier.
    assert (await archive.client.post(f"{planned['job']}/run-again", headers=one)).json()["actor"] == "two"
    await do_jobs(archive)
    events = (await archive.client.get(f"/submissions/{submission['name']}/events", headers=two)).json()["events"]
    assert (events[-1]["kind"], events[-1]["actor"]) == ("submission_state_changed", "two")


async def test_what_cannot_be_decided_is_refused_by_its_name(archive: Archive) -> None:
    for asked, named in (
        ({"action": "approve"}, "filter"),
        ({"action": "approve", "filter": {}, "submissions": [{"name": "a"}]}, "filter"),
        ({"action": "approve", "submissions": []}, "submissions"),
        ({"action": "approve", "submissions": [{"name": "nobody"}]}, "submissions"),
        ({"action": "reject", "filter": {}}, "reason"),
        ({"action": "begin-checks", "filter": {}}, "action"),
        ({"action": "approve", "filter": {"site": ["a\0b"]}}, "site"),
    ):
        answer = await archive.client.post(DECISIONS, json=asked)
        assert (answer.status_code, named in answer.json()["detail"]) == (400, True), asked
        assert "nobody" not in answer.text


async def test_deciding_on_many_is_for_curators_of_their_collections(archive: Archive) -> None:
    mine = await opened(archive, title="Rights")
    made = await archive.client.post("/collections", json={"title": "Another"})
    other = await opened(archive, title="Rights", collection=made.json()["accession"])
    curator = Principal("c", PrincipalKind.KEY_HOLDER, with_included([Role.CURATOR]), frozenset({1}))
    submitter = Principal("s", PrincipalKind.KEY_HOLDER, frozenset({Role.SUBMITTER}))
    archive.let_in(curator, submitter)
    asked = {"action": "withdraw", "filter": {"text": "Rights"}}
    assert (await archive.client.post(DECISIONS, json=asked)).status_code == 401
    headers = {"authorization": "Bearer s"}
    assert (await archive.client.post(DECISIONS, json=asked, headers=headers)).status_code == 403
    headers = {"authorization": "Bearer c"}
    both = {"action": "withdraw", "submissions": [{"name": mine["name"]}, {"name": other["name"]}]}
    assert (await archive.client.post(DECISIONS, json=both, headers=headers)).status_code == 400
    (planned,) = (await archive.client.post(DECISIONS, json=asked, headers=headers)).json()["jobs"]
    assert (planned["collection"], planned["submissions"]) == ("default", 1)
    # What is seen of a job is seen of its decisions.
    assert (await archive.client.get(planned["decisions"], headers=headers)).status_code == 200
    assert (await archive.client.get(f"{DECISIONS}/999999", headers=headers)).status_code == 404
    service = archive.app.state.services.jobs
    foreign = await service.enqueue("no-such", {}, curator, collection_id=1)
    assert (await archive.client.get(f"{DECISIONS}/{foreign.id}", headers=headers)).status_code == 404
