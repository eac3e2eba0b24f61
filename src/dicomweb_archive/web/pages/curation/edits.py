"""Edits of a submission on pages: which there were, each value before and after, and taken back."""

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.dicom.held_attributes import held_attribute
from dicomweb_archive.errors import ConflictError, InvalidRequestError, NotFoundError, PreconditionFailedError
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import number_of, require_known
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, render_submission, visit
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.routing import PageRoute

PAGE: Final = 50
CHANGES: Final = 200
_MOST_ID: Final = 2**63 - 1
_LONGEST_REASON: Final = 4000
_LARGEST_FORM: Final = 40_000
_NOTHING: Final = Form({})


async def show_edits(request: Request) -> Response:
    """List the edits of a submission, the newest first."""
    seen = await visit(request)
    require_known(request, ("before",))
    before = number_of(request, "before", at_most=_MOST_ID)
    edits = await get_services(request).edits.list(seen.principal, seen.submission, before=before or None, limit=PAGE)
    older = edits[-1].id if len(edits) == PAGE else None
    return await render_submission(request, seen, "edits.html", edits=edits, before=before, older=older)


async def show_edit(request: Request) -> Response:
    """Show what an edit has made of each value."""
    require_known(request, ("offset",))
    return await _render(request, await visit(request))


async def undo_edit(request: Request) -> Response:
    """Take an edit back, and lead to the edit that does it."""
    seen = await visit(request)
    number = _number(request)
    path = f"{request.scope.get('root_path', '')}/submissions/{seen.submission.name}/edits"
    if request.method != "POST":
        return RedirectResponse(f"{path}/{number}", 303, {"cache-control": "no-store"})
    require_own_page(request)
    form = await read_form(request, at_most=_LARGEST_FORM)
    try:
        reason = form.text("reason", at_most=_LONGEST_REASON)
        revision = form.numbers("revision")
        if not reason or not revision:
            raise InvalidRequestError("say why it is taken back")
        begun = await get_services(request).edits.undo(seen.principal, seen.submission, revision[0], number, reason)
    except (ConflictError, InvalidRequestError, PreconditionFailedError) as error:
        return await _render(request, await visit(request), problem_of(error).status, typed=form, problem=str(error))
    return RedirectResponse(f"{path}/{begun.edit.id}", 303, {"cache-control": "no-store"})


async def _render(
    request: Request, seen: Visit, status: int = 200, *, typed: Form = _NOTHING, problem: str = ""
) -> Response:
    services = get_services(request)
    offset = number_of(request, "offset")
    edit = await services.edits.find(seen.principal, seen.submission, _number(request))
    changes, total = await services.edits.changes(
        seen.principal, seen.submission, edit.id, limit=CHANGES, offset=offset
    )
    return await render_submission(
        request,
        seen,
        "edit.html",
        status,
        edit=edit,
        changes=[(change, change.instances) for change in changes],
        total=total,
        offset=offset,
        page_size=CHANGES,
        held=held_attribute,
        typed=typed,
        problem=problem,
    )


def _number(request: Request) -> int:
    text: str = request.path_params["edit"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFoundError("There is no such edit of the submission")
    return int(text)


routes = [
    BrowserRoute(f"{SUBMISSION}/edits", as_page(show_edits), name="edits_page"),
    BrowserRoute(f"{SUBMISSION}/edits/{{edit}}", as_page(show_edit), name="edit_page"),
    PageRoute(f"{SUBMISSION}/edits/{{edit}}/take-back", as_page(undo_edit), methods=["GET", "POST"], name="undo_form"),
]
