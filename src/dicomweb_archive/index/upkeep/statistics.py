"""Upkeep: the statistics by which searches are planned, and the lists that inserts leave to be sorted in later.

PostgreSQL does all this by itself, but late: an archive that is filled for the first time would be searched by the
statistics of an empty one, and a list that has grown to its limit is sorted in by the store that hits it.
"""

from dataclasses import dataclass

from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.database.lease import maintenance_lease

TABLES = ("study", "series", "segment", "segment_data", "zone", "path", "term", "instance", "pack")

CHANGED_ROWS = 50
CHANGED_SHARE = 0.1
"""A table is analysed when more rows than these two together have changed since it last was."""

SAMPLED_SEGMENTS = 20_000
"""Terms of about so many segments are counted; of a larger archive a sample."""

_SECONDS = 900

# Lists the GIN indexes with pending lists.
FIND_GIN_INDEXES = """
select c.oid from pg_class c join pg_am m on m.oid = c.relam
where m.amname = 'gin' and c.relkind = 'i' and c.relnamespace = current_schema()::regnamespace
"""
FLUSH_PENDING = "select gin_clean_pending_list($1::oid::regclass)"

# Finds tables that have changed much since they were analysed.
FIND_CHANGED = """
select s.relname::text from pg_stat_user_tables s join pg_class c on c.oid = s.relid
where s.schemaname = current_schema() and s.relname = any($1::text[])
  and s.n_mod_since_analyze > $2::float8 + $3::float8 * greatest(c.reltuples, 0)
"""

# Says how much was ever written to and deleted from the table of segments, and about how many there are.
READ_SEGMENT_CHANGES = """
select s.n_tup_ins + s.n_tup_del as changes, greatest(c.reltuples, 1)::float8 as segments
from pg_stat_user_tables s join pg_class c on c.oid = s.relid where s.relid = 'segment'::regclass
"""

# Remembers at how many changes the terms were counted.
READ_COUNTED_AT = "select value from archive_state where name = 'terms_counted_at'"
KEEP_COUNTED_AT = """
insert into archive_state (name, value) values ('terms_counted_at', $1)
on conflict (name) do update set value = excluded.value
"""

# Counts the segments of each term, of all ($1 = 100) or of a sample in percent. Only what is off by more than a tenth
# is written, and a term of one segment counts as one that was never counted: most are.
COUNT_TERMS = """
with counted as materialized (
  select u.hash, count(*) as seen from segment s tablesample system ($1), unnest(s.terms) u(hash) group by u.hash
), estimated as (
  select t.hash, round(coalesce(c.seen, 0) * 100 / $1::float8)::int4 as segments
  from term t left join counted c on c.hash = t.hash
  where $1::float8 >= 100 or c.seen >= 4
)
update term t set segment_count = e.segments from estimated e
where t.hash = e.hash
  and abs(greatest(t.segment_count, 1) - greatest(e.segments, 1)) > e.segments / 10
"""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one round of upkeep did."""

    analysed: tuple[str, ...] = ()
    terms_counted: bool = False


@dataclass(frozen=True, slots=True)
class IndexUpkeep:
    """Keeps the statistics of the index fresh; nobody waits for any of it."""

    database: Database

    async def refresh(self) -> Refreshed | None:
        """Do what is due; `None` when another process does so.

        Raises:
            DatabaseUnavailableError: what was done until then stays done.
        """
        async with maintenance_lease(self.database) as connection:
            if connection is None:
                return None
            for row in await connection.fetch(FIND_GIN_INDEXES):
                await connection.execute(FLUSH_PENDING, row["oid"])
            rows = await connection.fetch(FIND_CHANGED, list(TABLES), float(CHANGED_ROWS), CHANGED_SHARE)
            changed = tuple(sorted(row["relname"] for row in rows))
            for table in changed:
                await _run_long(connection, f"analyze {table}")
            return Refreshed(changed, await _count_terms(connection))


async def _count_terms(connection: Connection) -> bool:
    """Count the segments of terms anew when there are many new ones."""
    changes, segments = await connection.fetchrow(READ_SEGMENT_CHANGES)
    kept: bytes | None = await connection.fetchval(READ_COUNTED_AT)
    counted_at = int.from_bytes(kept) if kept is not None else 0
    # The server counts from nothing again after a crash.
    if counted_at <= changes <= counted_at + CHANGED_ROWS + CHANGED_SHARE * segments:
        return False
    await _run_long(connection, COUNT_TERMS, min(100.0, 100.0 * SAMPLED_SEGMENTS / segments))
    await connection.execute(KEEP_COUNTED_AT, changes.to_bytes(8))
    return True


async def _run_long(connection: Connection, statement: str, *arguments: object) -> None:
    """Run a statement that may take longer than those of requests."""
    async with connection.transaction():
        await connection.execute(f"set local statement_timeout = '{_SECONDS}s'")
        await connection.execute(statement, *arguments, timeout=_SECONDS)
