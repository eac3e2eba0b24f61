"""What is announced for a submission: set, compared with what has come, and in the way of its checks."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import httpx
import pytest
from blake3 import blake3
from tests.factories import ROOT, ct_series
from tests.http.archive import RELATED, Archive, related
from tests.http.conftest import StartArchive

from dicomweb_archive.services.access import Principal, PrincipalKind, Role

STUDY = f"{ROOT}.951"


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive that does its jobs in process."""
    async with start_archive(job_slots=1) as archive:
        yield archive


async def opened(archive: Archive, **headers: str) -> str:
    document = (await archive.client.post("/submissions", json={}, headers=headers)).json()
    return f"/submissions/{document['name']}"


async def announce(archive: Archive, path: str, *uids: str, match: str = "*", **said: Any) -> httpx.Response:
    instances = [{"sop_instance_uid": uid} for uid in uids]
    body = {"instances": instances, **said}
    return await archive.client.put(f"{path}/manifest", json=body, headers={"if-match": match})


async def sealed(archive: Archive, path: str) -> str:
    """Seal a submission and return the state that its checks lead to."""
    assert (await archive.client.post(f"{path}/seal", headers={"if-match": "*"})).status_code == 200
    async with asyncio.timeout(60):
        while True:
            state: str = (await archive.client.get(path)).json()["state"]
            if state not in ("sealed", "checking"):
                return state
            await asyncio.sleep(0.02)


async def compared(archive: Archive, path: str, **asked: Any) -> dict[str, Any]:
    answer = await archive.client.get(f"{path}/manifest", params=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_missing_instance_blocks_until_it_has_come(archive: Archive) -> None:
    path = await opened(archive)
    files = ct_series(4, study=951)
    uids = [f"{STUDY}.1.{number}" for number in range(1, 5)]
    right, wrong = blake3(files[0]).hexdigest(), "0" * 64
    instances = [
        {"sop_instance_uid": uids[0], "digest": right},
        {"sop_instance_uid": uids[1], "digest": wrong},
        {"sop_instance_uid": uids[2]},
    ]
    answer = await announce(archive, path, match='"1"', instances=instances, totals={"studies": 1, "instances": 3})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert (answer.json()["expected"], answer.json()["missing"], answer.json()["agrees"]) == (3, 3, False)
    lines = f"{uids[0]} {right}\n{uids[1]} {wrong}\n{uids[2]} -\n"
    assert answer.json()["fingerprint"] == sha256(lines.encode()).hexdigest()

    async def store(*sent: bytes) -> None:
        content = related(sent)
        where = f"{path}/dicom-web/studies"
        assert (await archive.client.post(where, content=content, headers={"content-type": RELATED})).status_code == 200

    await store(files[0], files[1], files[3])
    document = await compared(archive, path)
    counts = [document[name] for name in ("expected", "there", "missing", "unexpected", "differing")]
    assert counts == [3, 1, 1, 1, 1]
    assert document["held"] == {**document["held"], "studies": 1, "series": 1, "instances": 3}
    standings = [(each["sop_instance_uid"], each["standing"]) for each in document["instances"]]
    assert standings == [(uids[1], "differing"), (uids[2], "missing"), (uids[3], "unexpected")]
    page = await compared(archive, path, limit=1)
    assert (len(page["instances"]), page["next"]) == (1, uids[1])
    assert (await compared(archive, path, limit=2, since=page["next"]))["instances"] == document["instances"][1:]
    assert (await compared(archive, path, standing="missing"))["instances"] == document["instances"][1:2]

    assert await sealed(archive, path) == "failed_checks"
    found = (await archive.client.get(f"{path}/findings", params={"check": "manifest"})).json()["findings"]
    assert [(each["severity"], each["level"], each["instances"]) for each in found] == [("block", "submission", 1)] * 3
    assert (await announce(archive, path, *uids)).status_code == 409
    await archive.client.post(f"{path}/reopen", headers={"if-match": "*"})
    await store(files[2])
    assert (await announce(archive, path, *uids, totals={"studies": 2})).json()["agrees"] is False
    assert (await announce(archive, path, *uids, totals={"studies": 1, "series": 1})).json()["agrees"] is True
    assert await sealed(archive, path) == "in_review"
    assert (await archive.client.get(f"{path}/findings", params={"check": "manifest"})).json()["total"] == 0
    events = (await archive.client.get(f"{path}/events")).json()["events"]
    told = [each["detail"]["instances"] for each in events if each["kind"] == "submission_manifest_set"]
    assert told == [3, 4, 4]


async def test_totals_alone_name_no_instance_as_unexpected(archive: Archive) -> None:
    path = await opened(archive)
    assert (await archive.client.get(f"{path}/manifest")).status_code == 404
    assert (await announce(archive, path, totals={"instances": 1})).status_code == 200
    document = await compared(archive, path)
    assert (document["agrees"], document["unexpected"], document["instances"]) == (False, 0, [])
    assert await sealed(archive, path) == "failed_checks"


async def test_a_manifest_names_the_revision_that_it_is_meant_for(archive: Archive) -> None:
    path = await opened(archive)
    assert (await archive.client.put(f"{path}/manifest", json={})).status_code == 428
    assert (await announce(archive, path, match='"2"')).status_code == 412
    assert (await announce(archive, path, match='"1"')).status_code == 200
    assert (await announce(archive, path, match='"1"')).status_code == 412


async def test_what_cannot_be_announced_is_refused_without_its_value(archive: Archive) -> None:
    path = await opened(archive)
    refused: list[dict[str, Any]] = [
        {"instances": [{"sop_instance_uid": "1.2"}, {"sop_instance_uid": "1.2"}]},
        {"instances": [{"sop_instance_uid": "Doe^Jane"}]},
        {"instances": [{"sop_instance_uid": "1.2", "digest": "Doe"}]},
        {"instances": [{"sop_instance_uid": "1." + "2" * 63}]},
        {"instances": [{"sop_instance_uid": "1.2", "sha256": "0" * 64}]},
        {"totals": {"instances": -1}},
        {"instances": [{"sop_instance_uid": f"1.{number}"} for number in range(50_001)]},
    ]
    for body in refused:
        answer = await archive.client.put(f"{path}/manifest", json=body, headers={"if-match": "*"})
        assert answer.status_code == 400
        assert "Doe" not in answer.text
    assert (await archive.client.get(f"{path}/manifest")).status_code == 404


async def test_a_manifest_is_for_those_who_may_know_of_the_submission(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=0) as archive:
        roles = frozenset({Role.READER, Role.SUBMITTER})
        archive.let_in(*(Principal(name, PrincipalKind.KEY_HOLDER, roles) for name in ("ann", "bob")))
        ann, bob = ({"authorization": f"Bearer {name}", "if-match": "*"} for name in ("ann", "bob"))
        path = await opened(archive, authorization="Bearer ann")
        assert (await archive.client.put(f"{path}/manifest", json={}, headers=ann)).status_code == 200
        assert (await archive.client.put(f"{path}/manifest", json={}, headers=bob)).status_code == 404
        assert (await archive.client.get(f"{path}/manifest", headers=bob)).status_code == 404
        assert (await archive.client.get(f"{path}/manifest")).status_code in (401, 404)
