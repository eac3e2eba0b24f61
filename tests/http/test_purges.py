"""Purging: nothing of it is left in the index or in any object, and the neighbours are as they were."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series, image, part10
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.http.test_publication import approved
from tests.submitted import add_submission, database_of, lay_into

from dicomweb_archive.checks.findings import Finding, FindingLevel, Severity
from dicomweb_archive.index.curation.findings import FindingFilter, FindingIndex

STUDY, SERIES = f"{UID}.1", f"{UID}.1.1"
OCTETS = {"accept": "application/dicom; transfer-syntax=*"}


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive that does its jobs in process."""
    async with start_archive(job_slots=1) as archive:
        yield archive


async def purge(archive: Archive, **asked: Any) -> httpx.Response:
    return await archive.client.post("/purges", json={"study": STUDY, "reason": "consent_withdrawn", **asked})


def holds(archive: Archive, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in archive.files() if path.suffix == ".zip")


async def test_a_purged_study_is_in_no_object_and_its_tombstone_is_in_the_store(archive: Archive) -> None:
    # A part of the study waits in a submission.
    await archive.store(*ct_series(2))
    submission = await approved(archive, 1)
    await archive.store(*ct_series(1, series=2), *ct_series(1, study=2))
    answer = await purge(archive)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert (document["instances"], document["objects"], document["rewritten"]) == (3, 2, 0)
    assert not holds(archive, STUDY + ".")
    assert (await archive.get(f"/studies/{STUDY}")).status_code == 410
    held = (await archive.client.get(f"/submissions/{submission['name']}")).json()["held"]
    assert held["instances"] == 0
    assert len((await archive.get("/studies")).json()) == 1
    tombstones = [path for path in archive.files() if path.parent.name == "tombstones"]
    assert sorted(f"tombstones/{path.name}" for path in tombstones) == document["tombstones"]
    assert all(STUDY in path.read_text() and "consent_withdrawn" in path.read_text() for path in tombstones)


