"""WADO-RS: rendered studies, series, instances and frames (PS3.18 10.4.1.1.3)."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.services.pictures import Drawing
from dicomweb_archive.services.rendered import RenderingOrder
from dicomweb_archive.services.representation import Representation
from dicomweb_archive.web.dependencies import (
    DICOMWEB,
    get_principal,
    get_services,
    location_of,
    root_of,
    scope_of,
)
from dicomweb_archive.web.errors import problem_part
from dicomweb_archive.web.payloads import payload_response
from dicomweb_archive.web.pictures import picture_response, warn, warnings_of_others
from dicomweb_archive.web.representations import accept_header, accept_parameter
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.wire.media_types import parse_accept
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.rendering import RenderingParameters, parse_rendering
from dicomweb_archive.wire.resources import parse_frames


async def retrieve_rendered_set(request: Request) -> Response:
    """Retrieve what can be shown of a study or series, as parts."""
    order, warnings = _order(request)
    scope, principal = scope_of(request), await get_principal(request)
    shown = await get_services(request).rendered.render_all(scope, principal, order)
    if shown.left_out:
        total = shown.shown + shown.left_out
        warnings = (*warnings, f"{shown.left_out} of {total} instances cannot be shown as asked for and are left out.")
    return await _respond(request, shown.answer, warnings)


async def retrieve_rendered_instance(request: Request) -> Response:
    """Retrieve an instance as pictures, or the document or video that it holds."""
    order, warnings = _order(request)
    scope, principal = scope_of(request), await get_principal(request)
    answer = await get_services(request).rendered.render_instance(scope, principal, order)
    ignored = warnings_of_others(answer, asked=order.parameters != RenderingParameters())
    return await _respond(request, answer, (*warnings, *ignored))


async def retrieve_rendered_frames(request: Request) -> Response:
    """Retrieve frames of an instance as pictures."""
    frames = parse_frames(request.path_params["frames"])
    order, warnings = _order(request)
    scope, principal = scope_of(request), await get_principal(request)
    return await _respond(
        request, await get_services(request).rendered.render_frames(scope, frames, principal, order), warnings
    )


def _order(request: Request) -> tuple[RenderingOrder, tuple[str, ...]]:
    asked = parse_rendering(split_query(request.scope["query_string"]))
    accepted = parse_accept(accept_header(request), accept_parameter(request))
    return RenderingOrder(accepted, asked.parameters, root_of(request), problem_part), asked.warnings


async def _respond(request: Request, answer: Drawing | Representation, warnings: Sequence[str]) -> Response:
    described = {"content-location": location_of(request)}
    if isinstance(answer, Drawing):
        return await picture_response(request, answer, warnings, described)
    response = await payload_response(request, answer, described)
    warn(request, response, warnings)
    return response


_STUDY = f"{DICOMWEB}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"

routes = [
    ResourceRoute(f"{_INSTANCE}/rendered", retrieve_rendered_instance, name="retrieve_rendered_instance"),
    ResourceRoute(f"{_INSTANCE}/frames/{{frames}}/rendered", retrieve_rendered_frames, name="retrieve_rendered_frames"),
    ResourceRoute(f"{_SERIES}/rendered", retrieve_rendered_set, name="retrieve_rendered_series"),
    ResourceRoute(f"{_STUDY}/rendered", retrieve_rendered_set, name="retrieve_rendered_study"),
]
