"""Jobs: done once when all goes well, gone on with when a worker dies, and never written over by one that was lost."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from asyncpg.exceptions import ForeignKeyViolationError
from tests.commands import type_command

from dicomweb_archive.errors import ConflictError, DatabaseUnavailableError, StorageUnavailableError
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.jobs.listing import JobList
from dicomweb_archive.index.jobs.queue import JobQueue, Lease, NewJob, Progress
from dicomweb_archive.index.jobs.rows import Job, JobState
from dicomweb_archive.services.jobs.kinds import JobKind, JobKinds, JobRun, Lane, Work
from dicomweb_archive.services.jobs.runner import JobRunner


class Bench:
    """A queue with one kind of job, whose work each test gives."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.queue = JobQueue(database)

    def runner(self, work: Work, *, attempts: int = 3, every_seconds: float | None = None) -> JobRunner:
        kinds = JobKinds([JobKind("count", work, every_seconds, attempts)])
        return JobRunner(self.queue, kinds, poll_seconds=0.01, lease_seconds=0.24)

    async def put(self, *, key: str | None = None, **arguments: object) -> Job:
        return await self.queue.put(NewJob("count", "tester", arguments, key=key))

    async def state(self, job: Job) -> Job:
        found = await JobList(self.database).find(None, job.id)
        assert found is not None
        return found

    async def until(self, job: Job, holds: Callable[[Job], bool]) -> Job:
        async with asyncio.timeout(20):
            while True:
                found = await self.state(job)
                if holds(found):
                    return found
                await asyncio.sleep(0.01)

    async def make_due(self) -> None:
        async with self.database.connection() as connection:
            await connection.execute("update job set due_at = now() where state in ('waiting', 'running')")


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


async def test_a_job_is_done_once_and_keeps_what_came_of_it(bench: Bench) -> None:
    job = await bench.put(number=3)

    async def work(run: JobRun) -> dict[str, object]:
        await run.report(2, total=3)
        return {"twice": 2 * run.job.arguments["number"]}

    runners = [bench.runner(work) for _ in range(4)]
    taken = await asyncio.gather(*(runner.run_one() for runner in runners))
    assert [each.id for each in taken if each is not None] == [job.id]
    over = await bench.state(job)
    assert (over.state, over.result, over.done, over.total) == (JobState.SUCCEEDED, {"twice": 6}, 2, 3)
    assert over.finished_at is not None


async def test_what_a_job_leaves_is_put_in_order_when_its_attempts_are_used_up(bench: Bench) -> None:
    job = await bench.put()
    left: list[int] = []

    async def work(run: JobRun) -> None:
        raise DatabaseUnavailableError

    async def failed(job: Job) -> None:
        left.append(job.attempt)

    runner = JobRunner(bench.queue, JobKinds([JobKind("count", work, attempts=2, failed=failed)]))
    for _ in range(2):
        assert left == []
        await bench.make_due()
        await runner.run_one()
    assert left == [2]
    assert (await bench.state(job)).state is JobState.FAILED


async def test_of_the_unfinished_jobs_of_a_kind_only_one_has_a_key(bench: Bench) -> None:
    first, second = await asyncio.gather(bench.put(key="a"), bench.put(key="a"))
    assert first.id == second.id
    assert (await bench.put(key="b")).id != first.id

    async def work(run: JobRun) -> None:
        pass

    runner = bench.runner(work)
    while await runner.run_one():
        pass
    assert (await bench.put(key="a")).id != first.id


async def test_jobs_that_are_put_together_are_all_there_or_none(bench: Bench) -> None:
    new = [NewJob("count", "tester", {}), NewJob("count", "tester", {}, collection_id=999_999)]
    with pytest.raises(ForeignKeyViolationError):
        await bench.queue.put_together(new)
    listed = {"state": None, "kind": "count", "subject": None, "before": None, "limit": 10}
    assert not await JobList(bench.database).page(None, **listed)
    assert len(await bench.queue.put_together(new[:1] * 2)) == 2


async def test_a_job_whose_worker_has_died_goes_on_from_its_checkpoint(bench: Bench) -> None:
    job = await bench.put()
    dead = await bench.queue.take(["count"], "dead", lease_seconds=60)
    assert dead is not None
    lease = Lease(job.id, "dead", 60)
    assert await bench.queue.renew(lease, Progress(5, 9, {"after": "e"})) is False
    seen: list[Job] = []

    async def work(run: JobRun) -> None:
        seen.append(run.job)
        # The first worker was not dead after all: it hears that the job is no longer its own, and writes nothing.
        assert await bench.queue.renew(lease, Progress(6, 9)) is None
        await bench.queue.end(lease, JobState.FAILED, Progress(), result=None, problem="late")

    runner = bench.runner(work)
    assert await runner.run_one() is None
    await bench.make_due()
    assert await runner.run_one() is not None
    assert [(each.attempt, each.checkpoint, each.done) for each in seen] == [(2, {"after": "e"}, 5)]
    assert (await bench.state(job)).state is JobState.SUCCEEDED


