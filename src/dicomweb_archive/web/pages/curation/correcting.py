"""Corrections by value: values of an attribute become another wherever they occur, tried before it is applied."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.dicom.held_attributes import held_attribute
from dicomweb_archive.errors import (
    ConflictError,
    InvalidRequestError,
    PreconditionFailedError,
)
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.disconnects import WhileClientWaits
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages.curation.chosen_values import LARGEST_FORM, chosen_texts
from dicomweb_archive.web.pages.curation.inventory import VALUES_PAGE
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, render_submission, visit
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.routing import PageRoute
from dicomweb_archive.wire.edit_rules import read_rules

BECOMES: Final = "becomes"
REMOVED: Final = "removed"
_CHOSEN: Final = "chosen"
_EVERY: Final = "every"
_LONGEST_VALUE: Final = 4000
_LONGEST_REASON: Final = 4000
_SHOWN: Final = 200


async def correct(request: Request) -> Response:
    """Show what a correction would do, and apply it when that was seen and a reason is given."""
    seen = await visit(request)
    path = f"{request.scope.get('root_path', '')}/submissions/{seen.submission.name}"
    if request.method != "POST":
        return RedirectResponse(f"{path}/inventory", 303, {"cache-control": "no-store"})
    require_own_page(request)
    get_services(request).checks.require_curator(seen.principal, seen.submission)
    form = await read_form(request, at_most=LARGEST_FORM, fields=VALUES_PAGE + 12)
    rule = _rule(form)
    if form.get("step") != "apply":
        return await _try(request, seen, form, rule)
    try:
        reason = form.text("reason", at_most=_LONGEST_REASON)
        revision = form.numbers("revision")
        if not reason or not revision:
            raise InvalidRequestError("say why it is corrected")
        begun = await get_services(request).edits.begin(
            seen.principal, seen.submission, revision[0], read_rules([rule]), reason
        )
    except (ConflictError, InvalidRequestError, PreconditionFailedError) as error:
        return await _try(request, await visit(request), form, rule, problem_of(error).status, str(error))
    return RedirectResponse(f"{path}/edits/{begun.edit.id}", 303, {"cache-control": "no-store"})


async def _try(
    request: Request, seen: Visit, form: Form, rule: Mapping[str, Any], status: int = 200, problem: str = ""
) -> Response:
    async with WhileClientWaits(request.receive):
        preview = await get_services(request).edits.preview(seen.principal, seen.submission, read_rules([rule]))
    return await render_submission(
        request,
        seen,
        "correction.html",
        status,
        preview=preview,
        changes=preview.changes.most_common(_SHOWN),
        attribute=held_attribute(form.get("attribute")),
        back=f"/inventory/values?attribute={quote(form.get('attribute'))}",
        held=held_attribute,
        typed=form,
        problem=problem,
    )


def _rule(form: Form) -> Mapping[str, Any]:
    """Return the rule that a form means, as a request would write it."""
    attribute = form.text("attribute", at_most=1024)
    old = chosen_texts(form)
    new = form.text("new", at_most=_LONGEST_VALUE, trimmed=False)
    is_chosen = form.get("scope") == _EVERY or (form.get("scope") == _CHOSEN and old)
    if form.get("deed") not in (BECOMES, REMOVED) or not is_chosen or not attribute:
        raise InvalidRequestError("nothing was chosen: say which value, and what becomes of it")
    is_removed = form.get("deed") == REMOVED
    if is_removed and new:
        raise InvalidRequestError("what is removed has no new value: leave that blank")
    if form.get("scope") == _CHOSEN and "binary" in form.fields:
        raise InvalidRequestError("binary values are not corrected one by one: choose others, or every value")
    if form.get("scope") == _EVERY:
        return (
            {"attribute": attribute, "action": "remove"}
            if is_removed
            else {
                "attribute": attribute,
                "action": "set",
                "value": new,
                "when": [{"attribute": attribute, "present": True}],
            }
        )
    return {"attribute": attribute, "action": "map", "map": dict.fromkeys(old, None if is_removed else new)}


routes = [PageRoute(f"{SUBMISSION}/correct", as_page(correct), methods=["GET", "POST"], name="correct_form")]
