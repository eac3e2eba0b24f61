"""Merging: many small segments of one series, as stores of single instances leave them, become few.

A merge reads and computes without any lock. Then one short transaction makes sure that all parts are still there,
which under the lock of their study stays so, writes the new segment, hands it the instances and drops the parts.
Stores into the same study wait for that transaction at their very end, searches never. Segments never change: the
new one has an id of its own, and `segment_moved` says for a while where the positions of the old ones went.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate
from typing import NamedTuple

from asyncpg import exceptions

from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.database.lease import maintenance_lease
from dicomweb_archive.index.segments.joining import KnownTerm, SegmentPart, ZoneBounds, merge_segments

MERGED_INSTANCES = 256
"""Most instances of a segment that is made by merging."""

SMALL_INSTANCES = MERGED_INSTANCES // 2
"""A segment of more instances is not merged again; `segment_small_idx` has the others."""

MERGED_BYTES = 2 * 1024 * 1024
"""Most bytes of compressed documents and locations that go into one segment."""

ENOUGH_SEGMENTS = 64
"""So many small segments are merged although their series is still growing."""

QUIET_SECONDS = 60.0
"""A series that has changed since then is taken to be still growing."""

COLD_SECONDS = 3600.0
"""A series that has not changed for so long is merged as far as it goes."""

MOVED_SECONDS = 3600
"""How long it is known where the instances of a merged segment went; a request lasts seconds."""

LOCK_SECONDS = 2.0
"""A study that others keep locked for longer is left to a later round."""

_SLICE = 20_000
_SERIES_SEGMENTS = 4096
_SETTLED = 200_000

# Finds where the next slice of series ends; nothing after the last one.
FIND_SLICE_END = f"""
select max(w.series_id) from (
  select series_id from segment
  where instance_count <= {SMALL_INSTANCES} and series_id > $1 order by series_id limit {_SLICE}) w
"""  # noqa: S608 - composed of constants

# Lists the series of a slice that have several small segments, once they are quiet or have enough of them. The index
# of small segments alone answers most of it.
FIND_SERIES = f"""
select w.series_id, w.segments, w.newest, se.changed_at < now() - $4::interval as is_cold
from (
  select series_id, count(*) as segments, max(id) as newest from segment
  where instance_count <= {SMALL_INSTANCES} and series_id > $1 and series_id <= $2
  group by series_id having count(*) > 1
) w join series se on se.id = w.series_id
where w.segments >= {ENOUGH_SEGMENTS} or se.changed_at < now() - $3::interval
order by w.series_id
"""  # noqa: S608 - composed of constants

# Lists the small segments of a series with what decides whether they go together.
FIND_SMALL = f"""
select sg.id, sg.study_id, sg.series_id, sg.instance_count, sg.study_facts, sg.series_facts,
  octet_length(d.document) + octet_length(d.locations) as size_bytes
