"""Submissions as resources of our own: opened, listed, described, and moved from state to state."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dicomweb_archive.index.curation.collections import DEFAULT_ACCESSION
from dicomweb_archive.index.curation.queue import Content, QueueFilter, QueueOrder
from dicomweb_archive.index.curation.submissions import Submission, SubmissionState
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.submissions import Description
from dicomweb_archive.services.submissions.transitions import ACTORS, Action, Actor, Reason
from dicomweb_archive.web.conditional import CACHE_CONTROL, expected_revision, revision_tag
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import IF_MATCH, json_router

SUBMISSIONS = "/submissions"
"""Path of the submissions below the archive's root."""

router = json_router("submissions")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
SubmissionName = Annotated[str, Path(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]

_WORDS = 300


def _without_nul(text: str) -> str:
    if "\0" in text:
        # PostgreSQL has no place for it in a text.
        message = "a text holds the character NUL"
        raise ValueError(message)
    return text


Words = Annotated[str, Field(max_length=_WORDS), AfterValidator(_without_nul)]
Prose = Annotated[str, Field(max_length=4000), AfterValidator(_without_nul)]


class OpenSubmission(BaseModel):
    """What is said when a submission is opened."""

    model_config = ConfigDict(extra="forbid")
    collection: Words = Field(DEFAULT_ACCESSION, description="Accession of the collection that it is for.")
    title: Words = ""
    contact: Words = Field(default="", description="Who can be asked about it.")
    site: Words = Field(default="", description="Where it comes from.")


class DescribeSubmission(BaseModel):
    """What is to be said of a submission from now on; what is left out stays."""

    model_config = ConfigDict(extra="forbid")
    title: Words | None = None
    contact: Words | None = None
    site: Words | None = None


class Decision(BaseModel):
    """Why something is done with a submission."""

    model_config = ConfigDict(extra="forbid")
    reason: Reason | None = Field(default=None, description="Needed to reject and to request changes.")
    comment: Prose = Field(default="", description="For who reads the trail.")


NO_REASON = Decision()


class Comment(BaseModel):
    """What somebody has to say about a submission."""

    model_config = ConfigDict(extra="forbid")
    text: Prose = Field(min_length=1)


class Held(BaseModel):
    """What is in the space of a submission."""

    studies: int
    series: int
    instances: int
    size_bytes: int


class SubmissionDocument(BaseModel):
    """A submission as it stands in one revision."""

    name: str
    url: str
    dicomweb: str = Field(description="Base URI of the DICOMweb services that show what is in it.")
    collection: str
    state: SubmissionState
    title: str
    contact: str
    site: str
    opened_by: str
    opened_for: date | None = Field(description="The day, of one that a store opened which named none.")
    revision: int
    created_at: datetime
    changed_at: datetime
    held: Held
    actions: list[Action] = Field(description="What whoever asks may do with it now.")


class QueueDocument(BaseModel):
    """A page of the queue."""

    submissions: list[SubmissionDocument]
    counts: dict[SubmissionState, int] = Field(description="How many match in each state, whatever `state` says.")
    total: int = Field(description="How many match altogether.")


class EventDocument(BaseModel):
    """Something that happened to a submission."""

    id: int
    kind: str
    at: datetime
    actor: str
    study_instance_uid: str | None
    detail: dict[str, Any]
    comment: str


class TrailDocument(BaseModel):
    """A part of a trail, the oldest event first."""

    events: list[EventDocument]
    next: int | None = Field(description="`since` of the events behind these; null when there are none yet.")


def _document(request: Request, principal: Principal, submission: Submission, content: Content) -> SubmissionDocument:
    services = get_services(request)
    url = f"{base_url_of(request)}{SUBMISSIONS}/{submission.name}"
    fields = {name: getattr(submission, name) for name in SubmissionDocument.model_fields if hasattr(submission, name)}
    return SubmissionDocument(
        **fields,
        url=url,
        dicomweb=f"{url}/dicom-web",
        held=Held(
            studies=content.studies,
            series=content.series,
            instances=content.instances,
            size_bytes=content.size_bytes,
        ),
        actions=list(services.submissions.may(principal, submission)),
    )


async def _answer(
    request: Request, response: Response, principal: Principal, submission: Submission
) -> SubmissionDocument:
    response.headers["etag"] = revision_tag(submission.revision)
    response.headers["cache-control"] = CACHE_CONTROL
    content = await get_services(request).submissions.content(submission)
    return _document(request, principal, submission, content)


@router.post(SUBMISSIONS, status_code=201)
async def open_submission(
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: OpenSubmission,
) -> SubmissionDocument:
    """Open a submission; what is stored at its `dicomweb` waits there until a curator has decided."""
    description = Description(asked.title, asked.contact, asked.site)
    submission = await services.submissions.open(principal, asked.collection, description)
    document = await _answer(request, response, principal, submission)
    response.headers["location"] = document.url
    return document


@router.get(SUBMISSIONS)
async def list_submissions(
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    state: Annotated[Sequence[SubmissionState], Query()] = (),
    collection: Annotated[Sequence[Words], Query(max_length=50)] = (),
    site: Annotated[Sequence[Words], Query(max_length=50)] = (),
    opened_by: Annotated[Sequence[Words], Query(max_length=50)] = (),
    text: Annotated[Words, Query(description="Part of title or contact.")] = "",
    orderby: QueueOrder = QueueOrder.LONGEST_UNCHANGED,
    limit: Annotated[int, Query(ge=0, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> QueueDocument:
    """List the submissions that whoever asks curates or has opened; each filter may be given several times."""
    asked = QueueFilter(state, collection, site, opened_by, text)
    page = await services.submissions.list(principal, asked, orderby, limit=limit, offset=offset)
    wanted = state or tuple(SubmissionState)
    response.headers["cache-control"] = CACHE_CONTROL
    return QueueDocument(
        submissions=[_document(request, principal, submission, content) for submission, content in page.submissions],
        counts=dict(page.counts),
        total=sum(page.counts.get(each, 0) for each in set(wanted)),
    )


@router.get(f"{SUBMISSIONS}/{{submission}}")
async def show_submission(
    submission: SubmissionName, request: Request, response: Response, services: ServicesOf, principal: PrincipalOf
) -> SubmissionDocument:
    """Show a submission; its ETag goes into If-Match of a change."""
    found = await services.submissions.find(principal, submission)
    return await _answer(request, response, principal, found)


@router.patch(f"{SUBMISSIONS}/{{submission}}", openapi_extra=IF_MATCH)
async def describe_submission(
    submission: SubmissionName,
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: DescribeSubmission,
) -> SubmissionDocument:
    """Give a submission another title, contact or site."""
    description = Description(asked.title, asked.contact, asked.site)
    changed = await services.submissions.describe(principal, submission, expected_revision(request), description)
    return await _answer(request, response, principal, changed)


@router.get(f"{SUBMISSIONS}/{{submission}}/events")
async def list_events(
    submission: SubmissionName,
    services: ServicesOf,
    principal: PrincipalOf,
    since: Annotated[int, Query(ge=0, lt=2**63, description="Id of the event behind which to begin.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> TrailDocument:
    """List what happened to a submission: what was stored, said and decided, when and by whom."""
    entries = await services.submissions.events(principal, submission, after=since, limit=limit)
    events = [EventDocument(**{name: getattr(entry, name) for name in EventDocument.model_fields}) for entry in entries]
    return TrailDocument(events=events, next=events[-1].id if len(events) == limit else None)


@router.post(f"{SUBMISSIONS}/{{submission}}/comments", status_code=204)
async def comment_on_submission(
    submission: SubmissionName,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: Comment,
) -> None:
    """Write into the trail of a submission, for its submitter and its curators."""
    await services.submissions.comment(principal, submission, asked.text)


def _acting(action: Action) -> Callable[..., Awaitable[SubmissionDocument]]:
    async def act(
        submission: SubmissionName,
        request: Request,
        response: Response,
        services: ServicesOf,
        principal: PrincipalOf,
        decision: Decision = NO_REASON,
    ) -> SubmissionDocument:
        changed = await services.submissions.act(
            principal,
            submission,
            action,
            expected_revision(request),
            reason=decision.reason,
            comment=decision.comment,
        )
        return await _answer(request, response, principal, changed)

    return act


_DESCRIPTIONS = {
    Action.SEAL: "Say that a submission is complete: it takes no more instances, and its checks begin.",
    Action.REOPEN: "Let a submission take instances again.",
    Action.WITHDRAW: "Take a submission back.",
    Action.REVIEW: "Take a submission into review by hand.",
    Action.REQUEST_CHANGES: "Ask the submitter to change something, with a reason.",
    Action.APPROVE: "Approve a submission, so that it can be published.",
    Action.RECONSIDER: "Take an approval back.",
    Action.REJECT: "Reject a submission, with a reason.",
}

for _action, _actor in ACTORS.items():
    if _actor is not Actor.ARCHIVE:
        router.post(
            f"{SUBMISSIONS}/{{submission}}/{_action.value}",
            name=f"{_action.name.lower()}_submission",
            summary=_action.value.replace("-", " ").capitalize(),
            description=_DESCRIPTIONS[_action],
            openapi_extra=IF_MATCH,
        )(_acting(_action))
