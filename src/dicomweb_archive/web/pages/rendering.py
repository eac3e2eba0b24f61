"""Rendering of pages: a template and what it shows -> an HTML answer that no browser keeps."""

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dicomweb_archive import __version__
from dicomweb_archive.errors import DatabaseUnavailableError, ForbiddenError, UnauthenticatedError
from dicomweb_archive.services.access import Principal, PrincipalKind, Role
from dicomweb_archive.web.authentication import principal_of
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.pages import formats
from dicomweb_archive.web.pages.assets import asset_path
from dicomweb_archive.web.representations import accept_header
from dicomweb_archive.wire.media_types import JSON, Offer, parse_accept

HTML = "text/html"

# Whoever signs out on a shared machine must not be able to go back to a patient.
_HEADERS = {"cache-control": "no-store", "vary": "Accept"}
# A client that has no preference is a program.
_OFFERS = (Offer(JSON), Offer(HTML))


def prefers_html(request: Request) -> bool:
    """Tell whether a browser asks: HTML is named with more weight than JSON (RFC 9110 12.5.1)."""
    ranked = parse_accept(accept_header(request)).rank(_OFFERS)
    return bool(ranked) and ranked[0].type == HTML


async def render(request: Request, template: str, status: int = 200, **context: object) -> HTMLResponse:
    """Answer with a page.

    Besides `context` a template has `url(path)` and `asset(name)`, which know the prefix of a proxy, the
    `version`, the path of this page as `here`, whether a `viewer` is installed, whether the archive asks for keys
    (`has_keys`), whether the caller has shown one (`signed_in`), and whether they may have `submissions`.
    """
    root_path: str = request.scope.get("root_path", "")
    services = get_services(request)
    page = _environment().get_template(template)
    visitor = await _visitor(request)
    text = page.render(
        url=lambda path: root_path + path,
        asset=lambda name: root_path + asset_path(name),
        version=__version__,
        here=request.scope["path"].removeprefix(root_path),
        viewer=has_viewer(request),
        has_keys=not services.access.is_open,
        signed_in=visitor is not None and visitor.kind is PrincipalKind.KEY_HOLDER,
        submissions=visitor is not None and Role.SUBMITTER in visitor.roles,
        **context,
    )
    return HTMLResponse(text, status_code=status, headers=dict(_HEADERS))


def has_viewer(request: Request) -> bool:
    """Tell whether pages may link to the viewer."""
    return get_services(request).viewer is not None


async def _visitor(request: Request) -> Principal | None:
    services = get_services(request)
    try:
        # Whatever root was asked for: the page may say that it is not there for this principal.
        return await principal_of(request, services.keys, services.sessions, services.addresses)
    except (UnauthenticatedError, ForbiddenError, DatabaseUnavailableError):
        return None


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dicomweb_archive.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(formats.FILTERS)
    return environment
