"""The page of webhooks for managers: whom changes are sent to, how it is with each, and what can be done about it."""

import re
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.errors import ConflictError, InvalidParameterError, InvalidRequestError, NotFoundError
from dicomweb_archive.index.events.webhooks import WebhookState
from dicomweb_archive.services.access import Role, require
from dicomweb_archive.services.webhooks.service import NOW
from dicomweb_archive.web.dependencies import get_principal, get_services
from dicomweb_archive.web.disconnects import WhileClientWaits
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.pages.rendering import render
from dicomweb_archive.web.routing import PageRoute
from dicomweb_archive.wire.webhook_messages import format_secret
from dicomweb_archive.wire.webhook_targets import LONGEST_URL

STATES: Final = {WebhookState.ACTIVE: ("active", "good"), WebhookState.DEAD: ("dead", "bad")}
BEGINNINGS: Final = {NOW: "now", "first": "the first change of all"}
_LARGEST_FORM: Final = 32_000
_LONGEST_LIST: Final = 4000
_ID = re.compile(r"[a-z2-7]{1,32}")
_ACCESSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOTHING: Final = Form({})
_REFUSALS: Final = (ConflictError, InvalidRequestError)


async def show_webhooks(request: Request) -> Response:
    """Show the webhooks of the collections that the visitor manages."""
    if request.query_params:
        raise InvalidRequestError("this page takes no parameters")
    return await _render(request)


async def make_webhook(request: Request) -> Response:
    """Make a webhook, and show its secret this once."""
    principal = await get_principal(request)
    require(principal, Role.MANAGER)
    if request.method != "POST":
        return _back(request)
    require_own_page(request)
    form = await read_form(request, at_most=_LARGEST_FORM)
    try:
        url, since = form.text("url", at_most=LONGEST_URL), form.get("since") or NOW
        if since not in BEGINNINGS:
            raise InvalidParameterError("since", accepted=", ".join(BEGINNINGS))
        made = await get_services(request).webhooks.create(
            principal, url, _collections(form), NOW if since == NOW else None
        )
    except _REFUSALS as error:
        return await _render(request, problem_of(error).status, typed=form, problem=str(error))
    return await _render(request, made=made.webhook.public_id, secret=format_secret(made.webhook.secret))


async def change_webhook(request: Request) -> Response:
    """Try a webhook with a message that says nothing, let it go on now, or end it for good."""
    principal = await get_principal(request)
    require(principal, Role.MANAGER)
    name = request.path_params["webhook"]
    if _ID.fullmatch(name) is None:
        raise NotFoundError("There is no such webhook")
    if request.method != "POST":
        return _back(request)
    require_own_page(request)
    form = await read_form(request)
    webhooks = get_services(request).webhooks
    match form.get("say"):
        case "test":
            async with WhileClientWaits(request.receive):
                refusal = await webhooks.test(principal, name)
            return await _render(request, tested="" if refusal is None else refusal, tried=name)
        case "revive":
            await webhooks.revive(principal, name)
        case "end":
            await webhooks.delete(principal, name)
        case _:
            raise InvalidRequestError("nothing was chosen: say what becomes of the webhook")
    return _back(request)


async def _render(
    request: Request,
    status: int = 200,
    *,
    typed: Form = _NOTHING,
    problem: str = "",
    made: str = "",
    secret: str = "",
    tried: str = "",
    tested: str = "",
) -> Response:
    principal = await get_principal(request)
    placed = await get_services(request).webhooks.listed(principal)
    return await render(
        request,
        "webhooks.html",
        status,
        webhooks=[each.webhook for each in placed],
        states=STATES,
        beginnings=BEGINNINGS,
        manages_all=principal.collections is None,
        typed=typed,
        problem=problem,
        made=made,
        secret=secret,
        tried=next((each.webhook.url for each in placed if each.webhook.public_id == tried), ""),
        tested=tested,
    )


def _collections(form: Form) -> Sequence[str] | None:
    """Return the accessions that somebody has written, `None` where they have written none."""
    named = re.split(r"[\s,]+", form.text("collections", at_most=_LONGEST_LIST))
    accessions = [each for each in named if each]
    if not all(map(_ACCESSION.fullmatch, accessions)):
        raise InvalidParameterError("collections", accepted="accessions, with blanks between them")
    return accessions or None


def _back(request: Request) -> Response:
    address = f"{request.scope.get('root_path', '')}/webhooks"
    return RedirectResponse(address, 303, {"cache-control": "no-store"})


routes = [
    BrowserRoute("/webhooks", as_page(show_webhooks), name="webhooks_page"),
    PageRoute("/webhooks/new", as_page(make_webhook), methods=["GET", "POST"], name="webhook_form"),
    PageRoute(
        "/webhooks/{webhook}/change", as_page(change_webhook), methods=["GET", "POST"], name="webhook_change_form"
    ),
]