async def test_a_worker_that_is_stopped_gives_its_job_back_with_what_is_done(bench: Bench) -> None:
    job = await bench.put()
    began = asyncio.Event()

    async def work(run: JobRun) -> None:
        await run.report(7, total=10, checkpoint={"after": 7})
        began.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(bench.runner(work).run())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    back = await bench.state(job)
    assert (back.state, back.attempt, back.done, back.checkpoint) == (JobState.WAITING, 0, 7, {"after": 7})


async def test_a_worker_is_stopped_although_the_database_is_away(bench: Bench) -> None:
    class Away(JobQueue):
        async def put_back(self, *arguments: object, **more: object) -> None:
            message = "away"
            raise DatabaseUnavailableError(message)

    await bench.put()
    began = asyncio.Event()

    async def work(run: JobRun) -> None:
        began.set()
        await asyncio.sleep(60)

    runner = bench.runner(work)
    runner.queue = Away(bench.database)
    task = asyncio.create_task(runner.run())
    await began.wait()
    task.cancel()
    _, unfinished = await asyncio.wait([task], timeout=5)
    task.cancel()
    assert not unfinished


async def test_what_is_to_end_does_not_begin_again_when_its_worker_stops(bench: Bench) -> None:
    job = await bench.put()
    began = asyncio.Event()
    cleared: list[int] = []

    async def work(run: JobRun) -> None:
        began.set()
        await asyncio.sleep(60)

    async def clear_up(cancelled: Job) -> None:
        cleared.append(cancelled.id)

    runner = bench.runner(work)
    # Another slot could take it again in the moment in which it is stopped.
    runner.slots, runner.lease_seconds = 1, 60
    task = asyncio.create_task(runner.run())
    await began.wait()
    await JobList(bench.database).cancel(None, job.id)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kinds = JobKinds([replace(runner.kinds["count"], cancelled=clear_up)])
    assert await JobRunner(bench.queue, kinds).run_one() is not None
    assert ((await bench.state(job)).state, cleared) == (JobState.CANCELLED, [job.id])


async def test_a_long_job_keeps_its_lease(bench: Bench) -> None:
    await bench.put()
    attempts = []

    async def work(run: JobRun) -> None:
        attempts.append(run.job.attempt)
        await asyncio.sleep(0.6)

    runner = bench.runner(work)
    slow = asyncio.create_task(runner.run_one())
    while not slow.done():
        await asyncio.sleep(0.02)
        await runner.run_one()
    assert attempts == [1]


async def test_a_job_is_cancelled_while_it_waits_and_while_it_runs(bench: Bench) -> None:
    jobs = JobList(bench.database)
    waiting, running = await bench.put(), await bench.put()
    assert (await jobs.cancel(None, waiting.id) or waiting).state is JobState.CANCELLED

    async def work(run: JobRun) -> None:
        await jobs.cancel(None, run.job.id)
        await asyncio.sleep(60)

    await bench.runner(work).run_one()
    assert (await bench.state(running)).state is JobState.CANCELLED
    # Its slot does the next job as if nothing had been.
    again = await jobs.run_again(None, running.id, actor="another", arguments={})
    assert again is not None
    assert (again.state, again.cancel_asked) == (JobState.WAITING, False)


@pytest.mark.parametrize(
    ("error", "state", "problem"),
    [
        (StorageUnavailableError("away"), JobState.WAITING, "away"),
        (ConflictError("the submission is closed"), JobState.FAILED, "the submission is closed"),
        (ValueError("of Doe^Jane"), JobState.WAITING, "unexpected: ValueError"),
    ],
    ids=["passing", "lasting", "bug"],
)
async def test_what_may_pass_is_tried_again_and_no_value_is_told(
    bench: Bench, error: Exception, state: JobState, problem: str
) -> None:
    job = await bench.put()

    async def work(run: JobRun) -> None:
        raise error

    runner = bench.runner(work, attempts=2)
    await runner.run_one()
    failed = await bench.state(job)
    assert (failed.state, failed.problem) == (state, problem)
    await bench.make_due()
    await runner.run_one()
    assert (await bench.state(job)).state is JobState.FAILED


