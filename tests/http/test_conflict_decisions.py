"""Decisions on conflicts: what stands stays, or gives way to what came and can be had back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import RELATED, Archive, related
from tests.http.conftest import StartArchive
from tests.spaces import disagreements
from tests.submitted import database_of

from dicomweb_archive.checks.findings import Finding, Severity
from dicomweb_archive.index.curation.conflict_decisions.rulings import Ruling
from dicomweb_archive.index.curation.conflicts import ConflictDecision
from dicomweb_archive.index.curation.findings import FindingIndex
from dicomweb_archive.index.upkeep.merging import SegmentMerger
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included
from dicomweb_archive.services.submissions.conflict_decisions import Decided

STUDY, SERIES = f"{UID}.1", f"{UID}.1.1"
OCTETS = {"accept": "application/dicom; transfer-syntax=*"}


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive that does its jobs in process."""
    async with start_archive(job_slots=1) as archive:
        yield archive


def instance(number: int) -> str:
    return f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.{number}"


async def contradicted(archive: Archive, stand: list[bytes], come: list[bytes]) -> tuple[str, list[dict[str, Any]]]:
    """Publish some instances, send others under their UIDs, and return the path of the submission and its conflicts."""
    if stand:
        await archive.store(*stand)
    assert (await archive.store(*come)).status_code == 409
    (waiting,) = (await archive.client.get("/submissions")).json()["submissions"]
    path = f"/submissions/{waiting['name']}"
    return path, (await archive.client.get(f"{path}/conflicts")).json()["conflicts"]


async def decide(archive: Archive, path: str, conflict: int, decision: str, **said: Any) -> httpx.Response:
    headers = {"if-match": (await archive.client.get(path)).headers["etag"]}
    asked = {"decision": decision, **said}
    return await archive.client.post(f"{path}/conflicts/{conflict}/decision", json=asked, headers=headers)


async def decide_many(archive: Archive, path: str, decision: str, **said: Any) -> dict[str, Any]:
    headers = {"if-match": (await archive.client.get(path)).headers["etag"]}
    url = f"{path}/conflicts/decisions"
    answer = await archive.client.post(url, json={"decision": decision, **said}, headers=headers)
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(60):
        while True:
            job = (await archive.client.get(answer.json()["job"])).json()
            if job["state"] not in ("waiting", "running"):
                assert job["state"] == "succeeded", job
                return dict(job["result"])
            await asyncio.sleep(0.02)


async def content(archive: Archive, number: int = 1) -> bytes:
    return (await archive.get(instance(number), headers=OCTETS)).content


async def test_what_came_takes_the_place_of_what_stands_and_gives_it_back(archive: Archive) -> None:
    old = ct_series(3)
    (new,) = ct_series(1, PatientWeight="70", PatientName="Roe^Richard")
    path, (conflict,) = await contradicted(archive, old, [new])
    # Whatever was read before is not served from memory.
    assert (await archive.get(f"{instance(1)}/metadata")).status_code == 200
    answer = await decide(archive, path, conflict["id"], "replace", reason="quality", comment="The scale was off")
    assert answer.status_code == 200, answer.text
    decided = answer.json()
    assert (decided["decision"], decided["reason"], decided["size_bytes"]) == ("replace", "quality", len(old[0]))
    assert decided["decided_by"]
    assert await content(archive) == new
    assert await content(archive, 2) == old[1]
    (metadata,) = (await archive.get(f"{instance(1)}/metadata")).json()
    assert metadata["00101030"]["Value"] == [70]
    assert len((await archive.get("/instances", params={"PatientWeight": "70"})).json()) == 1
    assert await archive.stored_instances() == 3
    compared = (await archive.client.get(f"{path}/conflicts/{conflict['id']}")).json()
    assert [each["keyword"] for each in compared["differences"]] == ["PatientName", "PatientWeight"]
    # What is known by either content is neither stored nor kept again.
    assert (await archive.store(new)).status_code == 200
    assert (await archive.store(old[0])).status_code == 409
    assert (await archive.client.get(f"{path}/conflicts")).json()["total"] == 1
    for refused in ("keep", "reject"):
        assert (await decide(archive, path, conflict["id"], refused, reason="other")).status_code == 409
    assert (await decide(archive, path, conflict["id"], "replace")).json()["decision"] == "keep"
    assert await content(archive) == old[0]
    assert not any((await disagreements(database_of(archive)))[:3])
    events = (await archive.client.get(f"{path}/events")).json()["events"]
    told = [each for each in events if each["kind"] == "conflicts_decided"]
    assert [(each["detail"]["decision"], each["comment"]) for each in told] == [
        ("replace", "The scale was off"),
        ("replace", ""),
    ]
    async with asyncio.timeout(30):
        while True:
            changes = (await archive.client.get("/changes")).json()["changes"]
            if [each["kind"] for each in changes].count("instances_replaced") == 2:
                break
            await asyncio.sleep(0.02)


