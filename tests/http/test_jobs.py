"""Jobs over HTTP: who sees them, and how they are ended and begun anew."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.http.archive import Archive
from tests.http.conftest import StartArchive

from dicomweb_archive.index.jobs.queue import JobQueue, Lease, NewJob, Progress
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included
from dicomweb_archive.services.jobs.kinds import JobKind, JobRun

KEY = {"authorization": "Bearer a key of the tests"}


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    async with start_archive(api_key="a key of the tests", job_slots=0) as archive:
        yield archive


async def test_jobs_are_listed_watched_ended_and_begun_anew(archive: Archive) -> None:
    service = archive.app.state.services.jobs
    ids = [(await service.queue.put(NewJob("no-such", "tester", {}, subject=f"/x/{n}"))).id for n in range(3)]
    answer = await archive.client.get("/jobs", params={"limit": 2, "kind": "no-such"}, headers=KEY)
    assert [job["id"] for job in answer.json()["jobs"]] == [ids[2], ids[1]]
    assert answer.headers["cache-control"] == "private, no-cache"
    older = await archive.client.get(answer.json()["next"], headers=KEY)
    assert ([job["id"] for job in older.json()["jobs"]], older.json()["next"]) == ([ids[0]], None)
    about = await archive.client.get("/jobs", params={"subject": "/x/1", "state": "waiting"}, headers=KEY)
    assert [job["id"] for job in about.json()["jobs"]] == [ids[1]]

    one = f"/jobs/{ids[0]}"
    assert (await archive.client.get(one, headers=KEY)).json()["state"] == "waiting"
    assert (await archive.client.post(f"{one}/cancel", headers=KEY)).json()["state"] == "cancelled"
    again = await archive.client.post(f"{one}/cancel", headers=KEY)
    assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")
    assert (await archive.client.post(f"{one}/run-again", headers=KEY)).json()["state"] == "waiting"
    assert (await archive.client.get("/jobs/99999", headers=KEY)).status_code == 404
    for parameter in ("kind", "subject"):
        assert (await archive.client.get("/jobs", params={parameter: "a\0"}, headers=KEY)).status_code == 400
    for wrong in ("/jobs/0", "/jobs/abc", "/jobs?limit=0", "/jobs?state=asleep", f"/jobs/{2**63}"):
        answer = await archive.client.get(wrong, headers=KEY)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), wrong


async def test_jobs_are_for_curators_of_their_collection(archive: Archive) -> None:
    assert (await archive.client.get("/jobs")).status_code == 401
    service = archive.app.state.services.jobs
    roles = with_included([Role.CURATOR])
    curator = Principal("c", PrincipalKind.KEY_HOLDER, roles, collections=frozenset({1}))
    other = Principal("o", PrincipalKind.KEY_HOLDER, roles, collections=frozenset({2}))
    job = await service.enqueue("no-such", {}, curator, collection_id=1)
    await service.queue.put(NewJob("no-such", "archive", {}))
    assert [each.id for each in await service.list_jobs(curator)] == [job.id]
    assert not await service.list_jobs(other)


async def test_a_list_of_jobs_has_no_lists_in_it(archive: Archive) -> None:
    queue: JobQueue = archive.app.state.services.jobs.queue
    job = await queue.put(NewJob("long", "tester", {"names": ["a"] * 1000}))
    await queue.take(["long"], "worker", lease_seconds=60)
    result = {"done": 3, "outcomes": [["a", "done", ""]], "more": {"x": 1}}
    await queue.end(Lease(job.id, "worker", 60), "succeeded", Progress(), result=result, problem=None)
    (listed,) = (await archive.client.get("/jobs", params={"kind": "long"}, headers=KEY)).json()["jobs"]
    assert listed["result"] == {"done": 3}
    assert (await archive.client.get(f"/jobs/{job.id}", headers=KEY)).json()["result"] == result
    waiting = await queue.put(NewJob("longer", "tester", {}))
    (listed,) = (await archive.client.get("/jobs", params={"kind": "longer"}, headers=KEY)).json()["jobs"]
    assert (listed["id"], listed["result"]) == (waiting.id, None)


async def test_a_server_process_does_jobs_beside_its_requests(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=1) as archive:
        service = archive.app.state.services.jobs
        runner = service.wake.__self__

        async def work(run: JobRun) -> dict[str, object]:
            return {"number": run.job.arguments["number"]}

        runner.kinds.register(JobKind("echo", work))
        principal = Principal("t", PrincipalKind.KEY_HOLDER, with_included([Role.ADMIN]))
        job = await service.enqueue("echo", {"number": 4}, principal, collection_id=None)
        async with asyncio.timeout(30):
            while True:
                found = (await archive.client.get(f"/jobs/{job.id}")).json()
                if found["state"] == "succeeded":
                    break
                await asyncio.sleep(0.02)
        assert found["result"] == {"number": 4}
        kinds = {each["kind"] for each in (await archive.client.get("/jobs")).json()["jobs"]}
        assert {"look-after-index", "find-orphans", "forget-jobs"} <= kinds
