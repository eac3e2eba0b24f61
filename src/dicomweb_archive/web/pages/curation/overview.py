"""The page of one submission: how it stands, what it holds, and what may be decided."""

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.index.curation.findings import FindingFilter
from dicomweb_archive.index.curation.queue import QueueFilter, QueueOrder
from dicomweb_archive.index.curation.submissions import SubmissionState
from dicomweb_archive.index.jobs.rows import Job
from dicomweb_archive.services.submissions.publishing import Foreseen
from dicomweb_archive.services.submissions.transitions import Action
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.forms import Form
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import number_of, require_known
from dicomweb_archive.web.pages.curation.queue import DECIDE, STAGES
from dicomweb_archive.web.pages.curation.series_cards import SERIES_PAGE, list_series
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, choices_of, render_submission, visit
from dicomweb_archive.web.pages.curation.wording import JOBS, REASONS, attribute_of, tell
from dicomweb_archive.web.pages.problems import as_page

_FINDINGS: Final = 5
_EVENTS: Final = 8
_JOBS: Final = 3
_STUDIES: Final = 20
_NOTHING: Final = Form({})
_UNDER_WAY: Final = frozenset(STAGES["running"][1])


async def show_submission(request: Request) -> Response:
    """Show a submission."""
    require_known(request, ("offset", "done"))
    return await render_overview(request, await visit(request))


async def render_overview(
    request: Request, seen: Visit, status: int = 200, *, typed: Form = _NOTHING, problem: str = ""
) -> Response:
    """Answer with the page of a submission, with what was typed before when that could not be done."""
    services = get_services(request)
    submission = seen.submission
    offset = number_of(request, "offset")
    content, series, (findings, _, _), events = await asyncio.gather(
        services.submissions.content(submission),
        list_series(request, seen, offset=offset),
        services.checks.list(submission, FindingFilter(waived=False), limit=_FINDINGS, offset=0),
        services.submissions.latest_events(submission, limit=_EVENTS),
    )
    foreseen, jobs, against, wants_values, following = await asyncio.gather(
        _foreseen(request, seen),
        _jobs(request, seen),
        _against(request, seen),
        _wants_values(request, seen),
        _following(request, seen),
    )
    return await render_submission(
        request,
        seen,
        "submission.html",
        status,
        content=content,
        series=series,
        offset=offset,
        page_size=SERIES_PAGE,
        findings=[each.finding for each in findings],
        attribute=attribute_of,
        events=[tell(each) for each in events],
        jobs=jobs,
        job_names=JOBS,
        is_running=submission.state in _UNDER_WAY or any(not job.state.is_over for job in jobs),
        against=against,
        wants_values=wants_values,
        foreseen=foreseen,
        following=following,
        choices=choices_of(request, seen),
        reasons=REASONS,
        typed=typed,
        problem=problem,
        dicomweb=seen.root.url,
    )


async def _jobs(request: Request, seen: Visit) -> Sequence[Job]:
    """Return what the archive does with the submission now, for those who may see jobs."""
    if not seen.is_curator:
        return ()
    subject = f"/submissions/{seen.submission.name}"
    jobs = await get_services(request).jobs.list_jobs(seen.principal, subject=subject, limit=_JOBS)
    return [job for job in jobs if not job.state.is_over or job.problem]


async def _against(request: Request, seen: Visit) -> Sequence[str]:
    """Say what stands against approving it, where somebody may."""
    services = get_services(request)
    if Action.APPROVE not in services.submissions.may(seen.principal, seen.submission):
        return ()
    gates = (services.edits.against_approval, services.checks.against_approval)
    return [reason for gate in gates for reason in await gate(seen.submission)]


async def _wants_values(request: Request, seen: Visit) -> bool:
    """Tell whether the collection wants values approved first; to count what is left would hold the page up."""
    services = get_services(request)
    if Action.APPROVE not in services.submissions.may(seen.principal, seen.submission):
        return False
    collection = await services.submissions.submissions.find_collection(seen.submission.collection)
    return collection is not None and bool(collection.rules.approved_values)


async def _foreseen(request: Request, seen: Visit) -> Foreseen | None:
    """Say what publishing it would do, where somebody may."""
    if not seen.is_curator or seen.submission.state is not SubmissionState.APPROVED:
        return None
    return await get_services(request).publishing.foresee(
        seen.principal, seen.submission.name, after="", limit=_STUDIES
    )


async def _following(request: Request, seen: Visit) -> str | None:
    """Return the submission that is to be decided on next, behind this one."""
    if not seen.is_curator:
        return None
    states: Sequence[SubmissionState] = STAGES[DECIDE][1]
    page = await get_services(request).submissions.list(
        seen.principal, QueueFilter(states), QueueOrder.LONGEST_UNCHANGED, limit=2, offset=0
    )
    return next((each.name for each, _ in page.submissions if each.name != seen.submission.name), None)


routes = [BrowserRoute(SUBMISSION, as_page(show_submission), name="submission_page")]
