"""Held paths: which attributes the archive has, and in how many series, as far as the caller may see them.

Segments never change, so what paths one has is found out once, after it was stored, and kept. Series of one machine
and protocol have the same paths: a set of paths is kept once and most segments refer to one that is known. Counting
then reads a few bytes a segment and nothing of its terms.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from dicomweb_archive.dicom.held_attributes import path_steps
from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.scope import Scope, missing

BATCH_SEGMENTS = 200
"""So many segments are looked through by one statement, which takes some tenths of a second at most."""

# Finds segments whose paths are not known yet, with the paths of their terms and zones and the steps that vary.
FIND_PATHS_OF_NEW = """
with fresh as materialized (
  select s.id, s.study_id, s.series_id, s.terms from segment s
  where ($2::text is null or s.study_id in (select st.id from study st where st.study_instance_uid = $2))
    and s.id > $3 and not exists (select from segment_paths known where known.segment_id = s.id)
  order by s.id limit $1
)
select f.id, f.study_id, f.series_id,
  array(select t.path_id from unnest(f.terms) h join term t on t.hash = h
        union select z.path_id from zone z where z.segment_id = f.id) as path_ids,
  array(select jsonb_object_keys(d.columns) from segment_data d where d.segment_id = f.id
        union all select own.step from segment_data d cross join jsonb_each(d.large) own(step, values)
          where d.segment_id = f.id and own.values ? 'varying') as varying
from fresh f
"""

# Reads the names of paths.
FIND_NAMES = "select id, path from path where id = any($1::int4[])"

# Adds sets of paths seen for the first time, in the order of their hashes, so that two writers never wait in a circle.
INSERT_SETS = """
insert into path_set (hash, path_ids)
select new.hash, new.path_ids::int4[] from unnest($1::int8[], $2::text[]) as new(hash, path_ids)
order by new.hash on conflict (hash) do nothing
"""

# Notes which set the segments have. One that is being deleted or merged is left out without waiting, which could end
# in a circle, and while the others are noted nobody deletes them.
INSERT_SEGMENT_PATHS = """
insert into segment_paths (segment_id, study_id, series_id, path_set)
select s.id, s.study_id, s.series_id, new.path_set
from unnest($1::int8[], $2::int8[]) as new(segment_id, path_set)
join lateral (select id, study_id, series_id from segment where id = new.segment_id for key share skip locked) s on true
order by new.segment_id on conflict (segment_id) do nothing
"""

# Counts, for each path, the visible series that have it, and those in which it varies. Series are first put together
# by the sets that they have, so that the paths of a set are unfolded once and not for each series.
COUNT_SERIES = f"""
with of_series as (
  select h.series_id, array_agg(distinct h.path_set order by h.path_set) as sets
  from segment_paths h join study st on st.id = h.study_id
  where {visible("st")} and ($4::text is null or st.study_instance_uid = $4)
  group by h.series_id
), kinds as (
  select row_number() over () as kind, sets, count(*) as series from of_series group by sets
), held as (
  select k.kind, k.series, abs(e.id) as path_id, bool_or(e.id < 0) as varies
  from kinds k cross join lateral (
    select distinct x as id from path_set p cross join unnest(p.path_ids) x where p.hash = any(k.sets)) e
  group by k.kind, k.series, abs(e.id)
)
select p.path, p.vr, sum(h.series)::int8 as series,
  coalesce(sum(h.series) filter (where h.varies), 0)::int8 as varies_in
from held h join path p on p.id = h.path_id group by p.path, p.vr
union all
select '', '', coalesce(sum(series), 0)::int8, 0 from kinds
"""  # noqa: S608 - composed of constants

# Tells whether a visible segment is still to be looked through.
FIND_BEHIND = f"""
select exists (select from segment s join study st on st.id = s.study_id
  where {visible("st")} and ($4::text is null or st.study_instance_uid = $4)
    and not exists (select from segment_paths known where known.segment_id = s.id))
