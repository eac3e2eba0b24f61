"""Listing files, folders and ZIP archives."""

import zipfile
from pathlib import Path

import pytest

from dicomweb_archive.cli.client.phantom import iter_demo
from dicomweb_archive.cli.client.sources import (
    Archives,
    Source,
    SourceReader,
    UnreadableSourceError,
    count_sources,
    iter_sources,
)


@pytest.fixture(scope="module")
def instance() -> bytes:
    return next(iter_demo(ct_slices=8, mr_slices=1)).data


def _listed(*paths: Path, all_files: bool = False) -> list[Source]:
    archives = Archives()
    try:
        return list(iter_sources(paths, archives, all_files=all_files))
    finally:
        archives.close()


def _content(source: Source) -> bytes:
    archives = Archives()
    reader = SourceReader(source, archives)
    try:
        pieces = []
        while not reader.finished:
            pieces.append(reader.read(10_000))
        return b"".join(pieces)
    finally:
        reader.close()
        archives.close()


def test_a_folder_is_walked_in_order_of_name(tmp_path: Path, instance: bytes) -> None:
    for name in ("b/2.dcm", "b/1.dcm", "a/9", "c.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"text" if name.endswith("txt") else instance)
    sources = _listed(tmp_path)
    assert [source.file.relative_to(tmp_path).as_posix() for source in sources] == [
        "c.txt",
        "a/9",
        "b/1.dcm",
        "b/2.dcm",
    ]
    assert [source.skip is None for source in sources] == [False, True, True, True]
    assert count_sources([tmp_path]) == (4, 4 + 3 * len(instance))


def test_members_of_a_zip_are_read_as_streams(tmp_path: Path, instance: bytes) -> None:
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", "")
        archive.writestr("folder/1.dcm", instance)
        archive.writestr("readme.txt", "hello")
    first, second = _listed(path)
    assert first.name == f"{path}!folder/1.dcm"
    assert first.skip is None
    assert first.sop_instance_uid
    assert _content(first) == instance
    assert second.skip is not None
    assert count_sources([path]) == (2, len(instance) + 5)


def test_a_member_that_would_climb_out_is_only_read(tmp_path: Path, instance: bytes) -> None:
    path = tmp_path / "in" / "evil.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escaped.dcm", instance)
        archive.writestr("/etc/escaped.dcm", instance)
    before = sorted(tmp_path.rglob("*"))
    sources = _listed(path)
    assert [_content(source) == instance for source in sources] == [True, True]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bomb_is_judged_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("zeros", "w", force_zip64=True) as member:
            for _ in range(64):
                member.write(bytes(1024 * 1024))
    (source,) = _listed(path)
    assert source.size_bytes == 64 * 1024 * 1024
    assert source.skip == "not DICOM: no `DICM` at byte 128"


def test_a_zip_in_a_zip_is_not_opened(tmp_path: Path, instance: bytes) -> None:
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("1.dcm", instance)
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(inner, "inner.zip")
    (source,) = _listed(outer)
    assert "inside a ZIP" in (source.skip or "")


def test_a_member_whose_length_lies_is_unreadable(tmp_path: Path, instance: bytes) -> None:
    path = tmp_path / "lying.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.dcm", instance)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("1.dcm")
    raw = path.read_bytes()
    # One byte of the instance changes: its CRC no longer holds.
    path.write_bytes(raw.replace(instance[1000:1100], bytes(100), 1))
    source = Source("x", path, member.file_size, 0, member)
    with pytest.raises(UnreadableSourceError):
        _content(source)


def test_damaged_archives_and_vanished_files_are_named_not_fatal(tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04" + bytes(300))
    sources = _listed(broken, tmp_path / "gone.dcm")
    assert [source.skip for source in sources] == [
        "cannot be read: damaged ZIP archive",
        "cannot be read: No such file or directory",
    ]
    assert count_sources([broken, tmp_path / "gone.dcm"]) == (0, 0)


def test_a_file_that_grows_or_shrinks_meanwhile_is_not_sent(tmp_path: Path, instance: bytes) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(instance)
    (source,) = _listed(path)
    for content in (instance + b"more", instance[:-10]):
        path.write_bytes(content)
        with pytest.raises(UnreadableSourceError, match="length changed"):
            _content(source)


def test_all_files_are_left_to_the_server_when_asked(tmp_path: Path) -> None:
    (tmp_path / "bare").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100")
    (tmp_path / "empty").touch()
    bare, empty = _listed(tmp_path, all_files=True)
    assert bare.skip is None
    assert empty.skip == "empty"


def test_more_archives_than_stay_open_can_be_read_in_turn(tmp_path: Path, instance: bytes) -> None:
    for number in range(20):
        with zipfile.ZipFile(tmp_path / f"{number:02}.zip", "w") as archive:
            archive.writestr("1.dcm", instance)
    archives = Archives()
    sources = list(iter_sources([tmp_path], archives))
    reader = SourceReader(sources[0], archives)
    start = reader.read(1000)
    for source in sources[1:]:
        other = SourceReader(source, archives)
        other.read(10)
        other.close()
    rest = reader.read(len(instance))
    archives.close()
    assert start + rest == instance
