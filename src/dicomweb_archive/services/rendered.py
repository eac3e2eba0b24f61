"""Rendered: what instances look like, for those who do not read DICOM (PS3.18 10.4.1.1.3)."""

import asyncio
import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from dicomweb_archive.errors import NotFoundError, UndecodableError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.documents import MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceLocation, SegmentLocations
from dicomweb_archive.index.reading.metadata_answers import Coding
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.instance_bytes import InstanceBytes, can_convert, pixels_of
from dicomweb_archive.services.pictures import Drawing, Pictures, picture_tag
from dicomweb_archive.services.recheck import rechecked
from dicomweb_archive.services.rendered_parts import (
    ENCAPSULATED_DOCUMENT,
    Choices,
    RenderedPart,
    RenderedParts,
    Tell,
    answer_in_parts,
    check_frames,
    check_region,
    rendered_offers,
    shows_report,
    undecodable,
    video_part,
    wanted_picture,
)
from dicomweb_archive.services.reports import report_drawing
from dicomweb_archive.services.representation import Representation, single, slices
from dicomweb_archive.wire.media_types import Acceptable, Offer, document_offers
from dicomweb_archive.wire.rendered_media_types import GIF, PICTURES, in_both_forms, in_parts
from dicomweb_archive.wire.rendering import RenderingParameters
from dicomweb_archive.wire.report_pages import REPORTS
from dicomweb_archive.wire.resources import ServiceRoot

# After so many instances the loop looks after other requests.
_LOOKED_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class RenderingOrder:
    """What one request wants: which forms it takes, how it is drawn, and where its parts are to be found.

    Attributes:
        tell: describes, as media type and payload, why one of several pictures could not be drawn.
    """

    accepted: Acceptable
    parameters: RenderingParameters
    root: ServiceRoot
    tell: Tell


@dataclass(frozen=True, slots=True)
class RenderedSet:
    """What is shown of a study or series; `left_out` of its instances are not, and whoever asked is told so."""

    answer: Representation
    shown: int
    left_out: int


