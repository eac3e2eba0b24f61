"""Publishing a submission as a job: watched, cancelled, and gone on with after an interruption."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from dicomweb_archive.errors import ConflictError
from dicomweb_archive.index.curation.submissions import Submission
from dicomweb_archive.index.jobs.queue import NewJob
from dicomweb_archive.index.jobs.rows import Job, JsonObject
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


async def enqueue_publishing(
    put: Callable[[NewJob], Awaitable[Job]], begun: Submission, studies: Sequence[str] | None = None, *, actor: str
) -> Job:
    """Put the job of a submission whose publishing has begun into the queue, or find the one that is there.

    Raises:
        ConflictError: other studies of it are being published.
    """
    arguments = publishing_arguments(begun, studies)
    key, subject = publishing_key(begun), f"/submissions/{begun.name}"
    job = await put(NewJob(PUBLISH_SUBMISSION, actor, arguments, key, begun.collection_id, subject))
    if job.arguments != arguments:
        message = "other studies of this submission are being published; ask again when that has ended"
        raise ConflictError(message)
    return job


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
