"""The queue: which submissions wait for whom, filtered, sorted and counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.index.curation.queue import Content, Objections, QueueFilter, QueueOrder
from dicomweb_archive.index.curation.submissions import Submission
from dicomweb_archive.index.curation.submissions import SubmissionState as S
from dicomweb_archive.services.access import Role, require
from dicomweb_archive.web.dependencies import get_principal, get_services
from dicomweb_archive.web.forms import Form
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import choice_of, number_of, require_known, text_of
from dicomweb_archive.web.pages.curation.wording import CHOICES, REASONS, STATES
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.pages.rendering import render

PAGE: Final = 50
DECIDE: Final = "decide"

STAGES: Final[Mapping[str, tuple[str, Sequence[S]]]] = MappingProxyType(
    {
        DECIDE: ("To decide", (S.IN_REVIEW, S.FAILED_CHECKS, S.APPROVED)),
        "sender": ("With the sender", (S.OPEN, S.CHANGES_REQUESTED)),
        "running": ("Under way", (S.SEALED, S.CHECKING, S.PUBLISHING)),
        "over": ("Over", (S.PUBLISHED, S.REJECTED, S.WITHDRAWN, S.EXPIRED)),
        "all": ("All", tuple(S)),
    }
)
"""States that are shown together: what a stage is called, and which are in it."""

ORDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        QueueOrder.LONGEST_UNCHANGED.value: "longest unchanged first",
        QueueOrder.LAST_CHANGED.value: "last changed first",
        QueueOrder.OLDEST.value: "oldest first",
        QueueOrder.NEWEST.value: "newest first",
        QueueOrder.TITLE.value: "by title",
    }
)
_FIELDS: Final = ("text", "collection", "site", "opened_by", "orderby")
_LONGEST: Final = 300
_NOTHING: Final = Form({})


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One submission in the queue."""

    submission: Submission
    content: Content
    against: Objections
    state: str
    tone: str


async def show_queue(request: Request) -> Response:
    """Show the submissions that the visitor curates or has opened."""
    return await render_queue(request)


async def render_queue(request: Request, status: int = 200, *, typed: Form = _NOTHING, problem: str = "") -> Response:
    """Answer with the queue as the address asks for it, with what was chosen before when that could not be done."""
    services = get_services(request)
    principal = await get_principal(request)
    require(principal, Role.SUBMITTER)
    require_known(request, (*_FIELDS, "stage", "offset", "planned"))
    asked = {name: text_of(request, name, at_most=_LONGEST) for name in _FIELDS}
    asked["orderby"] = choice_of(request, "orderby", tuple(ORDERS), QueueOrder.LONGEST_UNCHANGED.value)
    stage = choice_of(request, "stage", tuple(STAGES), DECIDE if Role.CURATOR in principal.roles else "all")
    offset = number_of(request, "offset")
    wanted = {name: [asked[name]] if asked[name] else [] for name in ("collection", "site", "opened_by")}
    page = await services.submissions.list(
        principal,
        QueueFilter(STAGES[stage][1], wanted["collection"], wanted["site"], wanted["opened_by"], asked["text"]),
        QueueOrder(asked["orderby"]),
        limit=PAGE,
        offset=offset,
    )
    against = await services.submissions.objections([submission for submission, _ in page.submissions])
    counts = {name: sum(page.counts.get(state, 0) for state in states) for name, (_, states) in STAGES.items()}
    return await render(
        request,
        "curation/queue.html",
        status,
        lines=[_line(submission, content, against) for submission, content in page.submissions],
        stages=[(name, label, counts[name]) for name, (label, _) in STAGES.items()],
        stage=stage,
        asked=asked,
        orders=ORDERS,
        is_filtered=any(asked[name] for name in _FIELDS if name != "orderby"),
        planned=[each for each in text_of(request, "planned").split(",") if each.isdecimal()],
        is_curator=Role.CURATOR in principal.roles,
        choices=CHOICES.values(),
        reasons=REASONS,
        offset=offset,
        total=counts[stage],
        page_size=PAGE,
        typed=typed,
        ticked={text.partition(" ")[0] for text in typed.fields.get("submission", ())},
        problem=problem,
        collections=(await services.collections.list_collections(principal, limit=200)).collections,
        query=lambda **changed: urlencode(
            {name: value for name, value in ({**asked, "stage": stage} | changed).items() if value}
        ),
    )


def _line(submission: Submission, content: Content, against: Mapping[str, Objections]) -> QueueLine:
    return QueueLine(submission, content, against[submission.name], *STATES[submission.state])


routes = [BrowserRoute("/submissions", as_page(show_queue), name="queue_page")]