async def test_a_decision_is_for_curators_by_revision_and_a_rejection_says_why(archive: Archive) -> None:
    path, (conflict,) = await contradicted(archive, ct_series(1), ct_series(1, PatientWeight="70"))
    url = f"{path}/conflicts/{conflict['id']}/decision"
    assert (await archive.client.post(url, json={"decision": "keep"})).status_code == 428
    assert (await decide(archive, path, conflict["id"], "reject")).status_code == 400
    assert (await decide(archive, path, conflict["id"], "overwrite")).status_code == 400
    assert (await decide(archive, path, 10**9, "keep")).status_code == 404
    before = (await archive.client.get(path)).headers["etag"]
    answer = await decide(archive, path, conflict["id"], "reject", reason="wrong_patient")
    assert answer.json()["decision"] == "reject"
    assert answer.headers["etag"] == (await archive.client.get(path)).headers["etag"] != before
    late = await archive.client.post(url, json={"decision": "keep"}, headers={"if-match": before})
    assert late.status_code == 412
    # Sent again it is known as what was rejected, and nobody has to decide anew.
    assert (await archive.store(*ct_series(1, PatientWeight="70"))).status_code == 409
    counts = [(await archive.client.get(f"{path}/conflicts", params={"undecided": each})).json() for each in (1, 0)]
    assert [each["total"] for each in counts] == [0, 1]
    opener = Principal("anonymous", PrincipalKind.KEY_HOLDER, with_included([Role.SUBMITTER]))
    curator = Principal("curator", PrincipalKind.KEY_HOLDER, with_included([Role.CURATOR]))
    archive.let_in(opener, curator)
    for name, status in (("anonymous", 403), ("curator", 200)):
        headers = {"authorization": f"Bearer {name}", "if-match": "*"}
        answer = await archive.client.post(url, json={"decision": "replace"}, headers=headers)
        assert answer.status_code == status, (name, answer.text)
        # What stood before is for curators.
        compared = await archive.client.get(f"{path}/conflicts/{conflict['id']}", headers=headers)
        assert compared.status_code == 200
    headers = {"authorization": "Bearer anonymous"}
    assert (await archive.client.get(f"{path}/conflicts/{conflict['id']}", headers=headers)).status_code == 403


async def test_many_are_decided_on_with_one_call(archive: Archive) -> None:
    old, new = [*ct_series(4), *ct_series(2, series=2)], ct_series(4, PatientWeight="70")
    path, conflicts = await contradicted(archive, old, [*new, *ct_series(2, series=2, PatientWeight="70")])
    services = archive.app.state.services
    space = (await services.checks.submission(path.rpartition("/")[2])).space_id
    said = Finding("conflict", 1, Severity.BLOCK, "", study_instance_uid=STUDY, series_instance_uid=SERIES)
    await FindingIndex(database_of(archive)).add(space, [said])
    chosen = [each["id"] for each in conflicts if each["sop_instance_uid"] == f"{SERIES}.1"]
    assert await decide_many(archive, path, "keep", conflicts=chosen) == {"decided": 1, "obstacles": {}}
    assert (await archive.client.get(f"{path}/findings")).json()["total"] == 1
    # One after the other, when no more can be held.
    service = replace(services.conflict_decisions, held_bytes=1)
    submission = await services.checks.submission(path.rpartition("/")[2])
    several = [each["id"] for each in conflicts if each["sop_instance_uid"] in (f"{SERIES}.2", f"{SERIES}.3")]
    ruling = Ruling(ConflictDecision.REPLACE, "tester")
    assert await service.decide_batch(submission, [*several, 10**9], ruling) == Decided(2)
    result = await decide_many(archive, path, "replace", study=STUDY, series=SERIES)
    assert result == {"decided": 1, "obstacles": {}}
    assert (await archive.client.get(f"{path}/findings")).json()["total"] == 0
    for number, file in enumerate([old[0], *new[1:]], start=1):
        assert await content(archive, number) == file
    assert await archive.stored_instances() == 6
    assert not any((await disagreements(database_of(archive)))[:3])
    left = (await archive.client.get(f"{path}/conflicts", params={"undecided": True})).json()["conflicts"]
    assert [each["series_instance_uid"] for each in left] == [f"{STUDY}.2"] * 2
    assert await decide_many(archive, path, "reject", reason="duplicate") == {"decided": 2, "obstacles": {}}


