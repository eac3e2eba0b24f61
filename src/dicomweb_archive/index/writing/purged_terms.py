"""Purged terms: values of what was purged leave the dictionary too, where nothing else has them.

Not at once: server processes remember for a while which values have their rows, and write segments without asking again
(`dictionary.py`). So the terms are marked, dropped when every process has forgotten them, and looked after once more:
a store of the same value that was under way meanwhile gets its row back.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.writing.dictionary import KNOWN_SECONDS
from dicomweb_archive.index.writing.rebuilding import Rebuilding

GRACE_SECONDS: Final = 3 * KNOWN_SECONDS
"""Until then every process has asked for the value anew, and what it was writing has ended."""

# In one order for everybody, so that two purges never wait for each other in a circle.
MARK_TERMS = """
insert into purged_term (hash)
select distinct u.hash from segment s, unnest(s.terms) u(hash) where s.id = any($1::int8[]) order by u.hash
on conflict (hash) do update set marked_at = now(), dropped_at = null
"""

# Some of the terms that are due; few at a time, because counting who has a common one takes a while.
_BATCH = 50
TAKE_MARKED = """
select hash from purged_term where dropped_at is null and marked_at < now() - $1::interval
order by hash limit $2 for update skip locked
"""
FIND_UNUSED = """
select u.hash from unnest($1::int8[]) u(hash) where not exists (select from segment s where s.terms @> array[u.hash])
"""
DROP_WORDS = "delete from name_word where hash = any($1::int8[])"
DROP_TERMS = "delete from term where hash = any($1::int8[])"
NOTE_DROPPED = "update purged_term set dropped_at = now() where hash = any($1::int8[])"
UNMARK = "delete from purged_term where hash = any($1::int8[])"

TAKE_DROPPED = """
select hash from purged_term where dropped_at < now() - $1::interval order by hash limit $2 for update skip locked
"""

# Segments that have a value without a row.
FIND_ORPHANED = """
select s.id, s.study_id from unnest($1::int8[]) u(hash) join segment s on s.terms @> array[u.hash]
where not exists (select from term t where t.hash = u.hash) group by s.id order by s.study_id, s.id limit 100
"""
LOCK_STUDY = "select 1 from study where id = $1 for update"
LIST_POSITIONS = "select position from instance where segment_id = $1"


async def mark_terms(connection: Connection, segment_ids: Sequence[int]) -> None:
    """Note the values of segments that are about to go; the caller holds the transaction."""
    await connection.execute(MARK_TERMS, segment_ids)


class PurgedTerms:
    """Takes values of what was purged out of the dictionary."""

    def __init__(self, database: Database, *, timezone: str = "+0000", grace_seconds: float = GRACE_SECONDS) -> None:
        self._database = database
        self._timezone = timezone
        self._grace = timedelta(seconds=grace_seconds)

    async def drop(self) -> int:
        """Drop marked terms that nothing has and whose time has come, some at a time; returns how many were looked at.

        A name that another segment has among very many (more than it keeps as terms) may go with them: a fuzzy search
        for it does not find that segment then, until it is built anew.
        """
        async with self._database.transaction() as connection:
            marked = [row["hash"] for row in await connection.fetch(TAKE_MARKED, self._grace, _BATCH)]
            unused = [row["hash"] for row in await connection.fetch(FIND_UNUSED, marked)]
            for statement in (DROP_WORDS, DROP_TERMS, NOTE_DROPPED):
                await connection.execute(statement, unused)
            await connection.execute(UNMARK, sorted(set(marked) - set(unused)))
        return len(marked)

    async def look_after(self) -> int:
        """Give values their rows back that were stored while they were dropped; returns how many were looked at."""
        segments = Rebuilding(await self._database.term_secret(), self._timezone)
        async with self._database.transaction() as connection:
            dropped = [row["hash"] for row in await connection.fetch(TAKE_DROPPED, self._grace, _BATCH)]
            orphaned = await connection.fetch(FIND_ORPHANED, dropped)
            for row in orphaned:
                await connection.execute(LOCK_STUDY, row["study_id"])
                positions = {each["position"] for each in await connection.fetch(LIST_POSITIONS, row["id"])}
                if positions:
                    await segments.part(connection, row["id"], [positions])
            if not orphaned:
                await connection.execute(UNMARK, dropped)
        return len(dropped)
