"""The inventory of a submission on pages: attributes with their values, and all values of one."""

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.curation.edits.records import EDITABLE_STATES
from dicomweb_archive.index.curation.element_values import is_path
from dicomweb_archive.index.curation.findings import FindingFilter
from dicomweb_archive.services.inventory.lines import AttributeFilter
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.disconnects import WhileClientWaits
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import number_of, require_known, text_of
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, render_submission, visit
from dicomweb_archive.web.pages.problems import as_page

PAGE: Final = 100
VALUES: Final = 6
VALUES_PAGE: Final = 200
_FINDINGS: Final = 1000


async def show_inventory(request: Request) -> Response:
    """Show the attributes of what a submission holds, each with its most frequent values."""
    seen = await visit(request)
    require_known(request, ("q", "offset"))
    text, offset = text_of(request, "q", at_most=200), number_of(request, "offset")
    services = get_services(request)
    async with WhileClientWaits(request.receive):
        page = await services.inventory.list_attributes(
            seen.submission, AttributeFilter(text=text), values=VALUES, limit=PAGE, offset=offset
        )
        found, _, _ = await services.checks.list(
            seen.submission, FindingFilter(waived=False), limit=_FINDINGS, offset=0
        )
    return await render_submission(
        request,
        seen,
        "inventory.html",
        page=page,
        q=text,
        offset=offset,
        page_size=PAGE,
        shown_values=VALUES,
        # Findings name paths as the index does.
        told_of={each.finding.path for each in found if each.finding.path},
        query=lambda **changed: urlencode({name: value for name, value in ({"q": text} | changed).items() if value}),
    )


async def show_values(request: Request) -> Response:
    """Show all values of one attribute, the most frequent first."""
    seen = await visit(request)
    require_known(request, ("attribute", "offset"))
    name, offset = text_of(request, "attribute"), number_of(request, "offset")
    if not is_path(name):
        raise InvalidParameterError("attribute", accepted="the name of an attribute, as the inventory gives it")
    async with WhileClientWaits(request.receive):
        page = await get_services(request).inventory.list_values(
            seen.submission, name, limit=VALUES_PAGE, offset=offset
        )
    return await render_submission(
        request,
        seen,
        "values.html",
        page=page,
        line=page.lines[0],
        is_editable=seen.is_curator and seen.submission.state in EDITABLE_STATES and page.lines[0].vr != "UI",
        offset=offset,
        page_size=VALUES_PAGE,
        query=lambda **changed: urlencode({"attribute": name} | changed),
    )


routes = [
    BrowserRoute(f"{SUBMISSION}/inventory", as_page(show_inventory), name="inventory_page"),
    BrowserRoute(f"{SUBMISSION}/inventory/values", as_page(show_values), name="values_page"),
]
