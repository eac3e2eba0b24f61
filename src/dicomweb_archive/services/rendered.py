"""Rendered: pictures of instances and frames for those who do not read DICOM (PS3.18 10.4.1.1.3)."""

import base64
from dataclasses import dataclass

import orjson

from dicomweb_archive.errors import InvalidParameterError, NotFoundError
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.imaging.render import Picture
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.documents import MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceLocation
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal, Role, require, visibility_of
from dicomweb_archive.services.instance_bytes import InstanceBytes, pixels_of
from dicomweb_archive.services.pictures import PICTURE_OFFERS, Drawing, Pictures
from dicomweb_archive.services.recheck import rechecked
from dicomweb_archive.services.representation import Representation, single, slices
from dicomweb_archive.wire.media_types import Acceptable, Offer, document_offers
from dicomweb_archive.wire.rendering import RenderingParameters

_ENCAPSULATED_DOCUMENT = "00420011"


@dataclass(frozen=True, slots=True)
class RenderService:
    """Renders frames, and hands out documents as they are."""

    pictures: Pictures
    metadata: MetadataIndex

    async def render(
        self, scope: Scope, frame: int, principal: Principal, accepted: Acceptable, parameters: RenderingParameters
    ) -> Drawing | Representation:
        """Render one frame, numbered from 1, of an instance, or its encapsulated PDF document.

        Raises:
            NotFoundError, GoneError: there is no such instance or frame, or it has no pixels.
            NotAcceptableError: the client accepts none of the formats.
            InvalidParameterError: the viewport's region lies outside of the image.
            ObjectNotFoundError, DamagedObjectError: what is stored is not there as it should be.
        """
        require(principal, Role.READER)
        study, series, instance = scope.parameters()
        assert series is not None
        assert instance is not None
        visibility = visibility_of(principal)
        location = await self.pictures.instances.locate_instance(study, series, instance, visibility)
        documents = document_offers(location.sop_class_uid)
        if documents and location.pixel_data is None:
            return await self._document(scope, location, accepted.select(documents), visibility)
        _, pixels = pixels_of(location)
        _check_region(parameters, pixels)
        picture = _picture(accepted.select(PICTURE_OFFERS).type, parameters)
        return self.pictures.drawing(location, frame, picture, visibility)

    async def _document(
        self, scope: Scope, location: InstanceLocation, offer: Offer, visibility: Visibility
    ) -> Representation:
        headers = {"ETag": f'"{location.digest.hex()}/{_ENCAPSULATED_DOCUMENT}"'}
        value = next((value for value in location.bulk if value.path == _ENCAPSULATED_DOCUMENT), None)
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
        (attributes,) = orjson.loads(b"".join([chunk async for chunk in answer.json()]))
        encoded = attributes.get(_ENCAPSULATED_DOCUMENT, {}).get("InlineBinary")
        if not encoded:
            message = "this instance holds no document"
            raise NotFoundError(message)
        return base64.b64decode(encoded)


def _check_region(parameters: RenderingParameters, pixels: PixelFormat) -> None:
    viewport = parameters.viewport
    if viewport is not None and (viewport.x >= pixels.columns or viewport.y >= pixels.rows):
        raise InvalidParameterError("viewport", accepted="a region that lies within the image")


def _picture(media_type: str, parameters: RenderingParameters) -> Picture:
    window, viewport = parameters.window, parameters.viewport
    return Picture(
        media_type=media_type,
        window=None if window is None else (window.center, window.width, str(window.function)),
        size=None if viewport is None else (viewport.width, viewport.height),
        region=(0, 0, None, None)
        if viewport is None
        else (viewport.x, viewport.y, viewport.region_width, viewport.region_height),
        quality=parameters.quality,
    )
