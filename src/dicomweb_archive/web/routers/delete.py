"""Delete studies, series and instances (an extension of ours, see docs/conformance.md)."""

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.web.dependencies import DICOMWEB, get_principal, get_services, scope_of
from dicomweb_archive.web.routing import ResourceRoute


async def delete(request: Request) -> Response:
    """Delete the study, series or instance that the path names; 410 when it was deleted before."""
    await get_services(request).delete.delete(scope_of(request), await get_principal(request))
    return Response(status_code=204)


_STUDY = f"{DICOMWEB}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"

routes = [
    ResourceRoute(_STUDY, delete, methods=["DELETE"], name="delete_study"),
    ResourceRoute(_SERIES, delete, methods=["DELETE"], name="delete_series"),
    ResourceRoute(f"{_SERIES}/instances/{{instance}}", delete, methods=["DELETE"], name="delete_instance"),
]