async def test_what_replaces_something_that_waits_is_checked_before_it_is_approved(archive: Archive) -> None:
    (old,), (new,) = ct_series(1), ct_series(1, PatientWeight="70")
    headers = {"content-type": RELATED}
    path = "/submissions/" + (await archive.client.post("/submissions", json={})).json()["name"]
    for file, status in ((old, 200), (new, 409)):
        answer = await archive.client.post(f"{path}/dicom-web/studies", content=related([file]), headers=headers)
        assert answer.status_code == status, answer.text
    database = database_of(archive)
    async with database.transaction() as connection:
        await connection.execute("update submission set state = 'in_review' where name = $1", path.rpartition("/")[2])
    (conflict,) = (await archive.client.get(f"{path}/conflicts")).json()["conflicts"]
    assert (await decide(archive, path, conflict["id"], "replace")).status_code == 200
    refused = await archive.client.post(f"{path}/approve", json={}, headers={"if-match": "*"})
    assert (refused.status_code, "checked again" in refused.text) == (409, True)
    checks = (await archive.client.post(f"{path}/checks", json={})).json()["url"]
    async with asyncio.timeout(30):
        while True:
            if (await archive.client.get(checks)).json()["state"] not in ("waiting", "running"):
                break
            await asyncio.sleep(0.02)
    approved = await archive.client.post(f"{path}/approve", json={}, headers={"if-match": "*"})
    assert approved.status_code == 200, approved.text
    # What is approved does not change behind the approval.
    refused = await decide(archive, path, conflict["id"], "replace")
    assert (refused.status_code, "approv" in refused.json()["detail"]) == (409, True)


async def test_what_cannot_replace_anything_says_why(archive: Archive) -> None:
    (elsewhere,) = ct_series(1, series=2, SOPInstanceUID=f"{SERIES}.1")
    come = [elsewhere, *ct_series(3, PatientWeight="70")[1:]]
    path, conflicts = await contradicted(archive, ct_series(3), come)
    ids = {(each["series_instance_uid"], each["sop_instance_uid"][-1]): each["id"] for each in conflicts}
    answer = await decide(archive, path, ids[f"{STUDY}.2", "1"], "replace")
    assert (answer.status_code, "other_series" in answer.json()["detail"]) == (409, True)
    await archive.client.delete(f"/dicom-web{instance(2)}")
    answer = await decide(archive, path, ids[SERIES, "2"], "replace")
    assert (answer.status_code, "nothing_stands" in answer.json()["detail"]) == (409, True)
    for pack in archive.files():
        pack.write_bytes(pack.read_bytes().replace(b"70", b"71"))
    obstacles = {"other_series": 1, "nothing_stands": 1, "damaged": 1}
    assert await decide_many(archive, path, "replace") == {"decided": 0, "obstacles": obstacles}
    headers = {"if-match": "*"}
    answer = await archive.client.post(f"{path}/reject", json={"reason": "other"}, headers=headers)
    assert answer.status_code == 200
    answer = await decide(archive, path, conflicts[0]["id"], "keep")
    assert (answer.status_code, "rejected" in answer.json()["detail"]) == (409, True)


async def test_decisions_deletes_and_merges_at_once_end_in_agreement(archive: Archive) -> None:
    new = ct_series(6, PatientWeight="70")
    for file in ct_series(6):
        await archive.store(file)
    path, conflicts = await contradicted(archive, [], new)
    assert len(conflicts) == 6
    database = database_of(archive)
    merger = SegmentMerger(database, quiet_seconds=-1, cold_seconds=-1)
    statuses: dict[int, int] = {}

    async def put(conflict: dict[str, Any]) -> None:
        number = int(conflict["sop_instance_uid"].rpartition(".")[2])
        async with asyncio.timeout(60):
            while statuses.get(number, 412) in (412, 503):
                answer = await decide(archive, path, conflict["id"], "replace")
                statuses[number] = answer.status_code

    async def delete(number: int) -> None:
        assert (await archive.client.delete(f"/dicom-web{instance(number)}")).status_code == 204

    await asyncio.gather(*(put(each) for each in conflicts), delete(2), delete(5), merger.merge(), merger.merge())
    assert not any((await disagreements(database))[:3])
    assert await archive.stored_instances() == 4
    for number in (1, 3, 4, 6):
        assert statuses[number] == 200
        assert await content(archive, number) == new[number - 1]
    assert {statuses[2], statuses[5]} <= {200, 409}
