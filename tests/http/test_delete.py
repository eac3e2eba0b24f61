"""Deleting studies, series and instances."""

from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import ROOT, Archive
from tests.http.conftest import StartArchive

STUDY = f"/studies/{UID}.1"
SERIES = f"{STUDY}/series/{UID}.1.1"
INSTANCE = f"{SERIES}/instances/{UID}.1.1.1"


async def delete(archive: Archive, path: str) -> int:
    return (await archive.client.delete(ROOT + path)).status_code


async def test_a_deleted_study_is_gone_and_so_are_its_objects(archive: Archive) -> None:
    await archive.store(*ct_series(2), *ct_series(1, study=2))
    assert await delete(archive, STUDY) == 204
    for path in (STUDY, SERIES, INSTANCE, f"{STUDY}/metadata", f"{INSTANCE}/metadata", f"{INSTANCE}/frames/1"):
        assert (await archive.get(path)).status_code == 410
    assert len((await archive.get("/studies")).json()) == 1
    assert len(archive.files()) == 1
    assert await delete(archive, STUDY) == 410


async def test_a_deleted_instance_leaves_the_others(archive: Archive) -> None:
    instances = ct_series(3)
    await archive.store(*instances)
    assert (await archive.get(f"{INSTANCE}/frames/1")).status_code == 200
    assert await delete(archive, INSTANCE) == 204
    assert (await archive.get(f"{INSTANCE}/frames/1")).status_code == 410
    assert len((await archive.get(f"{SERIES}/metadata")).json()) == 2
    other = f"{SERIES}/instances/{UID}.1.1.3"
    answer = await archive.get(other, headers={"accept": "application/dicom; transfer-syntax=*"})
    assert answer.content == instances[2]


async def test_a_deleted_series_leaves_the_study(archive: Archive) -> None:
    await archive.store(*ct_series(2), *ct_series(2, series=2))
    assert await delete(archive, SERIES) == 204
    assert len((await archive.get(f"{STUDY}/series")).json()) == 1


async def test_what_was_deleted_can_be_stored_again(archive: Archive) -> None:
    await archive.store(*ct_series(2))
    await delete(archive, STUDY)
    assert (await archive.store(*ct_series(2))).status_code == 200
    assert (await archive.get(STUDY)).status_code == 200


async def test_the_unknown_is_404_and_the_unreadable_400(archive: Archive) -> None:
    assert await delete(archive, STUDY) == 404
    assert await delete(archive, "/studies/..%2f") in (400, 404)
    assert await delete(archive, "/studies/abc") == 400


async def test_deleting_needs_the_key_when_there_is_one(start_archive: StartArchive) -> None:
    async with start_archive(api_key="secret") as archive:
        key = {"authorization": "Bearer secret"}
        await archive.store(*ct_series(1), headers=key)
        answer = await archive.client.delete(ROOT + STUDY)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await archive.client.delete(ROOT + STUDY, headers=key)).status_code == 204


async def test_what_another_process_has_just_deleted_is_gone_and_not_damaged(start_archive: StartArchive) -> None:
    rests = ["", "/frames/1", "/bulkdata/7FE00010", "/rendered"]
    async with start_archive() as archive, start_archive() as other:
        for number, rest in enumerate(rests, 1):
            await archive.store(*ct_series(1, study=number))
            instance = f"/studies/{UID}.{number}/series/{UID}.{number}.1/instances/{UID}.{number}.1.1"
            # Viewers ask again and again; where the instance lies is remembered for a moment.
            assert (await other.get(instance + rest)).status_code == 200
            assert await delete(archive, instance) == 204
            assert (await other.get(instance + rest)).status_code == 410, rest


async def test_what_another_process_has_just_replaced_is_found_at_the_second_try(start_archive: StartArchive) -> None:
    async with start_archive() as archive, start_archive() as other:
        await archive.store(*ct_series(1))
        assert (await other.get(f"{INSTANCE}/frames/1")).status_code == 200
        assert await delete(archive, INSTANCE) == 204
        await archive.store(*ct_series(1))
        first = await other.get(f"{INSTANCE}/frames/1")
        if first.status_code != 200:
            assert first.status_code == 503
            assert first.headers["retry-after"]
        assert (await other.get(f"{INSTANCE}/frames/1")).status_code == 200
