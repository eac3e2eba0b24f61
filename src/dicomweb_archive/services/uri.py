"""WADO-URI: what a request means for the instance that it names (PS3.18 9)."""

from dataclasses import dataclass, replace

from dicomweb_archive.dicom.report import is_report
from dicomweb_archive.errors import InvalidParameterError, NotAcceptableError
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.index.reading.instances import InstanceIndex, InstanceLocation
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.instance_bytes import can_convert, pixels_of
from dicomweb_archive.wire.media_types import DICOM, Offer, document_offers
from dicomweb_archive.wire.rendered_media_types import PICTURES, video_offers
from dicomweb_archive.wire.rendering import RenderingParameters, Viewport
from dicomweb_archive.wire.report_pages import REPORTS
from dicomweb_archive.wire.uri_parameters import UriRequest, whole_pixels


@dataclass(frozen=True, slots=True)
class Rendering:
    """A frame, numbered from 1, or `None` for the instance, and how it is drawn; of documents and videos as it is."""

    frame: int | None
    parameters: RenderingParameters


@dataclass(frozen=True, slots=True)
class UriService:
    """Chooses between the DICOM file and a rendered form, and says of the latter what the parameters mean in pixels.

    The services of WADO-RS answer, so both ways lead to the same bytes.
    """

    instances: InstanceIndex

    async def plan(self, scope: Scope, principal: Principal, asked: UriRequest) -> Rendering | None:
        """Return how the instance is to be rendered; `None` when its file is asked for (PS3.18 9.3).

        Raises:
            NotFoundError, GoneError: there is no such instance in this series of this study.
            NotAcceptableError: nothing that can be had is accepted, or it cannot be made as asked.
            InvalidParameterError: a parameter does not go with what is asked for, or with this instance.
        """
        require(principal, Role.READER)
        study, series, instance = scope.parameters()
        assert series is not None
        assert instance is not None
        location = await self.instances.locate_instance(study, series, instance, principal.sees)
        # What has no rendered form comes as its file, where no media type is named.
        chosen = asked.accepted.select((*_rendered_offers(location), Offer(DICOM)))
        if chosen.type == DICOM:
            _check_file(asked)
            return None
        _check_rendered(asked)
        if location.pixel_data is None:
            return Rendering(None, RenderingParameters())
        _, pixels = pixels_of(location)
        _check_frame(asked, pixels)
        return Rendering(asked.frame, replace(asked.drawing, viewport=_viewport(asked, pixels)))


def _rendered_offers(location: InstanceLocation) -> tuple[Offer, ...]:
    if location.pixel_data is None:
        return REPORTS if is_report(location.sop_class_uid) else document_offers(location.sop_class_uid)
    return PICTURES if can_convert(location) else video_offers(location.transfer_syntax_uid)


def _check_file(asked: UriRequest) -> None:
    for name in asked.of_pictures:
        raise InvalidParameterError(name, accepted="beside rendered media types only, such as contentType=image/jpeg")
    if asked.anonymize:
        # PS3.18 9.4.2.3: who cannot anonymize may say so; to send the instance as it is would give it away.
        message = "the archive does not anonymize yet; nothing is sent instead of what was asked for"
        raise NotAcceptableError(message, available=(DICOM,))


def _check_rendered(asked: UriRequest) -> None:
    for name in asked.of_dicom:
        raise InvalidParameterError(name, accepted="beside contentType=application/dicom only")
    if asked.presentation:
        # A picture without its presentation looks like any other, so none is sent.
        message = "presentation states are not applied; ask without presentationUID and presentationSeriesUID"
        raise NotAcceptableError(message, available=tuple(map(str, PICTURES)))


def _check_frame(asked: UriRequest, pixels: PixelFormat) -> None:
    if asked.frame is not None and asked.frame > pixels.number_of_frames:
        raise InvalidParameterError("frameNumber", accepted=f"from 1 to {pixels.number_of_frames} of this instance")


def _viewport(asked: UriRequest, pixels: PixelFormat) -> Viewport | None:
    """Return region and size in pixels: what is cut out is scaled until one side has its limit (PS3.18 9.5.1.2)."""
    if asked.region is None:
        return None if asked.size is None else Viewport(*asked.size)
    left, top, width, height = whole_pixels(asked.region, pixels.columns, pixels.rows)
    return Viewport(*(asked.size or (width, height)), left, top, width, height)
