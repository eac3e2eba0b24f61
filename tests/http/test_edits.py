"""Edits of submissions, through the door: tried, applied, audited, undone, and what they leave alone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from blake3 import blake3
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from tests.factories import ROOT as UID
from tests.factories import ct_series, encapsulated, identified, image, mr_series, part10
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.http.test_emptying import empty
from tests.pydicom_files import read
from tests.spaces import disagreements
from tests.submitted import database_of, lay_into

from dicomweb_archive.errors import ConflictError
from dicomweb_archive.index.curation.edits.content import EditContent
from dicomweb_archive.index.curation.edits.records import Edit, EditIndex
from dicomweb_archive.index.curation.edits.writing import EditBatch, EditWriter
from dicomweb_archive.index.curation.manifests import Manifest, ManifestIndex, Totals
from dicomweb_archive.index.curation.submissions import Submission, SubmissionIndex, SubmissionScope
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included
from dicomweb_archive.services.edits.applying import EditApplier

OCTETS = {"accept": "application/dicom; transfer-syntax=*"}


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive that does its jobs in process, and no upkeep."""
    settings = {"maintenance_interval_seconds": 0, "compaction_interval_seconds": 0}
    async with start_archive(job_slots=1, **settings) as archive:
        yield archive


class Submitted:
    """A submission in review, and what is done with it."""

    def __init__(self, archive: Archive, name: str, space: int) -> None:
        self.archive, self.name, self.space, self.path = archive, name, space, f"/submissions/{name}"

    @classmethod
    async def of(cls, archive: Archive, *files: bytes) -> "Submitted":
        name = (await archive.client.post("/submissions", json={})).json()["name"]
        async with database_of(archive).transaction() as connection:
            space = await connection.fetchval("select space_id from submission where name = $1", name)
            await connection.execute("update submission set state = 'in_review' where name = $1", name)
        await lay_into(archive, space, files)
        return cls(archive, name, space)

    async def post(self, path: str, **said: Any) -> httpx.Response:
        revision = (await self.archive.client.get(self.path)).json()["revision"]
        return await self.archive.client.post(self.path + path, json=said, headers={"if-match": f'"{revision}"'})

    async def ended(self, begun: httpx.Response) -> dict[str, Any]:
        assert begun.status_code == 202, begun.text
        return await self.job(begun.json()["job"])

    async def job(self, url: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                job = (await self.archive.client.get(url)).json()
                if job["state"] not in ("waiting", "running"):
                    assert job["state"] == "succeeded", job
                    result: dict[str, Any] = job["result"]
                    # Where bytes lie is believed for half a second.
                    self.archive.app.state.services.retrieve.instances.forget_deleted()
                    return result
                await asyncio.sleep(0.02)

    async def edit(self, *rules: dict[str, Any]) -> dict[str, Any]:
        return await self.ended(await self.post("/edits", rules=list(rules), reason="As the sender has asked"))

    async def get(self, path: str) -> Any:
        answer = await self.archive.client.get(self.path + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def file(self, number: int, *, study: int = 1, series: int = 1) -> bytes:
        path = (
            f"/dicom-web/studies/{UID}.{study}/series/{UID}.{study}.{series}/instances/{UID}.{study}.{series}.{number}"
        )
        answer = await self.archive.client.get(self.path + path, headers=OCTETS)
        assert answer.status_code == 200, answer.text
        return answer.content


async def found(archive: Archive, submitted: Submitted, begun: httpx.Response) -> tuple[Submission, Edit]:
    database = database_of(archive)
    submission = await SubmissionIndex(database).find(submitted.name, SubmissionScope(None))
    assert submission is not None
    edit = await EditIndex(database).find(submission, begun.json()["id"])
    assert edit is not None
    return submission, edit


def applier_of(archive: Archive, **bounds: int) -> EditApplier:
    database, objects = database_of(archive), archive.app.state.services.store.objects
    content, writer = EditContent(database), EditWriter(database)
    return EditApplier(content, writer, objects, pack_bytes=2**30, pack_instances=1000, **bounds)


def without(dataset: Dataset, *keywords: str) -> Dataset:
    for keyword in keywords:
        dataset.pop(keyword, None)
    return dataset


async def test_a_correction_is_tried_applied_told_and_undone(archive: Archive) -> None:
    files = [*ct_series(3), *mr_series(2, study=2)]
    submitted = await Submitted.of(archive, *files)
    await archive.store(*ct_series(1, study=9))
    rules = [
        {"attribute": "PatientName", "action": "set", "value": "Corrected^Name"},
        {"attribute": "ProcedureCodeSequence.CodeMeaning", "action": "map", "map": {"CT Head": "Head"}},
        {
            "attribute": "00191002", "creators": {"00190010": "PHANTOM_01"}, "action": "set", "value": "-1",
            "when": [{"attribute": "Modality", "is": ["CT"]}],
        },
        {"attribute": "StudyDescription", "action": "remove", "when": [{"attribute": "Modality", "is": ["MR"]}]},
    ]  # fmt: skip
    preview = await submitted.archive.client.post(f"{submitted.path}/edits/preview", json={"rules": rules})
    tried = preview.json()
    assert (tried["looked_at"], tried["instances"], tried["series"], tried["studies"]) == (5, 5, 2, 2)
    assert (tried["complete"], tried["unfit"]) == (True, {})
    name = {"path": "00100010", "keyword": "PatientName", "after": "Corrected^Name", "kind": "changed", "instances": 5}
    assert [each for each in tried["changes"] if each.items() >= name.items()]
    assert len(tried["sample"]) == 2
    assert [await submitted.file(number) for number in (1, 2, 3)] == files[:3]

    result = await submitted.edit(*rules)
    assert (result["instances"], result["unfit"]) == (5, 0)
    edited = [await submitted.file(number) for number in (1, 2, 3)]
    for old, new in zip(map(read, files[:3]), map(read, edited), strict=True):
        assert (new.PatientName, new.ProcedureCodeSequence[0].CodeMeaning, new[0x0019, 0x1002].value) == (
            "Corrected^Name", "Head", -1,
        )  # fmt: skip
        assert new.PixelData == old.PixelData
        assert new.file_meta == old.file_meta
        touched = ("PatientName", "ProcedureCodeSequence")
        del old[0x0019, 0x1002], new[0x0019, 0x1002]
        assert without(old, *touched) == without(new, *touched)
    assert "StudyDescription" not in read(await submitted.file(1, study=2))

    # The index says what the files say, and only in the submission.
    found = (await archive.client.get(f"{submitted.path}/dicom-web/studies?PatientName=Corrected*")).json()
    assert len(found) == 2
    assert (await archive.get("/studies?PatientName=Corrected*")).status_code == 204 or not (
        await archive.get("/studies?PatientName=Corrected*")
    ).json()
    metadata = (await archive.client.get(f"{submitted.path}/dicom-web/studies/{UID}.1/metadata")).json()
    assert [each["00191002"]["Value"] for each in metadata] == [[-1]] * 3
    inventory = await submitted.get("/inventory/values?attribute=00100010")
    assert [each["value"] for each in inventory["attributes"][0]["values"]] == ["Corrected^Name"]
    assert await disagreements(database_of(archive)) == [0] * 5
    document = await submitted.get("")
    assert document["held"]["size_bytes"] == sum(map(len, edited)) + sum(
        [len(await submitted.file(number, study=2)) for number in (1, 2)]
    )

    # What there was is told to curators.
    [edit] = (await submitted.get("/edits"))["edits"]
    assert (edit["state"], edit["instances"], edit["reason"]) == ("applied", 5, "As the sender has asked")
    path = f"/edits/{edit['id']}"
    assert await submitted.get(path) == edit
    changes = await submitted.get(f"{path}/changes")
    assert [each for each in changes["changes"] if each["before"] == "CT Head" and each["instances"] == 5]
    assert {each["before"] for each in changes["changes"] if each["path"] == "00191002"} == {"709", "710", "711"}
    listed = (await submitted.get(f"{path}/instances?limit=3"))["instances"]
    assert [each["sop_instance_uid"] for each in listed] == [f"{UID}.1.1.{number}" for number in (1, 2, 3)]
    # Page by page, also where one alone is as much as is told at once.
    first = await submitted.get(f"{path}/changes?limit=1")
    assert (first["next"], first["total"]) == (1, changes["total"])
    little = EditIndex(database_of(archive), most_told_bytes=1)
    for number, told in enumerate(changes["changes"]):
        (one,), total = await little.changes(edit["id"], limit=100, offset=number)
        assert (one.before, one.after, total) == (told["before"], told["after"], changes["total"])
    assert await little.changes(edit["id"], limit=100, offset=100) == ([], 0)
    uids, after = [], ""
    while after is not None:
        (instance,), after = await little.instances(
            edit["id"], after=after, sop_instance_uid=None, unfit=None, limit=100
        )
        uids.append(instance.sop_instance_uid)
    assert uids == [each["sop_instance_uid"] for each in (await submitted.get(f"{path}/instances"))["instances"]]
    kinds = [event["kind"] for event in (await submitted.get("/events"))["events"]]
    assert kinds[-2:] == ["edit_begun", "edit_ended"]
    assert "Corrected" not in str((await submitted.get("/events"))["events"])

    # And comes back, byte for byte.
    undone = await submitted.ended(await submitted.post(f"{path}/undo", reason="It was right before"))
    assert (undone["instances"], undone["unfit"]) == (5, 0)
    assert [await submitted.file(number) for number in (1, 2, 3)] == files[:3]
    assert [await submitted.file(number, study=2) for number in (1, 2)] == files[3:]
    assert await disagreements(database_of(archive)) == [0] * 5
    assert (await submitted.get(path))["undone_by"] == undone["edit"]
    assert (await submitted.post(f"{path}/undo", reason="Again")).status_code == 409
    redone = await submitted.ended(await submitted.post(f"/edits/{undone['edit']}/undo", reason="It was not"))
    assert redone["instances"] == 5
    assert [await submitted.file(number) for number in (1, 2, 3)] == edited


async def test_values_are_exchanged_and_nothing_is_edited_twice(archive: Archive) -> None:
    files = [part10(image(instance=number, StudyDescription=text)) for number, text in enumerate("ABC", 1)]
    submitted = await Submitted.of(archive, *files)
    result = await submitted.edit({"attribute": "StudyDescription", "action": "map", "map": {"A": "B", "B": "A"}})
    assert result["instances"] == 2
    assert [read(await submitted.file(number)).StudyDescription for number in (1, 2, 3)] == ["B", "A", "C"]
    assert await submitted.file(3) == files[2]
    # Of an instance that something else has changed since, nothing is taken back.
    [edit] = (await submitted.get("/edits"))["edits"]
    await submitted.edit(
        {
            "attribute": "PatientID",
            "action": "set",
            "value": "X",
            "when": [{"attribute": "InstanceNumber", "is": ["1"]}],
        }
    )
    undone = await submitted.ended(await submitted.post(f"/edits/{edit['id']}/undo", reason="No"))
    assert (undone["instances"], undone["unfit"]) == (1, 1)
    assert await submitted.file(2) == files[1]
    [left] = (await submitted.get(f"/edits/{undone['edit']}/instances?unfit=true"))["instances"]
    assert (left["sop_instance_uid"], left["problem"]) == (f"{UID}.1.1.1", "changed")


async def test_an_interrupted_edit_goes_on_and_does_nothing_twice(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=0) as archive:
        texts = [(series, number, "AB"[number % 2]) for series in (1, 2) for number in (1, 2)]
        files = [part10(image(series=s, instance=number, StudyDescription=text)) for s, number, text in texts]
        submitted = await Submitted.of(archive, *files)
        rule = {"attribute": "StudyDescription", "action": "map", "map": {"A": "B", "B": "A"}}
        begun = await submitted.post("/edits", rules=[rule], reason="The wrong way round")
        second = await submitted.post("/edits", rules=[rule], reason="Beside it")
        assert (begun.status_code, second.status_code) == (202, 409)
        database = database_of(archive)
        submission, edit = await found(archive, submitted, begun)
        writer = EditWriter(database)
        applier = applier_of(archive)

        async def die(looked_at: int, _: int) -> None:
            if looked_at:
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await applier.apply(submission, edit, after=0, tell=die)
        told = []

        async def tell(looked_at: int, series: int) -> None:
            told.append((looked_at, series))

        for _ in range(2):
            await applier.apply(submission, edit, after=0, tell=tell)
        assert [read(await submitted.file(number, series=s)).StudyDescription for s, number, _ in texts] == [
            {"A": "B", "B": "A"}[text] for _, _, text in texts
        ]
        assert (await submitted.get(f"/edits/{edit.id}"))["instances"] == 4
        refused = await submitted.post("/approve")
        assert (refused.status_code, "being applied" in refused.text) == (409, True)
        # Whoever stops it leaves what was done, to be taken back.
        assert (await archive.client.post(f"{begun.json()['job']}/cancel")).status_code in (200, 202)
        assert (await submitted.get(f"/edits/{edit.id}"))["state"] == "stopped"
        # Also when that is stopped in its turn.
        for _ in range(2):
            undoing = await submitted.post(f"/edits/{edit.id}/undo", reason="It was right before")
            assert undoing.status_code == 202, undoing.text
            assert (await archive.client.post(f"{undoing.json()['job']}/cancel")).status_code in (200, 202)
        with pytest.raises(ConflictError):
            await writer.write(edit.id, EditBatch(submission.space_id, 1, "1", "1", [], []))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
async def test_files_that_are_too_long_to_be_held_are_copied_in_pieces(
    start_archive: StartArchive, syntax: str
) -> None:
    async with start_archive(job_slots=0) as archive:
        files = [part10(image(instance=number), syntax) for number in (1, 2)]
        files.append(part10(identified(instance=3, PatientName="None^At all"), syntax))
        submitted = await Submitted.of(archive, *files)
        rule = {"attribute": "PatientName", "action": "set", "value": "A name that is longer^Than before"}
        begun = await submitted.post("/edits", rules=[rule], reason="Because")
        submission, edit = await found(archive, submitted, begun)

        async def tell(*_: int) -> None:
            """Say nothing."""

        # One after the other, when more of what was replaced cannot be held.
        applier, batches = applier_of(archive, held_bytes=0, most_replaced_bytes=1), []
        write = applier.writer.write

        async def noted(edit_id: int, batch: EditBatch) -> Any:
            batches.append(len(batch.made))
            return await write(edit_id, batch)

        applier.writer.write = noted
        await applier.apply(submission, edit, after=0, tell=tell)
        assert batches == [1, 1, 1]
        for number, old in enumerate(files, 1):
            before, after = read(old), read(await submitted.file(number))
            assert after.PatientName == rule["value"]
            assert without(after, "PatientName") == without(before, "PatientName")
        database = database_of(archive)
        assert await disagreements(database) == [0] * 5
        await archive.client.post(f"{begun.json()['job']}/cancel")
        undoing = await submitted.post(f"/edits/{edit.id}/undo", reason="Because")
        # One after the other, when more of what was replaced cannot be held.
        little = replace(applier_of(archive, held_bytes=0), content=EditContent(database, most_replaced_bytes=1))
        some = await little.content.changed(submitted.space, edit.id, undoing=undoing.json()["id"])
        assert [each.sop_instance_uid for each in some] == [f"{UID}.1.1.1"]
        # What is stored in few bytes may be long.
        async with database.transaction() as connection:
            padded = "update edit_instance set elements = elements || convert_to(repeat(' ', $2), 'UTF8')"
            await connection.execute(f"{padded} where edit_id = $1", edit.id, 1_000_000)
            mib = EditContent(database, most_replaced_bytes=1024 * 1024)
        assert len(await mib.changed(submitted.space, edit.id, undoing=undoing.json()["id"])) == 2
        async with database.transaction() as connection:
            cut = "update edit_instance set elements = substr(elements, 1, octet_length(elements) - $2)"
            await connection.execute(f"{cut} where edit_id = $1", edit.id, 1_000_000)
        await little.undo(*await found(archive, submitted, undoing), tell=tell)
        archive.app.state.services.retrieve.instances.forget_deleted()
        for number, old in enumerate(files, 1):
            back = await submitted.file(number)
            assert read(back) == read(old)
            assert syntax == DeflatedExplicitVRLittleEndian or back == old


async def test_a_purge_takes_along_what_there_was_before_an_edit(archive: Archive) -> None:
    submitted = await Submitted.of(archive, *ct_series(2, ImageComments="secret words"))
    condition = {"attribute": "ImageComments", "is": ["secret words"]}
    result = await submitted.edit({"attribute": "ImageComments", "action": "remove", "when": [condition]})
    path = f"/edits/{result['edit']}"
    assert (await submitted.get(f"{path}/changes"))["changes"][0]["before"] == "secret words"
    asked = {"study": f"{UID}.1", "reason": "consent_withdrawn"}
    assert (await archive.client.post("/purges", json=asked)).status_code == 200
    assert (await submitted.get(f"{path}/changes"), await submitted.get(f"{path}/instances")) == (
        {"total": 0, "changes": [], "next": None},
        {"instances": [], "next": None},
    )
    assert (await submitted.get(path))["rules"] == []
    assert not [path for path in archive.files() if b"secret words" in path.read_bytes()]


async def test_what_a_rejected_submission_drops_is_nowhere_told_either(archive: Archive) -> None:
    submitted = await Submitted.of(archive, *ct_series(2), *ct_series(1, study=2))
    result = await submitted.edit({"attribute": "PatientID", "action": "set", "value": "X"})
    assert (await submitted.post("/reject", reason="quality")).status_code == 200
    assert (await empty(archive, days=30, after=30.1)).submissions == 1
    assert (await submitted.get(f"/edits/{result['edit']}/instances"))["instances"] == []
    assert (await submitted.get(f"/edits/{result['edit']}"))["instances"] == 3


async def test_compressed_pixels_and_what_cannot_be_edited_stay_as_they_are(archive: Archive) -> None:
    greek = {"SpecificCharacterSet": "ISO_IR 126", "PatientName": "Ονομα", "InstitutionName": "Νοσοκομείο"}
    files = [
        encapsulated([b"\xff\xd8 no picture \xff\xd9"]),
        part10(image(instance=2, series=2, **greek)),
        part10(image(instance=3, series=2, PatientName="Plain^Name")),
        part10(image(instance=4, series=3)),
    ]
    submitted = await Submitted.of(archive, *files)
    (lost,) = [path for path in archive.files() if files[3] in path.read_bytes()]
    lost.unlink()
    rule = {"attribute": "PatientName", "action": "set", "value": "Müller^Änne"}
    preview = await archive.client.post(f"{submitted.path}/edits/preview", json={"rules": [rule]})
    tried = preview.json()
    assert (tried["unfit"], tried["instances"], tried["series"]) == ({"character_set": 1, "damaged": 1}, 2, 2)
    result = await submitted.edit(rule)
    assert (result["instances"], result["unfit"]) == (2, 2)
    # What was tried is what has come of it.
    done = (await submitted.get(f"/edits/{result['edit']}/changes"))["changes"]
    assert sorted(map(str, tried["changes"])) == sorted(map(str, done))
    assert await submitted.file(2, series=2) == files[1]
    new = read(await submitted.file(1))
    assert (new.PatientName, new.PixelData) == ("Müller^Änne", read(files[0]).PixelData)


async def test_what_is_edited_has_to_be_checked_again(archive: Archive) -> None:
    (file,) = ct_series(1)
    submitted = await Submitted.of(archive, file)
    submission = await SubmissionIndex(database_of(archive)).find(submitted.name, SubmissionScope(None))
    assert submission is not None
    manifests = ManifestIndex(database_of(archive))
    announced = Manifest(Totals(instances=1, size_bytes=len(file)), {f"{UID}.1.1.1": blake3(file).digest()})
    await manifests.put(submission, announced, actor="sender")
    for value in ("Y", "A longer one"):
        await submitted.edit({"attribute": "PatientID", "action": "set", "value": value})
    # It has come as it was announced.
    compared = await manifests.compare(submitted.space)
    assert compared is not None
    assert (compared.there, compared.differing, compared.for_check().other_totals) == (1, 0, 0)
    refused = await submitted.post("/approve")
    assert (refused.status_code, "checked again" in refused.text) == (409, True)
    checks = await archive.client.post(f"{submitted.path}/checks", json={})
    await submitted.job(checks.json()["url"])
    [run] = (await submitted.get("/checks"))["runs"]
    assert run["is_stale"] is False
    assert (await submitted.post("/approve")).status_code == 200
    assert (
        (await submitted.post("/edits", rules=[{"attribute": "PatientID", "action": "remove"}], reason="No"))
        .json()["type"]
        .endswith("conflict")
    )


async def test_edits_are_for_curators_of_what_is_in_review_and_of_one_revision(archive: Archive) -> None:
    submitted = await Submitted.of(archive, *ct_series(1))
    body = {"rules": [{"attribute": "PatientID", "action": "remove"}], "reason": "Because"}
    path = f"{submitted.path}/edits"
    for attribute, status in (("Rows", 400), ("FrameOfReferenceUID", 409)):
        rule = {"attribute": attribute, "action": "set", "value": "1.2"}
        assert (await archive.client.post(f"{path}/preview", json={"rules": [rule]})).status_code == status
    assert (await archive.client.post(path, json=body)).status_code == 428
    assert (await archive.client.post(path, json=body, headers={"if-match": '"99"'})).status_code == 412
    assert (await archive.client.get(f"{path}/1")).status_code == 404
    opened = (await archive.client.post("/submissions", json={})).json()["name"]
    still_open = await archive.client.post(f"/submissions/{opened}/edits", json=body, headers={"if-match": "*"})
    assert (still_open.status_code, "open" in still_open.text) == (409, True)

    async with database_of(archive).transaction() as connection:
        await connection.execute("update submission set opened_by = 'sender' where name = $1", submitted.name)
    archive.let_in(*[principal(name, role) for name, role in (("sender", Role.SUBMITTER), ("other", Role.SUBMITTER))])
    for who, status in (("sender", 403), ("other", 404)):
        key = {"authorization": f"Bearer {who}"}
        for method, where in (("GET", path), ("GET", f"{path}/1"), ("GET", f"{path}/1/changes"), ("POST", path)):
            answer = await archive.client.request(
                method, where, json=body if method == "POST" else None, headers={**key, "if-match": "*"}
            )
            assert answer.status_code == status, (who, where, answer.text)


def principal(name: str, *roles: Role) -> Principal:
    return Principal(name, PrincipalKind.KEY_HOLDER, with_included(roles))
