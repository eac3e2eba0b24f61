"""Where stores lead: into the archive, or into a submission; and what contradicts what is there."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydicom.uid import CTImageStorage, MRImageStorage
from tests.factories import ROOT as UID
from tests.factories import ct_series, mr_series
from tests.http.archive import RELATED, Archive, related, values_of
from tests.http.conftest import StartArchive
from tests.submitted import add_collection, database_of, lay_into

from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.writing.packs import PackIndex
from dicomweb_archive.services.access import Principal, PrincipalKind, Role
from dicomweb_archive.services.maintenance import MaintenanceService

STORED, COMMENT, RETRIEVE_URL = "00081199", "00000902", "00081190"


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive in which nothing happens by itself: what is sealed stays sealed."""
    async with start_archive(job_slots=0) as archive:
        yield archive


async def store_at(archive: Archive, parent: str, *instances: bytes, **headers: str) -> httpx.Response:
    sent = {"content-type": RELATED, "accept": "application/dicom+json", **headers}
    return await archive.client.post(f"{parent}/dicom-web/studies", content=related(instances), headers=sent)


async def found_at(archive: Archive, parent: str = "") -> int:
    answer = await archive.client.get(f"{parent}/dicom-web/instances")
    assert answer.status_code == 200
    return len(answer.json())


async def opened(archive: Archive, **said: Any) -> tuple[str, str]:
    """Open a submission; return its path and its name."""
    document = (await archive.client.post("/submissions", json=said)).json()
    return f"/submissions/{document['name']}", document["name"]


async def made(archive: Archive, accession: str, settings: str) -> str:
    """Make a collection that is kept in a certain way; return its path."""
    collection_id = await add_collection(archive, accession)
    async with database_of(archive).transaction() as connection:
        await connection.execute(f"update collection set {settings} where id = $1", collection_id)
    return f"/collections/{accession}"


async def queue(archive: Archive, **asked: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await archive.client.get("/submissions", params=asked)).json()["submissions"]
    return found


async def test_what_is_stored_into_a_submission_is_seen_there_and_nowhere_else(archive: Archive) -> None:
    path, _ = await opened(archive, title="Trial")
    answer = await store_at(archive, path, *ct_series(3))
    assert answer.status_code == 200
    assert answer.headers["location"] == f"http://archive.example{path}/dicom-web/studies/{UID}.1"
    (first, *_) = values_of(answer.json(), STORED)
    assert values_of(first, RETRIEVE_URL)[0].startswith(f"http://archive.example{path}/dicom-web/")
    assert (await archive.client.get(values_of(first, RETRIEVE_URL)[0])).status_code == 200
    assert (await found_at(archive, path), await found_at(archive)) == (3, 0)
    again = await store_at(archive, path, *ct_series(3))
    assert again.status_code == 200
    assert len(archive.files()) == 1
    held = (await archive.client.get(path)).json()["held"]
    assert held == {**held, "studies": 1, "series": 1, "instances": 3}
    trail = (await archive.client.get(f"{path}/events")).json()["events"]
    assert [event["kind"] for event in trail] == ["submission_opened", "instances_stored"]


async def test_the_same_study_may_wait_in_several_submissions_and_be_published(archive: Archive) -> None:
    (one, _), (other, _) = await opened(archive), await opened(archive)
    for parent in (one, "", other):
        assert (await store_at(archive, parent, *ct_series(2))).status_code == 200
    assert [await found_at(archive, parent) for parent in (one, "", other)] == [2, 2, 2]


async def test_a_submission_that_is_not_open_takes_nothing(archive: Archive) -> None:
    path, _ = await opened(archive)
    await archive.client.post(f"{path}/seal", headers={"if-match": "*"})
    answer = await store_at(archive, path, *ct_series(1))
    assert answer.status_code == 409
    assert "sealed" in answer.json()["detail"]
    assert archive.files() == []
    assert (await store_at(archive, "/submissions/nothing", *ct_series(1))).status_code == 404


async def test_in_a_curated_collection_everything_waits_in_the_submission_of_the_day(archive: Archive) -> None:
    parent = await made(archive, "CURATED", "policy = 'curated'")
    answer = await store_at(archive, parent, *ct_series(2))
    assert answer.status_code == 202
    assert "wait for review" in answer.headers["warning"]
    (waiting,) = await queue(archive, collection="CURATED")
    assert answer.headers["location"] == f"{waiting['dicomweb']}/studies/{UID}.1"
    items = values_of(answer.json(), STORED)
    assert [values_of(item, COMMENT) for item in items] == [["waits for review"]] * 2
    assert all(values_of(item, RETRIEVE_URL)[0].startswith(waiting["dicomweb"]) for item in items)
    assert values_of(answer.json(), RETRIEVE_URL) == [answer.headers["location"]]
    assert await found_at(archive) == await found_at(archive, parent) == 0
    # The same submission takes what else comes that day, until it is sealed.
    assert (await store_at(archive, parent, *ct_series(1, study=2))).status_code == 202
    assert [each["held"]["studies"] for each in await queue(archive)] == [2]
    path = f"/submissions/{waiting['name']}"
    await archive.client.post(f"{path}/seal", headers={"if-match": "*"})
    assert (await store_at(archive, parent, *ct_series(1, study=3))).status_code == 202
    assert sorted(each["state"] for each in await queue(archive)) == ["open", "sealed"]


