"""Dictionary: the paths and distinct values of the whole archive, one row each."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from asyncpg import exceptions

from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.segments.name_words import NameWord, insert_name_words, name_words
from dicomweb_archive.index.segments.terms import SegmentTerms, TermRow

# Lets a statement of its own not wait for the disk. The log is one: when the segment that is written after it is
# durable, the dictionary rows are. Within a larger transaction it must not be used.
_LAZILY = """
with lazily as (
  select set_config('synchronous_commit', case when {0} then 'off' else current_setting('synchronous_commit') end, true)
)
"""

# Adds paths seen for the first time. Rows that exist are skipped before an id is drawn for them, and the order
# is the same for everybody, so that two stores never wait for each other in a circle.
INSERT_PATHS = f"""{_LAZILY.format("$3::bool")}insert into path (path, vr)
select new.path, new.vr from lazily, unnest($1::text[], $2::text[]) as new(path, vr)
where not exists (select 1 from path known where known.path = new.path)
order by new.path
on conflict (path) do nothing
"""  # noqa: S608 - composed of constants

# Finds the ids of paths.
FIND_PATHS = "select path, id from path where path = any($1::text[])"

# Adds values seen for the first time, in the order of their hashes (see INSERT_PATHS). Rows that exist are skipped by
# reading alone: an insert that meets one while upkeep counts it would wait until everything is counted.
INSERT_TERMS = f"""{_LAZILY.format("$5::bool")}insert into term (hash, path_id, value, number)
select new.hash, new.path_id, new.value, new.number
from lazily, unnest($1::int8[], $2::int4[], $3::text[], $4::float8[]) as new(hash, path_id, value, number)
where not exists (select 1 from term known where known.hash = new.hash)
order by new.hash
on conflict (hash) do nothing
"""  # noqa: S608 - composed of constants

KNOWN_SECONDS = 600.0
"""So long a process writes segments without asking again whether a value has its row."""

_KNOWN_TERMS = 200_000
_KNOWN_PATHS = 50_000

# So many rows are merged in a millisecond.
_INLINE_ROWS = 5_000

# Statements of small stores that run side by side; more only compete for the cores that the stores themselves need.
_AT_ONCE = 2

# More rows than this take long enough to be no company for the few of a single instance.
_SHARED_ROWS = 2_000

# What the server or the driver says when it refuses the rows themselves: those of one store, not its neighbours'.
_REFUSALS = (exceptions.PostgresError, exceptions.InterfaceError, ValueError)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What segments need of the dictionary: the ids of their paths, and the hashes of their values."""

    path_ids: dict[str, int]
    hashes: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Missing:
    """What the dictionary lacks, as far as this process knows.

    Attributes:
        ids: of paths that the values refer to and that are known.
        vrs: of paths that are not known.
    """

    ids: Mapping[str, int]
    vrs: Mapping[str, str]
    rows: Sequence[TermRow]
    words: Sequence[NameWord]


@dataclass(slots=True)
class _Batch:
    """What concurrent stores lack, written together; `task` gives the ids of all its paths."""

    task: "asyncio.Task[dict[str, int]]"
    members: list[_Missing] = field(default_factory=list)


