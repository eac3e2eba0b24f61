"""Decisions on many submissions of the queue at once: begun with a form, watched on a page of their own."""

import re
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.errors import InvalidParameterError, InvalidRequestError, NotFoundError
from dicomweb_archive.index.curation.submissions import SubmissionScope
from dicomweb_archive.services.access import Role, require
from dicomweb_archive.services.submissions.decisions import BulkAction, Decision, outcomes_of
from dicomweb_archive.web.dependencies import get_principal, get_services
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import require_known
from dicomweb_archive.web.pages.curation.queue import PAGE, STAGES, render_queue
from dicomweb_archive.web.pages.curation.wording import CHOICES
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.pages.rendering import render
from dicomweb_archive.web.routing import PageRoute

_LONGEST_TEXT: Final = 4000
_LARGEST_FORM: Final = 48_000
_CHOSEN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}) ([0-9]{1,18})")
_JOB = re.compile(r"[0-9]{1,18}")


async def decide_on_chosen(request: Request) -> Response:
    """Put decisions on what was chosen into the queue of jobs, each meant for the revision that was looked at."""
    principal = await get_principal(request)
    require(principal, Role.CURATOR)
    if request.method != "POST":
        return _to(request, "/submissions")
    require_own_page(request)
    form = await read_form(request, at_most=_LARGEST_FORM, fields=PAGE + 8)
    try:
        planned = await get_services(request).decisions.decide_named(principal, _decision(form), _chosen(form))
    except InvalidRequestError as error:
        return await render_queue(request, problem_of(error).status, typed=form, problem=str(error))
    jobs = [str(each.job.id) for each in planned]
    if len(jobs) == 1:
        return _to(request, f"/submissions/decisions/{jobs[0]}")
    stage = request.query_params.get("stage")
    return _to(
        request, f"/submissions?{urlencode({'stage': stage if stage in STAGES else '', 'planned': ','.join(jobs)})}"
    )


async def show_decisions(request: Request) -> Response:
    """Show what has become of each submission that was decided on together."""
    principal = await get_principal(request)
    require(principal, Role.CURATOR)
    require_known(request, ())
    text = request.path_params["job"]
    if _JOB.fullmatch(text) is None:
        raise NotFoundError("There are no such decisions")
    services = get_services(request)
    job = await services.jobs.get(int(text), principal)
    decided = outcomes_of(job)
    found = await services.submissions.submissions.find_many(
        [each.submission for each in decided], SubmissionScope(principal.collections)
    )
    return await render(
        request,
        "curation/decisions.html",
        job=job,
        action=CHOICES[str(job.arguments["action"])].label,
        decided=decided,
        titles={each.name: each.title for each in found},
    )


def _decision(form: Form) -> Decision:
    action = form.get("action")
    if action not in set(BulkAction):
        raise InvalidRequestError("nothing was chosen: say what is to be done with them")
    reason = CHOICES[action].read_reason(form.get("reason"))
    return Decision(BulkAction(action), reason, form.text("comment", at_most=_LONGEST_TEXT))


def _chosen(form: Form) -> dict[str, int | None]:
    found = [_CHOSEN.fullmatch(text) for text in form.fields.get("submission", ())]
    if not found:
        raise InvalidRequestError("no submission is chosen")
    if None in found:
        raise InvalidParameterError("submission", accepted="names with revisions, as the page has them")
    return {match[1]: int(match[2]) for match in found if match}


def _to(request: Request, path: str) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", 303, {"cache-control": "no-store"})


routes = [
    PageRoute("/submissions/decide", as_page(decide_on_chosen), methods=["GET", "POST"], name="decide_on_chosen"),
    BrowserRoute("/submissions/decisions/{job}", as_page(show_decisions), name="decisions_page"),
]
