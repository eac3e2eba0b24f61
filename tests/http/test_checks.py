"""Checks of a submission: run as a job, listed, waived, and in the way of an approval."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.factories import ROOT, ct_series, image, part10, pixels
from tests.http.archive import RELATED, Archive, related
from tests.http.conftest import StartArchive
from tests.submitted import add_collection, database_of, lay_into

from dicomweb_archive.checks.catalogue import CHECK_SETS
from dicomweb_archive.checks.findings import Finding, Severity
from dicomweb_archive.errors import ForbiddenError
from dicomweb_archive.index.curation.findings import Examined
from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included
from dicomweb_archive.services.submissions.transitions import Action

STUDY = f"{ROOT}.901"

WAITING = """
select exists (
  select from pg_stat_activity
  where datname = current_database() and wait_event_type = 'Lock' and query like '%for no key update')
"""


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive that does its jobs in process."""
    async with start_archive(job_slots=1) as archive:
        yield archive


async def opened(archive: Archive) -> tuple[str, int]:
    """Open a submission and return its path and its space."""
    document = (await archive.client.post("/submissions", json={})).json()
    checks = archive.app.state.services.checks
    return f"/submissions/{document['name']}", (await checks.submission(document["name"])).space_id


async def run(archive: Archive, path: str, **asked: Any) -> dict[str, Any]:
    """Run checks and return what came of the job."""
    answer = await archive.client.post(f"{path}/checks", json=asked)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["url"]
    async with asyncio.timeout(60):
        while True:
            job: dict[str, Any] = (await archive.client.get(answer.json()["url"])).json()
            if job["state"] not in ("waiting", "running"):
                assert job["state"] == "succeeded", job
                return dict(job["result"])
            await asyncio.sleep(0.02)