@dataclass(frozen=True, slots=True)
class RenderService:
    """Renders studies, series, instances and frames; hands out documents and videos as they are.

    Several pictures are drawn one after the other as the client takes them, so that a study costs the memory of
    one picture, and others get their turn between two.
    """

    pictures: Pictures
    metadata: MetadataIndex

    async def render_all(self, scope: Scope, principal: Principal, order: RenderingOrder) -> RenderedSet:
        """Render all instances of a study or series that can be shown, each frame of them as a part.

        Raises:
            NotFoundError, GoneError: there is no such resource, or nothing in it can be shown.
            NotAcceptableError: the client accepts nothing that can be had of it.
            InvalidParameterError: the viewport's region lies outside of one of the images.
        """
        require(principal, Role.READER)
        visibility = principal.sees
        segments = await self.pictures.instances.locate(scope, visibility)
        choices = Choices(order.accepted)
        first, shown, left_out = await _look_through(segments, choices, order.parameters)
        if first is None:
            level = "study" if scope.series_instance_uid is None else "series"
            raise choices.refusal() or NotFoundError(f"nothing in this {level} can be shown")
        parts = RenderedParts(self.pictures, order.parameters, visibility, order.root)
        answer = answer_in_parts(first.type, _all_parts(segments, choices, parts), order.tell)
        return RenderedSet(answer, shown, left_out)

    async def render_instance(
        self, scope: Scope, principal: Principal, order: RenderingOrder
    ) -> Drawing | Representation:
        """Render an instance: its first frame, all of its frames as parts or animated, or what is no image as it is.

        Raises:
            NotFoundError, GoneError: there is no such instance, or it has nothing to show.
            NotAcceptableError: the client accepts none of the formats.
            InvalidParameterError: the viewport's region lies outside of the image.
            UndecodableError: there is no codec for it.
            ObjectNotFoundError, DamagedObjectError: what is stored is not there as it should be.
        """
        location, visibility = await self._locate(scope, principal)
        if shows_report(location):
            return report_drawing(self.pictures, location, order.accepted.select(REPORTS).type, visibility)
        documents = document_offers(location.sop_class_uid)
        if documents and location.pixel_data is None:
            return await self._document(scope, location, order.accepted.select(documents), visibility)
        _, pixels = pixels_of(location)
        offer = order.accepted.select(in_both_forms(_offers(location)))
        if not can_convert(location) and not offer.multipart:
            return await self._video(location, offer, visibility)
        if can_convert(location):
            check_region(location, order.parameters)
            wanted_picture(offer.type, order.parameters)
            if offer.multipart or offer.type == GIF:
                check_frames(location)
        parts = RenderedParts(self.pictures, order.parameters, visibility, order.root)
        if offer.multipart:
            return answer_in_parts(offer.type, parts.of_instance(location, offer), order.tell)
        if offer.type == GIF and pixels.number_of_frames > 1:
            return self._animation(location, order.parameters, visibility)
        return self._drawing(location, 1, offer, order.parameters, visibility)

    async def render_frames(
        self, scope: Scope, frames: Sequence[int], principal: Principal, order: RenderingOrder
    ) -> Drawing | Representation:
        """Render frames, numbered from 1: one of them as a picture, several as parts in the order asked for.

        Raises:
            NotFoundError, GoneError: there is no such instance or frame, or it has no pixels.
            NotAcceptableError, InvalidParameterError, UndecodableError: see `render_instance`.
        """
        location, visibility = await self._locate(scope, principal)
        _, pixels = pixels_of(location)
        if not all(1 <= frame <= pixels.number_of_frames for frame in frames):
            message = f"frames of this instance are numbered from 1 to {pixels.number_of_frames}"
            raise NotFoundError(message)
        if not can_convert(location):
            raise undecodable()
        check_region(location, order.parameters)
        offer = order.accepted.select(in_both_forms(PICTURES) if len(frames) == 1 else in_parts(PICTURES))
        if not offer.multipart:
            return self._drawing(location, frames[0], offer, order.parameters, visibility)
        wanted_picture(offer.type, order.parameters)
        parts = RenderedParts(self.pictures, order.parameters, visibility, order.root)
        return answer_in_parts(offer.type, parts.of_frames(location, frames, offer), order.tell)

    async def _locate(self, scope: Scope, principal: Principal) -> tuple[InstanceLocation, Visibility]:
        require(principal, Role.READER)
        study, series, instance = scope.parameters()
        assert series is not None
        assert instance is not None
        visibility = principal.sees
        return await self.pictures.instances.locate_instance(study, series, instance, visibility), visibility

    def _drawing(
        self,
        location: InstanceLocation,
        frame: int,
        offer: Offer,
        parameters: RenderingParameters,
        visibility: Visibility,
    ) -> Drawing:
        return self.pictures.drawing(location, frame, wanted_picture(offer.type, parameters), visibility)

    def _animation(
        self, location: InstanceLocation, parameters: RenderingParameters, visibility: Visibility
    ) -> Representation:
        picture = wanted_picture(GIF, parameters)
        # Frame 0 is none, so the tag is that of no single picture.
        headers = {"ETag": picture_tag(location.digest, 0, picture)}
        return Representation(GIF, self.pictures.animate(location, picture, visibility), headers=headers)

    async def _video(self, location: InstanceLocation, offer: Offer, visibility: Visibility) -> Representation:
        headers = {"ETag": f'"{location.digest.hex()}/{offer.type}"'}
        stored = InstanceBytes(self.pictures.objects, self.pictures.decoding)
        video = video_part(stored, location, offer.content_type)
        answering = single(self.pictures.objects, video, headers)
        return await rechecked(self.pictures.instances, location, visibility, answering)

    async def _document(
        self, scope: Scope, location: InstanceLocation, offer: Offer, visibility: Visibility
    ) -> Representation:
        headers = {"ETag": f'"{location.digest.hex()}/{ENCAPSULATED_DOCUMENT}"'}
        value = next((value for value in location.bulk if value.path == ENCAPSULATED_DOCUMENT), None)
        if value is None:
            data = await self._short_document(scope, visibility)
            return Representation(offer.content_type, slices(data), len(data), headers)
        objects = self.pictures.objects
        part = InstanceBytes(objects, self.pictures.decoding).value_part(location, value, offer.content_type, "")
        return await rechecked(self.pictures.instances, location, visibility, single(objects, part, headers))

    async def _short_document(self, scope: Scope, visibility: Visibility) -> bytes:
        """Return a document of so few bytes that it is kept among the metadata."""
        study, series, instance = scope.parameters()
        answer = await self.metadata.instance_metadata(study, series or "", instance or "", visibility, service_root="")
        (attributes,) = orjson.loads(b"".join([chunk async for chunk in answer.encoded(Coding.IDENTITY)]))
        encoded = attributes.get(ENCAPSULATED_DOCUMENT, {}).get("InlineBinary")
        if not encoded:
            message = "this instance holds no document"
            raise NotFoundError(message)
        return base64.b64decode(encoded)


def _offers(location: InstanceLocation) -> tuple[Offer, ...]:
    offers = rendered_offers(location)
    if not offers:
        raise undecodable()
    return offers


async def _look_through(
    segments: Sequence[SegmentLocations], choices: Choices, parameters: RenderingParameters
) -> tuple[Offer | None, int, int]:
    """Find out what is going to be shown: as what the first of it, how many instances, and how many are not."""
    first: Offer | None = None
    shown = left_out = 0
    for segment in segments:
        for location in segment:
            if (shown + left_out) % _LOOKED_AT_ONCE == _LOOKED_AT_ONCE - 1:
                await asyncio.sleep(0)
            offer = _chosen(location, choices)
            if offer is None:
                left_out += 1
                continue
            if location.pixel_data is not None and can_convert(location):
                check_region(location, parameters)
                wanted_picture(offer.type, parameters)
            first = first or offer
            shown += 1
    return first, shown, left_out


def _chosen(location: InstanceLocation, choices: Choices) -> Offer | None:
    """Return what an instance is shown as, `None` also where its frames are not all there."""
    offer = choices.of(location)
    if offer is not None and location.pixel_data is not None and can_convert(location):
        try:
            check_frames(location)
        except UndecodableError:
            return None
    return offer


def _all_parts(segments: Sequence[SegmentLocations], choices: Choices, parts: RenderedParts) -> Iterator[RenderedPart]:
    for segment in segments:
        for location in segment:
            offer = _chosen(location, choices)
            if offer is not None:
                yield from parts.of_instance(location, offer)