async def published(archive: Archive, accession: str, *instances: bytes, access: str = "open") -> str:
    """Publish instances in a curated collection; return its path."""
    parent = await made(archive, accession, f"policy = 'curated', access = '{access}'")
    async with database_of(archive).connection() as connection:
        collection_id = await connection.fetchval("select id from collection where accession = $1", accession)
    await lay_into(archive, ARCHIVE_SPACE, instances, collection_id=collection_id)
    return parent


@pytest.mark.parametrize("hold_bytes", [8 << 20, 100], ids=["held", "large"])
async def test_what_is_published_with_the_same_bytes_does_not_wait_again(archive: Archive, hold_bytes: int) -> None:
    service = archive.app.state.services.store
    object.__setattr__(service, "limits", replace(service.limits, hold_bytes=hold_bytes))
    first, second = ct_series(2)
    (other,) = ct_series(1, PatientWeight="70")
    parent = await published(archive, "RESENT", first, second)
    answer = await store_at(archive, parent, first, second, first)
    assert answer.status_code == 200
    assert "warning" not in answer.headers
    items = values_of(answer.json(), STORED)
    assert [values_of(item, COMMENT) for item in items] == [["Already stored with the same bytes"]] * 3
    assert (await archive.client.get(values_of(items[1], RETRIEVE_URL)[0])).status_code == 200
    assert await queue(archive) == []
    assert len(archive.files()) == 1
    # Other bytes wait, whether what is published comes before them or behind them.
    (fresh,) = ct_series(1, study=2)
    answer = await store_at(archive, parent, first, other, first, fresh)
    assert answer.status_code == 202
    items = values_of(answer.json(), STORED)
    assert ["submissions" in values_of(item, RETRIEVE_URL)[0] for item in items] == [False, True, False, True]
    (waiting,) = await queue(archive)
    assert waiting["held"]["instances"] == 2
    # Into a submission that it names it is stored all the same.
    path, _ = await opened(archive, collection="RESENT")
    assert (await store_at(archive, path, first)).status_code == 200
    assert await found_at(archive, path) == 1


async def test_nobody_is_told_that_what_they_may_not_see_is_published(archive: Archive) -> None:
    hidden, embargoed = ct_series(1, study=1), ct_series(1, study=2)
    shut = await published(archive, "SHUT", *hidden, access="restricted")
    parent = await published(archive, "EMBARGOED", *embargoed)
    async with database_of(archive).transaction() as connection:
        await connection.execute(
            "update study set embargo_until = '2999-01-01' where study_instance_uid = $1", f"{UID}.2"
        )
        ids = dict(await connection.fetch("select accession, id from collection"))
    roles = frozenset({Role.SUBMITTER})
    archive.let_in(
        Principal("ann", PrincipalKind.KEY_HOLDER, roles, frozenset({ids["SHUT"]})),
        Principal("bob", PrincipalKind.KEY_HOLDER, roles | {Role.READER}, frozenset({ids["SHUT"]})),
        Principal("cyd", PrincipalKind.KEY_HOLDER, roles | {Role.READER}, frozenset({ids["EMBARGOED"]})),
    )
    for name, at, instances, status in (
        ("ann", shut, hidden, 202),
        ("bob", shut, hidden, 200),
        ("cyd", parent, embargoed, 202),
        ("cyd", parent, hidden, 202),
    ):
        answer = await store_at(archive, at, *instances, authorization=f"Bearer {name}")
        assert answer.status_code == status, (name, answer.text)
        (item,) = values_of(answer.json(), STORED)
        assert values_of(item, COMMENT) == [
            "waits for review" if status == 202 else "Already stored with the same bytes"
        ]


