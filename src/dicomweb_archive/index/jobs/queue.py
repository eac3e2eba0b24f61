"""The queue of jobs: taken under a lease that its holder renews, so that a worker which dies loses nothing but time.

A lease is a random name. Every write of a running job carries it, so a worker that was cut off for too long cannot
write over what another one has done since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.jobs.rows import COLUMNS, Job, JsonObject, encoded, job_of

# Puts a job into the queue; nothing when an unfinished one of the same kind has the same key.
INSERT_JOB = f"""
insert into job (kind, key, collection_id, subject, arguments, actor, due_at)
values ($1, $2, $3, $4, $5::jsonb, $6, now() + $7::interval)
on conflict (kind, key) where key is not null and state in ('waiting', 'running') do nothing
returning {COLUMNS}
"""  # noqa: S608 - composed of constants
FIND_UNFINISHED = f"""
select {COLUMNS} from job where kind = $1 and key = $2 and state in ('waiting', 'running')
"""  # noqa: S608 - composed of constants

# Of a kind that comes again and again there is one job, which is due no later than its interval from now.
HASTEN = """
update job set due_at = least(due_at, now() + $2::interval)
where kind = $1 and key = '' and state = 'waiting'
"""

# Takes the job that has been due for longest; those that others are taking at this moment are passed over.
TAKE_JOB = f"""
update job set state = 'running', lease = $2, due_at = now() + $3::interval, attempt = attempt + 1,
  started_at = coalesce(started_at, now()), problem = null
where id = (
  select id from job where state in ('waiting', 'running') and due_at <= now() and kind = any($1::text[])
  order by due_at limit 1 for update skip locked
)
returning {COLUMNS}
"""  # noqa: S608 - composed of constants

# Keeps a lease and writes down how far the work has come; nothing when the lease is lost.
RENEW_LEASE = """
update job set due_at = now() + $3::interval, done = $4, total = $5, checkpoint = $6::jsonb
where id = $1 and lease = $2 and state = 'running' returning cancel_asked
"""

# Ends an attempt: for good, or until it is due again. What was not brought to its end keeps its checkpoint, which may
# tell what was done until then.
END_JOB = """
update job set state = $3, lease = null, finished_at = now(), result = $4::jsonb, problem = $5,
  checkpoint = case when $3 <> 'succeeded' then $8::jsonb end, done = $6, total = $7
where id = $1 and lease = $2 and state = 'running'
"""
PUT_BACK = """
update job set state = 'waiting', lease = null, problem = $4, attempt = $5, done = $6, total = $7,
  checkpoint = $8::jsonb, due_at = case when cancel_asked then now() else now() + $3::interval end
where id = $1 and lease = $2 and state = 'running'
"""
COME_AGAIN = """
update job set state = 'waiting', lease = null, due_at = now() + $3::interval, finished_at = now(),
  result = coalesce($4::jsonb, result), problem = $5, attempt = 0, checkpoint = null, done = $6, total = $7,
  started_at = null, cancel_asked = false
where id = $1 and lease = $2 and state = 'running'
"""

FORGET_FINISHED = """
delete from job where state in ('succeeded', 'failed', 'cancelled') and finished_at < now() - $1::interval
"""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to put into the queue; see `Job`."""

    kind: str
    actor: str
    arguments: JsonObject
    key: str | None = None
    collection_id: int | None = None
    subject: str = ""
    delay_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work at a job, under a random name."""

    job_id: int
    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come, and what the next one could go on from."""

    done: int = 0
    total: int | None = None
    checkpoint: JsonObject | None = None


async def insert_job(connection: Connection, new: NewJob) -> Job:
    """Put a job into the queue, or find the unfinished one of its kind and key.

    The caller may hold a transaction: what it changes and the work that follows from it are then one fact.
    """
    delay = timedelta(seconds=new.delay_seconds)
    values = (new.kind, new.key, new.collection_id, new.subject, encoded(new.arguments), new.actor, delay)
    while True:
        row = await connection.fetchrow(INSERT_JOB, *values)
        if row is None:
            # It may end between the two statements: then there is room for ours.
            row = await connection.fetchrow(FIND_UNFINISHED, new.kind, new.key)
        if row is not None:
            return job_of(row)


class JobQueue:
    """The queue as workers see it. Nothing here asks who is calling."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, new: NewJob) -> Job:
        """Put a job into the queue; see `insert_job`."""
        async with self._database.connection() as connection:
            return await insert_job(connection, new)

    async def put_together(self, new: Sequence[NewJob]) -> list[Job]:
        """Put several jobs into the queue, all of them or none; see `insert_job`."""
        async with self._database.transaction() as connection:
            return [await insert_job(connection, each) for each in new]

    async def ensure_recurring(self, kind: str, every_seconds: float, *, actor: str) -> None:
        """Make sure that the one job of a kind that comes again is there, and due within its interval."""
        async with self._database.connection() as connection:
            await insert_job(connection, NewJob(kind, actor, {}, key="", delay_seconds=every_seconds))
            await connection.execute(HASTEN, kind, timedelta(seconds=every_seconds))

    async def take(self, kinds: Sequence[str], lease_name: str, *, lease_seconds: float) -> Job | None:
        """Take the job of these kinds that has been due for longest; `None` when none is due."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(TAKE_JOB, list(kinds), lease_name, timedelta(seconds=lease_seconds))
        return None if row is None else job_of(row)

    async def renew(self, lease: Lease, progress: Progress) -> bool | None:
        """Keep the lease and write progress down.

        Returns:
            whether somebody wants the job to end; `None`: the lease is lost, and another worker may have the job.
        """
        async with self._database.connection() as connection:
            asked: bool | None = await connection.fetchval(
                RENEW_LEASE,
                lease.job_id,
                lease.name,
                timedelta(seconds=lease.seconds),
                progress.done,
                progress.total,
                encoded(progress.checkpoint),
            )
        return asked

    async def end(
        self, lease: Lease, state: str, progress: Progress, *, result: JsonObject | None, problem: str | None
    ) -> None:
        """End the job for good; nothing happens when the lease is lost."""
        async with self._database.connection() as connection:
            await connection.execute(
                END_JOB,
                lease.job_id,
                lease.name,
                state,
                encoded(result),
                problem,
                progress.done,
                progress.total,
                encoded(progress.checkpoint),
            )

    async def put_back(
        self, lease: Lease, progress: Progress, *, delay_seconds: float, problem: str | None, attempt: int
    ) -> None:
        """Let the job be taken again after a while, from its checkpoint on."""
        async with self._database.connection() as connection:
            await connection.execute(
                PUT_BACK,
                lease.job_id,
                lease.name,
                timedelta(seconds=delay_seconds),
                problem,
                attempt,
                progress.done,
                progress.total,
                encoded(progress.checkpoint),
            )

    async def come_again(
        self, lease: Lease, progress: Progress, *, delay_seconds: float, result: JsonObject | None, problem: str | None
    ) -> None:
        """End one round of a job that comes again and again."""
        async with self._database.connection() as connection:
            await connection.execute(
                COME_AGAIN,
                lease.job_id,
                lease.name,
                timedelta(seconds=delay_seconds),
                encoded(result),
                problem,
                progress.done,
                progress.total,
            )

    async def forget_finished(self, *, days: float) -> None:
        """Drop jobs that ended longer ago."""
        async with self._database.connection() as connection:
            await connection.execute(FORGET_FINISHED, timedelta(days=days))
