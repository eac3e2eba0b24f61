"""Applying an edit as a job: watched, cancelled, and gone on with after an interruption."""

from dataclasses import dataclass, field

from dicomweb_archive.errors import ConflictError, NotFoundError
from dicomweb_archive.index.curation.edits.records import APPLY_EDIT, Edit, EditIndex, EditState
from dicomweb_archive.index.curation.submissions import Submission, SubmissionIndex, SubmissionScope
from dicomweb_archive.index.jobs.rows import Job, JsonObject
from dicomweb_archive.services.edits.applying import EditApplier
from dicomweb_archive.services.jobs.kinds import JobKind, JobRun

_ATTEMPTS = 20


@dataclass(slots=True)
class _Progress:
    """How far an attempt has come: instances looked at, and the series up to which all of them were."""

    run: JobRun
    total: int
    done: int
    checkpoint: JsonObject = field(default_factory=dict)

    async def tell(self, looked_at: int, series_id: int) -> None:
        self.done += looked_at
        if series_id != self.checkpoint.get("series", 0):
            self.checkpoint = {"series": series_id, "done": self.done}
        await self.run.report(self.done, total=max(self.total, self.done), checkpoint=self.checkpoint)


def edit_kind(submissions: SubmissionIndex, edits: EditIndex, applier: EditApplier) -> JobKind:
    """Return the kind of job that applies an edit, or takes one back."""

    async def find(job: Job) -> tuple[Submission, Edit]:
        submission = await submissions.find(job.arguments["submission"], SubmissionScope(None))
        edit = None if submission is None else await edits.find(submission, job.arguments["edit"])
        if submission is None or edit is None:
            message = "there is no such edit"
            raise NotFoundError(message)
        return submission, edit

    async def work(run: JobRun) -> JsonObject:
        submission, edit = await find(run.job)
        if edit.state is EditState.STOPPED:
            message = "the edit was stopped; take it back, or begin another one"
            raise ConflictError(message)
        begun = run.job.checkpoint or {}
        progress = _Progress(run, await applier.content.count(submission.space_id), begun.get("done", 0), begun)
        if edit.undoes is None:
            await applier.apply(submission, edit, after=begun.get("series", 0), tell=progress.tell)
        else:
            await applier.undo(submission, edit, tell=progress.tell)
        await edits.end(submission, edit.id, EditState.APPLIED, actor=run.job.actor)
        ended = (await find(run.job))[1]
        return {"edit": edit.id, "instances": ended.instances, "unfit": ended.unfit}

    async def stop(job: Job) -> None:
        submission, edit = await find(job)
        await edits.end(submission, edit.id, EditState.STOPPED, actor=job.actor)

    return JobKind(APPLY_EDIT, work, attempts=_ATTEMPTS, cancelled=stop, failed=stop)
