"""Rendered parts: what is shown of many instances, drawn and sent one after the other (PS3.18 10.4.1.1.3)."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from dicomweb_archive.dicom.instance import BulkValue
from dicomweb_archive.dicom.report import is_report
from dicomweb_archive.errors import InvalidParameterError, NotAcceptableError, UndecodableError
from dicomweb_archive.imaging.frames import fragment_bounds
from dicomweb_archive.imaging.native import native_frame_range
from dicomweb_archive.imaging.picture import Picture
from dicomweb_archive.imaging.pixel_format import check_pixel_format
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.instances import InstanceLocation
from dicomweb_archive.services.instance_answers import uids_of
from dicomweb_archive.services.instance_bytes import InstanceBytes, can_convert, pixels_of
from dicomweb_archive.services.pictures import Pictures
from dicomweb_archive.services.reports import report_drawing
from dicomweb_archive.services.representation import Part, Representation, single
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.wire.media_types import Acceptable, Offer, document_offers
from dicomweb_archive.wire.multipart import PartFraming
from dicomweb_archive.wire.rendered_media_types import GIF, PICTURES, in_parts, video_offers
from dicomweb_archive.wire.rendering import RenderingParameters
from dicomweb_archive.wire.report_pages import REPORTS
from dicomweb_archive.wire.resources import ServiceRoot

ENCAPSULATED_DOCUMENT = "00420011"

Tell: TypeAlias = Callable[[UndecodableError], tuple[str, bytes]]
"""Describes an error as media type and payload."""


@dataclass(frozen=True, slots=True)
class RenderedPart:
    """One payload of an answer, which is made when its turn comes: a picture drawn, or a stream opened."""

    content_type: str
    location: str
    make: Callable[[], Awaitable[bytes | Representation]]


def rendered_offers(location: InstanceLocation) -> tuple[Offer, ...]:
    """List what an instance can be shown as; nothing for what is no image, report or document that we show."""
    if shows_report(location):
        return REPORTS
    documents = document_offers(location.sop_class_uid)
    if location.pixel_data is None:
        return documents if _document(location) is not None else ()
    if can_convert(location):
        return PICTURES
    return video_offers(location.transfer_syntax_uid) if location.pixel_data.encapsulated else ()


def shows_report(location: InstanceLocation) -> bool:
    """Tell whether an instance is shown as a page that is written from its content tree."""
    return location.pixel_data is None and is_report(location.sop_class_uid)


def video_part(stored: InstanceBytes, location: InstanceLocation, content_type: str) -> Part:
    """Describe the codestream of a stored video."""
    pixels, _ = pixels_of(location)
    return stored.fragments_part(location, pixels.fragments, content_type, "")


def _document(location: InstanceLocation) -> BulkValue | None:
    """Return an encapsulated document; one of few bytes is kept among the metadata instead, and is none here."""
    return next((value for value in location.bulk if value.path == ENCAPSULATED_DOCUMENT), None)


def wanted_picture(media_type: str, parameters: RenderingParameters) -> Picture:
    """Describe the picture that the parameters ask for.

    Raises:
        InvalidParameterError: a profile is asked for in a format that cannot hold one (PS3.18 8.3.5.1.5).
    """
    if media_type == GIF and parameters.profile is not None:
        raise InvalidParameterError("iccprofile", accepted="no, for image/gif cannot hold a profile")
    window, viewport = parameters.window, parameters.viewport
    return Picture(
        media_type=media_type,
        window=None if window is None else (window.center, window.width, str(window.function)),
        size=None if viewport is None else (viewport.width, viewport.height),
        region=(0, 0, None, None)
        if viewport is None
        else (viewport.x, viewport.y, viewport.region_width, viewport.region_height),
        quality=parameters.quality,
        annotation=parameters.annotation,
        profile=parameters.profile,
    )


def check_region(location: InstanceLocation, parameters: RenderingParameters) -> None:
    """Find out before anything is drawn whether the viewport's region lies within the image.

    Raises:
        InvalidParameterError: it does not.
        UndecodableError: the attributes describe no image, so that nothing lies within it.
    """
    _, pixels = pixels_of(location)
    check_pixel_format(pixels)
    viewport = parameters.viewport
    if viewport is not None and (viewport.x >= pixels.columns or viewport.y >= pixels.rows):
        raise InvalidParameterError("viewport", accepted="a region that lies within the image")


def check_frames(location: InstanceLocation) -> None:
    """Find out whether all frames are there: Number of Frames may claim anything, and nothing is listed by it before.

    Raises:
        UndecodableError: there are fewer frames than the attributes say, or these describe none.
    """
    stored, pixels = pixels_of(location)
    check_pixel_format(pixels)
    if stored.encapsulated:
        fragment_bounds(stored, pixels.number_of_frames)
    else:
        native_frame_range(stored, pixels, pixels.number_of_frames)


@dataclass(slots=True)
class Choices:
    """What each of many instances is shown as: negotiated once for each set of offers."""

    accepted: Acceptable
    _chosen: dict[tuple[Offer, ...], Offer | None] = field(default_factory=dict)

    def of(self, location: InstanceLocation) -> Offer | None:
        """Return what an instance is shown as; `None` when there is nothing, or nothing that is accepted."""
        offers = in_parts(rendered_offers(location))
        if offers not in self._chosen:
            self._chosen[offers] = next(iter(self.accepted.rank(offers)), None)
        return self._chosen[offers]

    def refusal(self) -> NotAcceptableError | None:
        """Return the error when something could be had in other forms; `None` when there was nothing."""
        refused = [offers for offers, chosen in self._chosen.items() if chosen is None]
        offered = dict.fromkeys(str(offer) for offers in refused for offer in offers)
        if not offered:
            return None
        message = "none of the representations that the client accepts can be had"
        return NotAcceptableError(message, available=tuple(offered))


@dataclass(frozen=True, slots=True)
class RenderedParts:
    """Describes and sends what is shown of instances."""

    pictures: Pictures
    parameters: RenderingParameters
    visibility: Visibility
    root: ServiceRoot

    def of_instance(self, location: InstanceLocation, offer: Offer) -> Iterator[RenderedPart]:
        """Yield what an instance is shown as: one part for each frame, or one for a whole."""
        url = f"{self.root.instance(*uids_of(location))}/rendered"
        if shows_report(location):
            report = report_drawing(self.pictures, location, offer.type, self.visibility)
            yield RenderedPart(report.media_type, url, report.draw)
            return
        stored = self._as_stored(location, offer.type)
        if stored is not None:
            yield RenderedPart(offer.type, url, partial(single, self.pictures.objects, stored, {}))
            return
        _, pixels = pixels_of(location)
        picture = wanted_picture(offer.type, self.parameters)
        if pixels.number_of_frames == 1:
            yield self._picture(location, 1, picture, url)
        elif offer.type == GIF:
            yield RenderedPart(offer.type, url, partial(self._animation, location, picture))
        else:
            yield from self.of_frames(location, range(1, pixels.number_of_frames + 1), offer)

    def of_frames(self, location: InstanceLocation, frames: Iterable[int], offer: Offer) -> Iterator[RenderedPart]:
        """Yield a part for each of the frames."""
        picture = wanted_picture(offer.type, self.parameters)
        for frame in frames:
            url = f"{self.root.frames(*uids_of(location), (frame,))}/rendered"
            yield self._picture(location, frame, picture, url)

    def _picture(self, location: InstanceLocation, frame: int, picture: Picture, url: str) -> RenderedPart:
        draw = partial(self.pictures.draw, location, frame, picture, self.visibility)
        return RenderedPart(picture.media_type, url, draw)

    async def _animation(self, location: InstanceLocation, picture: Picture) -> Representation:
        return Representation(GIF, self.pictures.animate(location, picture, self.visibility))

    def _as_stored(self, location: InstanceLocation, content_type: str) -> Part | None:
        """Describe what is sent as it is stored; `None` for images, which are drawn."""
        stored = InstanceBytes(self.pictures.objects, self.pictures.decoding)
        if location.pixel_data is not None:
            return None if can_convert(location) else video_part(stored, location, content_type)
        value = _document(location)
        assert value is not None
        return stored.value_part(location, value, content_type, "")


def answer_in_parts(media_type: str, parts: Iterable[RenderedPart], tell: Tell) -> Representation:
    """Answer with parts that are drawn as the client takes them; one is in memory at a time.

    Where a codestream turns out to be damaged its part tells so, under the URL of the picture, and the others go on.
    """
    framing = PartFraming(media_type)
    return Representation(framing.content_type, _body(framing, parts, tell))


async def _body(framing: PartFraming, parts: Iterable[RenderedPart], tell: Tell) -> AsyncGenerator[Buffer, None]:
    for part in parts:
        try:
            made = await part.make()
        except UndecodableError as error:
            content_type, told = tell(error)
            yield framing.head(content_type, length=len(told), location=part.location)
            yield told
            yield framing.TAIL
            continue
        if isinstance(made, bytes):
            yield framing.head(part.content_type, length=len(made), location=part.location)
            yield made
        else:
            async with aclosing(made.chunks) as chunks:
                yield framing.head(part.content_type, length=made.content_length, location=part.location)
                async for chunk in chunks:
                    yield chunk
        yield framing.TAIL
    yield framing.closing()


def undecodable() -> UndecodableError:
    """Say that there is no codec here for what is stored."""
    message = "there is no codec here for the stored pixel data; they can be retrieved as they are"
    return UndecodableError(message)
