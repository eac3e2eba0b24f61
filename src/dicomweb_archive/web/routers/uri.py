"""WADO-URI: one instance, by the parameters of one address (PS3.18 9)."""

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Role, require
from dicomweb_archive.services.pictures import Drawing
from dicomweb_archive.services.rendered import RenderingOrder
from dicomweb_archive.services.uri import Rendering
from dicomweb_archive.web.dependencies import WADO_URI, get_principal, get_services, root_of
from dicomweb_archive.web.errors import problem_part
from dicomweb_archive.web.payloads import payload_response
from dicomweb_archive.web.pictures import picture_response, warn, warnings_of_others
from dicomweb_archive.web.representations import accept_header
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.uri_parameters import UriRequest, parse_uri_request


async def retrieve_by_uri(request: Request) -> Response:
    """Retrieve an instance as its file, as a picture, or as the document or video that it holds."""
    principal = await get_principal(request)
    # Before the parameters are read: who may not retrieve is told nothing else.
    require(principal, Role.READER)
    asked = parse_uri_request(split_query(request.scope["query_string"]), accept_header(request))
    scope = Scope(asked.study_instance_uid, asked.series_instance_uid, asked.sop_instance_uid)
    plan = await get_services(request).uri.plan(scope, principal, asked)
    return await (_file(request, scope, asked) if plan is None else _rendered(request, scope, asked, plan))


async def _file(request: Request, scope: Scope, asked: UriRequest) -> Response:
    services, root = get_services(request), root_of(request)
    answer = await services.retrieve.retrieve_instances(scope, await get_principal(request), asked.accepted_dicom, root)
    uids = asked.study_instance_uid, asked.series_instance_uid, asked.sop_instance_uid
    response = await payload_response(request, answer, {"content-location": root.instance(*uids)})
    warn(request, response, asked.warnings)
    return response


async def _rendered(request: Request, scope: Scope, asked: UriRequest, plan: Rendering) -> Response:
    service, principal = get_services(request).rendered, await get_principal(request)
    order = RenderingOrder(asked.accepted, plan.parameters, root_of(request), problem_part)
    answer = (
        await service.render_instance(scope, principal, order)
        if plan.frame is None
        else await service.render_frames(scope, [plan.frame], principal, order)
    )
    warnings = (*asked.warnings, *warnings_of_others(answer, asked=bool(asked.of_pictures)))
    if isinstance(answer, Drawing):
        return await picture_response(request, answer, warnings)
    response = await payload_response(request, answer, {})
    warn(request, response, warnings)
    return response


routes = [ResourceRoute(WADO_URI, retrieve_by_uri, name="retrieve_by_uri")]
