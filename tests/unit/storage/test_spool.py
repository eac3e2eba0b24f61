"""Bytes that wait, in memory and in a file, come back as they were, and their room does too."""

import sys
from pathlib import Path

import pytest

from dicomweb_archive.errors import StorageFullError, StorageUnavailableError
from dicomweb_archive.storage.spool import PIECE_BYTES, MemoryBudget, Spool, SpooledValue

TEXT = bytes(range(256)) * 20


def written(spool: Spool, data: bytes | memoryview, pieces: int = 3) -> SpooledValue:
    value = SpooledValue(users=1)
    size = -(-len(data) // pieces)
    for start in range(0, len(data), size):
        spool.write(value, data[start : start + size])
    return value


@pytest.mark.parametrize("memory_bytes", [0, 3000, 7000, 1 << 20])
def test_values_and_ranges_of_them_come_back_wherever_they_wait(tmp_path: Path, memory_bytes: int) -> None:
    spool = Spool(tmp_path, memory_bytes=memory_bytes, watermark_bytes=0)
    values = [written(spool, TEXT), written(spool, TEXT[::-1])]
    for value, data in zip(values, (TEXT, TEXT[::-1]), strict=True):
        assert value.length == len(data)
        assert b"".join(spool.read(value)) == data
        for start, stop in ((0, 1), (1700, 1720), (5000, 9999), (5120, 5120)):
            assert b"".join(spool.read(value, start, stop)) == data[start:stop]
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_long_values_are_read_in_pieces(tmp_path: Path) -> None:
    spool = Spool(tmp_path, memory_bytes=0, watermark_bytes=0)
    value = written(spool, bytes(PIECE_BYTES + 5))
    assert [len(piece) for piece in spool.read(value)] == [PIECE_BYTES, 5]
    spool.close()


def test_room_is_given_back_by_the_last_user(tmp_path: Path) -> None:
    spool = Spool(tmp_path, memory_bytes=len(TEXT), watermark_bytes=0)
    value = written(spool, TEXT)
    value.users = 2
    assert not spool.keep(SpooledValue(), b"x")
    spool.release(value)
    assert b"".join(spool.read(value)) == TEXT
    spool.release(value)
    assert spool.keep(SpooledValue(), TEXT)


def test_what_the_process_has_no_memory_for_is_not_kept_but_written(tmp_path: Path) -> None:
    budget = MemoryBudget(len(TEXT))
    first, second = (Spool(tmp_path, memory_bytes=1 << 20, watermark_bytes=0, budget=budget) for _ in range(2))
    kept, value = SpooledValue(users=1), SpooledValue(users=1)
    assert first.keep(kept, TEXT)
    assert not second.keep(value, b"x")
    assert (value.length, second.has_file) == (0, False)
    second.write(value, b"x")
    assert (b"".join(second.read(value)), second.has_file) == (b"x", True)
    # What has begun in the file goes on there.
    first.release(kept)
    assert not second.keep(value, b"y")
    for spool in (first, second):
        spool.close()


def test_what_stays_in_memory_keeps_nothing_else_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path, memory_bytes=1 << 20, watermark_bytes=0)
    chunk = bytes(1 << 18)
    users = sys.getrefcount(chunk)
    values = [written(spool, memoryview(chunk)[:3]) for _ in range(5)]
    assert sys.getrefcount(chunk) == users
    trickled = written(spool, TEXT, pieces=len(TEXT))
    assert len(trickled.pieces) == 1
    assert b"".join(spool.read(trickled)) == TEXT
    assert all(b"".join(spool.read(value)) == bytes(3) for value in values)


def test_what_a_thread_still_writes_after_the_end_goes_nowhere(tmp_path: Path) -> None:
    spool = Spool(tmp_path, memory_bytes=0, watermark_bytes=0)
    value = written(spool, TEXT)
    spool.close()
    spool.write(value, TEXT)
    assert not spool.has_file


def test_a_folder_that_takes_no_file_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(StorageUnavailableError):
        written(Spool(tmp_path / "taken", memory_bytes=0, watermark_bytes=0), TEXT)


def test_the_watermark_holds_for_what_waits(tmp_path: Path) -> None:
    spool = Spool(tmp_path, memory_bytes=0, watermark_bytes=1 << 62)
    with pytest.raises(StorageFullError):
        written(spool, TEXT)
    spool.close()
