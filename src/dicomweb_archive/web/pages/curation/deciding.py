"""What is done with a submission on its page: decisions, comments, runs of checks; each leads back to the page."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.checks.catalogue import CHECK_SETS
from dicomweb_archive.errors import (
    ConflictError,
    InvalidParameterError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    TransitionError,
)
from dicomweb_archive.services.checks.service import RUN_CHECKS
from dicomweb_archive.services.submissions.publishing_job import begin_publishing
from dicomweb_archive.services.submissions.transitions import Action
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages.curation.overview import render_overview
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, visit
from dicomweb_archive.web.pages.curation.wording import CHOICES, PUBLISH
from dicomweb_archive.web.pages.problems import Endpoint, as_page
from dicomweb_archive.web.routing import PageRoute

# 4000 characters of three bytes, each byte as three.
_LARGEST_FORM: Final = 40_000
_LONGEST_TEXT: Final = 4000
REFUSALS: Final = (ConflictError, InvalidRequestError, NotFoundError, PreconditionFailedError, TransitionError)
"""What a form is shown again for, with what was typed."""

Deed = Callable[[Request, Visit, Form], Awaitable[str]]
"""Does what a form asks for and returns the query of the page that says so."""


def _doing(deed: Deed) -> Endpoint:
    async def answer(request: Request) -> Response:
        seen = await visit(request)
        if request.method != "POST":
            # Whoever had to sign in comes back by the address of the form.
            return _back(request, seen, "")
        require_own_page(request)
        form = await read_form(request, at_most=_LARGEST_FORM)
        try:
            return _back(request, seen, await deed(request, seen, form))
        except REFUSALS as error:
            # As it stands now, which may be the very reason.
            return await render_overview(
                request, await visit(request), problem_of(error).status, typed=form, problem=str(error)
            )

    return as_page(answer)


def _back(request: Request, seen: Visit, query: str) -> Response:
    path = f"{request.scope.get('root_path', '')}/submissions/{seen.submission.name}"
    return RedirectResponse(f"{path}?{query}" if query else path, 303, {"cache-control": "no-store"})


async def _decide(request: Request, seen: Visit, form: Form) -> str:
    choice = CHOICES.get(form.get("action"))
    revision = form.numbers("revision")
    comment = form.text("comment", at_most=_LONGEST_TEXT)
    if choice is None or not revision:
        raise InvalidRequestError("nothing was chosen: say what is to be done with it")
    reason = choice.read_reason(form.get("reason"))
    if choice.value == PUBLISH:
        await publish(request, seen, revision[0], comment)
    else:
        await get_services(request).submissions.act(
            seen.principal,
            seen.submission.name,
            Action(choice.value),
            revision[0],
            reason=reason,
            comment=comment,
        )
    return f"done={choice.value}"


async def publish(
    request: Request, seen: Visit, revision: int, comment: str, studies: Sequence[str] | None = None
) -> None:
    """Begin to publish a submission, or these studies of it.

    Raises:
        NotFoundError, ForbiddenError, PreconditionFailedError, TransitionError: see `PublishingService.begin`.
        ConflictError: other studies of it are being published.
    """
    services = get_services(request)
    asked = (seen.principal, seen.submission.name, revision)
    await begin_publishing(services.publishing, services.jobs.put, *asked, studies=studies, comment=comment)


async def _comment(request: Request, seen: Visit, form: Form) -> str:
    text = form.text("comment", at_most=_LONGEST_TEXT)
    if not text:
        raise InvalidRequestError("nothing was written")
    await get_services(request).submissions.comment(seen.principal, seen.submission.name, text)
    return ""


async def _run_checks(request: Request, seen: Visit, form: Form) -> str:
    services = get_services(request)
    services.checks.require_curator(seen.principal, seen.submission)
    asked = form.get("check_set")
    if asked and asked not in CHECK_SETS:
        raise InvalidParameterError("check_set", accepted=", ".join(CHECK_SETS))
    check_set = await services.checks.check_set(seen.submission, asked or None)
    await services.jobs.enqueue(
        RUN_CHECKS,
        {"submission": seen.submission.name, "check_set": check_set.name, "read_files": None},
        seen.principal,
        collection_id=seen.submission.collection_id,
        subject=f"/submissions/{seen.submission.name}",
        key=f"{seen.submission.name} {check_set.name} None",
    )
    return ""


_DEEDS: Final = {"decide": _decide, "comment": _comment, "check": _run_checks}

routes = [
    PageRoute(f"{SUBMISSION}/{name}", _doing(deed), methods=["GET", "POST"], name=f"{name}_form")
    for name, deed in _DEEDS.items()
]
