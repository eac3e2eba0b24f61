"""Archives of stored files: what a foreign ZIP reader makes of them, plain, streamed and damaged."""

import asyncio
import io
import os
import zipfile
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest
from tests.pieces import in_pieces_of

from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.services.representation import Made, Representation, slices
from dicomweb_archive.services.zip_archive import Member, _Directory, archive_of
from dicomweb_archive.storage import packs
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.filesystem import FolderReader, FolderStore
from dicomweb_archive.storage.packs import PackWriter
from dicomweb_archive.storage.spans import Span

SIZES = (300, 70_000, 5_000, 1_500_000)
STREAMED = 2_500_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderStore]:
    opened = await FolderStore.open_folder(tmp_path / "objects")
    yield opened
    await opened.close()


async def stored(store: FolderStore) -> tuple[list[bytes], list[Member]]:
    """Store some files in one pack, and one that was streamed into another."""
    files = [os.urandom(size) for size in SIZES]
    pack = await PackWriter.create(store, "one.zip")
    places = await pack.append([packs.Member(f"{number}.dcm", data) for number, data in enumerate(files)])
    await pack.close()
    members = [
        Member(b"1.2/%d.dcm" % number, b"%d.dcm" % number, Span("one.zip", place.offset, place.length), place.digest)
        for number, place in enumerate(places)
    ]
    large = os.urandom(STREAMED)
    pack = await PackWriter.create(store, "two.zip")
    stream = await pack.open_member("large.dcm")
    await stream.write([large[:1000], large[1000:]])
    place = await stream.finish()
    await pack.close()
    members.append(Member(b"1.3/large.dcm", b"large.dcm", Span("two.zip", place.offset, place.length), place.digest))
    return [*files, large], members


async def bytes_of(answer: Representation) -> bytes:
    return b"".join([bytes(chunk) async for chunk in answer.chunks])


async def test_a_streaming_reader_finds_size_and_crc_before_each_file(store: FolderStore) -> None:
    files, members = await stored(store)
    answer = await archive_of(store, lambda: members)
    data = await bytes_of(answer)
    assert answer.content_length == len(data)
    position = 0
    for member, file in zip(members, files, strict=True):
        header = data[position : position + 30]
        assert header[:4] == b"PK\x03\x04"
        assert int.from_bytes(header[6:8], "little") == 0, "no sizes follow, nothing is encrypted"
        assert int.from_bytes(header[14:18], "little") == zlib.crc32(file)
        assert int.from_bytes(header[18:22], "little") == int.from_bytes(header[22:26], "little") == len(file)
        start = position + 30 + len(member.name)
        assert data[start : start + len(file)] == file
        position = start + len(file)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [member.name.decode() for member in members]
    again = await archive_of(store, lambda: members)
    assert await bytes_of(again) == data
    assert again.headers == answer.headers


async def test_a_range_of_an_archive_reads_only_the_files_that_it_holds(store: FolderStore, tmp_path: Path) -> None:
    _, members = await stored(store)
    answer = await archive_of(store, lambda: members)
    whole = await bytes_of(answer)
    assert answer.headers["ETag"].startswith('"')
    assert answer.ranged is not None
    first_end = 30 + len(members[0].name) + SIZES[0]
    directory = whole.index(b"PK\x01\x02")
    edges = [0, 1, 29, first_end - 1, first_end, first_end + 1, 70_000, 1_000_000, directory, directory + 50]
    for start in [*edges, len(whole) - 1]:
        for stop in (start + 1, start + 100_000, len(whole)):
            pieces = [bytes(piece) async for piece in answer.ranged(start, min(stop, len(whole)))]
            assert b"".join(pieces) == whole[start:stop], (start, stop)
    path = tmp_path / "objects" / "one.zip"
    path.chmod(0o600)
    with path.open("r+b") as pack:
        pack.seek(members[3].span.offset)
        pack.write(bytes(1000))
    pieces = [bytes(piece) async for piece in answer.ranged(directory, len(whole))]
    assert b"".join(pieces) == whole[directory:], "what lies before the range is not even looked at"


