"""Emptying: what was rejected goes with its bytes when it is time, and what is published or undecided stays."""

from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.test_expiry import in_days, told
from tests.http.test_store_destinations import found_at, opened, store_at
from tests.http.test_submissions import act
from tests.submitted import database_of

from dicomweb_archive.index.curation.emptying import EmptyingIndex
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.writing.removal import Removal
from dicomweb_archive.services.submissions.emptying import Emptied, EmptyingService


async def empty(archive: Archive, *, days: int, after: float) -> Emptied:
    database = database_of(archive)
    index = EmptyingIndex(database, Removal(database, InstanceIndex(database)))
    objects = archive.app.state.services.store.objects
    return await EmptyingService(index, objects, days, in_days(after)).empty(actor="archive")


async def test_what_was_rejected_goes_when_it_is_time_and_its_trail_stays(archive: Archive) -> None:
    await archive.store(*ct_series(1, study=3))
    path, _ = await opened(archive)
    other, _ = await opened(archive)
    # The second series contradicts what is in the submission already.
    await store_at(archive, path, *ct_series(2), *ct_series(1, study=2))
    assert (await store_at(archive, path, *ct_series(1, PatientWeight="70"))).status_code == 409
    await store_at(archive, other, *ct_series(1, study=4))
    for each, action in ((path, "reject"), (other, "withdraw")):
        decided = await act(archive, await told(archive, each), action, reason="consent_withdrawn")
        assert decided.status_code == 200
    assert await empty(archive, days=30, after=29.9) == Emptied(0, 0, 0)
    assert await empty(archive, days=0, after=10_000) == Emptied(0, 0, 0)
    assert len(archive.files()) == 5
    assert await empty(archive, days=30, after=30.1) == Emptied(2, 4, 1)
    assert await empty(archive, days=30, after=30.1) == Emptied(0, 0, 0)
    assert len(archive.files()) == 1
    assert await found_at(archive, path) == 0
    assert (await archive.client.get(f"{path}/dicom-web/studies/{UID}.1")).status_code == 410
    events = (await told(archive, f"{path}/events"))["events"]
    assert [each["kind"] for each in events][-4:] == [
        "submission_state_changed", "study_deleted", "study_deleted", "conflicts_dropped",
    ]  # fmt: skip
    (conflict,) = (await told(archive, f"{path}/conflicts"))["conflicts"]
    assert not conflict["is_kept"]
    assert (await archive.client.get(f"{path}/conflicts/{conflict['id']}")).status_code == 404
    # What is published has nothing to do with it.
    assert len((await archive.get("/studies")).json()) == 1


async def test_conflicts_go_that_were_decided_against_and_no_others(archive: Archive) -> None:
    path, _ = await opened(archive)
    await store_at(archive, path, *ct_series(3))
    come = ct_series(3, PatientWeight="70")
    assert (await store_at(archive, path, *come)).status_code == 409
    conflicts = (await told(archive, f"{path}/conflicts"))["conflicts"]
    for conflict, decision in zip(conflicts, ("keep", "replace"), strict=False):
        url = f"{path}/conflicts/{conflict['id']}/decision"
        answer = await archive.client.post(url, json={"decision": decision}, headers={"if-match": "*"})
        assert answer.status_code == 200, answer.text
    assert await empty(archive, days=30, after=30.1) == Emptied(1, 0, 1)
    listed = (await told(archive, f"{path}/conflicts"))["conflicts"]
    assert [each["is_kept"] for each in listed] == [False, True, True]
    url = f"{path}/conflicts/{listed[0]['id']}/decision"
    answer = await archive.client.post(url, json={"decision": "replace"}, headers={"if-match": "*"})
    assert (answer.status_code, "no_bytes" in answer.json()["detail"]) == (409, True)
    # Sent once more they are known as what was decided on, and take no room.
    kept = len(archive.files())
    assert (await store_at(archive, path, *come)).status_code == 202
    assert len(archive.files()) == kept