async def test_a_job_that_kills_its_workers_ends(bench: Bench) -> None:
    job = await bench.put()
    for number in range(3):
        assert await bench.queue.take(["count"], f"dies {number}", lease_seconds=60)
        await bench.make_due()

    async def work(run: JobRun) -> None:
        pytest.fail("it has been tried often enough")

    await bench.runner(work, attempts=3).run_one()
    assert (await bench.state(job)).state is JobState.FAILED


async def test_a_job_at_intervals_is_one_however_many_processes_announce_it(bench: Bench) -> None:
    async def work(run: JobRun) -> dict[str, object]:
        return {"rounds": 1}

    runner = bench.runner(work, every_seconds=3600)
    await asyncio.gather(*(runner.announce() for _ in range(4)))
    (job,) = await JobList(bench.database).page(None, state=None, kind=None, subject=None, before=None, limit=9)
    assert await runner.run_one() is None
    await bench.make_due()
    assert await runner.run_one() is not None
    assert await runner.run_one() is None
    after = await bench.state(job)
    assert (after.state, after.result, after.attempt) == (JobState.WAITING, {"rounds": 1}, 0)
    # A shorter interval counts from the next start on.
    hastened = bench.runner(work, every_seconds=1)
    await hastened.announce()
    assert (await bench.state(job)).due_at < after.due_at
    assert await JobList(bench.database).cancel(None, job.id) is None


async def test_what_waits_is_begun_at_once_when_the_runner_is_woken(bench: Bench) -> None:
    done = asyncio.Event()

    async def work(run: JobRun) -> None:
        done.set()

    runner = bench.runner(work)
    runner.poll_seconds = 60
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(0.05)
    job = await bench.put()
    runner.wake()
    await asyncio.wait_for(done.wait(), 20)
    await bench.until(job, lambda found: found.state is JobState.SUCCEEDED)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_jobs_that_ended_long_ago_are_forgotten(bench: Bench) -> None:
    async def work(run: JobRun) -> None:
        pass

    old, waiting = await bench.put(), None
    await bench.runner(work).run_one()
    waiting = await bench.put()
    await bench.queue.forget_finished(days=-1)
    listed = await JobList(bench.database).page(None, state=None, kind=None, subject=None, before=None, limit=9)
    assert [job.id for job in listed] == [waiting.id]
    assert old.id != waiting.id


def test_a_kind_is_registered_once() -> None:
    async def work(run: JobRun) -> None:
        pass

    kinds = JobKinds([JobKind("a", work)])
    with pytest.raises(ValueError, match="already"):
        kinds.register(replace(kinds["a"], attempts=1))


async def test_a_worker_does_what_is_due_without_serving(bench: Bench, database_url: str, tmp_path: Path) -> None:
    job = await bench.queue.put(NewJob("forget-jobs", "tester", {}))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DICOMWEB_ARCHIVE_")}
    given = {"DICOMWEB_ARCHIVE_DATABASE_URL": database_url, "DICOMWEB_ARCHIVE_DATA_DIR": str(tmp_path)}
    done = await asyncio.to_thread(type_command, "worker", "--once", folder=tmp_path, environment={**kept, **given})
    assert done.returncode == 0, done.stderr
    # Its kind comes again and again, here as one that was put beside the other.
    assert (await bench.state(job)).finished_at is not None
    kinds = await JobList(bench.database).page(None, state=None, kind=None, subject=None, before=None, limit=20)
    assert {"look-after-index", "compact-packs", "find-orphans"} <= {each.kind for each in kinds}


async def test_what_people_ask_for_never_waits_behind_upkeep(bench: Bench) -> None:
    full, ended = asyncio.Event(), asyncio.Event()
    begun: set[str] = set()

    async def endless(run: JobRun) -> None:
        begun.add(run.job.kind)
        if len(begun) == 2:
            full.set()
        await ended.wait()

    async def work(run: JobRun) -> None:
        assert len(begun) == 2
        ended.set()

    lanes = {"sweep": Lane.SWEEPS, "other-sweep": Lane.SWEEPS, "merge": Lane.UPKEEP}
    kinds = JobKinds([JobKind("count", work), *(JobKind(name, endless, lane=lane) for name, lane in lanes.items())])
    runner = JobRunner(bench.queue, kinds, slots=1, poll_seconds=0.01)
    for name in lanes:
        await bench.queue.put(NewJob(name, "archive", {}))
    task = asyncio.create_task(runner.run())
    async with asyncio.timeout(20):
        await full.wait()
        # One place in each lane: the second sweep waits behind the first, and nobody else does.
        assert len(begun & {"sweep", "other-sweep"}) == 1
        await bench.put()
        await ended.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
