"""Frames in very many fragments come out whole, however they are read."""

import random
from pathlib import Path

import pytest
from tests.component.object_store_contract import put

from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.services.fragments import GatheredFragments, _cut
from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.storage.spans import Span

HEAD = 8


def fragmented(chance: random.Random, count: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Make a file of fragments with heads between them, which begin behind 100 bytes."""
    data, ranges = bytearray(b"H" * 100), []
    for number in range(count):
        data += b"-" * HEAD if number else b""
        ranges.append((len(data), chance.choice([0, 2, 6, 50])))
        data += chance.randbytes(ranges[-1][1])
    return bytes(data), ranges


def test_pieces_of_any_length_give_the_same_bytes() -> None:
    chance = random.Random(4)
    for _ in range(50):
        data, ranges = fragmented(chance, 40)
        cut, index, position, end = [], 0, ranges[0][0], sum(ranges[-1])
        while position < end:
            size = chance.choice([1, 7, 8, 9, 64, 500])
            piece, index = _cut(data[position : min(position + size, end)], position, ranges, index)
            cut.append(piece)
            position += size
        assert b"".join(cut) == b"".join(data[offset : offset + length] for offset, length in ranges)


async def test_they_are_read_as_one_range_of_an_object(tmp_path: Path) -> None:
    data, ranges = fragmented(random.Random(5), 3000)
    store = await FolderStore.open_folder(tmp_path / "objects")
    try:
        await put(store, "ab", data)
        first, end = ranges[0][0], sum(ranges[-1])
        gathered = GatheredFragments(store, Span("ab", first, end - first), first, ranges)
        made = await gathered.make("image/jpeg")
        pieces = [bytes(piece) async for piece in made.chunks]
        assert b"".join(pieces) == b"".join(data[offset : offset + length] for offset, length in ranges)
        assert made.length == gathered.length == len(b"".join(pieces))
        assert len(pieces) < 20
        beyond = GatheredFragments(store, Span("ab", first, end), first, [*ranges, (end + HEAD, 90)])
        with pytest.raises(DamagedObjectError):
            await beyond.make("image/jpeg")
    finally:
        await store.close()