async def test_what_the_rules_of_an_automatic_collection_do_not_take_waits_and_the_rest_is_published(
    archive: Archive,
) -> None:
    parent = await made(archive, "CTONLY", f"""rules = '{{"sop_classes": ["{CTImageStorage}"]}}'""")
    ct, mr = ct_series(2, study=1), mr_series(2, study=2)
    answer = await store_at(archive, parent, *ct, *mr)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"http://archive.example{parent}/dicom-web/studies/{UID}.1"
    (waiting,) = await queue(archive)
    items = values_of(answer.json(), STORED)
    assert [values_of(item, RETRIEVE_URL)[0].startswith(waiting["dicomweb"]) for item in items] == [False] * 2 + [
        True
    ] * 2
    assert "SOP class" in values_of(items[2], COMMENT)[0]
    assert (await found_at(archive), await found_at(archive, f"/submissions/{waiting['name']}")) == (2, 2)
    # Again, together with another: known where they are.
    answer = await store_at(archive, parent, *ct, *mr, *mr_series(1, study=3))
    assert answer.status_code == 202
    found = (await archive.client.get(f"/submissions/{waiting['name']}/findings")).json()["findings"]
    assert [(each["check"], each["severity"], each["instances"], each["run"]) for each in found] == [
        ("accepted", "block", 2, None), ("accepted", "block", 1, None),
    ]  # fmt: skip
    assert (await found_at(archive), await found_at(archive, f"/submissions/{waiting['name']}")) == (2, 3)
    assert MRImageStorage not in answer.headers["warning"]


async def test_a_study_has_one_home_and_waits_when_it_comes_by_another_door(archive: Archive) -> None:
    first, second = ct_series(2)
    parent = await made(archive, "OTHER", "policy = 'automatic'")
    await store_at(archive, "", first)
    answer = await store_at(archive, parent, first, second)
    assert answer.status_code == 202
    same, other = values_of(answer.json(), STORED)
    assert values_of(same, COMMENT) == ["Already stored with the same bytes"]
    assert values_of(other, COMMENT) == ["waits for review: the study has another home or was withdrawn"]
    (waiting,) = await queue(archive, collection="OTHER")
    assert (await found_at(archive), await found_at(archive, f"/submissions/{waiting['name']}")) == (1, 1)
    assert len(archive.files()) == 2


async def test_a_collection_that_is_closed_or_wants_to_know_the_site_takes_no_plain_stores(archive: Archive) -> None:
    closed = await made(archive, "CLOSED", "closed_at = now()")
    sites = await made(archive, "SITES", """rules = '{"sites": ["Graz"]}'""")
    for parent in (closed, sites):
        assert (await store_at(archive, parent, *ct_series(1))).status_code == 409
    assert (await archive.client.post("/submissions", json={"collection": "SITES"})).status_code == 400
    path, _ = await opened(archive, collection="SITES", site="Graz")
    assert (await store_at(archive, path, *ct_series(1))).status_code == 200
    assert (await store_at(archive, "/collections/NONE", *ct_series(1))).status_code == 404


async def test_what_contradicts_is_kept_and_shown_beside_what_it_contradicts(archive: Archive) -> None:
    (first,) = ct_series(1)
    (other,) = ct_series(1, PatientWeight="70", PatientName="Roe^Richard")
    (pixels,) = ct_series(1, PixelData=bytes(512))
    await store_at(archive, "", first)
    for _ in range(2):
        answer = await store_at(archive, "", other, pixels, other)
        assert answer.status_code == 409
        (item, *_) = values_of(answer.json(), "00081198")
        assert values_of(item, COMMENT) == ["SOP Instance UID is stored with other content; kept for review"]
    (waiting,) = await queue(archive)
    path = f"/submissions/{waiting['name']}"
    listed = (await archive.client.get(f"{path}/conflicts")).json()
    assert listed["total"] == 2
    one, two = listed["conflicts"]
    assert one["size_bytes"] == len(other)
    assert (await archive.client.get(one["standing"])).status_code == 200
    compared = (await archive.client.get(f"{path}/conflicts/{one['id']}")).json()
    assert compared["bulk"] == []
    assert [each["keyword"] for each in compared["differences"]] == ["PatientName", "PatientWeight"]
    name, weight = compared["differences"]
    assert [name[side]["Value"][0]["Alphabetic"] for side in ("standing", "conflict")] == ["Doe^Jane", "Roe^Richard"]
    assert (weight["standing"], weight["conflict"]["Value"]) == (None, [70])
    compared = (await archive.client.get(f"{path}/conflicts/{two['id']}")).json()
    assert (compared["differences"], compared["bulk"]) == ([], ["7FE00010"])
    # Nothing else shows them, and a delete of what stands leaves them.
    assert await found_at(archive, path) == 0
    await archive.client.delete(f"/dicom-web/studies/{UID}.1")
    assert (await archive.client.get(f"{path}/conflicts/{one['id']}")).status_code == 404
    assert [each["standing"] for each in (await archive.client.get(f"{path}/conflicts")).json()["conflicts"]] == [
        None
    ] * 2
    events = (await archive.client.get(f"{path}/events")).json()["events"]
    assert [event["kind"] for event in events] == ["submission_opened", "conflict_kept"]
    assert (await archive.client.get("/submissions/nothing/conflicts")).status_code == 404
    objects = archive.app.state.services.store.objects
    orphans = MaintenanceService(PackIndex(database_of(archive)), objects, clock=lambda: time.time() + 10**6)
    assert (await orphans.find_orphans()).found == ()
