"""Rendered: pictures of instances and frames for those who do not read DICOM (PS3.18 10.4.1.1.3)."""

from dataclasses import dataclass
from typing import Final

from dicomweb_archive.errors import InvalidParameterError, NotFoundError
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.index.instances import InstanceIndex
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal, Role, require, visibility_of
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.services.instance_bytes import InstanceBytes, pixels_of
from dicomweb_archive.services.recheck import gone_if_deleted
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.wire.media_types import Acceptable, Offer
from dicomweb_archive.wire.rendering import RenderingParameters

RENDERED_OFFERS: Final = (Offer("image/jpeg"), Offer("image/png"), Offer("image/gif"))
"""Representations of a rendered single frame (PS3.18 Table 8.7.4-1)."""


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """A picture, whole: its size is bounded by the largest viewport and by the decoding process."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class RenderService:
    """Renders frames in the decoding processes."""

    instances: InstanceIndex
    objects: ObjectStore
    decoding: DecodingPool

    async def render(
        self, scope: Scope, frame: int, principal: Principal, accepted: Acceptable, parameters: RenderingParameters
    ) -> RenderedImage:
        """Render one frame, numbered from 1, of an instance.

        Raises:
            NotFoundError, GoneError: there is no such instance or frame, or it has no pixels.
            NotAcceptableError: the client accepts none of the picture formats.
            InvalidParameterError: the viewport's region lies outside of the image.
            UndecodableError: the frame cannot be decoded, or makes no picture.
            OverloadedError: no decoding process was free for too long.
        """
        require(principal, Role.READER)
        study, series, instance = scope.parameters()
        assert series is not None
        assert instance is not None
        visibility = visibility_of(principal)
        location = await self.instances.locate_instance(study, series, instance, visibility)
        stored, pixels = pixels_of(location)
        if frame > pixels.number_of_frames:
            message = f"frames of this instance are numbered from 1 to {pixels.number_of_frames}"
            raise NotFoundError(message)
        _check_region(parameters, pixels)
        media_type = accepted.select(RENDERED_OFFERS).type
        content = InstanceBytes(self.objects, self.decoding)
        arguments = {
            "transfer_syntax": location.transfer_syntax_uid if stored.encapsulated else None,
            "pixels": tuple(pixels),
            "tag": stored.tag,
            "number": frame,
            "picture": _picture(media_type, parameters),
        }
        async with gone_if_deleted(self.instances, location, visibility):
            _, picture = await self.decoding.run("render", arguments, content.picture_payload(location, frame))
        return RenderedImage(media_type, picture)


def _check_region(parameters: RenderingParameters, pixels: PixelFormat) -> None:
    viewport = parameters.viewport
    if viewport is not None and (viewport.x >= pixels.columns or viewport.y >= pixels.rows):
        raise InvalidParameterError("viewport", accepted="a region that lies within the image")


def _picture(media_type: str, parameters: RenderingParameters) -> dict[str, object]:
    window, viewport = parameters.window, parameters.viewport
    return {
        "media_type": media_type,
        "window": None if window is None else (window.center, window.width, str(window.function)),
        "size": None if viewport is None else (viewport.width, viewport.height),
        "region": (0, 0, None, None)
        if viewport is None
        else (viewport.x, viewport.y, viewport.region_width, viewport.region_height),
        "quality": parameters.quality,
    }
