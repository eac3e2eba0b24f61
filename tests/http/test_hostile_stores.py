"""Bad instances of every kind: refused or kept as they came, and nothing else is touched by them."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psutil
import pytest
from tests.hostile_instances import PATIENT, HostileInstance, hostile_instances
from tests.http.archive import RELATED, Archive, related, values_of
from tests.http.conftest import StartArchive
from tests.http.test_pages_home import BROWSER
from tests.http.test_store import STORED, reasons
from tests.spaces import disagreements
from tests.submitted import database_of
from tests.unit.dicom import part10_bytes as build

MOST_GROWTH = 200 * 1024 * 1024
OCTETS = {"accept": "application/dicom; transfer-syntax=*"}
PREAMBLE = 128


def good(number: int) -> bytes:
    """Return a sound instance with a UID of its own, in a study of all of them."""
    instance = b"1.2.78.1.%d" % number
    return build.file(build.data_set(study=b"1.2.78", series=b"1.2.78.1", sop_instance=instance))


def strictly(answer: httpx.Response) -> Any:
    """Read an answer as JSON that knows no NaN and no Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert answer.status_code == 200, answer.text
    return json.loads(answer.content, parse_constant=refuse)


def told_nothing(log: pytest.LogCaptureFixture) -> None:
    """Nobody was alarmed, and no patient was named."""
    assert [each for each in log.records if each.levelno >= logging.ERROR or each.exc_info] == []
    assert "request" in log.text
    assert PATIENT not in log.text


async def test_bad_instances_of_every_kind_hinder_nothing(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before, sent, kept = psutil.Process().memory_info().rss, 0, 0
    for case in hostile_instances():
        # Each bad one comes between two good ones, which are stored whatever becomes of it.
        answer = await archive.store(good(sent), case.data, good(sent + 1))
        references = values_of(answer.json(), STORED)
        assert reasons(answer) == ([] if case.failure is None else [case.failure]), case.name
        assert answer.status_code in ((200, 202) if case.failure is None else (202,)), case.name
        assert len(references) == 2 + (case.failure is None), case.name
        assert PATIENT not in answer.text, case.name
        assert b"</script>" not in answer.content
        await has(archive, f"/studies/1.2.78/series/1.2.78.1/instances/1.2.78.1.{sent}", good(sent))
        if case.failure is None:
            kept += 1
            await is_served_as_it_came(archive, case)
        sent += 2
    assert psutil.Process().memory_info().rss - before < MOST_GROWTH
    found = strictly(await archive.get("/instances", params={"includefield": "all", "limit": "5000"}))
    assert len(found) == sent + kept
    assert await disagreements(database_of(archive)) == [0, 0, 0, 0, 0]
    told_nothing(caplog)


async def has(archive: Archive, path: str, data: bytes) -> None:
    answer = await archive.get(path, headers=OCTETS)
    assert answer.status_code == 200, path
    assert answer.content == data


async def is_served_as_it_came(archive: Archive, case: HostileInstance) -> None:
    """Every byte comes back, but for a preamble that something might run; the metadata are JSON."""
    stored = (await archive.get(case.path, headers=OCTETS)).content
    is_same = stored[PREAMBLE:] == case.data[PREAMBLE:]
    assert is_same, case.name
    assert stored[:PREAMBLE] in (bytes(PREAMBLE), case.data[:PREAMBLE])
    assert stored[:2] in (b"\0\0", b"II"), case.name
    answer = await archive.get(f"{case.path}/metadata")
    (document,) = strictly(answer)
    assert document["00080018"]["Value"] == [case.uids[2]]
    assert answer.headers["content-type"] == "application/dicom+json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture
async def curated(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive that does its jobs in process."""
    async with start_archive(job_slots=1, maintenance_interval_seconds=0, compaction_interval_seconds=0) as archive:
        yield archive


async def test_bad_instances_of_every_kind_are_checked_shown_and_corrected(
    curated: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = curated.client
    path = f"/submissions/{(await client.post('/submissions', json={})).json()['name']}"
    # The long ones take long, and are no other but longer.
    cases = [case for case in hostile_instances() if case.failure is None and len(case.data) < 50_000]
    headers = {"content-type": RELATED, "accept": "application/dicom+json"}
    stored = await client.post(
        f"{path}/dicom-web/studies", content=related([case.data for case in cases]), headers=headers
    )
    assert len(values_of(stored.json(), STORED)) == len(cases) > 40
    for page in ("", "/findings", "/inventory", "/conflicts", "/edits"):
        for accept in (BROWSER, {"accept": "application/json"}):
            answer = await client.get(path + page, headers=accept)
            assert answer.status_code == 200, page
            assert b"<script>alert" not in answer.content or answer.headers["content-type"] == "application/json"
    assert (await client.post(f"{path}/seal", headers={"if-match": "*"})).status_code == 200
    assert await ended(curated, path, "state", "sealed", "checking") == "in_review"
    findings = await client.get(f"{path}/findings", params={"limit": "500"})
    assert findings.json()["findings"]
    assert PATIENT not in findings.text
    rule = {"attribute": "PatientName", "action": "set", "value": "Somebody^Else"}
    edit = await client.post(f"{path}/edits", json={"rules": [rule], "reason": "x"}, headers={"if-match": "*"})
    assert await ended(curated, edit.json()["job"], "state", "waiting", "running") == "succeeded"
    names = strictly(await client.get(f"{path}/dicom-web/studies", params={"limit": "5000"}))
    assert {name["Alphabetic"] for each in names for name in values_of(each, "00100010")} == {"Somebody^Else"}
    assert await disagreements(database_of(curated)) == [0, 0, 0, 0, 0]
    told_nothing(caplog)


async def ended(archive: Archive, path: str, member: str, *meanwhile: str) -> str:
    """Wait until what is looked at is in none of these states any more."""
    async with asyncio.timeout(60):
        while True:
            state = (await archive.client.get(path)).json()[member]
            if state not in meanwhile:
                return str(state)
            await asyncio.sleep(0.02)
