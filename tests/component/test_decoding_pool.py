"""The decoding pool: right answers, and what hostile or endless work does to it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from PIL import Image
from tests.pydicom_files import bundled

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.errors import OverloadedError, UndecodableError
from dicomweb_archive.imaging.decode import decode_frame
from dicomweb_archive.imaging.pixel_format import PixelFormat, pixel_format_of
from dicomweb_archive.imaging.transcode import to_explicit_little_endian
from dicomweb_archive.services.decoding import DecodingPool, StoredPayload, StreamedPayload

MEMORY = 1024**3
RLE = "1.2.840.10008.1.2.5"


@pytest.fixture
async def pool() -> AsyncIterator[DecodingPool]:
    opened = DecodingPool(workers=1, timeout_seconds=30, memory_bytes=MEMORY)
    yield opened
    await opened.close()


def workers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if any("decode_worker" in argument for argument in child.cmdline())]


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def gone(process: psutil.Process) -> bool:
    for _ in range(3000):
        if is_gone(process):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_instances_and_frames_come_back_as_without_a_pool(pool: DecodingPool) -> None:
    data = bundled("MR_small_RLE.dcm")
    scanned = scan(data)
    assert scanned.pixel_data is not None
    offset, length = scanned.pixel_data.fragments[0]
    frame = data[offset : offset + length]
    pixels = pixel_format_of(scanned.attributes())
    assert await pool.decode_frame([frame[:100], frame[100:]], RLE, pixels) == decode_frame(frame, RLE, pixels)[0]
    assert await pool.transcode([data]) == to_explicit_little_endian(data)
    await come_in_pieces(pool)


async def come_in_pieces(pool: DecodingPool) -> None:
    """Have a large picture decoded of which neither end holds more than a piece."""
    buffer = BytesIO()
    Image.new("L", (3000, 1000), 7).save(buffer, "PNG")
    sent = buffer.getvalue()
    kept: list[bytes] = []

    async def read() -> AsyncIterator[bytes]:
        for start in range(0, len(sent), 1000):
            yield sent[start : start + 1000]

    async def keep(piece: bytes) -> None:
        kept.append(piece)

    described = await pool.run_streamed("read_picture", {}, StreamedPayload(len(sent), read), keep)
    assert (described["rows"], described["columns"]) == (1000, 3000)
    assert max(map(len, kept)) <= 1024 * 1024
    assert b"".join(kept) == bytes([7]) * 3_000_000


async def test_a_worker_is_used_again(pool: DecodingPool) -> None:
    await pool.transcode([bundled("MR_small.dcm")])
    (first,) = workers()
    with pytest.raises(UndecodableError):
        await pool.transcode([b"no instance"])
    await pool.transcode([bundled("MR_small.dcm")])
    assert workers() == [first]


async def test_more_jobs_than_workers_wait_their_turn(pool: DecodingPool) -> None:
    data = bundled("MR_small.dcm")
    results = await asyncio.gather(*(pool.transcode([data]) for _ in range(8)))
    assert set(results) == {to_explicit_little_endian(data)}
    assert len(workers()) == 1


async def test_a_job_that_takes_too_long_is_killed_and_the_next_one_served(
    pool: DecodingPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool.transcode([bundled("MR_small.dcm")])
    (worker,) = workers()
    os.kill(worker.pid, signal.SIGSTOP)
    # A stopped process never answers, however long it has; the next one must not hurry on a busy machine.
    with monkeypatch.context() as hurried:
        hurried.setattr(pool, "_timeout_seconds", 0.5)
        begun = time.monotonic()
        with pytest.raises(UndecodableError, match=r"longer than 0\.5 s"):
            await pool.transcode([bundled("MR_small.dcm")])
    assert time.monotonic() - begun >= 0.5
    assert await gone(worker)
    assert await pool.transcode([bundled("MR_small.dcm")])
    assert workers() != [worker]


async def test_what_waits_for_its_turn_is_not_read_and_gives_up_in_time(
    pool: DecodingPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bundled("MR_small.dcm")
    reading = asyncio.Event()
    others_read = 0

    async def read_for_ever() -> list[bytes]:
        reading.set()
        await asyncio.Event().wait()
        return [data]

    async def read() -> list[bytes]:
        nonlocal others_read
        others_read += 1
        return [data]

    first = asyncio.create_task(pool.transcode(StoredPayload(len(data), read_for_ever)))
    await reading.wait()
    with monkeypatch.context() as hurried:
        hurried.setattr(pool, "_timeout_seconds", 0.5)
        with pytest.raises(OverloadedError, match="try again later"):
            await pool.transcode(StoredPayload(len(data), read))
    assert others_read == 0
    assert not first.done()
    first.cancel()
    assert await pool.transcode(StoredPayload(len(data), read)) == to_explicit_little_endian(data)


async def test_what_is_too_large_is_not_read(pool: DecodingPool) -> None:
    async def read() -> list[bytes]:
        raise AssertionError

    with pytest.raises(UndecodableError, match="larger than a decoding process"):
        await pool.transcode(StoredPayload(MEMORY, read))


async def test_a_worker_that_dies_is_replaced(pool: DecodingPool) -> None:
    await pool.transcode([bundled("MR_small.dcm")])
    (worker,) = workers()
    os.kill(worker.pid, signal.SIGSTOP)
    task = asyncio.create_task(pool.transcode([bundled("MR_small.dcm")]))
    await asyncio.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(UndecodableError, match="died"):
        await task
    assert await pool.transcode([bundled("MR_small.dcm")])


async def test_a_cancelled_job_frees_its_worker(pool: DecodingPool) -> None:
    await pool.transcode([bundled("MR_small.dcm")])
    (worker,) = workers()
    os.kill(worker.pid, signal.SIGSTOP)
    task = asyncio.create_task(pool.transcode([bundled("MR_small.dcm")]))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(worker)
    assert await pool.transcode([bundled("MR_small.dcm")])


async def test_pixels_that_claim_more_memory_than_there_is_are_refused(pool: DecodingPool) -> None:
    claims = PixelFormat(65535, 65535, 1, 8, 8, 0, "MONOCHROME2", 0, 1)
    with pytest.raises(UndecodableError, match="larger than a decoding process"):
        await pool.decode_frame([b"x" * 100], RLE, claims)
    small = DecodingPool(workers=1, timeout_seconds=30, memory_bytes=MEMORY)
    almost = PixelFormat(16000, 16000, 1, 8, 8, 0, "MONOCHROME2", 0, 1)
    with pytest.raises(UndecodableError):
        await small.decode_frame([b"\xff\x4f\xff\x51" + bytes(100)], "1.2.840.10008.1.2.4.90", almost)
    assert await small.transcode([bundled("MR_small.dcm")])
    await small.close()


async def test_payloads_beyond_the_bound_never_reach_a_worker(pool: DecodingPool) -> None:
    too_large = [bytes(64 * 1024**2)] * 5
    with pytest.raises(UndecodableError, match="larger than a decoding process"):
        await pool.transcode(too_large)
    assert workers() == []


async def test_the_loop_goes_on_while_a_worker_works(pool: DecodingPool) -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - begun)

    await pool.transcode([bundled("MR_small.dcm")])
    watching = asyncio.create_task(watch())
    await pool.transcode([bundled("examples_ybr_color.dcm")])
    watching.cancel()
    assert 0 < longest < 0.5


async def test_workers_know_no_secret_of_the_environment(pool: DecodingPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMWEB_ARCHIVE_API_KEY", "secret")
    await pool.transcode([bundled("MR_small.dcm")])
    (worker,) = workers()
    assert not [name for name in worker.environ() if name.startswith("DICOMWEB")]


async def test_closing_leaves_no_process(pool: DecodingPool) -> None:
    await pool.transcode([bundled("MR_small.dcm")])
    (worker,) = workers()
    await pool.close()
    assert await gone(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
async def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, os, psutil\n"
        "from dicomweb_archive.services.decoding import DecodingPool\n"
        "async def main():\n"
        "    pool = DecodingPool(workers=1, timeout_seconds=30, memory_bytes=2**30)\n"
        "    try:\n"
        "        await pool.transcode([b'nothing'])\n"
        "    except Exception:\n"
        "        pass\n"
        "    (worker,) = psutil.Process().children()\n"
        "    worker.suspend()\n"
        "    print(worker.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, str(script)], capture_output=True, check=False)
    pid = int(done.stdout)
    for _ in range(3000):
        if not psutil.pid_exists(pid) or is_gone(psutil.Process(pid)):
            return
        await asyncio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")
