"""The inventory of a submission on pages: attributes with their values, and all values of one."""

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.curation.approvals import SETTLED_STATES
from dicomweb_archive.index.curation.edits.records import EDITABLE_STATES
from dicomweb_archive.index.curation.element_values import is_path
from dicomweb_archive.index.curation.findings import FindingFilter
from dicomweb_archive.services.inventory.lines import AttributeFilter
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.disconnects import WhileClientWaits
from dicomweb_archive.web.forms import Form
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import choice_of, number_of, require_known, text_of
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, render_submission, visit
from dicomweb_archive.web.pages.problems import as_page

PAGE: Final = 100
VALUES: Final = 6
VALUES_PAGE: Final = 200
ATTRIBUTE_NAMES: Final = "the name of an attribute, as the inventory gives it"
_FINDINGS: Final = 1000
_DONE: Final = {"approved": "newly approved", "revoked": "not approved any more"}
_NOTHING: Final = Form({})


async def show_inventory(request: Request) -> Response:
    """Show the attributes of what a submission holds, each with its most frequent values."""
    return await render_inventory(request, await visit(request))


async def show_values(request: Request) -> Response:
    """Show all values of one attribute, the most frequent first."""
    return await render_values(request, await visit(request))


async def render_inventory(
    request: Request, seen: Visit, status: int = 200, typed: Form = _NOTHING, problem: str = ""
) -> Response:
    """Answer with attributes, with what was chosen before when that could not be approved."""
    require_known(request, ("q", "undecided", "offset", *_DONE))
    text, offset = text_of(request, "q", at_most=200), number_of(request, "offset")
    undecided = choice_of(request, "undecided", ("yes",))
    asked = {"q": text, "undecided": undecided}
    services = get_services(request)
    async with WhileClientWaits(request.receive):
        page = await services.inventory.list_attributes(
            seen.submission,
            AttributeFilter(text=text, undecided=bool(undecided)),
            values=VALUES,
            limit=PAGE,
            offset=offset,
        )
        found, _, _ = await services.checks.list(
            seen.submission, FindingFilter(waived=False), limit=_FINDINGS, offset=0
        )
    return await render_submission(
        request,
        seen,
        "inventory.html",
        status,
        page=page,
        asked=asked,
        may_approve=_may_approve(seen),
        told_done=_told_done(request),
        typed=typed,
        problem=problem,
        offset=offset,
        page_size=PAGE,
        shown_values=VALUES,
        # Findings name paths as the index does.
        told_of={each.finding.path for each in found if each.finding.path},
        query=lambda **changed: urlencode({name: value for name, value in (asked | changed).items() if value}),
    )


async def render_values(
    request: Request, seen: Visit, status: int = 200, typed: Form = _NOTHING, problem: str = ""
) -> Response:
    """Answer with the values of one attribute, with what was chosen before when that could not be approved."""
    require_known(request, ("attribute", "offset", *_DONE))
    name, offset = text_of(request, "attribute"), number_of(request, "offset")
    if not is_path(name):
        raise InvalidParameterError("attribute", accepted=ATTRIBUTE_NAMES)
    async with WhileClientWaits(request.receive):
        page = await get_services(request).inventory.list_values(
            seen.submission, name, limit=VALUES_PAGE, offset=offset
        )
    return await render_submission(
        request,
        seen,
        "values.html",
        status,
        page=page,
        line=page.lines[0],
        is_editable=seen.is_curator and seen.submission.state in EDITABLE_STATES and page.lines[0].vr != "UI",
        may_approve=_may_approve(seen),
        told_done=_told_done(request),
        typed=typed,
        problem=problem,
        offset=offset,
        page_size=VALUES_PAGE,
        query=lambda **changed: urlencode({"attribute": name} | changed),
    )


def _may_approve(seen: Visit) -> bool:
    return seen.is_curator and seen.submission.state not in SETTLED_STATES


def _told_done(request: Request) -> str:
    """Say what a form has just done, as the address of the page has it."""
    for name, said in _DONE.items():
        if name in request.query_params:
            number = number_of(request, name)
            return f"{number} {'value is' if number == 1 else 'values are'} {said}"
    return ""


routes = [
    BrowserRoute(f"{SUBMISSION}/inventory", as_page(show_inventory), name="inventory_page"),
    BrowserRoute(f"{SUBMISSION}/inventory/values", as_page(show_values), name="values_page"),
]
