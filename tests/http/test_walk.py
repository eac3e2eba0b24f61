"""The way of a submission from upload to published with one call a step, while somebody reads all along."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

from tests.factories import ROOT as UID
from tests.factories import identified, part10
from tests.http.archive import RELATED, Archive, related, values_of
from tests.http.conftest import StartArchive

from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included

STUDIES = [f"{UID}.{study}" for study in range(850, 854)]
INSTANCES = 50
CURATOR = {"authorization": "Bearer curator"}


def files() -> list[bytes]:
    """Many instances without pixels; in one study they differ by their UID alone, which is as long in each."""
    made = []
    for study in range(850, 854):
        first = part10(identified(study=study, instance=1000))
        uid = f"{UID}.{study}.1.".encode()
        made += [first.replace(uid + b"1000", uid + b"%d" % (1000 + number)) for number in range(INSTANCES)]
    return made


@asynccontextmanager
async def reading(archive: Archive) -> AsyncIterator[list[Counter[str]]]:
    """Look again and again, without a key, at how many instances of each study there are."""
    seen: list[Counter[str]] = []
    ended = asyncio.Event()

    async def look() -> None:
        while True:
            is_last = ended.is_set()
            found = (await archive.get("/instances", params={"limit": "5000"})).json()
            seen.append(Counter(values_of(each, "0020000D")[0] for each in found))
            counts = (await archive.get("/studies", params={"includefield": "00201208"})).json()
            seen.append(Counter({values_of(e, "0020000D")[0]: int(values_of(e, "00201208")[0]) for e in counts}))
            if is_last:
                return
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        yield seen
        ended.set()


async def reached(archive: Archive, path: str, state: str) -> None:
    async with asyncio.timeout(120):
        while True:
            if (await archive.client.get(path, headers=CURATOR)).json()["state"] == state:
                break
            await asyncio.sleep(0.05)


async def test_many_instances_go_from_upload_to_published_with_one_call_a_step(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=1) as archive:
        archive.let_in(Principal("curator", PrincipalKind.KEY_HOLDER, with_included([Role.MANAGER])))
        client = archive.client
        made = await client.post("/collections", json={"title": "Walk", "policy": "curated"}, headers=CURATOR)
        opened = await client.post("/submissions", json={"collection": made.json()["accession"]}, headers=CURATOR)
        path = f"/submissions/{opened.json()['name']}"
        async with reading(archive) as seen:
            stored = await client.post(
                f"{path}/dicom-web/studies", content=related(files()), headers={"content-type": RELATED, **CURATOR}
            )
            assert stored.status_code == 200
            for step, state in (("seal", "in_review"), ("approve", "approved"), ("publish", "published")):
                answer = await client.post(f"{path}/{step}", headers={"if-match": "*", **CURATOR})
                assert answer.status_code in (200, 202), answer.text
                await reached(archive, path, state)
        # Each time that anybody has looked, a study was there whole or not at all.
        assert {count for looked in seen for count in looked.values()} == {INSTANCES}
        assert seen[0] == Counter()
        assert seen[-1] == Counter(dict.fromkeys(STUDIES, INSTANCES))
        # What was there stays there.
        assert all(set(before) <= set(after) for before, after in pairwise(seen))
        trail = (await client.get(f"{path}/events", headers=CURATOR)).json()["events"]
        assert [each["kind"].removeprefix("submission_") for each in trail] == [
            "opened",
            *["instances_stored"] * len(STUDIES),
            "state_changed",
            "state_changed",
            "checks_run",
            "state_changed",
            "state_changed",
            "state_changed",
            *["study_published"] * len(STUDIES),
            "state_changed",
        ]
        steps = [each["detail"]["action"] for each in trail if "action" in each["detail"]]
        assert steps == [
            "seal",
            "begin-checks",
            "pass-checks",
            "approve",
            "begin-publishing",
            "end-publishing",
        ]
        assert {each["actor"] for each in trail} == {"curator"}
        assert [each["study_instance_uid"] for each in trail if each["kind"] == "study_published"] == STUDIES
