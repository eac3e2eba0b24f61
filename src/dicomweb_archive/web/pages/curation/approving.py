"""Approving values on the pages of the inventory: all values of attributes, or some of one, and taking that back."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.errors import (
    ConflictError,
    InvalidParameterError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from dicomweb_archive.index.curation.element_values import is_path
from dicomweb_archive.services.inventory.service import Wanted
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.disconnects import WhileClientWaits
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages.curation.chosen_values import LARGEST_FORM, chosen_values
from dicomweb_archive.web.pages.curation.inventory import (
    ATTRIBUTE_NAMES,
    PAGE,
    VALUES_PAGE,
    render_inventory,
    render_values,
)
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, visit
from dicomweb_archive.web.pages.problems import Endpoint, as_page
from dicomweb_archive.web.routing import PageRoute

_LONGEST_TEXT: Final = 4000
_LONGEST_CONTENT: Final = 128
_APPROVE, _APPROVE_ALL, _REVOKE = "approve", "approve-all", "revoke"
_REFUSALS: Final = (ConflictError, InvalidRequestError, NotFoundError, PreconditionFailedError)

Read = Callable[[Request, Form], Wanted]
Render = Callable[[Request, Visit, int, Form, str], Awaitable[Response]]


def _deciding(below: str, read: Read, render: Render) -> Endpoint:
    async def answer(request: Request) -> Response:
        seen = await visit(request)
        path = f"{request.scope.get('root_path', '')}/submissions/{seen.submission.name}/{below}"
        if request.method != "POST":
            return _to(path, request.query_params)
        require_own_page(request)
        get_services(request).checks.require_curator(seen.principal, seen.submission)
        form = await read_form(request, at_most=LARGEST_FORM, fields=max(PAGE, VALUES_PAGE) + 12)
        try:
            done = await _decide(request, seen, form, read(request, form))
        except _REFUSALS as error:
            return await render(request, await visit(request), problem_of(error).status, form, str(error))
        return _to(path, {**request.query_params, **done})

    return as_page(answer)


async def _decide(request: Request, seen: Visit, form: Form, wanted: Wanted) -> dict[str, str]:
    inventory = get_services(request).inventory
    comment = form.text("comment", at_most=_LONGEST_TEXT)
    async with WhileClientWaits(request.receive):
        if form.get("say") == _REVOKE:
            outcome = await inventory.revoke_approval(seen.principal, seen.submission, wanted, comment=comment)
            return {"revoked": str(outcome.values)}
        content = form.text("content", at_most=_LONGEST_CONTENT)
        outcome = await inventory.approve(seen.principal, seen.submission, wanted, content=content, comment=comment)
        return {"approved": str(outcome.values)}


def _attributes(request: Request, form: Form) -> Wanted:
    """Return the attributes that are ticked, with all their values."""
    chosen = form.fields.get("attribute", ())
    if form.get("say") not in (_APPROVE, _REVOKE) or not chosen:
        raise InvalidRequestError("no attribute is chosen")
    if not all(map(is_path, chosen)):
        raise InvalidParameterError("attribute", accepted=ATTRIBUTE_NAMES)
    return dict.fromkeys(chosen)


def _values(request: Request, form: Form) -> Wanted:
    """Return the values that are ticked of the attribute in the address, or all that it has."""
    attribute = request.query_params.get("attribute", "")
    if not is_path(attribute):
        raise InvalidParameterError("attribute", accepted=ATTRIBUTE_NAMES)
    if form.get("say") == _APPROVE_ALL:
        return {attribute: None}
    chosen = chosen_values(form)
    if form.get("say") not in (_APPROVE, _REVOKE) or not chosen:
        raise InvalidRequestError("no value is chosen")
    return {attribute: chosen}


def _to(path: str, query: Mapping[str, str]) -> Response:
    asked = urlencode(query)
    return RedirectResponse(f"{path}?{asked}" if asked else path, 303, {"cache-control": "no-store"})


routes = [
    PageRoute(f"{SUBMISSION}/{name}", endpoint, methods=["GET", "POST"], name=f"{name}_form")
    for name, endpoint in (
        ("approve-attributes", _deciding("inventory", _attributes, render_inventory)),
        ("approve-values", _deciding("inventory/values", _values, render_values)),
    )
]