class _Writer:
    """Writes missing rows: at once while few statements are running, and what comes meanwhile together.

    A store waits for nobody as long as there is room. Beyond that the small ones of the same moment share a statement,
    instead of all of them taking connections and competing for the same index pages.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathering: _Batch | None = None
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def write(self, missing: _Missing) -> dict[str, int]:
        """Make the rows visible; return the ids of the paths."""
        if len(missing.rows) > _SHARED_ROWS:
            return await self._insert([missing])
        if self._gathering is None and not self._turns.locked():
            async with self._turns:
                return await self._insert([missing])
        batch = self._gathering
        if batch is None:
            batch = self._gathering = _Batch(asyncio.create_task(self._next_batch()))
        batch.members.append(missing)
        try:
            # Whoever is cancelled here leaves the others their batch.
            return await asyncio.shield(batch.task)
        except _REFUSALS:
            if len(batch.members) == 1:
                raise
        # Somebody's rows cannot be written: each for itself, so that only they fail.
        return await self._insert([missing])

    async def _next_batch(self) -> dict[str, int]:
        async with self._turns:
            batch, self._gathering = self._gathering, None
            assert batch is not None
            # Every member may have been cancelled; then nobody else would ask for the exception.
            batch.task.add_done_callback(lambda task: task.cancelled() or task.exception())
            return await self._insert(batch.members)

    async def _insert(self, members: Sequence[_Missing]) -> dict[str, int]:
        ids = {path: id_ for missing in members for path, id_ in missing.ids.items()}
        vrs = {path: vr for missing in members for path, vr in missing.vrs.items()}
        rows = {row.hash: row for missing in members for row in missing.rows}
        words = [word for missing in members for word in missing.words]
        async with self._database.connection() as connection:
            await _insert_missing(connection, ids, vrs, list(rows.values()), words, lazily=True)
        return ids


class Dictionary:
    """Makes sure that the terms of segments have their rows before the segments themselves are written.

    The rows go in by transactions of their own: written inside the main one they made stores of new values
    wait for each other (spike: 91 against 1,639 transactions/s). Stores of the same moment share a
    statement. A row without a segment does no harm. What is durable is remembered, within bounds and for a while: rows
    go only long after a purge (`purged_terms.py`).

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._writer = _Writer(database)
        self._clock = clock
        self._known_since = clock()
        self._known_paths: dict[str, int] = {}
        self._known_terms: set[int] = set()

    async def add(self, segments: Sequence[SegmentTerms]) -> Vocabulary:
        """Write the rows that are missing, visible at once and durable with whatever is committed next."""
        if self._clock() - self._known_since > KNOWN_SECONDS:
            self._known_since = self._clock()
            self._known_terms.clear()
        is_small = sum(len(terms.dictionary) for terms in segments) <= _INLINE_ROWS
        vrs, rows = _merge(segments) if is_small else await asyncio.to_thread(_merge, segments)
        ids = {path: self._known_paths[path] for path in vrs if path in self._known_paths}
        new_vrs = {path: vr for path, vr in vrs.items() if path not in ids}
        new_rows = [row for value, row in rows.items() if value not in self._known_terms]
        if new_vrs or new_rows:
            written = await self._writer.write(_Missing(ids, new_vrs, new_rows, name_words(new_rows, vrs)))
            ids.update((path, written[path]) for path in new_vrs)
        return Vocabulary(ids, frozenset(rows))

    def remember(self, vocabulary: Vocabulary) -> None:
        """Ask for these rows no more; for use when segments that were written after them are committed.

        Not earlier: a server that crashes loses rows that are not durable yet, and gives their ids to others.
        """
        # Forgetting everything at the bound is simple and costs one store.
        if len(self._known_paths) > _KNOWN_PATHS:
            self._known_paths.clear()
        if len(self._known_terms) > _KNOWN_TERMS:
            self._known_terms.clear()
        self._known_paths.update(vocabulary.path_ids)
        self._known_terms |= vocabulary.hashes


async def add_to_dictionary(connection: Connection, segments: Sequence[SegmentTerms]) -> dict[str, int]:
    """Write the rows that are missing within the caller's transaction; for rare work with few new values."""
    ids: dict[str, int] = {}
    vrs, rows = _merge(segments)
    values = list(rows.values())
    await _insert_missing(connection, ids, vrs, values, name_words(values, vrs), lazily=False)
    return ids


def _merge(segments: Sequence[SegmentTerms]) -> tuple[dict[str, str], dict[int, TermRow]]:
    """Return the VR of each path and the row of each hash."""
    vrs = {path: vr for terms in segments for path, vr in terms.paths.items()}
    return vrs, {row.hash: row for terms in segments for row in terms.dictionary}


async def _insert_missing(
    connection: Connection,
    ids: dict[str, int],
    vrs: Mapping[str, str],
    rows: Sequence[TermRow],
    words: Sequence[NameWord],
    *,
    lazily: bool,
) -> None:
    """Insert paths, adding their ids to `ids`, and then the values that refer to them, with the words of names."""
    if vrs:
        paths = sorted(vrs)
        await connection.execute(INSERT_PATHS, paths, [vrs[path] for path in paths], lazily)
        ids.update(await connection.fetch(FIND_PATHS, paths))
    if rows:
        rows = sorted(rows)
        await connection.execute(
            INSERT_TERMS,
            [row.hash for row in rows],
            [ids[row.path] for row in rows],
            [row.text for row in rows],
            [row.number for row in rows],
            lazily,
        )
    if words:
        await insert_name_words(connection, words, ids, lazily=lazily)
