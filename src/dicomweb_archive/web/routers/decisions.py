"""Decisions on many submissions at once, watched as jobs."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.curation.queue import QueueFilter
from dicomweb_archive.index.curation.submissions import SubmissionState
from dicomweb_archive.index.jobs.rows import JobState
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.decisions import (
    MOST_DECIDED,
    BulkAction,
    Decision,
    Outcome,
    PlannedDecision,
    outcomes_of,
)
from dicomweb_archive.services.submissions.transitions import Reason
from dicomweb_archive.web.conditional import CACHE_CONTROL
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router

router = json_router("submissions")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
Name = Annotated[str, Field(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
JobId = Annotated[int, Path(ge=1, lt=2**63)]


def _without_nul(text: str) -> str:
    if "\0" in text:
        # PostgreSQL has no place for it in a text.
        message = "a text holds the character NUL"
        raise ValueError(message)
    return text


Words = Annotated[str, Field(max_length=300), AfterValidator(_without_nul)]
Prose = Annotated[str, Field(max_length=4000), AfterValidator(_without_nul)]


class ChosenSubmission(BaseModel):
    """A submission, as it was looked at."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    revision: int | None = Field(
        default=None, ge=1, description="That was looked at; in another one nothing is done with it. Null: in any."
    )


class Matching(BaseModel):
    """Which submissions of the queue are meant; see the parameters of the queue."""

    model_config = ConfigDict(extra="forbid")
    state: list[SubmissionState] = Field(default=[], description="Left out: those that know the action.")
    collection: list[Words] = Field(default=[], max_length=50)
    site: list[Words] = Field(default=[], max_length=50)
    opened_by: list[Words] = Field(default=[], max_length=50)
    text: Words = ""


class DecideOnMany(BaseModel):
    """What is to be done with which submissions: those that are named, or all that match now."""

    model_config = ConfigDict(extra="forbid")
    action: BulkAction
    submissions: list[ChosenSubmission] | None = Field(default=None, min_length=1, max_length=MOST_DECIDED)
    filter: Matching | None = None
    reason: Reason | None = Field(default=None, description="Needed to reject and to request changes.")
    comment: Prose = Field(default="", description="For who reads the trail of each.")


class PlannedDocument(BaseModel):
    """The job that decides on those of one collection."""

    collection: str
    submissions: int = Field(description="How many it decides on.")
    job: str = Field(description="URL of the job: how far it has come; it can be cancelled there.")
    decisions: str = Field(description="URL of what has become of each.")


class PlannedDecisions(BaseModel):
    """What was put into the queue: one job for each collection, and none when nothing matches."""

    jobs: list[PlannedDocument]


class DecidedDocument(BaseModel):
    """What has become of one submission."""

    name: str
    url: str
    outcome: Outcome
    problem: str | None = Field(description="Why nothing was done with it.")


class DecisionsDocument(BaseModel):
    """What has become of the submissions of a job."""

    state: JobState
    counts: dict[Outcome, int]
    submissions: list[DecidedDocument]
    total: int


@router.post("/submissions/decisions", status_code=202)
async def decide_on_many(
    request: Request, response: Response, services: ServicesOf, principal: PrincipalOf, asked: DecideOnMany
) -> PlannedDecisions:
    """Decide on many submissions at once, as jobs.

    Each is decided on by itself, as if it had been asked for alone; what cannot be done with one keeps none of the
    others back.
    """
    decision = Decision(asked.action, asked.reason, asked.comment)
    if asked.submissions is not None and asked.filter is None:
        named = {each.name: each.revision for each in asked.submissions}
        planned = await services.decisions.decide_named(principal, decision, named)
    elif asked.filter is not None and asked.submissions is None:
        wanted = asked.filter
        matching = QueueFilter(wanted.state, wanted.collection, wanted.site, wanted.opened_by, wanted.text)
        planned = await services.decisions.decide_matching(principal, decision, matching)
    else:
        raise InvalidParameterError("filter", accepted="what they have to be, or else `submissions` that are named")
    documents = [_planned(request, each) for each in planned]
    if len(documents) == 1:
        response.headers["location"] = documents[0].decisions
    return PlannedDecisions(jobs=documents)


@router.get("/submissions/decisions/{job}")
async def list_decisions(
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    job: JobId,
    outcome: Annotated[Sequence[Outcome], Query(description="Only those.")] = (),
    limit: Annotated[int, Query(ge=0, le=MOST_DECIDED)] = MOST_DECIDED,
    offset: Annotated[int, Query(ge=0, le=MOST_DECIDED)] = 0,
) -> DecisionsDocument:
    """Say what has become of each submission that was decided on together."""
    found = await services.jobs.get(job, principal)
    decided = outcomes_of(found)
    matching = [each for each in decided if not outcome or each.outcome in outcome]
    base = f"{base_url_of(request)}/submissions"
    response.headers["cache-control"] = CACHE_CONTROL
    return DecisionsDocument(
        state=found.state,
        counts={known: sum(each.outcome is known for each in decided) for known in Outcome},
        submissions=[
            DecidedDocument(
                name=each.submission,
                url=f"{base}/{each.submission}",
                outcome=each.outcome,
                problem=each.problem or None,
            )
            for each in matching[offset : offset + limit]
        ],
        total=len(matching),
    )


def _planned(request: Request, planned: PlannedDecision) -> PlannedDocument:
    base = base_url_of(request)
    return PlannedDocument(
        collection=planned.collection,
        submissions=planned.submissions,
        job=f"{base}/jobs/{planned.job.id}",
        decisions=f"{base}/submissions/decisions/{planned.job.id}",
    )
