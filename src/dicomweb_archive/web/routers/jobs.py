"""Jobs: what the archive does in the background, for those who may see it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, Field

from dicomweb_archive.index.jobs.rows import Job, JobState
from dicomweb_archive.services.access import Principal
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router

router = json_router("jobs")

_LARGEST_ID = 2**63 - 1
# PostgreSQL has no place for NUL in a text.
_WORDS = "^[^\\x00]*$"

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
JobId = Annotated[int, Path(ge=1, le=_LARGEST_ID)]


class JobResource(BaseModel):
    """A piece of work that is done in the background."""

    id: int
    kind: str
    state: JobState
    subject: str | None = Field(description="Path of the resource that it is about.")
    done: int = Field(description="How far it has come, in units of its own.")
    total: int | None = Field(description="How far it has to go, once that is known.")
    attempt: int = Field(description="Which attempt this is, or the last one was.")
    problem: str | None = Field(description="Why the last attempt did not succeed.")
    result: dict[str, Any] | None = Field(
        description="What came of it, or of its last round; in the list without what is itself a list or an object."
    )
    cancelling: bool = Field(description="Somebody has asked for its end.")
    actor: str = Field(description="Who asked for it.")
    created_at: datetime
    due_at: datetime | None = Field(description="When it will be begun, of a waiting one.")
    started_at: datetime | None
    finished_at: datetime | None


class JobPage(BaseModel):
    """Jobs, the newest first."""

    jobs: Sequence[JobResource]
    next: str | None = Field(description="Where older ones are.")


def _resource(job: Job) -> JobResource:
    return JobResource(
        id=job.id,
        kind=job.kind,
        state=job.state,
        subject=job.subject or None,
        done=job.done,
        total=job.total,
        attempt=job.attempt,
        problem=job.problem,
        result=None if job.result is None else dict(job.result),
        cancelling=job.cancel_asked and not job.state.is_over,
        actor=job.actor,
        created_at=job.created_at,
        due_at=job.due_at if job.state is JobState.WAITING else None,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


@router.get("/jobs")
async def list_jobs(
    request: Request,
    services: ServicesOf,
    principal: PrincipalOf,
    state: JobState | None = None,
    kind: Annotated[str | None, Query(max_length=64, pattern=_WORDS)] = None,
    subject: Annotated[str | None, Query(max_length=256, pattern=_WORDS)] = None,
    before: Annotated[int | None, Query(ge=1, le=_LARGEST_ID, description="Jobs with smaller ids only.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JobPage:
    """List the jobs of the principal's collections, the newest first."""
    jobs = await services.jobs.list_jobs(principal, state=state, kind=kind, subject=subject, before=before, limit=limit)
    if len(jobs) < limit:
        return JobPage(jobs=[_resource(job) for job in jobs], next=None)
    asked = {"state": state and state.value, "kind": kind, "subject": subject, "before": jobs[-1].id, "limit": limit}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return JobPage(jobs=[_resource(job) for job in jobs], next=f"{base_url_of(request)}/jobs?{query}")


@router.get("/jobs/{job}")
async def get_job(services: ServicesOf, principal: PrincipalOf, job: JobId) -> JobResource:
    """Say how far a job has come, or what became of it."""
    return _resource(await services.jobs.get(job, principal))


@router.post("/jobs/{job}/cancel")
async def cancel_job(services: ServicesOf, principal: PrincipalOf, job: JobId) -> JobResource:
    """Ask for the end of a job: a waiting one ends at once, a running one within seconds. What is done stays done."""
    return _resource(await services.jobs.cancel(job, principal))


@router.post("/jobs/{job}/run-again")
async def run_job_again(services: ServicesOf, principal: PrincipalOf, job: JobId) -> JobResource:
    """Begin a job anew that has failed or was cancelled, or a waiting one now.

    What is begun anew is done in the name and with the rights of who asks for it.
    """
    return _resource(await services.jobs.run_again(job, principal))