from segment sg join segment_data d on d.segment_id = sg.id
where sg.series_id = $1 and sg.instance_count <= {SMALL_INSTANCES} order by sg.id limit {_SERIES_SEGMENTS}
"""  # noqa: S608 - composed of constants

# Reads segments that are going to be one.
READ_PARTS = """
select sg.id, sg.instance_count, sg.terms, d.common, d.columns, d.document, d.locations, d.large
from segment sg join segment_data d on d.segment_id = sg.id where sg.id = any($1::int8[]) order by sg.id
"""
READ_ZONES = """
select segment_id, path_id, low, high, low_text, high_text, spacing from zone where segment_id = any($1::int8[])
"""
READ_TERMS = "select hash, path_id, value, number from term where hash = any($1::int8[])"

# Keeps deletes away from the study, and stores from ending in it; reads go on.
LOCK_STUDY = "select 1 from study where id = $1 for no key update"

# Whether they are all still where they were: publishing may have taken them into another study.
COUNT_PARTS = "select count(*) from segment where id = any($1::int8[]) and study_id = $2 and series_id = $3"

INSERT_MERGED = """
with new_segment as (
  insert into segment (study_id, series_id, instance_count, study_facts, series_facts, terms, varying)
  values ($1, $2, $3, $4, $5, $6, $18) returning id
), new_data as (
  insert into segment_data (segment_id, common, columns, document, locations, large)
  select id, $7::jsonb, $8::jsonb, $9, $10, $17::jsonb from new_segment
), new_zones as (
  insert into zone (segment_id, path_id, low, high, low_text, high_text, spacing)
  select s.id, z.* from new_segment s,
    unnest($11::int4[], $12::float8[], $13::float8[], $14::text[], $15::text[], $16::float8[]) z
)
select id from new_segment
"""

MOVE_INSTANCES = """
update instance i set segment_id = $1, position = i.position + part.shift
from unnest($2::int8[], $3::int4[]) as part(id, shift) where i.segment_id = part.id
"""

# What was merged before into one of the parts goes on with it.
MOVE_AGAIN = """
update segment_moved m set new_segment_id = $1, shift = m.shift + part.shift
from unnest($2::int8[], $3::int4[]) as part(id, shift) where m.new_segment_id = part.id
"""
NOTE_MOVE = """
insert into segment_moved (segment_id, new_segment_id, shift)
select part.id, $1, part.shift from unnest($2::int8[], $3::int4[]) as part(id, shift)
"""
FORGET_MOVES = "delete from segment_moved where moved_at < now() - $1::interval"

DELETE_PARTS = "delete from segment where id = any($1::int8[])"


# Another process was quicker or holds a lock for long; the next round finds what is left.
_NOT_NOW = (exceptions.LockNotAvailableError, exceptions.DeadlockDetectedError, exceptions.SerializationError)


@dataclass(frozen=True, slots=True)
class Merged:
    """What one round of merging did: so many segments became so many."""

    segments_before: int = 0
    segments_after: int = 0
    instances: int = 0

    def __add__(self, other: "Merged") -> "Merged":
        return Merged(
            self.segments_before + other.segments_before,
            self.segments_after + other.segments_after,
            self.instances + other.instances,
        )


class SmallSegment(NamedTuple):
    """A segment that may be merged with others of its series."""

    id: int
    study_id: int
    series_id: int
    instance_count: int
    study_facts: int
    series_facts: int
    size_bytes: int


def plan_merges(segments: Iterable[SmallSegment], *, is_cold: bool) -> list[list[SmallSegment]]:
    """Choose which segments of a series become one, in the order in which they were stored.

    Segments whose instances disagree about study or series stay apart, because votes count segments. While the
    series is not cold, a run is left alone in which one segment outweighs all others: so an instance is written
    anew eight times at most, however slowly its neighbours come in.
    """
    runs: list[list[SmallSegment]] = []
    open_runs: dict[tuple[int, int], list[SmallSegment]] = {}
    for segment in segments:
        run = open_runs.setdefault((segment.study_facts, segment.series_facts), [])
        is_full = (
            sum(each.instance_count for each in run) + segment.instance_count > MERGED_INSTANCES
            or sum(each.size_bytes for each in run) + segment.size_bytes > MERGED_BYTES
        )
        if is_full:
            runs.append(run.copy())
            run.clear()
        run.append(segment)
    runs += open_runs.values()
    return [run for run in runs if len(run) > 1 and (is_cold or _is_balanced(run))]


def _is_balanced(run: Sequence[SmallSegment]) -> bool:
    counts = [segment.instance_count for segment in run]
    return max(counts) * 2 <= sum(counts)


@dataclass(slots=True)
class SegmentMerger:
    """Merges the small segments of series, a series at a time.

    Args:
        quiet_seconds: a series that changed later is still growing.
        cold_seconds: a series that has not changed for so long is merged as far as it goes.
    """

    database: Database
    quiet_seconds: float = QUIET_SECONDS
    cold_seconds: float = COLD_SECONDS
    _settled: set[tuple[int, int, int, bool]] = field(default_factory=set)

    async def merge(self) -> Merged | None:
        """Go once through all series; `None` when another process does so.

        Raises:
            DatabaseUnavailableError: what was merged until then stays merged.
        """
        async with maintenance_lease(self.database) as connection:
            if connection is None:
                return None
            total = Merged()
            after = -1
            while (end := await connection.fetchval(FIND_SLICE_END, after)) is not None:
                quiet, cold = timedelta(seconds=self.quiet_seconds), timedelta(seconds=self.cold_seconds)
                for row in await connection.fetch(FIND_SERIES, after, end, quiet, cold):
                    total += await self._merge_series(connection, tuple(row))
                after = end
            await connection.execute(FORGET_MOVES, timedelta(seconds=MOVED_SECONDS))
            return total

    async def _merge_series(self, connection: Connection, state: tuple[int, int, int, bool]) -> Merged:
        """Merge what goes together in a series; one that was left as it is is not looked at again."""
        if state in self._settled:
            return Merged()
        try:
            return await self._merge_unsettled(connection, state)
        except Exception:
            # Whatever it is, the next round comes past this series to the others; a lost connection says nothing of it.
            if not connection.is_closed():
                self._settle(state)
            raise

    async def _merge_unsettled(self, connection: Connection, state: tuple[int, int, int, bool]) -> Merged:
        series_id, _, _, is_cold = state
        total, is_settled = Merged(), True
        while True:
            segments = [SmallSegment(*row) for row in await connection.fetch(FIND_SMALL, series_id)]
            merged = Merged()
            for run in plan_merges(segments, is_cold=is_cold):
                try:
                    merged += await _merge_run(connection, run)
                except _NOT_NOW:
                    is_settled = False
            total += merged
            if len(segments) < _SERIES_SEGMENTS or not merged.segments_before:
                break
        if is_settled and not total.segments_before:
            self._settle(state)
        return total

    def _settle(self, state: tuple[int, int, int, bool]) -> None:
        # Forgetting everything at the bound is simple and costs one round.
        if len(self._settled) >= _SETTLED:
            self._settled.clear()
        self._settled.add(state)


async def _merge_run(connection: Connection, run: Sequence[SmallSegment]) -> Merged:
    """Make one segment of the run; nothing happens when that cannot be.

    Raises:
        asyncpg.PostgresError: of `_NOT_NOW`: somebody is in the way.
    """
    ids = [segment.id for segment in run]
    parts, known = await _read(connection, ids)
    if len(parts) < len(run):
        return Merged()
    # Tens of milliseconds for two hundred instances.
    merged = await asyncio.to_thread(merge_segments, parts, known)
    if merged is None:
        return Merged()
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{LOCK_SECONDS * 1000:.0f}ms'")
        if not await _replace(connection, run, merged):
            return Merged()
    return Merged(len(run), 1, merged.instance_count)


async def _read(connection: Connection, ids: Sequence[int]) -> tuple[list[SegmentPart], list[KnownTerm]]:
    """Read segments in the order of their ids; fewer when some are gone, since segments never change."""
    rows = await connection.fetch(READ_PARTS, ids)
    zones: dict[int, list[ZoneBounds]] = {}
    for segment_id, *zone in await connection.fetch(READ_ZONES, ids):
        zones.setdefault(segment_id, []).append(ZoneBounds(*zone))
    parts = [SegmentPart(row[1], row[2], zones.get(row[0], []), *row[3:]) for row in map(tuple, rows)]
    terms = list({term for part in parts for term in part.terms})
    return parts, [KnownTerm(*row) for row in await connection.fetch(READ_TERMS, terms)]


async def _replace(connection: Connection, run: Sequence[SmallSegment], merged: SegmentPart) -> bool:
    """Put the merged segment in the place of its parts; `False` when one of them is gone meanwhile."""
    ids = [segment.id for segment in run]
    first = run[0]
    if await connection.fetchval(LOCK_STUDY, first.study_id) is None:
        return False
    if await connection.fetchval(COUNT_PARTS, ids, first.study_id, first.series_id) < len(ids):
        return False
    zones = list(zip(*merged.zones, strict=True)) or [()] * len(ZoneBounds._fields)
    new_id = await connection.fetchval(
        INSERT_MERGED,
        first.study_id,
        first.series_id,
        merged.instance_count,
        first.study_facts,
        first.series_facts,
        merged.terms,
        merged.common,
        merged.columns,
        merged.document,
        merged.locations,
        *zones,
        merged.large,
        merged.varying,
    )
    shifts = list(accumulate((segment.instance_count for segment in run[:-1]), initial=0))
    for statement in (MOVE_INSTANCES, MOVE_AGAIN, NOTE_MOVE):
        await connection.execute(statement, new_id, ids, shifts)
    await connection.execute(DELETE_PARTS, ids)
    return True
