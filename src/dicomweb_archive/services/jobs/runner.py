"""The runner: takes due jobs and does them, in a server process or in a worker that does nothing else."""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from dicomweb_archive.errors import (
    ArchiveError,
    DatabaseUnavailableError,
    OverloadedError,
    StorageFullError,
    StorageUnavailableError,
)
from dicomweb_archive.index.jobs.queue import JobQueue, Lease, Progress
from dicomweb_archive.index.jobs.rows import Job, JobState, JsonObject
from dicomweb_archive.services.jobs.kinds import JobCancelledError, JobKind, JobKinds, JobRun, Lane, LeaseLostError

LEASE_SECONDS = 60.0
"""How long a job stays with a worker of which nothing is heard."""

# Also how soon a job hears that it was cancelled when its work reports nothing.
_RENEWALS = 12
_LONGEST_PAUSE_SECONDS = 600.0
_ACTOR = "archive"

# Of these it is likely that they pass.
_PASSING = (DatabaseUnavailableError, StorageUnavailableError, StorageFullError, OverloadedError)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class JobRunner:
    """Does jobs until it is cancelled; what it is doing then goes back into the queue with its progress.

    What people ask for has slots of its own and the other lanes have one each, so that publishing never waits for the
    end of a compaction, nor a merge for that of a sweep.

    Args:
        slots: how many of the jobs that people ask for it does side by side.
        poll_seconds: how often an idle slot asks for work; `wake` lets those for what people ask for do so at once.
    """

    queue: JobQueue
    kinds: JobKinds
    slots: int = 2
    poll_seconds: float = 1.0
    lease_seconds: float = LEASE_SECONDS
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._until_it_succeeds()
        async with asyncio.TaskGroup() as group:
            for lane in Lane:
                for _ in range(self.slots if lane is Lane.ASKED else 1):
                    group.create_task(self._work_on(lane))

    def wake(self) -> None:
        """Let an idle slot look into the queue now."""
        self._woken.set()

    async def run_one(self, lane: Lane | None = None) -> Job | None:
        """Do the job that has been due for longest, and return it as it was taken; `None` when none is due.

        Args:
            lane: only of this one.

        Raises:
            DatabaseUnavailableError: the queue cannot be asked.
        """
        names = self.kinds.names(lane)
        if not names:
            return None
        name = secrets.token_hex(8)
        job = await self.queue.take(names, name, lease_seconds=self.lease_seconds)
        if job is not None:
            await self._do(job, Lease(job.id, name, self.lease_seconds))
        return job

    async def announce(self) -> None:
        """Put the jobs that come again and again into the queue, where they are not."""
        for kind in self.kinds:
            if kind.every_seconds is not None:
                await self.queue.ensure_recurring(kind.name, kind.every_seconds, actor=_ACTOR)

    async def _until_it_succeeds(self) -> None:
        while True:
            try:
                await self.announce()
            except ArchiveError as error:
                _say("the queue of jobs cannot be reached", error)
                await asyncio.sleep(self.poll_seconds)
            else:
                return

    async def _work_on(self, lane: Lane) -> None:
        # What a database that is away says in the middle of being cancelled must not keep the process from ending.
        while not is_ending():
            job = None
            try:
                job = await self.run_one(lane)
            except ArchiveError as error:
                _say("a job could not be taken or given back", error)
            except Exception as error:
                # A bug of the queue itself: the others go on for as long as the process lives.
                logger.error("a job could not be taken or given back", exc_info=error)
            if job is None:
                await self._pause(lane)

    async def _pause(self, lane: Lane) -> None:
        # Processes that were started together do not ask together.
        seconds = self.poll_seconds * random.uniform(0.7, 1.3)  # noqa: S311 - no secret hangs on it
        if lane is not Lane.ASKED:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _do(self, job: Job, lease: Lease) -> None:
        kind = self.kinds[job.kind]
        run = JobRun(job, lease, self.queue, Progress(job.done, job.total, job.checkpoint))
        if job.cancel_asked:
            # Of an attempt that ended before it had heard of that.
            await self._cancelled(kind, run)
            return
        if job.attempt > kind.attempts and kind.every_seconds is None:
            # Whoever had it has died of it, or with it, again and again.
            await self._fail(kind, run, "it was begun too often and never ended", is_final=True)
            return
        try:
            async with self._keeping_lease(run):
                result = await kind.work(run)
        except JobCancelledError:
            await self._cancelled(kind, run)
        except LeaseLostError:
            logger.warning("a job was lost to another worker", extra={"job": job.id, "kind": kind.name})
        except asyncio.CancelledError:
            # This process ends: the next one goes on from here, and the attempt does not count.
            try:
                await asyncio.shield(self._put_back(run, delay_seconds=0, problem=None, attempt=job.attempt - 1))
            except ArchiveError as error:
                _say("a job could not be given back", error, job)
            raise
        except ArchiveError as error:
            _say("a job has failed", error, job)
            await self._fail(kind, run, str(error), is_final=not isinstance(error, _PASSING))
        except Exception as error:
            # A bug: all of it to the log, to people only what it is called.
            logger.error("a job has failed", exc_info=error, extra={"job": job.id, "kind": kind.name})
            await self._fail(kind, run, f"unexpected: {type(error).__name__}", is_final=False)
        else:
            await self._succeed(kind, run, result)

    @asynccontextmanager
    async def _keeping_lease(self, run: JobRun) -> AsyncIterator[None]:
        """Renew the lease beside the work; when it is lost or the job cancelled, the work is interrupted."""
        ended: list[JobCancelledError | LeaseLostError] = []
        work = asyncio.current_task()
        assert work is not None

        async def renew() -> None:
            while True:
                await asyncio.sleep(self.lease_seconds / _RENEWALS)
                try:
                    await run.write()
                except (JobCancelledError, LeaseLostError) as error:
                    ended.append(error)
                    work.cancel()
                    return
                except ArchiveError as error:
                    _say("the lease of a job could not be renewed", error, run.job)

        task = asyncio.create_task(renew())
        try:
            yield
        except BaseException:
            # Mostly a CancelledError, but a connection that broke meanwhile may have put another one in its place.
            if ended and work.uncancel() == 0:
                raise ended[0] from None
            raise
        finally:
            task.cancel()

    async def _succeed(self, kind: JobKind, run: JobRun, result: JsonObject | None) -> None:
        if kind.every_seconds is not None:
            await self.queue.come_again(
                run.lease, run.progress, delay_seconds=kind.every_seconds, result=result, problem=None
            )
            return
        await self.queue.end(run.lease, JobState.SUCCEEDED, run.progress, result=result, problem=None)

    async def _cancelled(self, kind: JobKind, run: JobRun) -> None:
        await self.kinds.clear_up(run.job)
        await self.queue.end(run.lease, JobState.CANCELLED, run.progress, result=None, problem=None)
        logger.info("a job was cancelled", extra={"job": run.job.id, "kind": kind.name})

    async def _fail(self, kind: JobKind, run: JobRun, problem: str, *, is_final: bool) -> None:
        if kind.every_seconds is not None:
            await self.queue.come_again(
                run.lease, run.progress, delay_seconds=kind.every_seconds, result=None, problem=problem
            )
        elif is_final or run.job.attempt >= kind.attempts:
            if kind.failed is not None:
                await kind.failed(run.job)
            await self.queue.end(run.lease, JobState.FAILED, run.progress, result=None, problem=problem)
        else:
            pause = min(2.0**run.job.attempt, _LONGEST_PAUSE_SECONDS)
            await self._put_back(run, delay_seconds=pause, problem=problem, attempt=run.job.attempt)

    async def _put_back(self, run: JobRun, *, delay_seconds: float, problem: str | None, attempt: int) -> None:
        await self.queue.put_back(
            run.lease, run.progress, delay_seconds=delay_seconds, problem=problem, attempt=attempt
        )


def is_ending() -> bool:
    """Tell whether somebody has cancelled the task that asks."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _say(what: str, error: ArchiveError, job: Job | None = None) -> None:
    about = {} if job is None else {"job": job.id, "kind": job.kind}
    logger.warning(what, extra={"error": type(error).__name__, **about})
