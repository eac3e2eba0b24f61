"""Publishing a submission as a job: watched, cancelled, and gone on with after an interruption."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from dicomweb_archive.errors import ConflictError
from dicomweb_archive.index.curation.submissions import Submission
from dicomweb_archive.index.jobs.queue import NewJob
from dicomweb_archive.index.jobs.rows import Job, JsonObject
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.jobs.kinds import JobKind, JobRun
from dicomweb_archive.services.submissions.publishing import PublishingService, PublishReport

PUBLISH_SUBMISSION: Final = "publish-submission"
"""Publishes what a submission holds, study by study; counts instances."""

_ATTEMPTS = 20


def publishing_arguments(submission: Submission, studies: Sequence[str] | None = None) -> JsonObject:
    """Return what the job of a submission is told: to publish all of it, or these studies."""
    arguments = {"submission": submission.name, "space": submission.space_id}
    return arguments if studies is None else {**arguments, "studies": sorted(studies)}


def publishing_key(submission: Submission) -> str:
    """Return the key of the job of one round of publishing, which began when the submission got its revision.

    A job ends a moment after its submission is approved again: the next round must not be taken for it.
    """
    return f"{submission.name}:{submission.revision}"


async def begin_publishing(
    publishing: PublishingService,
    put: Callable[[NewJob], Awaitable[Job]],
    principal: Principal,
    name: str,
    revision: int | None,
    *,
    studies: Sequence[str] | None = None,
    comment: str = "",
) -> tuple[Submission, Job]:
    """Begin to publish a submission, or find the job that does it; see `PublishingService.begin`.

    Raises:
        ConflictError: other studies of it are being published.
    """

    def new(begun: Submission) -> NewJob:
        return _new_job(begun, studies, principal.name)

    begun, job = await publishing.begin(principal, name, revision, new, studies=studies, comment=comment)
    if job is None:
        if comment:
            await publishing.submissions.comment(principal, name, comment)
        job = await find_publishing(put, begun, studies, actor=principal.name)
    return begun, job


async def find_publishing(
    put: Callable[[NewJob], Awaitable[Job]], begun: Submission, studies: Sequence[str] | None = None, *, actor: str
) -> Job:
    """Find the job of a submission that is being published; one without is given one.

    Raises:
        ConflictError: other studies of it are being published.
    """
    new = _new_job(begun, studies, actor)
    job = await put(new)
    if job.arguments != new.arguments:
        message = "other studies of this submission are being published; ask again when that has ended"
        raise ConflictError(message)
    return job


def _new_job(begun: Submission, studies: Sequence[str] | None, actor: str) -> NewJob:
    return NewJob(
        PUBLISH_SUBMISSION,
        actor,
        publishing_arguments(begun, studies),
        publishing_key(begun),
        begun.collection_id,
        f"/submissions/{begun.name}",
    )


def publishing_kind(publishing: PublishingService) -> JobKind:
    """Return the kind of job that publishes a submission."""

    async def work(run: JobRun) -> JsonObject:
        job = run.job
        name, space_id = job.arguments["submission"], job.arguments["space"]

        async def tell(report: PublishReport, total: int) -> None:
            await run.report(report.done, total=total, checkpoint=report.to_json())

        begun = PublishReport.from_json(job.checkpoint) if job.checkpoint else None
        studies = job.arguments.get("studies")
        report = await publishing.publish(name, space_id, actor=job.actor, tell=tell, report=begun, studies=studies)
        return {key: value for key, value in report.to_json().items() if key != "after"}

    async def ended(job: Job) -> None:
        await publishing.stop(job.arguments["submission"], actor=job.actor)

    return JobKind(PUBLISH_SUBMISSION, work, attempts=_ATTEMPTS, cancelled=ended, failed=ended)
