"""DrawingThread: draws plain pictures beside the event loop, where no process has to keep hostile pixels apart."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dicomweb_archive.errors import ArchiveError, OverloadedError
from dicomweb_archive.imaging.display_tables import BITS, DisplayTables
from dicomweb_archive.imaging.picture import Picture
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.imaging.render import StoredFrame, render_stored
from dicomweb_archive.services.decode_worker import PICTURE_HEAD
from dicomweb_archive.services.decoding import StoredPayload
from dicomweb_archive.storage.base import Buffer

_PIXEL_DATA = 0x7FE00010
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
# What is larger takes so long that its copies into a process do not matter.
_MOST_FRAME_BYTES = 8 * 1024 * 1024
# A picture of 4096x4096 is encoded for seconds, which nothing could end here, and all others would wait.
_MOST_SHOWN_PIXELS = 2048 * 2048
_MOST_HEAD_BYTES = 128 * 1024
# One is drawn while the pixels of the next are read.
_AT_ONCE = 2


def is_plain(pixels: PixelFormat, picture: Picture, *, tag: int, encapsulated: bool, head_bytes: int) -> bool:
    """Tell whether a picture is made by looking up numbers: of native greys, and of few bytes.

    There is no codec that could be led astray then, and nothing that could grow; of the attributes a dozen are read.
    """
    return (
        not encapsulated
        and tag == _PIXEL_DATA
        and pixels.samples_per_pixel == 1
        and pixels.bits_allocated in BITS
        and pixels.photometric_interpretation in _GREY
        and pixels.decoded_frame_bytes <= _MOST_FRAME_BYTES
        and (picture.size is None or picture.size[0] * picture.size[1] <= _MOST_SHOWN_PIXELS)
        and head_bytes <= _MOST_HEAD_BYTES
        and not picture.annotation
        and picture.profile is None
        and not picture.timed
    )


class DrawingThread:
    """One thread; arithmetic and encoding leave the interpreter to the loop meanwhile.

    Args:
        timeout_seconds: longest time that a picture waits for its turn.
    """

    def __init__(self, *, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="drawing")
        self._turns = asyncio.Semaphore(_AT_ONCE)
        # Used by the one thread alone.
        self._tables = DisplayTables()

    async def draw(self, payload: StoredPayload, frame: StoredFrame, picture: Picture) -> bytes | None:
        """Draw a picture for which `is_plain` holds.

        Args:
            payload: what a decoding process would get.
            frame: describes the frame; its data are in the payload.

        Returns:
            `None` when this failed in a way that nobody thought of; a process can be let try it.

        Raises:
            UndecodableError, InvalidParameterError: the attributes make no picture, or not the one asked for.
            OverloadedError: the turn did not come for too long.
        """
        await self._wait_for_turn()
        try:
            pieces = await payload.read()
        except BaseException:
            self._turns.release()
            raise
        drawing = asyncio.get_running_loop().run_in_executor(self._executor, self._drawn, pieces, frame, picture)
        # A thread cannot be stopped. The turn is its own until it has drawn, also when whoever asked has left: else
        # clients that come and go would heap up pixels before it.
        drawing.add_done_callback(lambda _: self._turns.release())
        return await asyncio.shield(drawing)

    def close(self) -> None:
        """End the thread after what it is drawing."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _wait_for_turn(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._turns.acquire()
        except TimeoutError:
            message = f"no picture could be drawn for {self._timeout_seconds:g} s; try again later"
            raise OverloadedError(message) from None

    def _drawn(self, pieces: Sequence[Buffer], frame: StoredFrame, picture: Picture) -> bytes | None:
        data = b"".join(pieces)
        end = PICTURE_HEAD.size + PICTURE_HEAD.unpack_from(data)[0]
        stored = StoredFrame(memoryview(data)[end:], None, frame.pixels, frame.tag, frame.number)
        try:
            return render_stored(data[PICTURE_HEAD.size : end], stored, picture, self._tables)
        except ArchiveError:
            raise
        # Nested or damaged attributes raise whatever fits them; in a process the same is an answer.
        except Exception:  # noqa: BLE001
            return None