"""  # noqa: S608 - composed of constants

# Tells whether a study may be seen.
FIND_STUDY = f"""
select 1 from study st where {visible("st")} and st.study_instance_uid = $4
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True, slots=True)
class HeldPath:
    """A path: its name in the index, and in how many series it occurs and varies."""

    path: str
    vr: str
    series: int
    varies_in: int


@dataclass(frozen=True, slots=True)
class HeldPaths:
    """The paths of what may be seen; `complete` when every segment has been looked through."""

    paths: Sequence[HeldPath]
    series: int
    complete: bool


class HeldPathsIndex:
    """Knows which attributes there are."""

    def __init__(self, database: Database, *, batch_segments: int = BATCH_SEGMENTS) -> None:
        self._database = database
        self._batch_segments = batch_segments
        self._first_steps: dict[int, str] = {}
        self._catching_up = asyncio.Lock()

    async def count(
        self, visibility: Visibility, study_instance_uid: str | None = None, *, seconds: float = 5.0
    ) -> HeldPaths:
        """Count the series of each path; what was stored since is looked through first, for so long at most.

        Raises:
            NotFoundError, GoneError: there is no such study that may be seen.
            QueryTooExpensiveError: there are so many segments that it ran into the time limit of searches.
            DatabaseUnavailableError: trying again later may help.
        """
        if study_instance_uid is not None:
            await self._require(visibility, study_instance_uid)
        complete = await self.catch_up(study_instance_uid, seconds=seconds)
        async with self._database.search_connection() as connection:
            rows = await connection.fetch(COUNT_SERIES, *visibility.parameters(), study_instance_uid)
            if not complete:
                # Whoever does not see what is behind is not told of it either.
                complete = not await connection.fetchval(FIND_BEHIND, *visibility.parameters(), study_instance_uid)
        paths = [HeldPath(**row) for row in rows if row["path"]]
        series = next(row["series"] for row in rows if not row["path"])
        return HeldPaths(sorted(paths, key=lambda held: held.path), series, complete)

    async def catch_up(self, study_instance_uid: str | None = None, *, seconds: float) -> bool:
        """Look through segments that have come since; tells whether none is left."""
        until = time.monotonic() + seconds
        behind = 0
        # One at a time a process: a second one would look through the same segments.
        async with self._catching_up:
            while True:
                async with self._database.connection() as connection:
                    rows = await connection.fetch(FIND_PATHS_OF_NEW, self._batch_segments, study_instance_uid, behind)
                    if rows:
                        await self._note(connection, rows)
                if len(rows) < self._batch_segments:
                    return True
                behind = rows[-1]["id"]
                if time.monotonic() >= until:
                    return False

    async def _require(self, visibility: Visibility, study_instance_uid: str) -> None:
        async with self._database.connection() as connection:
            if not await connection.fetchval(FIND_STUDY, *visibility.parameters(), study_instance_uid):
                raise await missing(connection, Scope(study_instance_uid), visibility)

    async def _note(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        await self._learn_steps(connection, {path_id for row in rows for path_id in row["path_ids"]})
        sets: dict[int, str] = {}
        hashes = []
        for row in rows:
            varying = frozenset(row["varying"])
            signed = [-id_ if self._first_steps.get(id_) in varying else id_ for id_ in sorted(row["path_ids"])]
            text = f"{{{','.join(map(str, signed))}}}"
            hashes.append(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True))
            sets[hashes[-1]] = text
        ordered = sorted(sets)
        await connection.execute(INSERT_SETS, ordered, [sets[key] for key in ordered])
        await connection.execute(INSERT_SEGMENT_PATHS, [row["id"] for row in rows], hashes)

    async def _learn_steps(self, connection: Connection, path_ids: Iterable[int]) -> None:
        unknown = [id_ for id_ in path_ids if id_ not in self._first_steps]
        if not unknown:
            return
        for id_, name in await connection.fetch(FIND_NAMES, unknown):
            self._first_steps[id_] = str(next(path_steps(name)))
