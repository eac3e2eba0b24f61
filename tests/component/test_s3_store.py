"""S3Store: the contract on a real S3 service, and what it makes of one that fails."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tests.component.object_store_contract import ObjectStoreContract, is_there, keys, put
from tests.s3 import FaultyDoor, faulty_door, s3_place, s3_server

from dicomweb_archive.cli import seaweedfs
from dicomweb_archive.cli.seaweedfs import SeaweedServer
from dicomweb_archive.errors import (
    ArchiveError,
    ConflictError,
    DamagedObjectError,
    ObjectNotFoundError,
    SetupError,
    StorageFullError,
    StorageUnavailableError,
)
from dicomweb_archive.observability import Metrics
from dicomweb_archive.storage.blocks.cache import BlockCache, BlockSettings
from dicomweb_archive.storage.blocks.store import BlockStore
from dicomweb_archive.storage.ownership import OWNER_KEY, StoreOwner
from dicomweb_archive.storage.s3 import control, range_stream
from dicomweb_archive.storage.s3 import store as s3_store
from dicomweb_archive.storage.s3.control import BucketControl
from dicomweb_archive.storage.s3.place import S3Place
from dicomweb_archive.storage.s3.store import S3Store
from dicomweb_archive.storage.spans import Span, stream_spans

__all__ = ["faulty_door", "s3_place", "s3_server"]

MIB = 1024 * 1024


@pytest.fixture
async def store(s3_place: S3Place) -> AsyncIterator[S3Store]:
    opened = await S3Store.open_bucket(s3_place)
    yield opened
    await opened.close()


@pytest.fixture
async def behind(faulty_door: tuple[FaultyDoor, S3Place]) -> AsyncIterator[S3Store]:
    """A store behind the door that fails."""
    door, place = faulty_door
    opened = await S3Store.open_bucket(place)
    door.asked.clear()
    yield opened
    await opened.close()


@pytest.fixture
def door(faulty_door: tuple[FaultyDoor, S3Place]) -> FaultyDoor:
    return faulty_door[0]


async def unfinished(place: S3Place) -> list[str]:
    async with BucketControl.connect(place) as connected:
        return [upload.key for upload in await connected.unfinished_uploads()]


class TestS3Store(ObjectStoreContract):
    pass


class TestS3StoreBehindBlocks(ObjectStoreContract):
    @pytest.fixture
    async def store(self, s3_place: S3Place, tmp_path: Path) -> AsyncIterator[BlockStore]:
        behind = await S3Store.open_bucket(s3_place)
        bounds = BlockSettings("test", 10_000_000, 10_000_000, tmp_path / "blocks", leave_free_bytes=0)
        opened = BlockStore(behind, await BlockCache.open(behind, bounds, Metrics().blocks))
        yield opened
        await opened.close()


async def test_keys_lie_below_the_prefix(store: S3Store, s3_place: S3Place) -> None:
    await put(store, "packs/one", b"x")
    outer = await S3Store.open_bucket(replace(s3_place, prefix=""))
    assert await keys(outer, s3_place.prefix) == [f"{s3_place.prefix}packs/one"]
    await outer.close()


async def test_lists_and_batches_take_several_requests(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_BATCH", 5)
    names = [f"many/{number:02}" for number in range(13)]
    await asyncio.gather(*(put(store, name, b"") for name in names))
    assert await keys(store, "many/") == names
    await store.delete_many(names[:11])
    assert await keys(store) == names[11:]


async def test_an_aborted_upload_leaves_no_parts(store: S3Store, s3_place: S3Place) -> None:
    writer = await store.create("large")
    await writer.write([bytes(9 * MIB)])
    assert await unfinished(s3_place) == ["large"]
    await writer.abort()
    assert await unfinished(s3_place) == []


@pytest.mark.parametrize(("size", "method"), [(100, "PUT"), (9 * MIB, "POST")], ids=["small", "large"])
async def test_a_cancelled_commit_leaves_nothing(
    behind: S3Store, door: FaultyDoor, s3_place: S3Place, size: int, method: str
) -> None:
    writer = await behind.create("cancelled")
    await writer.write([bytes(size)])
    commit = asyncio.create_task(writer.commit())
    # The service has made the object; only we have not heard of it.
    done = door.next_done_without_an_answer(method)
    await done.wait()
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    assert await is_there(behind, "cancelled")
    await writer.abort()
    assert not await is_there(behind, "cancelled")
    assert await unfinished(s3_place) == []


async def test_opening_drops_uploads_that_are_a_day_old(
    store: S3Store, s3_place: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers = [await store.create(key) for key in ("packs/left", "somebody-elses")]
    for writer in writers:
        await writer.write([bytes(9 * MIB)])
    await (await S3Store.open_bucket(s3_place)).close()
    assert sorted(await unfinished(s3_place)) == ["packs/left", "somebody-elses"]
    monkeypatch.setattr(s3_store, "_UNFINISHED_AFTER", -s3_store._UNFINISHED_AFTER)
    await (await S3Store.open_bucket(s3_place)).close()
    assert await unfinished(s3_place) == ["somebody-elses"]
    for writer in writers:
        await writer.abort()


async def test_a_stream_reads_ranges_and_never_the_whole(behind: S3Store, store: S3Store, door: FaultyDoor) -> None:
    data = os.urandom(9 * MIB)
    await put(store, "series", data)
    door.asked.clear()
    spans = [Span("series", start, 1000) for start in range(MIB, 2 * MIB, 100_000)]
    assert b"".join([bytes(piece) async for piece in stream_spans(behind, spans)]) == b"".join(
        data[offset : offset + length] for _, offset, length in spans
    )
    assert door.asked == ["GET"] * len(spans)
    door.asked.clear()
    assert b"".join([bytes(p) async for p in stream_spans(behind, [Span("series", 0, len(data))])]) == data
    # A MiB, another ahead of the consumer, then all the rest of one who keeps up.
    assert door.asked == ["GET"] * 3


async def test_a_stream_that_breaks_off_goes_on_where_it_was(behind: S3Store, door: FaultyDoor) -> None:
    data = os.urandom(4 * MIB)
    await put(behind, "object", data)
    door.ranges.clear()
    # Each answer brings something, so their number is no reason to give up.
    door.next("GET", *[door.cutting] * 5)
    assert await streamed(behind, "object", len(data)) == data
    starts = [int(wanted.removeprefix("bytes=").partition("-")[0]) for wanted in door.ranges]
    assert len(starts) == 6
    assert starts == sorted(set(starts))
    assert all(wanted.endswith(f"-{len(data) - 1}") for wanted in door.ranges)


async def test_a_service_that_falls_silent_or_goes_on_the_way_is_asked_for_what_is_missing(
    behind: S3Store, door: FaultyDoor
) -> None:
    data = os.urandom(4 * MIB)
    await put(behind, "object", data)
    door.ranges.clear()
    faults = [door.failing(503, "SlowDown"), door.dropping, door.stalling, door.failing(500, "InternalError")]
    door.next("GET", *faults, door.cutting, door.stalling, door.dropping)
    assert await streamed(behind, "object", len(data)) == data
    starts = [int(wanted.removeprefix("bytes=").partition("-")[0]) for wanted in door.ranges]
    # Nothing that was passed on is asked for again: a start comes twice only where no byte had come.
    assert starts == sorted(starts)
    assert len(set(starts)) >= 4


async def test_a_stream_that_gets_nowhere_fails_after_a_few_attempts(behind: S3Store, door: FaultyDoor) -> None:
    await put(behind, "object", bytes(MIB))
    door.asked.clear()
    door.next("GET", *[door.failing(503, "SlowDown")] * 4)
    with pytest.raises(StorageUnavailableError):
        await streamed(behind, "object", MIB)
    assert door.asked == ["GET"] * 4


async def test_an_object_that_goes_or_shrinks_meanwhile_ends_the_stream_with_an_error(
    behind: S3Store, store: S3Store, door: FaultyDoor
) -> None:
    for key, rest, expected in (("gone", None, ObjectNotFoundError), ("short", b"rest", DamagedObjectError)):
        await put(behind, key, bytes(3 * MIB))
        door.next("GET", door.cutting)
        async with await behind.open(key) as reader, aclosing(reader.stream(0, 3 * MIB)) as chunks:
            await anext(chunks)
            await store.delete(key)
            if rest is not None:
                await put(store, key, rest)
            with pytest.raises(expected):
                async for _ in chunks:
                    pass


async def test_a_consumer_that_stops_keeps_no_connection_and_goes_on_in_small_requests_until_it_keeps_up(
    behind: S3Store, door: FaultyDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_stream, "STALL_SECONDS", 0.5)
    data = os.urandom(4 * MIB)
    await put(behind, "object", data)
    door.ranges.clear()
    async with await behind.open("object") as reader, aclosing(reader.stream(0, len(data))) as chunks:
        received = bytearray(await anext(chunks))
        await asyncio.sleep(0.6)
        async for chunk in chunks:
            received += chunk
    assert received == data
    first, *others = (wanted.removeprefix("bytes=").split("-") for wanted in door.ranges)
    assert first == ["0", str(len(data) - 1)]
    sizes = [int(end) - int(start) + 1 for start, end in others]
    assert sizes[0] == range_stream.SLOW_BYTES
    assert all(size <= 2 * before for before, size in pairwise(sizes))
    assert len(sizes) < 8, "one that keeps up again is not held to small requests"


async def test_a_consumer_that_takes_little_keeps_no_connection_to_a_long_range(
    behind: S3Store, door: FaultyDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_stream, "WATCHED_SECONDS", 0.05)
    monkeypatch.setattr(range_stream, "SLOW_BYTES_PER_SECOND", 2**30)
    monkeypatch.setattr(range_stream, "STALL_SECONDS", 60.0)
    data = os.urandom(6 * MIB)
    await put(behind, "object", data)
    door.ranges.clear()
    received = bytearray()
    async with await behind.open("object") as reader, aclosing(reader.stream(0, len(data))) as chunks:
        async for chunk in chunks:
            received += chunk
            await asyncio.sleep(0.06 if len(received) < MIB else 0)
    assert received == data
    first, *others = (wanted.removeprefix("bytes=").split("-") for wanted in door.ranges)
    assert first == ["0", str(len(data) - 1)]
    assert int(others[0][1]) - int(others[0][0]) + 1 == range_stream.SLOW_BYTES
    assert [int(start) for start, _ in others[1:]] == [int(end) + 1 for _, end in others[:-1]]


async def test_a_read_that_waits_for_its_turn_keeps_its_connection(
    behind: S3Store, door: FaultyDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_stream, "WATCHED_SECONDS", 0.05)
    monkeypatch.setattr(range_stream, "STALL_SECONDS", 60.0)
    data = os.urandom(6 * MIB)
    await put(behind, "object", data)
    door.ranges.clear()
    async with await behind.open("object") as reader, aclosing(reader.stream(0, len(data))) as chunks:
        received = bytearray(await anext(chunks))
        # As long as the read before it takes one who keeps up.
        await asyncio.sleep(0.3)
        async for chunk in chunks:
            received += chunk
    assert received == data
    assert len(door.ranges) == 1


async def streamed(store: S3Store, key: str, length: int) -> bytes:
    async with await store.open(key) as reader:
        return b"".join([bytes(chunk) async for chunk in reader.stream(0, length)])


@pytest.mark.parametrize("fault", ["cutting", "dropping"])
async def test_a_read_that_breaks_off_is_made_again(behind: S3Store, door: FaultyDoor, fault: str) -> None:
    await put(behind, "object", b"0123456789" * 1000)
    door.next("GET", getattr(door, fault))
    assert await behind.read("object", 10, 5000) == b"0123456789" * 500
    assert door.asked.count("GET") == 2


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (429, "Throttling")])
async def test_what_passes_is_tried_again(behind: S3Store, door: FaultyDoor, status: int, code: str) -> None:
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        door.next(method, door.failing(status, code))
    await put(behind, "object", b"content")
    assert await behind.read("object", 0, 7) == b"content"
    assert (await behind.stat("object")).size_bytes == 7
    await behind.delete("object")
    assert not await is_there(behind, "object")


async def test_a_service_that_stays_away_is_unavailable_after_a_few_attempts(behind: S3Store, door: FaultyDoor) -> None:
    door.next("GET", *[door.failing(503, "SlowDown")] * 4)
    with pytest.raises(StorageUnavailableError, match=r"503 \(SlowDown") as caught:
        await behind.read("object", 0, 1)
    assert door.asked == ["GET"] * 4
    assert "secret" not in str(caught.value)


async def test_a_service_that_says_nothing_is_given_up(
    behind: S3Store, faulty_door: tuple[FaultyDoor, S3Place]
) -> None:
    door, place = faulty_door
    await put(behind, "object", b"content")
    impatient = await S3Store.open_bucket(replace(place, timeout_seconds=0.5))
    door.next("HEAD", door.slow(60))
    with pytest.raises(StorageUnavailableError, match="Timeout"):
        await impatient.ping()
    door.next("GET", door.slow(60))
    assert await impatient.read("object", 0, 7) == b"content"
    await impatient.close()


async def test_a_write_whose_answer_got_lost_has_succeeded(behind: S3Store, door: FaultyDoor) -> None:
    door.next("PUT", door.losing_the_answer)
    await put(behind, "small", b"content")
    assert await behind.read("small", 0, 7) == b"content"
    writer = await behind.create("large")
    await writer.write([bytes(9 * MIB)])
    # One POST has begun the upload, the next one completes it.
    door.next("POST", door.losing_the_answer)
    await writer.commit()
    assert (await behind.stat("large")).size_bytes == 9 * MIB


async def test_two_attempts_of_one_write_that_meet_are_no_conflict(behind: S3Store, door: FaultyDoor) -> None:
    door.next("PUT", door.failing(409, "ConditionalRequestConflict"))
    await put(behind, "small", b"content")
    assert await behind.read("small", 0, 7) == b"content"


async def test_a_lost_answer_does_not_hide_another_writer(behind: S3Store, door: FaultyDoor) -> None:
    await put(behind, "taken", b"theirs")
    door.next("PUT", door.dropping)
    with pytest.raises(ConflictError):
        await put(behind, "taken", b"mine")
    assert await behind.read("taken", 0, 6) == b"theirs"


async def test_a_part_that_fails_for_good_fails_the_object(
    behind: S3Store, door: FaultyDoor, s3_place: S3Place
) -> None:
    door.next("PUT", door.failing(507, "InsufficientCapacity"))
    writer = await behind.create("large")
    with pytest.raises(StorageFullError):
        for _ in range(5):
            await writer.write([bytes(8 * MIB)])
    await writer.abort()
    assert not await is_there(behind, "large")
    assert await unfinished(s3_place) == []


async def test_a_commit_that_was_not_seen_to_end_is_taken_back(behind: S3Store, door: FaultyDoor) -> None:
    writer = await behind.create("unsure")
    await writer.write([b"content"])
    door.next("PUT", door.losing_the_answer, *[door.failing(503, "SlowDown")] * 3)
    with pytest.raises(StorageUnavailableError):
        await writer.commit()
    assert await is_there(behind, "unsure")
    await writer.abort()
    assert not await is_there(behind, "unsure")


async def test_a_service_without_conditions_is_asked_before_each_write(behind: S3Store, door: FaultyDoor) -> None:
    door.next("PUT", door.failing(501, "NotImplemented"))
    await put(behind, "first", b"1")
    await put(behind, "second", b"2")
    assert door.asked == ["PUT", "HEAD", "PUT", "HEAD", "PUT"]
    with pytest.raises(ConflictError):
        await put(behind, "first", b"again")


async def test_a_batch_that_is_deleted_in_part_says_so(behind: S3Store, door: FaultyDoor) -> None:
    async def refusing(request: object) -> object:
        from aiohttp import web

        error = "<Error><Key>a</Key><Code>AccessDenied</Code></Error>"
        return web.Response(text=f"<DeleteResult>{error}</DeleteResult>", content_type="application/xml")

    door.next("POST", refusing)  # type: ignore[arg-type]
    with pytest.raises(StorageUnavailableError, match="1 of 2"):
        await behind.delete_many(["a", "b"])


async def test_a_batch_that_cannot_be_asked_for_does_not_hinder_the_next(behind: S3Store, door: FaultyDoor) -> None:
    async def refusing(request: object) -> object:
        from aiohttp import web

        return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")

    await put(behind, "last", b"1")
    door.next("POST", refusing)  # type: ignore[arg-type]
    with pytest.raises(StorageUnavailableError, match="1000 of 1001"):
        await behind.delete_many([*(f"none/{number}" for number in range(1000)), "last"])
    assert [item.key async for item in behind.list()] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bucket": "nowhere"}, "no bucket nowhere"),
        ({"secret_access_key": "not-the-secret"}, "403"),
        ({"access_key_id": "somebody"}, "403"),
    ],
)
async def test_a_place_that_cannot_be_used_says_what_to_look_at(
    s3_place: S3Place, change: dict[str, str], message: str
) -> None:
    with pytest.raises(SetupError, match=message) as caught:
        await S3Store.open_bucket(replace(s3_place, **change))  # type: ignore[arg-type]
    assert s3_place.access_key_id not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"cannot be started in .*: Not a directory"):
        SeaweedServer(tmp_path / "file" / "seaweedfs").start()


def test_a_second_server_on_one_folder_is_refused_and_harms_nothing(
    s3_server: SeaweedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seaweedfs, "_HANDOVER_SECONDS", 0.0)
    identity = s3_server._folder / "identity.json"
    before = identity.read_bytes()
    with pytest.raises(SetupError, match="A SeaweedFS runs on"):
        SeaweedServer(s3_server._folder, durable=False).start()
    assert identity.read_bytes() == before


async def test_a_bucket_of_another_archive_and_one_without_the_known_packs_are_refused(s3_place: S3Place) -> None:
    await (await S3Store.open_bucket(s3_place, StoreOwner("a" * 32, []))).close()
    await (await S3Store.open_bucket(s3_place, StoreOwner("a" * 32, [OWNER_KEY]))).close()
    with pytest.raises(SetupError, match="belongs to another archive"):
        await S3Store.open_bucket(s3_place, StoreOwner("b" * 32, [OWNER_KEY]))
    with pytest.raises(SetupError, match=f"s3://{s3_place.bucket}.* has no object that the database knows"):
        await S3Store.open_bucket(s3_place, StoreOwner("a" * 32, ["packs/gone.zip"]))


async def test_a_service_that_is_away_is_unavailable(s3_place: S3Place) -> None:
    with pytest.raises(StorageUnavailableError) as caught:
        await S3Store.open_bucket(replace(s3_place, endpoint_url="http://127.0.0.1:1"))
    assert isinstance(caught.value, ArchiveError)


async def test_a_bucket_that_vanishes_makes_the_store_unavailable(behind: S3Store, door: FaultyDoor) -> None:
    door.next("HEAD", door.failing(404, "NoSuchBucket"))
    with pytest.raises(StorageUnavailableError, match="gone"):
        await behind.ping()
    with pytest.raises(ObjectNotFoundError):
        await behind.stat("nothing")
