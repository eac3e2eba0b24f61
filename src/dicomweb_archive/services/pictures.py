"""Pictures: a frame of a located instance, drawn by a thread where it is plain, else in the decoding processes."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any

from dicomweb_archive import __version__
from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.imaging.gif_animation import TRAILER, animation_frame, animation_head
from dicomweb_archive.imaging.picture import Picture
from dicomweb_archive.imaging.render import StoredFrame
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.instances import InstanceIndex, InstanceLocation
from dicomweb_archive.services.decoding import DecodingPool, StoredPayload
from dicomweb_archive.services.drawing import DrawingThread, is_plain
from dicomweb_archive.services.instance_bytes import InstanceBytes, pixels_of
from dicomweb_archive.services.recheck import gone_if_deleted
from dicomweb_archive.storage.base import Buffer, ObjectStore


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture, or a report as a page, that can be had; whether the client has it already is asked before it is drawn.

    Attributes:
        etag: changes with the instance, with what was asked for, and with the program that draws.
        draw: returns the picture, whole: its size is bounded by the largest viewport and by the decoding process.
        length: in bytes, when it is known without drawing.
    """

    media_type: str
    etag: str
    draw: Callable[[], Awaitable[bytes]]
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Pictures:
    """Draws frames of instances."""

    instances: InstanceIndex
    objects: ObjectStore
    decoding: DecodingPool
    thread: DrawingThread

    def drawing(self, location: InstanceLocation, frame: int, picture: Picture, visibility: Visibility) -> Drawing:
        """Return the picture of a frame, numbered from 1.

        Raises:
            NotFoundError: there is no such frame, or the instance has no pixels.
        """
        _, pixels = pixels_of(location)
        if not 1 <= frame <= pixels.number_of_frames:
            message = f"frames of this instance are numbered from 1 to {pixels.number_of_frames}"
            raise NotFoundError(message)
        draw = partial(self.draw, location, frame, picture, visibility)
        return Drawing(picture.media_type, picture_tag(location.digest, frame, picture), draw)

    async def draw(self, location: InstanceLocation, frame: int, picture: Picture, visibility: Visibility) -> bytes:
        """Draw a frame that is there.

        Raises:
            GoneError: the instance was deleted meanwhile.
            UndecodableError: the frame cannot be decoded, or makes no picture.
            OverloadedError: no decoding process was free for too long.
        """
        _, drawn = await self._drawn(location, frame, picture, visibility)
        return drawn

    async def animate(
        self, location: InstanceLocation, picture: Picture, visibility: Visibility
    ) -> AsyncGenerator[Buffer, None]:
        """Draw all frames, one after the other as they are taken, as one animated GIF.

        Raises:
            GoneError, UndecodableError, OverloadedError: see `draw`.
        """
        _, pixels = pixels_of(location)
        milliseconds = 0.0
        for frame in range(1, pixels.number_of_frames + 1):
            results, drawn = await self._drawn(location, frame, replace(picture, timed=frame == 1), visibility)
            if frame == 1:
                milliseconds = results["milliseconds"]
                yield animation_head(drawn)
            yield animation_frame(drawn, milliseconds)
        yield TRAILER

    async def _drawn(
        self, location: InstanceLocation, frame: int, picture: Picture, visibility: Visibility
    ) -> tuple[dict[str, float], bytes]:
        payload = InstanceBytes(self.objects, self.decoding).picture_payload(location, frame)
        async with gone_if_deleted(self.instances, location, visibility):
            drawn = await self._plainly_drawn(location, frame, picture, payload)
            if drawn is not None:
                return {}, drawn
            return await self.decoding.run("render", _arguments(location, frame, picture), payload)

    async def _plainly_drawn(
        self, location: InstanceLocation, frame: int, picture: Picture, payload: StoredPayload
    ) -> bytes | None:
        stored, pixels = pixels_of(location)
        described = StoredFrame(b"", None, pixels, stored.tag, frame)
        if not is_plain(pixels, picture, tag=stored.tag, encapsulated=stored.encapsulated, head_bytes=stored.offset):
            return None
        return await self.thread.draw(payload, described, picture)


def _arguments(location: InstanceLocation, frame: int, picture: Picture) -> dict[str, Any]:
    """Describe a picture for a decoding process."""
    stored, pixels = pixels_of(location)
    return {
        "transfer_syntax": location.transfer_syntax_uid if stored.encapsulated else None,
        "pixels": tuple(pixels),
        "tag": stored.tag,
        "number": frame,
        "picture": asdict(picture),
    }


def picture_tag(digest: bytes, frame: int, picture: Picture) -> str:
    """Return the entity tag of a picture: what it is made of and how, which is known before it is drawn."""
    described = f"{__version__} {digest.hex()} {frame} {picture}"
    return f'"{blake2b(described.encode(), digest_size=16).hexdigest()}"'
