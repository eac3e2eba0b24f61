"""Visits: who looks at a submission, and what every page of it shows."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.checks.findings import Severity
from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.index.curation.findings import FindingCount, FindingFilter
from dicomweb_archive.index.curation.submissions import Submission, SubmissionState
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.web.dependencies import base_url_of, get_principal, get_services
from dicomweb_archive.web.pages.curation.wording import CHOICES, PUBLISH, STATES, Choice
from dicomweb_archive.web.pages.rendering import render
from dicomweb_archive.wire.resources import ServiceRoot
from dicomweb_archive.wire.roots import AskedRoot, RootKind

SUBMISSION: Final = "/submissions/{submission}"
"""Path of a submission's page, and the beginning of all others of it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAY_PUBLISH = frozenset({SubmissionState.APPROVED, SubmissionState.PUBLISHING})


@dataclass(frozen=True, slots=True)
class Visit:
    """A look at a submission.

    Attributes:
        principal: who looks, as the archive knows them.
        inside: the same through the submission's root, seeing what it holds.
    """

    principal: Principal
    inside: Principal
    submission: Submission
    root: ServiceRoot

    @property
    def is_curator(self) -> bool:
        """Whether they decide on it."""
        return self.principal.has(Role.CURATOR, self.submission.collection_id)


async def visit(request: Request) -> Visit:
    """Tell who looks at which submission.

    Raises:
        UnauthenticatedError, ForbiddenError: nobody of whom a submission could be: said of every name.
        NotFoundError: there is none of this name for them.
    """
    principal = await get_principal(request)
    require(principal, Role.SUBMITTER)
    name = request.path_params["submission"]
    if _NAME.fullmatch(name) is None:
        raise NotFoundError("There is no such submission")
    services = get_services(request)
    submission = await services.submissions.find(principal, name)
    asked = AskedRoot(RootKind.SUBMISSION, name)
    inside = await services.roots.through(principal, asked)
    return Visit(principal, inside, submission, ServiceRoot(base_url_of(request) + asked.path))


def choices_of(request: Request, seen: Visit) -> Sequence[Choice]:
    """Return what they may do with the submission as it stands."""
    may = {action.value for action in get_services(request).submissions.may(seen.principal, seen.submission)}
    if seen.is_curator and seen.submission.state in _MAY_PUBLISH:
        may.add(PUBLISH)
    return [choice for value, choice in CHOICES.items() if value in may]


async def render_submission(
    request: Request, seen: Visit, template: str, status: int = 200, **context: object
) -> Response:
    """Answer with a page of a submission, whose head and links say how it stands."""
    services = get_services(request)
    (_, _, counts), (_, conflicts) = await asyncio.gather(
        services.checks.list(seen.submission, FindingFilter(), limit=1, offset=0),
        services.conflicts.list(seen.principal, seen.submission.name, after=0, limit=1, undecided=True),
    )
    label, tone = STATES[seen.submission.state]
    return await render(
        request,
        f"curation/{template}",
        status,
        submission=seen.submission,
        path=f"/submissions/{seen.submission.name}",
        state=label,
        tone=tone,
        is_curator=seen.is_curator,
        counts=counts,
        open_findings=_open(counts),
        conflict_count=conflicts,
        done=CHOICES[done].done if (done := request.query_params.get("done", "")) in CHOICES else "",
        **context,
    )


def _open(counts: Mapping[Severity, FindingCount]) -> int:
    return sum(count.open for severity, count in counts.items() if severity is not Severity.INFO)