async def findings(archive: Archive, path: str, **asked: Any) -> dict[str, Any]:
    answer = await archive.client.get(f"{path}/findings", params=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def state_of(archive: Archive, path: str) -> str:
    return str((await archive.client.get(path)).json()["state"])


async def sealed(archive: Archive, path: str) -> str:
    """Seal a submission and return the state that its checks lead to."""
    answer = await archive.client.post(f"{path}/seal", headers={"if-match": "*"})
    assert answer.json()["state"] == "sealed"
    async with asyncio.timeout(60):
        while True:
            state = await state_of(archive, path)
            if state not in ("sealed", "checking"):
                return state
            await asyncio.sleep(0.02)


async def test_checks_after_sealing_do_not_overrule_who_was_quicker(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=0) as archive:
        path, _ = await opened(archive)
        for action in ("seal", "reopen", "seal", "review"):
            assert (await archive.client.post(f"{path}/{action}", headers={"if-match": "*"})).status_code == 200
        # Each sealing has checks of its own.
        assert len((await archive.client.get("/jobs", params={"subject": path})).json()["jobs"]) == 2
    async with start_archive(job_slots=1) as archive:
        async with asyncio.timeout(60):
            while True:
                if len((await archive.client.get(f"{path}/checks")).json()["runs"]) == 2:
                    break
                await asyncio.sleep(0.02)
        events = (await archive.client.get(f"{path}/events")).json()["events"]
        told = [each["detail"]["action"] for each in events if each["kind"] == "submission_state_changed"]
        assert told == ["seal", "reopen", "seal", "review"]


async def test_checks_that_never_end_leave_the_submission_to_people(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=0) as archive:
        path, _ = await opened(archive)
        assert (await archive.client.post(f"{path}/seal", headers={"if-match": "*"})).status_code == 200
        services = archive.app.state.services
        await services.submissions.advance(path.rpartition("/")[2], Action.BEGIN_CHECKS, actor="archive")
        async with database_of(archive).transaction() as connection:
            # As if every process that had it had died of it.
            await connection.execute("update job set attempt = 99 where kind = 'run-checks'")
    async with start_archive(job_slots=1) as archive:
        async with asyncio.timeout(60):
            while True:
                if await state_of(archive, path) != "checking":
                    break
                await asyncio.sleep(0.02)
        assert await state_of(archive, path) == "failed_checks"
        assert (await archive.client.post(f"{path}/review", headers={"if-match": "*"})).status_code == 200


async def test_what_a_store_finds_while_checks_run_is_kept(archive: Archive) -> None:
    path, space = await opened(archive)
    services = archive.app.state.services
    index, check_set = services.checks.findings, CHECK_SETS["structural"]
    old = Finding("lengths", 1, Severity.BLOCK, "old", sop_instance_uid="1")
    same, late = replace(old, message="both"), replace(old, message="late", sop_instance_uid="2")
    await index.add(space, [old])
    begun = await index.begin(space)
    # A store comes when the run is past its series.
    await index.add(space, [same, late])
    examined = Examined(check_set, frozenset({"lengths"}), [same], begun, series=1, instances=1, read_files=False)
    await index.replace(space, examined, actor="a")
    document = await findings(archive, path)
    assert sorted(each["message"] for each in document["findings"]) == ["both", "late"]
    # The next run has seen all.
    examined = replace(examined, findings=[], begun=await index.begin(space))
    await index.replace(space, examined, actor="a")
    assert (await findings(archive, path))["total"] == 0


async def test_checks_begin_behind_the_changes_that_they_see_and_before_all_others(archive: Archive) -> None:
    _, space = await opened(archive)
    index, database = archive.app.state.services.checks.findings, database_of(archive)

    async def change(connection: Connection) -> int:
        await connection.execute("select from submission where space_id = $1 for share", space)
        detail = {"unchecked": 1}
        return await insert_event(connection, EventKind.CONFLICTS_DECIDED, actor="a", space_id=space, detail=detail)

    async with database.transaction() as later:
        # It has begun before the checks do, and changes something behind them.
        await later.execute("select now()")
        async with database.transaction() as earlier:
            before = await change(earlier)
            begins = asyncio.create_task(index.begin(space))
            async with asyncio.timeout(60), database.connection() as watching:
                while True:
                    if await watching.fetchval(WAITING):
                        break
                    await asyncio.sleep(0.01)
            assert not begins.done()
        begun = await begins
        behind = await change(later)
    async with database.connection() as connection:
        times = dict(await connection.fetch("select id, at from event where id = any($1)", [before, behind]))
    assert times[before] < begun.started_at < times[behind]


async def test_a_submission_is_checked_and_what_blocks_it_is_waived(archive: Archive) -> None:
    path, space = await opened(archive)
    files = ct_series(3, study=901, SeriesDescription="for Doe", PatientIdentityRemoved="NO")
    files[2] = part10(image(study=901, instance=3, SeriesDescription="for Doe", PixelData=pixels(16, 15)))
    # The same pixels as those of the first instance.
    files.append(part10(image(study=901, series=2, instance=1)))
    await lay_into(archive, space, files)
    # The collection's checks are run by themselves.
    assert await sealed(archive, path) == "in_review"
    structural = (await findings(archive, path))["findings"]
    assert [(each["check"], each["severity"]) for each in structural] == [("pixel_length", "warn")]

    result = await run(archive, path, check_set="public_release")
    assert await state_of(archive, path) == "failed_checks"
    page = await findings(archive, path, severity="block")
    told = {(each["check"], each["path"], each["level"], each["instances"]) for each in page["findings"]}
    assert told == {
        ("identity_in_header", "0008103E", "series", 3),
        ("pixel_length", "7FE00010", "instance", 1),
    }
    assert result["block"] == page["total"] == page["counts"]["block"]["open"] == 2
    (repeated,) = (await findings(archive, path, check="duplicate_pixels"))["findings"]
    assert repeated["sop_instance_uid"] == f"{STUDY}.2.1"
    assert (await findings(archive, path, series=f"{STUDY}.2", check="private_elements"))["total"] > 0
    assert "Doe" not in (await archive.client.get(f"{path}/findings")).text

    await archive.client.post(f"{path}/review", headers={"if-match": "*"})
    refused = await archive.client.post(f"{path}/approve", headers={"if-match": "*"})
    assert (refused.status_code, "2 findings" in refused.json()["detail"]) == (409, True)
    for finding in page["findings"]:
        waive = f"{path}/findings/{finding['id']}/waive"
        assert (await archive.client.post(waive, json={"reason": " "})).status_code == 400
        answer = await archive.client.post(waive, json={"reason": "a phantom"})
        assert answer.json()["waiver"]["reason"] == "a phantom"
        assert (await archive.client.post(waive, json={"reason": "again"})).status_code == 409
    assert (await archive.client.post(f"{path}/approve", headers={"if-match": "*"})).status_code == 200

    # What says the same is waived still when the checks have been run again.
    assert (await run(archive, path, check_set="public_release", read_files=False))["block"] == 0
    assert await state_of(archive, path) == "approved"
    again = (await findings(archive, path, severity="block", waived=True))["findings"]
    assert {each["waiver"]["reason"] for each in again} == {"a phantom"}
    assert {each["id"] for each in again}.isdisjoint(each["id"] for each in page["findings"])
    # Files were not read this time, so what was found in them stays.
    assert (await findings(archive, path, check="duplicate_pixels"))["total"] == 1
    revoke = f"{path}/findings/{again[0]['id']}/revoke-waiver"
    assert (await archive.client.post(revoke)).json()["waiver"] is None
    assert (await archive.client.post(revoke)).status_code == 409

    # More of the same is something else than what was waived.
    more = part10(image(study=901, instance=4, SeriesDescription="for Doe"))
    await lay_into(archive, space, [more])
    await run(archive, path, check_set="public_release", read_files=False)
    open_ones = (await findings(archive, path, severity="block", waived=False))["findings"]
    assert ("identity_in_header", 4) in [(each["check"], each["instances"]) for each in open_ones]

    runs = (await archive.client.get(f"{path}/checks")).json()["runs"]
    assert [(each["check_set"], each["read_files"], each["instances"]) for each in runs] == [
        ("public_release", False, 5), ("public_release", False, 4), ("public_release", True, 4),
        ("structural", False, 4),
    ]  # fmt: skip
    kinds = [each["kind"] for each in (await archive.client.get(f"{path}/events")).json()["events"]]
    assert kinds.count("checks_run") == 4
    assert kinds.count("finding_waived") == 2


async def test_what_was_not_checked_is_not_approved(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=0) as archive:
        collection = {"title": "for everybody", "check_set": "public_release"}
        accession = (await archive.client.post("/collections", json=collection)).json()["accession"]
        opened = (await archive.client.post("/submissions", json={"collection": accession})).json()
        path = f"/submissions/{opened['name']}"
        space = (await archive.app.state.services.checks.submission(opened["name"])).space_id
        await lay_into(archive, space, ct_series(1, study=905, SeriesDescription="for Doe"))
        for action, status in (("seal", 200), ("review", 200), ("approve", 409)):
            answer = await archive.client.post(f"{path}/{action}", headers={"if-match": "*"})
            assert answer.status_code == status
        assert "public_release have not been run" in answer.json()["detail"]


async def test_checks_have_not_seen_what_came_for_what_went(archive: Archive) -> None:
    _, space = await opened(archive)
    index, check_set = archive.app.state.services.checks.findings, CHECK_SETS["structural"]

    async def run() -> None:
        begun = await index.begin(space)
        examined = Examined(check_set, frozenset(), [], begun, series=1, instances=1, read_files=False)
        await index.replace(space, examined, actor="a")

    await lay_into(archive, space, ct_series(1, study=906))
    await run()
    assert await index.is_examined(space, check_set.name)
    # As many as before, and nobody has looked at them.
    for kind in (EventKind.INSTANCE_DELETED, EventKind.INSTANCES_STORED):
        async with database_of(archive).transaction() as connection:
            await insert_event(connection, kind, actor="a", space_id=space, detail={"instances": 1})
        assert not await index.is_examined(space, check_set.name)
        await run()
        assert await index.is_examined(space, check_set.name)


async def test_a_submission_is_compared_with_what_the_archive_has(archive: Archive) -> None:
    path, space = await opened(archive)
    same, other, moved = ct_series(3, study=902)
    await archive.store(same, other, moved)
    changed = part10(image(study=902, instance=2, StudyDescription="OTHER"))
    elsewhere = part10(image(study=902, series=9, instance=3, SOPInstanceUID=f"{ROOT}.902.1.3"))
    split = part10(image(study=903, instance=1, SeriesInstanceUID=f"{ROOT}.902.1"))
    await lay_into(archive, space, [same, changed, elsewhere, split])
    # What a restricted collection has is not for everybody who reads findings.
    hidden = await add_collection(archive, "CHECKS-HIDDEN", access="restricted")
    own = ct_series(1, study=905)
    await lay_into(archive, 1, own, collection_id=hidden)
    await lay_into(archive, space, own)
    # Kept apart when it came, for its UID is taken.
    again = part10(image(study=905, instance=1, StudyDescription="AGAIN"))
    stored = await archive.client.post(
        f"{path}/dicom-web/studies", content=related([again]), headers={"content-type": RELATED}
    )
    assert stored.status_code in (200, 202, 409)
    await run(archive, path)
    told = [(each["check"], each["sop_instance_uid"]) for each in (await findings(archive, path))["findings"]]
    assert ("already_archived", f"{ROOT}.902.1.1") in told
    assert ("already_archived", f"{ROOT}.905.1.1") not in told
    assert ("conflict", f"{ROOT}.905.1.1") in told
    assert ("conflict", f"{ROOT}.902.1.2") in told
    assert ("identifier_elsewhere", f"{ROOT}.902.1.3") in told
    splits = (await findings(archive, path, check="series_in_two_studies"))["findings"]
    assert {each["study_instance_uid"] for each in splits} == {f"{ROOT}.902", f"{ROOT}.903"}


async def test_checks_and_findings_are_for_those_who_may_know_of_the_submission(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=0) as archive:
        path, space = await opened(archive)
        await lay_into(archive, space, ct_series(1, study=904))
        services = archive.app.state.services
        submission = await services.checks.submission(path.rpartition("/")[2])
        submitter = Principal("s", PrincipalKind.KEY_HOLDER, with_included([Role.SUBMITTER]))
        with pytest.raises(ForbiddenError):
            services.checks.require_curator(submitter, submission)
        with pytest.raises(ForbiddenError):
            await services.checks.waive(submitter, submission, 1, "why not")
        unknown = "/submissions/unknown"
        for answer in (
            await archive.client.get(f"{unknown}/findings"),
            await archive.client.get(f"{unknown}/checks"),
            await archive.client.post(f"{unknown}/checks", json={}),
            await archive.client.post(f"{unknown}/findings/1/waive", json={"reason": "x"}),
            await archive.client.post(f"{path}/findings/1/waive", json={"reason": "x"}),
        ):
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        for wrong in (
            await archive.client.post(f"{path}/checks", json={"check_set": "no such"}),
            await archive.client.post(f"{path}/checks", json={"unknown": 1}),
            await archive.client.get(f"{path}/findings", params={"severity": "deadly"}),
            await archive.client.get(f"{path}/findings", params={"study": "Doe^Jane"}),
            await archive.client.post(f"{path}/findings/0/waive", json={"reason": "x"}),
        ):
            assert wrong.status_code == 400
            assert "Doe" not in wrong.text
        # Asked twice it is one job.
        first, second = [await archive.client.post(f"{path}/checks", json={}) for _ in range(2)]
        assert first.json() == second.json()


async def test_the_catalogue_of_checks_is_public(archive: Archive) -> None:
    document = (await archive.client.get("/checks")).json()
    assert [each["number"] for each in document["checks"]] == [*range(1, 20), *range(21, 29)]
    assert [each["name"] for each in document["sets"]] == ["structural", "public_release"]
