"""Jobs as people see them: those of their collections, newest first, page after page."""

from collections.abc import Sequence

from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.jobs.rows import COLUMNS, Job, JobState, JsonObject, encoded, job_of

# Of each of many: what it is told and goes on from may be long, and so may be lists in what came of it.
_SUMMARY = {
    "arguments": "'{}'::jsonb as arguments",
    "checkpoint": "null::jsonb as checkpoint",
    "result": """
      case when result is not null then coalesce(
        (select jsonb_object_agg(e.key, e.value) from jsonb_each(result) e
          where jsonb_typeof(e.value) not in ('array', 'object')), '{}'::jsonb) end as result""",
}
_SUMMARY_COLUMNS = ", ".join(_SUMMARY.get(name, name) for name in COLUMNS.split(", "))

# Lists jobs; the two first parameters say which may be seen: all, or those of these collections.
LIST_JOBS = f"""
select {_SUMMARY_COLUMNS} from job
where ($1::int4[] is null or collection_id = any($1)) and ($2::text is null or state = $2)
  and ($3::text is null or kind = $3) and ($4::text is null or subject = $4) and ($5::int8 is null or id < $5)
order by id desc limit $6
"""  # noqa: S608 - composed of constants
FIND_JOB = f"""
select {COLUMNS} from job where id = $2 and ($1::int4[] is null or collection_id = any($1))
"""  # noqa: S608 - composed of constants

# A waiting job ends at once, a running one when its worker hears of it. One that comes again goes on coming.
CANCEL_JOB = f"""
update job set cancel_asked = state = 'running',
  state = case state when 'waiting' then 'cancelled' else state end,
  finished_at = case state when 'waiting' then now() else finished_at end
where id = $2 and ($1::int4[] is null or collection_id = any($1)) and state in ('waiting', 'running')
  and key is distinct from ''
returning {COLUMNS}
"""  # noqa: S608 - composed of constants

# What has failed or was cancelled begins anew, for whoever asks for it; what comes again is due now.
RUN_AGAIN = f"""
update job set state = 'waiting', due_at = now(), attempt = 0, problem = null, finished_at = null,
  started_at = null, cancel_asked = false, done = 0, total = null,
  checkpoint = case when state = 'waiting' then checkpoint end,
  actor = case when state = 'waiting' then actor else $3 end,
  arguments = case when state = 'waiting' then arguments else $4::jsonb end
where id = $2 and ($1::int4[] is null or collection_id = any($1))
  and (state in ('failed', 'cancelled') or state = 'waiting') and not exists (
    select 1 from job other where other.kind = job.kind and other.key = job.key and other.id <> job.id
      and other.state in ('waiting', 'running'))
returning {COLUMNS}
"""  # noqa: S608 - composed of constants


class JobList:
    """Finds jobs for those who may see them.

    Every method takes the collections whose jobs are seen; `None`: all, and those of the whole archive too.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, collections: frozenset[int] | None, job_id: int) -> Job | None:
        """Return one job."""
        return await self._fetch_one(FIND_JOB, collections, job_id)

    async def page(
        self,
        collections: frozenset[int] | None,
        *,
        state: JobState | None,
        kind: str | None,
        subject: str | None,
        before: int | None,
        limit: int,
    ) -> Sequence[Job]:
        """Return the newest jobs, those with an id below `before`.

        They come without arguments and checkpoint, and without the lists in their results.
        """
        values = (_parameter(collections), state and state.value, kind, subject, before, limit)
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_JOBS, *values)
        return [job_of(row) for row in rows]

    async def cancel(self, collections: frozenset[int] | None, job_id: int) -> Job | None:
        """Ask for the end of a job; `None` when it is over, comes again and again, or is not there."""
        return await self._fetch_one(CANCEL_JOB, collections, job_id)

    async def run_again(
        self, collections: frozenset[int] | None, job_id: int, *, actor: str, arguments: JsonObject
    ) -> Job | None:
        """Put a job that has failed or was cancelled back; a waiting one is due now; `None`: nothing to do that to.

        Args:
            actor, arguments: of a job that begins anew.
        """
        return await self._fetch_one(RUN_AGAIN, collections, job_id, actor, encoded(arguments))

    async def _fetch_one(self, statement: str, collections: frozenset[int] | None, *arguments: object) -> Job | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statement, _parameter(collections), *arguments)
        return None if row is None else job_of(row)


def _parameter(collections: frozenset[int] | None) -> list[int] | None:
    return None if collections is None else sorted(collections)
