"""Findings of a submission on a page: read, filtered, and waived one or many at once."""

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.checks.catalogue import CHECKS
from dicomweb_archive.checks.findings import Severity
from dicomweb_archive.errors import ConflictError, InvalidRequestError, NotFoundError
from dicomweb_archive.index.curation.findings import FindingFilter
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import choice_of, number_of, require_known, uid_of
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, render_submission, visit
from dicomweb_archive.web.pages.curation.wording import attribute_of
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.routing import PageRoute

PAGE: Final = 100
WAIVED: Final = {"no": "those that count", "yes": "waived ones", "all": "all"}
_FIELDS: Final = ("severity", "check", "waived", "study", "series")
_LONGEST_REASON: Final = 2000
_LARGEST_FORM: Final = 24_000
_NOTHING: Final = Form({})


async def show_findings(request: Request) -> Response:
    """Show a page of findings, what blocks first."""
    require_known(request, (*_FIELDS, "offset", "changed", "left"))
    return await _render(request, await visit(request))


async def waive_findings(request: Request) -> Response:
    """Waive the findings that are ticked, or let them count again."""
    seen = await visit(request)
    require_known(request, (*_FIELDS, "offset"))
    asked = {name: text for name in _FIELDS if (text := request.query_params.get(name))}
    if request.method != "POST":
        return _back(request, seen, urlencode(asked))
    require_own_page(request)
    get_services(request).checks.require_curator(seen.principal, seen.submission)
    form = await read_form(request, at_most=_LARGEST_FORM, fields=PAGE + 4)
    try:
        changed, left = await _change(request, seen, form)
    except InvalidRequestError as error:
        return await _render(request, seen, problem_of(error).status, typed=form, problem=str(error))
    return _back(request, seen, urlencode({**asked, "changed": changed, "left": left}))


async def _change(request: Request, seen: Visit, form: Form) -> tuple[int, int]:
    """Return how many were changed, and how many not, because somebody else was quicker."""
    checks = get_services(request).checks
    ticked = form.numbers("finding")
    if not ticked:
        raise InvalidRequestError("no finding is chosen")
    reason = form.text("reason", at_most=_LONGEST_REASON)
    if not reason and form.get("deed") != "revoke":
        raise InvalidRequestError("say why they do not count")
    changed = 0
    for finding in ticked:
        try:
            if form.get("deed") == "revoke":
                await checks.revoke(seen.principal, seen.submission, finding)
            else:
                await checks.waive(seen.principal, seen.submission, finding, reason)
            changed += 1
        except (ConflictError, NotFoundError):
            continue
    return changed, len(ticked) - changed


async def _render(
    request: Request, seen: Visit, status: int = 200, *, typed: Form = _NOTHING, problem: str = ""
) -> Response:
    severity = choice_of(request, "severity", tuple(Severity))
    check = choice_of(request, "check", tuple(CHECKS))
    waived = choice_of(request, "waived", tuple(WAIVED), "no")
    study, series = uid_of(request, "study"), uid_of(request, "series")
    asked = {"severity": severity, "check": check, "waived": waived, "study": study, "series": series}
    offset = number_of(request, "offset")
    wanted = FindingFilter(
        Severity(severity) if severity else None,
        check or None,
        study or None,
        series or None,
        None if waived == "all" else waived == "yes",
    )
    found, total, _ = await get_services(request).checks.list(seen.submission, wanted, limit=PAGE, offset=offset)
    return await render_submission(
        request,
        seen,
        "findings.html",
        status,
        findings=found,
        attribute=attribute_of,
        total=total,
        offset=offset,
        page_size=PAGE,
        asked=asked,
        checks=CHECKS,
        severities=tuple(Severity),
        waived_choices=WAIVED,
        changed=number_of(request, "changed") if "changed" in request.query_params else None,
        left=number_of(request, "left"),
        typed=typed,
        problem=problem,
        query=lambda **changed: urlencode({name: value for name, value in (asked | changed).items() if value}),
    )


def _back(request: Request, seen: Visit, query: str) -> Response:
    path = f"{request.scope.get('root_path', '')}/submissions/{seen.submission.name}/findings"
    return RedirectResponse(f"{path}?{query}" if query else path, 303, {"cache-control": "no-store"})


routes = [
    BrowserRoute(f"{SUBMISSION}/findings", as_page(show_findings), name="findings_page"),
    PageRoute(f"{SUBMISSION}/waive", as_page(waive_findings), methods=["GET", "POST"], name="waive_form"),
]
