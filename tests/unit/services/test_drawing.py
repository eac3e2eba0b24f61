"""Pictures that are drawn beside the event loop, without a process."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.factories import image, part10
from tests.unit.imaging.test_short_cuts import stored_frame

from dicomweb_archive.errors import OverloadedError, UndecodableError
from dicomweb_archive.imaging.display_tables import DisplayTables
from dicomweb_archive.imaging.picture import Picture
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.imaging.render import render_stored
from dicomweb_archive.services import drawing
from dicomweb_archive.services.decode_worker import PICTURE_HEAD
from dicomweb_archive.services.decoding import StoredPayload
from dicomweb_archive.services.drawing import DrawingThread, is_plain

GREY = PixelFormat(512, 512, 1, 16, 12, 0, "MONOCHROME2", 0, 1)


@pytest.fixture
async def thread() -> AsyncIterator[DrawingThread]:
    drawer = DrawingThread(timeout_seconds=0.2)
    yield drawer
    drawer.close()


def payload_of(head: bytes, data: Any) -> StoredPayload:
    async def read() -> list[Any]:
        # As they may come: cut anywhere.
        return [PICTURE_HEAD.pack(len(head)), head[:100], head[100:], data[:9], data[9:]]

    return StoredPayload(len(head) + len(data), read)


@pytest.mark.parametrize(
    ("changes", "picture", "others"),
    [
        ({"samples_per_pixel": 3}, Picture(), {}),
        ({"photometric_interpretation": "PALETTE COLOR"}, Picture(), {}),
        ({"bits_allocated": 32}, Picture(), {}),
        ({"bits_allocated": 1}, Picture(), {}),
        ({"rows": 4096, "columns": 4096}, Picture(), {}),
        ({}, Picture(size=(4096, 4096)), {}),
        ({}, Picture(annotation=("patient",)), {}),
        ({}, Picture(profile="yes"), {}),
        ({}, Picture(timed=True), {}),
        ({}, Picture(), {"encapsulated": True}),
        ({}, Picture(), {"tag": 0x7FE00008}),
        ({}, Picture(), {"head_bytes": 1_000_000}),
    ],
)
def test_only_native_greys_of_few_bytes_do_without_a_process(
    changes: dict[str, Any], picture: Picture, others: dict[str, Any]
) -> None:
    plainly: dict[str, Any] = {"tag": 0x7FE00010, "encapsulated": False, "head_bytes": 2000}
    assert is_plain(GREY, Picture(window=(1, 2, "linear"), size=(64, 64)), **plainly)
    assert not is_plain(GREY._replace(**changes), picture, **{**plainly, **others})


async def test_the_thread_draws_what_a_process_would(thread: DrawingThread) -> None:
    for number in (1, 2):
        head, frame = stored_frame(part10(image(instance=number)))
        drawn = await thread.draw(payload_of(head, frame.data), frame, Picture("image/png"))
        assert drawn == render_stored(head, frame, Picture("image/png"), DisplayTables())


async def test_what_makes_no_picture_is_said_and_what_nobody_thought_of_is_left_to_a_process(
    thread: DrawingThread,
) -> None:
    head, frame = stored_frame(part10(image()))
    nothing = frame.pixels._replace(rows=0)
    with pytest.raises(UndecodableError):
        await thread.draw(payload_of(head, frame.data), frame.__class__(b"", None, nothing, frame.tag, 1), Picture())
    assert await thread.draw(payload_of(head, frame.data), frame, Picture("image/unheard-of")) is None


async def test_a_turn_that_does_not_come_ends_the_wait(thread: DrawingThread) -> None:
    forever = asyncio.Event()

    async def never() -> list[Any]:
        await forever.wait()
        return []

    head, frame = stored_frame(part10(image()))
    waiting = [asyncio.create_task(thread.draw(StoredPayload(1, never), frame, Picture())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await thread.draw(payload_of(head, frame.data), frame, Picture())
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await thread.draw(payload_of(head, frame.data), frame, Picture())


async def test_who_leaves_while_the_thread_draws_lets_nobody_heap_up_pixels_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nothing here waits for time to pass.
    thread = DrawingThread(timeout_seconds=60)
    may_end = threading.Event()
    monkeypatch.setattr(drawing, "render_stored", lambda *_: may_end.wait(60) and b"drawn")
    read = 0

    async def pieces() -> list[Any]:
        nonlocal read
        read += 1
        return [PICTURE_HEAD.pack(0)]

    _, frame = stored_frame(part10(image()))
    try:
        for _ in range(2):
            leaving = [asyncio.create_task(thread.draw(StoredPayload(8, pieces), frame, Picture())) for _ in range(2)]
            await asyncio.sleep(0.01)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
        assert read == 2
    finally:
        may_end.set()
    assert await thread.draw(StoredPayload(8, pieces), frame, Picture()) == b"drawn"
    thread.close()
