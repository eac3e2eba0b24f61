"""Jobs as principals see them: asked for, watched, ended and begun anew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dicomweb_archive.errors import ConflictError, NotFoundError
from dicomweb_archive.index.jobs.listing import JobList
from dicomweb_archive.index.jobs.queue import JobQueue, NewJob
from dicomweb_archive.index.jobs.rows import Job, JobState, JsonObject
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.jobs.kinds import JobKinds


@dataclass(frozen=True, slots=True)
class JobService:
    """Lets curators see and end the jobs of their collections; who curates all of them, those of the archive too.

    Args:
        wake: lets an idle runner of this process look into the queue.
    """

    queue: JobQueue
    jobs: JobList
    kinds: JobKinds
    wake: Callable[[], None]

    async def enqueue(
        self,
        kind: str,
        arguments: JsonObject,
        principal: Principal,
        *,
        collection_id: int | None,
        subject: str = "",
        key: str | None = None,
    ) -> Job:
        """Put a job into the queue on behalf of a principal, whose right to what it does the caller has checked.

        Args:
            subject: path of the resource that it is about, such as `/submissions/NAME`.
            key: when an unfinished job of this kind has the same one, that job is returned instead.
        """
        return await self.put(NewJob(kind, principal.name, arguments, key, collection_id, subject))

    async def put(self, new: NewJob) -> Job:
        """Put a job into the queue; see `enqueue`."""
        job = await self.queue.put(new)
        self.wake()
        return job

    async def list_jobs(
        self,
        principal: Principal,
        *,
        state: JobState | None = None,
        kind: str | None = None,
        subject: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[Job]:
        """Return the newest jobs that the principal may see, with ids below `before`; see `JobList.page`."""
        seen = _seen_by(principal)
        return await self.jobs.page(seen, state=state, kind=kind, subject=subject, before=before, limit=limit)

    async def get(self, job_id: int, principal: Principal) -> Job:
        """Return a job.

        Raises:
            NotFoundError: there is none, or the principal may not see it.
        """
        job = await self.jobs.find(_seen_by(principal), job_id)
        if job is None:
            raise _no_job()
        return job

    async def cancel(self, job_id: int, principal: Principal) -> Job:
        """Ask for the end of a job: a waiting one ends at once, a running one within moments.

        Raises:
            NotFoundError: there is none, or the principal may not see it.
            ConflictError: it is over, or comes again and again.
        """
        job = await self.jobs.cancel(_seen_by(principal), job_id)
        if job is None:
            await self.get(job_id, principal)
            message = "only a waiting or running job can be cancelled, and none that the archive does at intervals"
            raise ConflictError(message)
        if job.state is JobState.CANCELLED:
            await self.kinds.clear_up(job)
        return job

    async def run_again(self, job_id: int, principal: Principal) -> Job:
        """Begin a job anew that has failed or was cancelled; one that waits is due now.

        What is begun anew is done in the name and with the rights of this principal.

        Raises:
            NotFoundError: there is none, or the principal may not see it.
            ConflictError: it is running or has succeeded, or another one like it waits.
        """
        arguments = self.kinds.taken_over(await self.get(job_id, principal), principal)
        job = await self.jobs.run_again(_seen_by(principal), job_id, actor=principal.name, arguments=arguments)
        if job is None:
            message = (
                "only a job that waits, has failed or was cancelled can be run again, and only beside none like it"
            )
            raise ConflictError(message)
        self.wake()
        return job


def _seen_by(principal: Principal) -> frozenset[int] | None:
    """Return the collections whose jobs are seen; `None`: all jobs.

    Raises:
        UnauthenticatedError, ForbiddenError: the principal curates nothing.
    """
    require(principal, Role.CURATOR)
    return principal.collections


def _no_job() -> NotFoundError:
    message = "there is no such job"
    return NotFoundError(message)