async def test_a_purged_instance_leaves_its_neighbours_byte_for_byte(archive: Archive) -> None:
    files = [part10(image(instance=number, ImageComments=f"secret {number}")) for number in (1, 2, 3)]
    await archive.store(*files)
    kept = f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.3"
    assert (await archive.get(f"{kept}/frames/1")).status_code == 200
    answer = await purge(archive, series=SERIES, instance=f"{SERIES}.2")
    assert (answer.json()["instances"], answer.json()["rewritten"]) == (1, 1)
    assert not holds(archive, "secret 2")
    assert (await archive.get(kept, headers=OCTETS)).content == files[2]
    assert (await archive.get(f"{kept}/frames/1")).status_code == 200
    assert (await archive.get(f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.2")).status_code == 410
    assert len((await archive.get("/instances", params={"ImageComments": "secret*"})).json()) == 2
    # Room that a delete has left goes with the next purge of the same pack.
    await archive.client.delete(f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1")
    assert holds(archive, "secret 1")
    await purge(archive, series=SERIES)
    assert not holds(archive, "secret")


async def test_a_purged_instance_is_in_no_pack_that_it_lay_in_before(archive: Archive) -> None:
    files = [part10(image(instance=number, ImageComments=f"secret {number}")) for number in (1, 2, 3)]
    await archive.store(*files)
    await archive.client.delete(f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.2")
    await archive.store(files[1])
    assert (await purge(archive, series=SERIES, instance=f"{SERIES}.2")).json()["instances"] == 1
    assert not holds(archive, "secret 2")
    for number in (1, 3):
        kept = f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.{number}"
        assert (await archive.get(kept, headers=OCTETS)).content == files[number - 1]


async def test_a_purge_that_was_interrupted_is_brought_to_its_end(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    (pack,) = archive.files()
    await purge(archive)
    # As if the process had been killed between the commit and the deletion of the object.
    for path in archive.files():
        path.unlink()
    pack.write_bytes(b"still there")
    assert (await purge(archive)).json() == {
        "instances": 0,
        "objects": 1,
        "rewritten": 0,
        "damaged": 0,
        "missing": 0,
        "tombstones": [f"tombstones/{path.name}" for path in archive.files() if path.suffix == ".json"],
    }
    assert not pack.exists()


async def test_a_purge_is_not_kept_from_its_end_by_neighbours_that_are_damaged(archive: Archive) -> None:
    files = [part10(image(instance=number, ImageComments=f"secret {number}")) for number in (1, 2, 3)]
    await archive.store(*files)
    (pack,) = archive.files()
    data = pack.read_bytes()
    at = data.index(b"secret 1")
    # One neighbour has other bytes by now, and the file ends within the other.
    pack.write_bytes(data[:at] + b"damage 1" + data[at + 8 : data.index(b"secret 3")])
    answer = await purge(archive, series=SERIES, instance=f"{SERIES}.2")
    document = answer.json()
    assert (answer.status_code, document["rewritten"], document["damaged"]) == (200, 1, 2), document
    assert not pack.exists()
    assert not holds(archive, "secret 2")
    path = f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}"
    damaged = (await archive.get(f"{path}.1", headers=OCTETS)).content
    assert damaged == files[0].replace(b"secret 1", b"damage 1")
    assert (await archive.get(f"{path}.3", headers=OCTETS)).status_code == 500
    # Nothing is left of the others, and what is asked for goes all the same.
    for each in archive.files():
        each.unlink()
    document = (await purge(archive, series=SERIES, instance=f"{SERIES}.1")).json()
    assert (document["instances"], document["rewritten"], document["missing"]) == (1, 0, 1)
    document = (await purge(archive)).json()
    assert (document["instances"], document["objects"], document["missing"]) == (1, 0, 1)
    assert (await archive.get("/studies")).json() == []


async def test_a_pack_that_is_only_away_for_a_while_loses_nothing_but_what_was_purged(
    archive: Archive, tmp_path: Path
) -> None:
    files = [part10(image(instance=number, ImageComments=f"secret {number}")) for number in (1, 2, 3)]
    await archive.store(*files)
    (pack,) = archive.files()
    pack.rename(tmp_path / "away")
    gone = {"series": SERIES, "instance": f"{SERIES}.2"}
    counted = ("instances", "objects", "rewritten", "damaged", "missing")
    for instances in (1, 0):
        # Asked for again while it is still away it changes nothing.
        document = (await purge(archive, **gone)).json()
        assert [document[name] for name in counted] == [instances, 0, 0, 0, 1]
    path = f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}"
    assert (await archive.get(f"{path}.1", headers=OCTETS)).status_code == 500
    (tmp_path / "away").rename(pack)
    assert (await archive.get(f"{path}.1", headers=OCTETS)).content == files[0]
    document = (await purge(archive, **gone)).json()
    assert [document[name] for name in counted] == [0, 1, 1, 0, 0]
    assert not holds(archive, "secret 2")
    for number in (1, 3):
        assert (await archive.get(f"{path}.{number}", headers=OCTETS)).content == files[number - 1]


async def test_nothing_is_purged_while_the_folder_of_objects_is_away(archive: Archive, tmp_path: Path) -> None:
    await archive.store(*ct_series(2))
    folder = archive.settings.object_folder
    folder.rename(tmp_path / "away")
    # As an unmounted folder looks: it is there and empty.
    folder.mkdir()
    assert (await purge(archive)).status_code == 503
    assert (await archive.client.get("/health/ready")).status_code == 503
    folder.rmdir()
    (tmp_path / "away").rename(folder)
    assert await archive.stored_instances() == 2
    assert (await purge(archive)).json()["objects"] == 1


async def test_purging_is_for_admins_and_for_what_there_is(start_archive: StartArchive) -> None:
    async with start_archive(api_key="secret") as archive:
        assert (await purge(archive)).status_code == 401
        archive.client.headers["authorization"] = "Bearer secret"
        assert (await purge(archive)).status_code == 404
        for asked in ({"instance": "1.2"}, {"study": "../1"}, {"reason": "why"}, {"extra": 1}):
            assert (await purge(archive, **asked)).status_code == 400


async def test_a_purge_takes_conflicts_that_were_kept(archive: Archive) -> None:
    first, second = (part10(image(instance=number, ImageComments=f"secret {number}")) for number in (1, 2))
    await archive.store(first)
    # The neighbour lies in the pack of the conflict.
    await archive.store(part10(image(instance=1, ImageComments="another")), second)
    assert holds(archive, "another")
    answer = await purge(archive, series=SERIES, instance=f"{SERIES}.1")
    assert answer.json()["instances"] == 2
    assert not holds(archive, "another")
    assert not holds(archive, "secret 1")
    kept = f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.2"
    assert (await archive.get(kept, headers=OCTETS)).content == second


async def test_a_purge_takes_what_was_announced_of_it(archive: Archive) -> None:
    document = (await archive.client.post("/submissions", json={})).json()
    path, uids = f"/submissions/{document['name']}", [f"{SERIES}.1", f"{SERIES}.2", f"{UID}.2.1.1"]
    said = {"instances": [{"sop_instance_uid": uid} for uid in uids], "totals": {"studies": 2, "instances": 3}}
    answer = await archive.client.put(f"{path}/manifest", json=said, headers={"if-match": "*"})
    assert answer.status_code == 200, answer.text
    space = (await archive.app.state.services.checks.submission(document["name"])).space_id
    await lay_into(archive, space, [*ct_series(2), *ct_series(1, study=2)])
    assert (await purge(archive)).json()["instances"] == 2
    async with database_of(archive).connection() as connection:
        left = await connection.fetch("select sop_instance_uid from manifest_instance")
        totals = await connection.fetchrow("select studies, instances from manifest")
    # The rest agrees with what is there still.
    assert ([row["sop_instance_uid"] for row in left], tuple(totals)) == ([f"{UID}.2.1.1"], (None, 1))


async def test_a_purge_takes_findings_of_what_it_purges_and_leaves_those_of_its_neighbours(archive: Archive) -> None:
    space = await add_submission(archive, "checked")
    await lay_into(archive, space, [*ct_series(2), *ct_series(1, series=2), *ct_series(1, study=2)])
    found = Finding("check", 1, Severity.BLOCK, "", study_instance_uid=STUDY, series_instance_uid=SERIES)
    of_study = replace(found, level=FindingLevel.STUDY, series_instance_uid="")
    several = replace(found, level=FindingLevel.SERIES, sop_instance_uid=f"{SERIES}.1", instances=2)
    names = {
        "first": replace(found, sop_instance_uid=f"{SERIES}.1"),
        "second": replace(found, sop_instance_uid=f"{SERIES}.2"),
        "several": several,
        "series": replace(several, sop_instance_uid=""),
        "study": of_study,
        "a series of the study": replace(of_study, series_instance_uid=SERIES, instances=3),
        "other series": replace(found, series_instance_uid=f"{STUDY}.2", level=FindingLevel.SERIES),
        "other study": replace(of_study, study_instance_uid=f"{UID}.2"),
        "submission": Finding("check", 1, Severity.BLOCK, "", level=FindingLevel.SUBMISSION),
    }
    index = FindingIndex(database_of(archive))
    await index.add(space, [replace(each, message=name) for name, each in names.items()])

    async def left() -> dict[str, Finding]:
        kept, _ = await index.list(space, FindingFilter(), limit=100, offset=0)
        return {each.finding.message: replace(each.finding, message="") for each in kept}

    assert await left() == names
    assert (await purge(archive, series=SERIES, instance=f"{SERIES}.1")).status_code == 200
    del names["first"]
    names["several"] = replace(several, sop_instance_uid="", instances=1)
    assert await left() == names
    assert (await purge(archive, series=SERIES)).status_code == 200
    for gone in ("second", "several", "series"):
        del names[gone]
    names["a series of the study"] = replace(of_study, instances=3)
    assert await left() == names
    assert (await purge(archive)).status_code == 200
    assert set(await left()) == {"other study", "submission"}
