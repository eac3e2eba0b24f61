"""The whole archive on a bucket of a real S3 service: in, found, out, gone; and what clients see when it fails."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import ROOT, Archive, parts_of
from tests.http.conftest import StartArchive
from tests.s3 import FaultyDoor, faulty_door, s3_place, s3_server

from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.packs import PACK_PREFIX
from dicomweb_archive.storage.s3.place import S3Place

__all__ = ["faulty_door", "s3_place", "s3_server"]

STUDY = f"/studies/{UID}.1"
SERIES = f"{STUDY}/series/{UID}.1.1"
INSTANCE = f"{SERIES}/instances/{UID}.1.1.1"
AS_STORED = {"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


@pytest.fixture
def door(faulty_door: tuple[FaultyDoor, S3Place]) -> FaultyDoor:
    return faulty_door[0]


@pytest.fixture
async def archive(start_archive: StartArchive, faulty_door: tuple[FaultyDoor, S3Place]) -> AsyncIterator[Archive]:
    """An archive whose objects lie behind the door."""
    async with start_archive(**settings_of(faulty_door[1])) as archive:
        yield archive


def settings_of(place: S3Place) -> dict[str, Any]:
    return {
        "object_store_url": f"s3://{place.bucket}/{place.prefix}",
        "s3_endpoint_url": place.endpoint_url,
        "s3_access_key_id": place.access_key_id,
        "s3_secret_access_key": place.secret_access_key,
        "s3_timeout_seconds": 5,
    }


async def objects(archive: Archive) -> list[str]:
    store: ObjectStore = archive.app.state.services.retrieve.objects
    return [item.key async for item in store.list(PACK_PREFIX)]


async def test_a_series_is_stored_found_retrieved_and_deleted(archive: Archive, door: FaultyDoor) -> None:
    instances = ct_series(5)
    door.asked.clear()
    assert (await archive.store(*instances)).status_code == 200
    assert door.asked == ["PUT"]
    assert len(await objects(archive)) == 1

    assert [len((await archive.get(path)).json()) for path in ("/studies", f"{STUDY}/series", "/instances")] == [
        1,
        1,
        5,
    ]
    metadata = (await archive.get(f"{SERIES}/metadata")).json()
    assert len(metadata) == 5

    door.asked.clear()
    series = await archive.get(SERIES, headers=AS_STORED)
    assert int(series.headers["content-length"]) == len(series.content)
    assert sorted(body for _, body in parts_of(series)) == sorted(instances)
    assert door.asked == ["GET"]

    door.asked.clear()
    frame = await archive.get(f"{INSTANCE}/frames/1", headers={"accept": "application/octet-stream"})
    assert frame.status_code == 200
    assert frame.content in instances[0]
    assert door.asked == ["GET"]

    assert (await archive.client.delete(ROOT + STUDY)).status_code == 204
    assert await objects(archive) == []
    assert (await archive.get(f"{INSTANCE}/frames/1")).status_code == 410
    assert not (archive.settings.data_dir / "objects").exists()


async def test_what_was_touched_is_read_from_the_cache_until_it_is_deleted(archive: Archive, door: FaultyDoor) -> None:
    instances = ct_series(3, rows=256, columns=256)
    await archive.store(*instances)
    blocks = archive.settings.data_dir / "blocks"
    asked = ["/frames/1", "/rendered", "/thumbnail", ""]
    door.asked.clear()
    for path in asked * 2:
        assert (await archive.get(INSTANCE + path)).status_code == 200
    # The whole pack is smaller than two blocks.
    assert door.asked.count("GET") <= 2
    cache = archive.app.state.services.retrieve.objects._cache
    await cache.settle()
    assert [path for path in blocks.glob("??/*/*") if path.is_file()] != []
    metrics = (await archive.client.get("/metrics")).text
    found = dict(re.findall(r'dicomweb_block_cache_reads_total\{found="(\w+)"\} (\S+)', metrics))
    assert float(found["memory"]) > float(found["store"]) > 0
    located = dict(re.findall(r'dicomweb_locations_total\{found="(\w+)"\} (\S+)', metrics))
    assert float(located["memory"]) + float(located["checked"]) > float(located["database"]) == 1
    status = (await archive.client.get("/status")).text
    assert "Block cache" in status
    assert "could not use its disk" not in status

    assert (await archive.client.delete(ROOT + STUDY)).status_code == 204
    assert list(blocks.glob("??/*/*")) == []
    for path in asked:
        assert (await archive.get(INSTANCE + path)).status_code == 410


async def test_a_series_that_is_downloaded_stays_out_of_the_cache(archive: Archive) -> None:
    await archive.store(*ct_series(4, rows=256, columns=256))
    for accept in ({}, {"accept": "application/zip"}):
        assert (await archive.get(SERIES, headers={**AS_STORED, **accept})).status_code == 200
    await archive.app.state.services.retrieve.objects._cache.settle()
    assert list((archive.settings.data_dir / "blocks").glob("??/*/*")) == []


async def test_a_service_that_is_away_is_said_before_the_first_byte(archive: Archive, door: FaultyDoor) -> None:
    await archive.store(*ct_series(2))
    for path in (f"{INSTANCE}/frames/1", INSTANCE):
        door.next("GET", *[door.failing(503, "SlowDown")] * 4)
        answer = await archive.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "secret" not in answer.text
    door.next("HEAD", door.failing(503, "SlowDown"))
    ready = await archive.client.get("/health/ready")
    assert ready.status_code == 503
    assert (await archive.client.get("/health/ready")).status_code == 200


async def test_a_store_that_fails_keeps_nothing(archive: Archive, door: FaultyDoor) -> None:
    door.next("PUT", *[door.failing(503, "SlowDown")] * 4)
    answer = await archive.store(*ct_series(2))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert await objects(archive) == []
    assert await archive.stored_instances() == 0
    assert (await archive.store(*ct_series(2))).status_code == 200


async def test_an_object_that_is_gone_is_said_and_never_a_short_answer(archive: Archive) -> None:
    await archive.store(*ct_series(2))
    store: ObjectStore = archive.app.state.services.retrieve.objects
    await store.delete_many(await objects(archive))
    answer = await archive.get(SERIES)
    assert answer.status_code == 500
    assert answer.json()["type"].endswith("object-missing")


async def test_a_service_that_breaks_off_on_the_way_is_not_seen_by_the_client(
    archive: Archive, door: FaultyDoor
) -> None:
    instances = ct_series(4, rows=512, columns=1024)
    await archive.store(*instances)
    door.next("GET", door.forward, door.cutting, door.dropping, door.failing(503, "SlowDown"), door.cutting)
    answer = await archive.get(SERIES, headers=AS_STORED)
    assert [content for _, content in parts_of(answer)] == instances
    assert int(answer.headers["content-length"]) == len(answer.content)


async def test_a_service_that_fails_on_the_way_breaks_the_answer_off(
    archive: Archive, door: FaultyDoor, caplog: pytest.LogCaptureFixture
) -> None:
    await archive.store(*ct_series(4, rows=1024, columns=1024))
    door.next("GET", *[door.failing_behind(1024 * 1024, 500, "InternalError")] * 40)
    # The transport of these tests sees an answer without an end; a client sees its connection dropped.
    with pytest.raises(AssertionError):
        await archive.get(SERIES, headers=AS_STORED)
    assert "answer cut short" in caplog.text
