"""Packs: what foreign ZIP readers make of them, where members lie, what is written and what is digested."""

import asyncio
import os
import re
import subprocess
import zipfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3
from tests.needs import need_program

from dicomweb_archive.storage import zip_format
from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.storage.packs import PACK_COMMENT, Member, PackInfo, PackWriter, Placed, new_pack_key

JAVA_READER = """
import java.io.*; import java.util.zip.*;
public class ReadPack {
    public static void main(String[] arguments) throws Exception {
        try (ZipInputStream pack = new ZipInputStream(new BufferedInputStream(new FileInputStream(arguments[0])))) {
            for (ZipEntry entry; (entry = pack.getNextEntry()) != null; ) {
                CRC32 crc = new CRC32(); byte[] buffer = new byte[65536]; long size = 0;
                for (int count; (count = pack.read(buffer)) > 0; size += count) crc.update(buffer, 0, count);
                System.out.println(entry.getName() + " " + size + " " + crc.getValue());
            }
        }
    }
}
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderStore]:
    opened = await FolderStore.open_folder(tmp_path / "objects")
    yield opened
    await opened.close()


def members(count: int) -> list[Member]:
    return [Member(f"1.2.{number}.dcm", os.urandom(200 + 37 * number)) for number in range(count)]


async def write_pack(store: FolderStore, key: str, *batches: list[Member]) -> tuple[PackInfo, list[Placed]]:
    pack = await PackWriter.create(store, key)
    placed = [place for batch in batches for place in await pack.append(batch)]
    info = await pack.close()
    assert info is not None
    return info, placed


async def test_python_reads_the_pack_and_offsets_point_at_the_data(store: FolderStore, tmp_path: Path) -> None:
    written = members(20)
    info, placed = await write_pack(store, "pack.zip", written[:7], written[7:])
    path = tmp_path / "objects" / "pack.zip"
    assert info == ("pack.zip", path.stat().st_size, 20)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment == PACK_COMMENT
        assert archive.namelist() == [member.name for member in written]
        assert {item.flag_bits for item in archive.infolist()} == {0}
        assert [archive.read(member.name) for member in written] == [member.data for member in written]
    content = path.read_bytes()
    for member, place in zip(written, placed, strict=True):
        assert content[place.offset : place.offset + place.length] == member.data
        assert place.digest == blake3(member.data).digest()


async def test_equal_content_gives_equal_packs(store: FolderStore, tmp_path: Path) -> None:
    written = members(5)
    for key in ("one.zip", "two.zip"):
        await write_pack(store, key, written)
    one, two = (tmp_path / "objects" / key for key in ("one.zip", "two.zip"))
    assert one.read_bytes() == two.read_bytes()


async def test_unzip_accepts_held_and_streamed_members(store: FolderStore, tmp_path: Path) -> None:
    unzip = need_program("unzip")
    await write_pack(store, "held.zip", members(5))
    pack = await PackWriter.create(store, "streamed.zip")
    member = await pack.open_member("1.2.3.dcm")
    await member.write([b"a" * 1000, b"b" * 99])
    await member.finish()
    await pack.close()
    for key in ("held.zip", "streamed.zip"):
        path = str(tmp_path / "objects" / key)
        done = await asyncio.to_thread(subprocess.run, [unzip, "-t", path], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode()


async def test_a_java_stream_reader_accepts_a_pack_of_held_members(store: FolderStore, tmp_path: Path) -> None:
    java = need_program("java")
    source = tmp_path / "ReadPack.java"
    source.write_text(JAVA_READER)
    written = members(12)
    await write_pack(store, "pack.zip", written)
    command = [java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", str(source), str(tmp_path / "objects" / "pack.zip")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = [f"{item.name} {len(item.data)} {zlib.crc32(item.data)}" for item in written]
    assert done.stdout.splitlines() == expected


async def test_a_neutralised_preamble_is_zero_and_digested_as_kept(store: FolderStore, tmp_path: Path) -> None:
    data = b"MZ" * 64 + b"DICM" + os.urandom(500)
    _, [place] = await write_pack(store, "pack.zip", [Member("1.dcm", data, neutralise_preamble=True)])
    with zipfile.ZipFile(tmp_path / "objects" / "pack.zip") as archive:
        assert archive.read("1.dcm") == bytes(128) + data[128:]
    assert place.digest == blake3(bytes(128) + data[128:]).digest()
    assert place.length == len(data)


@pytest.mark.parametrize("step", [1, 50, 128, 129, 5000])
async def test_a_streamed_preamble_is_neutralised_across_pieces(store: FolderStore, tmp_path: Path, step: int) -> None:
    data = b"#!" * 64 + b"DICM" + os.urandom(700)
    pack = await PackWriter.create(store, "pack.zip")
    member = await pack.open_member("1.dcm", neutralise_preamble=True)
    await member.write([data[start : start + step] for start in range(0, 300, step)])
    await member.write([data[((299 // step) + 1) * step :]])
    place = await member.finish()
    await pack.close()
    content = (tmp_path / "objects" / "pack.zip").read_bytes()
    assert content[place.offset : place.offset + place.length] == bytes(128) + data[128:]
    assert place.digest == blake3(bytes(128) + data[128:]).digest()
    with zipfile.ZipFile(tmp_path / "objects" / "pack.zip") as archive:
        assert archive.testzip() is None


async def test_batches_that_are_appended_at_once_do_not_mix(store: FolderStore, tmp_path: Path) -> None:
    written = members(40)
    pack = await PackWriter.create(store, "pack.zip")
    batches = [written[start : start + 4] for start in range(0, 40, 4)]
    placed = await asyncio.gather(*map(pack.append, batches))
    info = await pack.close()
    assert info is not None
    assert info.members == pack.members == 40
    assert info.size_bytes == pack.size_bytes
    content = (tmp_path / "objects" / "pack.zip").read_bytes()
    for batch, places in zip(batches, placed, strict=True):
        for member, place in zip(batch, places, strict=True):
            assert content[place.offset : place.offset + place.length] == member.data
    with zipfile.ZipFile(tmp_path / "objects" / "pack.zip") as archive:
        assert archive.testzip() is None


async def test_an_empty_pack_leaves_no_object(store: FolderStore) -> None:
    pack = await PackWriter.create(store, "pack.zip")
    assert await pack.close() is None
    assert [item async for item in store.list()] == []


async def test_an_aborted_pack_leaves_no_object(store: FolderStore, tmp_path: Path) -> None:
    pack = await PackWriter.create(store, "pack.zip")
    await pack.append(members(3))
    await pack.abort()
    assert [item async for item in store.list()] == []
    assert list((tmp_path / "objects" / ".unfinished").iterdir()) == []


async def test_a_pack_with_an_unfinished_member_is_dropped_by_close(store: FolderStore) -> None:
    pack = await PackWriter.create(store, "pack.zip")
    await pack.open_member("1.dcm")
    with pytest.raises(ValueError):
        await pack.append(members(1))
    with pytest.raises(ValueError):
        await pack.close()
    assert [item async for item in store.list()] == []


@pytest.mark.parametrize("name", ["", "../1.dcm", "a/b", "1.dcm\0", "é.dcm", "x" * 129])
async def test_member_names_cannot_leave_the_pack(store: FolderStore, name: str) -> None:
    pack = await PackWriter.create(store, "pack.zip")
    with pytest.raises(ValueError):
        await pack.append([Member(name, b"x")])
    await pack.abort()


async def test_a_name_is_given_once(store: FolderStore) -> None:
    pack = await PackWriter.create(store, "pack.zip")
    with pytest.raises(ValueError):
        await pack.append([Member("1.dcm", b"x"), Member("1.dcm", b"y")])
    await pack.append([Member("1.dcm", b"x")])
    with pytest.raises(ValueError):
        await pack.append([Member("1.dcm", b"y")])
    await pack.abort()


def test_keys_are_random_and_fit_the_grammar() -> None:
    keys = {new_pack_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch("packs/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{32}[.]zip", key) for key in keys)


def test_keys_made_one_after_the_other_share_folders_for_a_while() -> None:
    folders = {new_pack_key().rpartition("/")[0] for _ in range(1000)}
    assert 4 <= len(folders) <= 20


async def test_a_pack_beyond_four_gibibytes_uses_zip64(store: FolderStore, tmp_path: Path) -> None:
    """A sparse file stands for the large member: only the records around it are real."""
    path = tmp_path / "large.zip"
    large = 5 * 1024**3
    first = zip_format.local_header(b"large.dcm", 0, large)
    second_offset = len(first) + large
    entries = [
        zip_format.Entry(b"large.dcm", 0, large, 0),
        zip_format.Entry(b"small.dcm", zlib.crc32(b"small"), 5, second_offset),
    ]
    tail = zip_format.local_header(b"small.dcm", zlib.crc32(b"small"), 5) + b"small"
    directory = b"".join(map(zip_format.central_header, entries))
    end = zip_format.end_of_directory(
        count=2, offset=second_offset + len(tail), size_bytes=len(directory), comment=PACK_COMMENT
    )
    with path.open("wb") as file:
        file.write(first)
        file.seek(second_offset)
        file.write(tail + directory + end)
    with zipfile.ZipFile(path) as archive:
        assert [item.file_size for item in archive.infolist()] == [large, 5]
        assert archive.read("small.dcm") == b"small"


async def test_more_members_than_sixteen_bits_count(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    count = 70_000
    crc = zlib.crc32(b"x")
    entries, content, position = [], [], 0
    for number in range(count):
        name = b"%d.dcm" % number
        record = zip_format.local_header(name, crc, 1) + b"x"
        entries.append(zip_format.Entry(name, crc, 1, position))
        content.append(record)
        position += len(record)
    directory = b"".join(map(zip_format.central_header, entries))
    end = zip_format.end_of_directory(count=count, offset=position, size_bytes=len(directory), comment=PACK_COMMENT)
    path.write_bytes(b"".join([*content, directory, end]))
    with zipfile.ZipFile(path) as archive:
        assert len(archive.infolist()) == count
        assert archive.read("69999.dcm") == b"x"
        assert archive.comment == PACK_COMMENT
