"""What every object store promises: inherit `ObjectStoreContract` and give it a `store` fixture."""

import asyncio
import os
from contextlib import suppress

import pytest

from dicomweb_archive.errors import ConflictError, DamagedObjectError, ObjectNotFoundError
from dicomweb_archive.storage.base import Buffer, ObjectStore


async def put(store: ObjectStore, key: str, *pieces: Buffer) -> None:
    writer = await store.create(key)
    await writer.write(pieces)
    await writer.commit()


async def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return sorted([item.key async for item in store.list(prefix)])


async def is_there(store: ObjectStore, key: str) -> bool:
    """Whether one can read from an object, and it is known at all."""
    found = []
    for looking in (_read_first(store, key), store.stat(key)):
        try:
            await looking
            found.append(True)
        except ObjectNotFoundError:
            found.append(False)
    assert len(set(found)) == 1
    return found[0]


async def _read_first(store: ObjectStore, key: str) -> None:
    async with await store.open(key) as reader:
        await reader.read(0, 1)


class ObjectStoreContract:
    """The contract suite shared by all stores."""

    async def test_what_is_committed_comes_back_in_order(self, store: ObjectStore) -> None:
        parts = [os.urandom(size) for size in (1, 0, 70_000, 3)]
        writer = await store.create("a/object")
        await writer.write([parts[0], bytearray(parts[1])])
        await writer.write([memoryview(parts[2]), parts[3]])
        await writer.commit()
        whole = b"".join(parts)
        async with await store.open("a/object") as reader:
            assert await reader.read(0, len(whole)) == whole
            assert await reader.read(5, 10) == whole[5:15]
            assert await reader.read(len(whole), 0) == b""
        assert (await store.stat("a/object")).size_bytes == len(whole)

    async def test_thousands_of_small_pieces_are_one_write(self, store: ObjectStore) -> None:
        pieces = [bytes([number % 256]) * (number % 7) for number in range(5000)]
        await put(store, "many", *pieces)
        async with await store.open("many") as reader:
            assert await reader.read(0, sum(map(len, pieces))) == b"".join(pieces)

    async def test_an_object_is_invisible_until_committed(self, store: ObjectStore) -> None:
        writer = await store.create("hidden")
        await writer.write([b"x" * 100])
        assert not await is_there(store, "hidden")
        assert await keys(store) == []
        await writer.commit()
        assert await keys(store) == ["hidden"]

    async def test_an_aborted_object_leaves_nothing(self, store: ObjectStore) -> None:
        writer = await store.create("gone")
        await writer.write([b"x" * 100])
        await writer.abort()
        await writer.abort()
        assert await keys(store) == []
        with pytest.raises(ObjectNotFoundError):
            await store.stat("gone")
        await put(store, "gone", b"again")

    async def test_abort_after_commit_keeps_the_object(self, store: ObjectStore) -> None:
        writer = await store.create("kept")
        await writer.write([b"x"])
        await writer.commit()
        await writer.abort()
        assert await keys(store) == ["kept"]

    async def test_nothing_is_written_after_commit_or_abort(self, store: ObjectStore) -> None:
        for ending in ("commit", "abort"):
            writer = await store.create(f"ended-{ending}")
            await writer.write([b"x"])
            await getattr(writer, ending)()
            with pytest.raises(ValueError):
                await writer.write([b"y"])

    async def test_a_taken_key_is_refused_and_its_object_unharmed(self, store: ObjectStore) -> None:
        await put(store, "same", b"first")
        with pytest.raises(ConflictError):
            await put(store, "same", b"second")
        async with await store.open("same") as reader:
            assert await reader.read(0, 5) == b"first"

    async def test_of_two_writers_of_one_key_one_wins(self, store: ObjectStore) -> None:
        writers = [await store.create("race") for _ in range(2)]
        for number, writer in enumerate(writers):
            await writer.write([bytes([number]) * 10])
        results = await asyncio.gather(*(writer.commit() for writer in writers), return_exceptions=True)
        assert sorted(type(result) for result in results if result) == [ConflictError]
        for writer in writers:
            await writer.abort()
        async with await store.open("race") as reader:
            assert len(set(await reader.read(0, 10))) == 1

    async def test_reading_behind_the_end_is_damage(self, store: ObjectStore) -> None:
        await put(store, "short", b"12345")
        async with await store.open("short") as reader:
            for offset, length in ((0, 6), (4, 2), (5, 1), (100, 1)):
                with pytest.raises(DamagedObjectError):
                    await reader.read(offset, length)
                with pytest.raises(DamagedObjectError):
                    await store.read("short", offset, length)

    async def test_a_stream_brings_exactly_its_bytes(self, store: ObjectStore) -> None:
        data = os.urandom(1_500_000)
        await put(store, "streamed", data)
        async with await store.open("streamed") as reader:
            for offset, length in ((0, len(data)), (700_001, 3), (5, 1_400_000), (10, 0)):
                assert (
                    b"".join([bytes(piece) async for piece in reader.stream(offset, length)]) == data[offset:][:length]
                )
            with pytest.raises(DamagedObjectError):
                _ = [piece async for piece in reader.stream(1_000_000, 500_001)]

    async def test_one_range_is_read_without_opening(self, store: ObjectStore) -> None:
        await put(store, "ranged", b"0123456789")
        assert await store.read("ranged", 3, 4) == b"3456"
        assert await store.read("ranged", 10, 0) == b""
        with pytest.raises(ObjectNotFoundError):
            await store.read("nowhere", 0, 1)

    async def test_a_range_may_be_cut_where_the_object_ends(self, store: ObjectStore) -> None:
        await put(store, "cut", b"0123456789")
        found = [await store.read_at_most("cut", *item) for item in ((0, 10), (3, 4), (8, 100), (10, 1), (99, 5))]
        assert found == [b"0123456789", b"3456", b"89", b"", b""]
        with pytest.raises(ObjectNotFoundError):
            await store.read_at_most("nowhere", 0, 1)

    async def test_streams_read_the_same_objects(self, store: ObjectStore) -> None:
        await put(store, "streamed", b"0123456789")
        assert await store.streaming.read("streamed", 3, 4) == b"3456"
        async with await store.streaming.open("streamed") as reader:
            assert await reader.read(0, 10) == b"0123456789"
        assert (await store.streaming.stat("streamed")).size_bytes == 10

    async def test_many_reads_at_once_do_not_mix(self, store: ObjectStore) -> None:
        data = os.urandom(100_000)
        await put(store, "shared", data)
        async with await store.open("shared") as reader:
            ranges = [(start, 997) for start in range(0, 99_000, 997)]
            read = await asyncio.gather(*(reader.read(*item) for item in ranges))
        assert read == [data[start : start + length] for start, length in ranges]

    async def test_deleting_twice_is_no_error(self, store: ObjectStore) -> None:
        await put(store, "a/b/c", b"x")
        await store.delete("a/b/c")
        await store.delete("a/b/c")
        assert not await is_there(store, "a/b/c")

    async def test_many_are_deleted_at_once_also_those_that_are_not_there(self, store: ObjectStore) -> None:
        for number in range(3):
            await put(store, f"many/{number}", b"x")
        await store.delete_many([])
        await store.delete_many(["many/0", "many/2", "many/nothing"])
        assert await keys(store, "many/") == ["many/1"]

    async def test_a_store_that_can_be_used_says_so(self, store: ObjectStore) -> None:
        await store.ping()
        assert store.reading.read_bytes > 0

    async def test_parts_larger_than_any_buffer_come_back_as_they_were(self, store: ObjectStore) -> None:
        piece = os.urandom(3 * 1024 * 1024)
        writer = await store.create("large")
        for _ in range(3):
            await writer.write([piece, b"end"])
        await writer.commit()
        size = 3 * (len(piece) + 3)
        assert (await store.stat("large")).size_bytes == size
        assert await store.read("large", size - len(piece) - 3, len(piece) + 3) == piece + b"end"
        assert await store.read("large", len(piece) - 1, 5) == piece[-1:] + b"end" + piece[:1]

    async def test_a_large_object_that_is_aborted_leaves_nothing(self, store: ObjectStore) -> None:
        writer = await store.create("large/gone")
        await writer.write([bytes(9 * 1024 * 1024)])
        assert not await is_there(store, "large/gone")
        await writer.abort()
        assert await keys(store) == []

    async def test_a_large_object_does_not_replace_another(self, store: ObjectStore) -> None:
        writer = await store.create("large/same")
        await writer.write([bytes(9 * 1024 * 1024)])
        await put(store, "large/same", b"first")
        with pytest.raises(ConflictError):
            await writer.commit()
        await writer.abort()
        assert await store.read("large/same", 0, 5) == b"first"

    async def test_a_write_that_is_cancelled_can_only_be_aborted(self, store: ObjectStore) -> None:
        writer = await store.create("cancelled")
        task = asyncio.create_task(writer.write([bytes(17 * 1024 * 1024)]))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if task.cancelled():
            with pytest.raises(ValueError):
                await writer.write([b"more"])
        await writer.abort()
        assert await keys(store) == []

    async def test_a_buffer_may_be_used_again_when_it_is_written(self, store: ObjectStore) -> None:
        buffer = bytearray(b"first")
        writer = await store.create("reused")
        await writer.write([buffer])
        buffer[:] = b"other"
        await writer.commit()
        assert await store.read("reused", 0, 5) == b"first"

    async def test_list_goes_by_prefix_of_the_key(self, store: ObjectStore) -> None:
        for key in ("packs/aa/1.zip", "packs/ab/2.zip", "packs/b", "other/aa"):
            await put(store, key, b"xyz")
        assert await keys(store, "packs/a") == ["packs/aa/1.zip", "packs/ab/2.zip"]
        assert await keys(store, "packs/") == ["packs/aa/1.zip", "packs/ab/2.zip", "packs/b"]
        assert len(await keys(store)) == 4
        assert await keys(store, "nothing/here") == []
        sizes = {item.size_bytes async for item in store.list()}
        assert sizes == {3}

    @pytest.mark.parametrize(
        "key",
        ["", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a/.b", "A", "a b", "a\0", "a\n", "ä", "a\\b", "x" * 513],
    )
    async def test_keys_outside_the_grammar_are_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(ValueError):
            await store.create(key)
        with pytest.raises(ValueError):
            await store.open(key)
        with pytest.raises(ValueError):
            await store.delete(key)

    async def test_an_open_object_outlives_its_deletion_or_fails_cleanly(self, store: ObjectStore) -> None:
        await put(store, "leaving", b"still here")
        async with await store.open("leaving") as reader:
            await store.delete("leaving")
            with suppress(ObjectNotFoundError):
                assert await reader.read(0, 10) == b"still here"

    async def test_free_room_is_a_number_or_unknown(self, store: ObjectStore) -> None:
        free = await store.free_bytes()
        assert free is None or free > 0
