"""WADO-RS: thumbnails of studies, series, instances and frames (PS3.18 10.4.1.1.4)."""

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import InvalidRequestError
from dicomweb_archive.web.dependencies import DICOMWEB, get_principal, get_services, scope_of
from dicomweb_archive.web.pictures import picture_response
from dicomweb_archive.web.representations import accept_header
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.wire.media_types import parse_accept
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.rendering import parse_thumbnail
from dicomweb_archive.wire.resources import parse_frames


async def retrieve_thumbnail(request: Request) -> Response:
    """Retrieve a small picture of a study, a series or an instance."""
    return await _thumbnail(request, None)


async def retrieve_frame_thumbnail(request: Request) -> Response:
    """Retrieve a small picture of a frame."""
    frames = parse_frames(request.path_params["frame"])
    if len(frames) != 1:
        message = "a thumbnail shows one frame"
        raise InvalidRequestError(message)
    return await _thumbnail(request, frames[0])


async def _thumbnail(request: Request, frame: int | None) -> Response:
    asked = parse_thumbnail(split_query(request.scope["query_string"]))
    accepted = parse_accept(accept_header(request), asked.accept)
    drawing = await get_services(request).thumbnails.thumbnail(
        scope_of(request), await get_principal(request), accepted, frame=frame, size=asked.size
    )
    return await picture_response(request, drawing, asked.warnings)


_STUDY = f"{DICOMWEB}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"

routes = [
    ResourceRoute(f"{_INSTANCE}/thumbnail", retrieve_thumbnail, name="retrieve_instance_thumbnail"),
    ResourceRoute(f"{_INSTANCE}/frames/{{frame}}/thumbnail", retrieve_frame_thumbnail, name="retrieve_frame_thumbnail"),
    ResourceRoute(f"{_SERIES}/thumbnail", retrieve_thumbnail, name="retrieve_series_thumbnail"),
    ResourceRoute(f"{_STUDY}/thumbnail", retrieve_thumbnail, name="retrieve_study_thumbnail"),
]
