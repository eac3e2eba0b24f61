"""WADO-RS: rendered instances and frames (PS3.18 10.4.1.1.3)."""

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import InvalidRequestError
from dicomweb_archive.services.pictures import Drawing
from dicomweb_archive.web.dependencies import DICOMWEB, get_principal, get_services, scope_of
from dicomweb_archive.web.payloads import payload_response
from dicomweb_archive.web.pictures import picture_response
from dicomweb_archive.web.representations import accept_header
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.wire.media_types import parse_accept
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.rendering import parse_rendering
from dicomweb_archive.wire.resources import parse_frames


async def retrieve_rendered_instance(request: Request) -> Response:
    """Retrieve the first frame of an instance as a picture, or its document."""
    return await _render(request, 1)


async def retrieve_rendered_frame(request: Request) -> Response:
    """Retrieve a frame of an instance as a picture."""
    frames = parse_frames(request.path_params["frame"])
    if len(frames) != 1:
        message = "one frame at a time is rendered"
        raise InvalidRequestError(message)
    return await _render(request, frames[0])


async def _render(request: Request, frame: int) -> Response:
    asked = parse_rendering(split_query(request.scope["query_string"]))
    accepted = parse_accept(accept_header(request), asked.accept)
    rendered = get_services(request).rendered
    answer = await rendered.render(scope_of(request), frame, get_principal(request), accepted, asked.parameters)
    if isinstance(answer, Drawing):
        return await picture_response(request, answer, asked.warnings)
    return await payload_response(request, answer, {})


_INSTANCE = f"{DICOMWEB}/studies/{{study}}/series/{{series}}/instances/{{instance}}"

routes = [
    ResourceRoute(f"{_INSTANCE}/rendered", retrieve_rendered_instance, name="retrieve_rendered_instance"),
    ResourceRoute(f"{_INSTANCE}/frames/{{frame}}/rendered", retrieve_rendered_frame, name="retrieve_rendered_frame"),
]