async def test_headers_of_files_before_a_range_are_read_many_at_a_time(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = await PackWriter.create(store, "many.zip")
    places = await pack.append([packs.Member(f"{number}.dcm", bytes(10_000)) for number in range(40)])
    await pack.close()
    members = [
        Member(b"1.2/%d.dcm" % number, b"%d.dcm" % number, Span("many.zip", place.offset, place.length), place.digest)
        for number, place in enumerate(places)
    ]
    answer = await archive_of(store, lambda: members)
    whole = await bytes_of(answer)
    stream = FolderReader.stream
    running: list[int] = [0, 0]

    async def slowly(reader: FolderReader, offset: int, length: int) -> AsyncGenerator[Buffer, None]:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0.001)
        running[0] -= 1
        async for piece in stream(reader, offset, length):
            yield piece

    monkeypatch.setattr(FolderReader, "stream", slowly)
    assert answer.ranged is not None
    pieces = [bytes(piece) async for piece in answer.ranged(len(whole) - 1, len(whole))]
    assert b"".join(pieces) == whole[-1:]
    assert running[1] >= 16


async def test_stored_and_made_files_may_alternate(store: FolderStore) -> None:
    files, members = await stored(store)
    made = b"made on the way"

    async def make() -> Made:
        return Made("application/dicom", len(made), slices(made))

    mixed = [*members[:2], Member(b"1.4/made.dcm", b"", Span("one.zip", 0, 1), b"", make), *members[2:]]
    answer = await archive_of(store, lambda: mixed)
    assert answer.content_length is None
    assert answer.ranged is None
    with zipfile.ZipFile(io.BytesIO(await bytes_of(answer))) as archive:
        assert archive.testzip() is None
        assert [archive.read(name) for name in archive.namelist()] == [*files[:2], made, *files[2:]]


async def test_headers_are_read_wherever_the_pieces_of_a_store_end(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, members = await stored(store)
    answer = await archive_of(store, lambda: members)
    whole = await bytes_of(answer)
    monkeypatch.setattr(FolderReader, "stream", in_pieces_of(53, FolderReader.stream))
    assert await bytes_of(await archive_of(store, lambda: members)) == whole
    assert answer.ranged is not None
    start = sum(SIZES)
    pieces = [bytes(piece) async for piece in answer.ranged(start, len(whole))]
    assert b"".join(pieces) == whole[start:]


async def test_what_was_damaged_since_it_was_stored_fails_its_crc(store: FolderStore, tmp_path: Path) -> None:
    _, members = await stored(store)
    path = tmp_path / "objects" / "one.zip"
    path.chmod(0o600)
    with path.open("r+b") as pack:
        pack.seek(members[1].span.offset + 100)
        pack.write(b"another value")
    data = await bytes_of(await archive_of(store, lambda: members))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() == "1.2/1.dcm"


@pytest.mark.parametrize("by", [-1, 1, 24])
async def test_a_file_that_is_not_where_it_should_be_ends_the_archive(store: FolderStore, by: int) -> None:
    _, members = await stored(store)
    for number in (1, 4):
        key, offset, length = members[number].span
        wrong = [*members]
        wrong[number] = Member(b"1.2/x.dcm", members[number].stored_name, Span(key, offset + by, length - 50), b"")
        with pytest.raises(DamagedObjectError):
            await bytes_of(await archive_of(store, lambda files=wrong: files))  # type: ignore[misc]


def test_the_directory_of_many_files_takes_little_memory() -> None:
    directory = _Directory()
    for number in range(5000):
        name = f"1.2.826.0.1.3680043.8.498.12345678901234567890/1.2.826.0.1.3680043.8.498.{number:020}.dcm"
        directory.add(name.encode(), zlib.crc32(name.encode()), 500_000 + number)
    held = sum(map(len, directory._pieces))
    written = sum(map(len, directory.records()))
    assert written > 5000 * 130
    assert held < 5000 * 40
