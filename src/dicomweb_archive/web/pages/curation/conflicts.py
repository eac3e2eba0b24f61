"""Conflicts of a submission on pages: what came under a taken UID, and how it differs."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.dicom.differences import Difference
from dicomweb_archive.dicom.instance import BULK_MARKER, Element
from dicomweb_archive.dicom.tags import format_tag, keyword_of
from dicomweb_archive.errors import (
    ConflictError,
    InvalidParameterError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from dicomweb_archive.index.curation.conflict_decisions.rulings import Ruling, Selection
from dicomweb_archive.index.curation.conflicts import ConflictDecision
from dicomweb_archive.services.submissions.transitions import Reason
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import choice_of, number_of, require_known
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, render_submission, visit
from dicomweb_archive.web.pages.curation.wording import REASONS
from dicomweb_archive.web.pages.datasets import value_texts
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.routing import PageRoute

PAGE: Final = 100
SHOWN: Final = {"undecided": "not decided", "decided": "decided", "all": "all"}
DECISIONS: Final[Mapping[ConflictDecision, str]] = MappingProxyType(
    {
        ConflictDecision.KEEP: "what stands stays",
        ConflictDecision.REPLACE: "what came takes its place",
        ConflictDecision.REJECT: "what stands stays, and what came should not have come",
    }
)
_DONE: Final = {"1": "It is decided.", "many": "They are being decided on; the overview shows how far that has come."}
_NOTHING: Final = Form({})
_LONGEST_TEXT: Final = 4000
_LARGEST_FORM: Final = 40_000
_MOST_ID: Final = 2**63 - 1
_LONGEST: Final = 4096
_SHOWN: Final = 240


@dataclass(frozen=True, slots=True)
class DifferenceLine:
    """An attribute that two instances do not have alike; `None`: it is missing."""

    tag: str
    name: str
    standing: str | None
    conflict: str | None


async def show_conflicts(request: Request) -> Response:
    """List the conflicts of a submission, those that nobody has decided on unless others are asked for."""
    require_known(request, ("since", "show", "done"))
    return await _render(request, await visit(request))


async def show_conflict(request: Request) -> Response:
    """Show a conflict beside the instance that has its UID."""
    seen = await visit(request)
    require_known(request, ())
    text = request.path_params["conflict"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFoundError("There is no such conflict")
    compared = await get_services(request).conflicts.compare(seen.principal, seen.submission.name, int(text))
    return await render_submission(
        request,
        seen,
        "conflict.html",
        conflict=compared.conflict,
        differences=[_line(each) for each in compared.attributes],
        bulk=[keyword_of(tag) or format_tag(tag) for tag in compared.bulk],
        decisions=DECISIONS,
        reasons=REASONS,
        typed=_NOTHING,
    )


async def decide_conflicts(request: Request) -> Response:
    """Decide on the conflicts that are chosen: on one at once, on many by a job."""
    seen = await visit(request)
    require_known(request, ("since", "show"))
    asked = {name: text for name in ("since", "show") if (text := request.query_params.get(name))}
    if request.method != "POST":
        return _back(request, seen, asked)
    require_own_page(request)
    form = await read_form(request, at_most=_LARGEST_FORM, fields=PAGE + 8)
    try:
        return _back(request, seen, asked | {"done": await _decide(request, seen, form)})
    except (ConflictError, InvalidRequestError, PreconditionFailedError) as error:
        return await _render(request, await visit(request), problem_of(error).status, typed=form, problem=str(error))


async def _decide(request: Request, seen: Visit, form: Form) -> str:
    decision, reason = form.get("decision"), form.get("reason")
    chosen, revision = form.numbers("conflict"), form.numbers("revision")
    if decision not in set(ConflictDecision) or not chosen or not revision:
        raise InvalidRequestError("nothing was chosen: say which conflicts, and what becomes of them")
    if reason not in set(Reason) | {""}:
        raise InvalidParameterError("reason", accepted=", ".join(Reason))
    if decision == ConflictDecision.REJECT and not reason:
        raise InvalidRequestError("a reason is needed to reject")
    comment = form.text("comment", at_most=_LONGEST_TEXT)
    ruling = Ruling(ConflictDecision(decision), seen.principal.name, reason, comment)
    service = get_services(request).conflict_decisions
    name = seen.submission.name
    if len(chosen) == 1:
        await service.decide(seen.principal, name, chosen[0], revision[0], ruling)
        return "1"
    await service.begin(seen.principal, name, revision[0], Selection(tuple(sorted(set(chosen)))), ruling)
    return "many"


async def _render(
    request: Request, seen: Visit, status: int = 200, *, typed: Form = _NOTHING, problem: str = ""
) -> Response:
    since = number_of(request, "since", at_most=_MOST_ID)
    show = choice_of(request, "show", tuple(SHOWN), "undecided")
    done = choice_of(request, "done", tuple(_DONE))
    found, total = await get_services(request).conflicts.list(
        seen.principal,
        seen.submission.name,
        after=since,
        limit=PAGE,
        undecided={"undecided": True, "decided": False}.get(show),
    )
    return await render_submission(
        request,
        seen,
        "conflicts.html",
        status,
        conflicts=found,
        total=total,
        since=since,
        show=show,
        shown=SHOWN,
        following=found[-1].id if len(found) == PAGE else None,
        decisions=DECISIONS,
        reasons=REASONS,
        typed=typed,
        problem=problem,
        decided=_DONE.get(done, ""),
    )


def _back(request: Request, seen: Visit, query: Mapping[str, str]) -> Response:
    path = f"{request.scope.get('root_path', '')}/submissions/{seen.submission.name}/conflicts"
    return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303, {"cache-control": "no-store"})


def _line(found: Difference) -> DifferenceLine:
    tag = format_tag(found.tag)
    return DifferenceLine(tag, keyword_of(found.tag) or "", _shown(found.first), _shown(found.second))


def _shown(element: Element | None) -> str | None:
    if element is None:
        return None
    if len(element.json) > _LONGEST or BULK_MARKER.encode() in element.json:
        return "(too long to be shown)"
    read: Mapping[str, Any] = orjson.loads(element.json)
    text = " \\ ".join(value_texts(read))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


routes = [
    PageRoute(f"{SUBMISSION}/rule", as_page(decide_conflicts), methods=["GET", "POST"], name="rule_form"),
    BrowserRoute(f"{SUBMISSION}/conflicts", as_page(show_conflicts), name="conflicts_page"),
    BrowserRoute(f"{SUBMISSION}/conflicts/{{conflict}}", as_page(show_conflict), name="conflict_page"),
]
