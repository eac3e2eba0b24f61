"""Instances: where they lie, for whoever is going to send their bytes (PS3.18 10.4).

Locations of whole studies and series come from the database each time. Single instances, which viewers ask
for by the hundred, come from a cache of whole segments. What keeps it honest: segments never change, a delete
makes a new one; an entry is believed for half a second, then a point query asks whether its segment still
exists and may be seen; after ten minutes it is read anew, since compaction puts bytes elsewhere; and a delete by
this process empties the cache before it is acknowledged, also of what was being read meanwhile.

The point query asks for all segments in use at the same time: who looks through many series pays for one in half a
second and not for one a series. Nothing but the rows themselves is asked, so whatever takes them away or hides them,
be it another process, an embargo or an administrator with SQL, shows within that time; no writer need remember to
tell, nor would deletes queue for a counter.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.reading.location_cache import CachedSegment, InstanceLocation, LocationCache
from dicomweb_archive.index.scope import Scope, missing
from dicomweb_archive.index.segments.locations import FileLayout, decode_kind, decode_locations
from dicomweb_archive.observability import LocationMeters

__all__ = ["InstanceIndex", "InstanceLocation", "Scope", "SegmentLocations"]

CACHE_BYTES = 64 * 1024 * 1024

# Layouts of so few and so little (compressed) are decoded in a millisecond.
_INLINE_INSTANCES = 100
_INLINE_BYTES = 8 * 1024

_SEGMENT_COLUMNS = """
st.study_instance_uid, se.series_instance_uid, sg.id as segment_id, d.locations,
  i.positions, i.uids, i.keys, i.offsets, i.lengths, i.digests
"""

# The instances of one segment as arrays in the order of the pack, so that one row carries a segment and one
# statement sees one state of the archive.
_INSTANCES_OF_SEGMENT = """
select array_agg(o.position) as positions, array_agg(o.sop_instance_uid) as uids, array_agg(o.object_key) as keys,
  array_agg(o.byte_offset) as offsets, array_agg(o.byte_length) as lengths, array_agg(o.digest) as digests,
  min(o.pack_id) as first_pack_id, min(o.byte_offset) as first_offset
from (
  select x.position, x.sop_instance_uid, x.pack_id, p.object_key, x.byte_offset, x.byte_length, x.digest
  from instance x join pack p on p.id = x.pack_id
  where x.segment_id = sg.id order by x.pack_id, x.byte_offset
) o
"""

# Locates all instances of a study or of one of its series.
LOCATE_SEGMENTS = f"""
select {_SEGMENT_COLUMNS}
from study st
join series se on se.study_id = st.id
join segment sg on sg.series_id = se.id
join segment_data d on d.segment_id = sg.id
cross join lateral ({_INSTANCES_OF_SEGMENT}) i
where {visible("st")} and st.study_instance_uid = $4 and ($5::text is null or se.series_instance_uid = $5)
order by i.first_pack_id, i.first_offset
"""  # noqa: S608 - composed of constants

# Locates one instance, and with it all of its segment, because viewers go on with the neighbours.
LOCATE_INSTANCE = f"""
select {_SEGMENT_COLUMNS}
from instance wanted
join segment sg on sg.id = wanted.segment_id
join series se on se.id = sg.series_id
join study st on st.id = sg.study_id
join segment_data d on d.segment_id = sg.id
cross join lateral ({_INSTANCES_OF_SEGMENT}) i
where {visible("st")} and wanted.space_id = any($1::int4[]) and wanted.sop_instance_uid = $6
  and st.study_instance_uid = $4 and se.series_instance_uid = $5
limit 1
"""  # noqa: S608 - composed of constants

# Asks which of the cached segments still exist and may be seen.
CHECK_SEGMENTS = f"""
select sg.id from segment sg join study st on st.id = sg.study_id where {visible("st")} and sg.id = any($4::int8[])
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True, slots=True)
class SegmentLocations:
    """The instances of one segment in the order of their packs; iterate it, each time anew.

    What the iteration yields is decoded on the way, so that a study of many instances stays small in memory.
    """

    segment_id: int
    study_instance_uid: str
    series_instance_uid: str
    positions: Sequence[int]
    sop_instance_uids: Sequence[str]
    object_keys: Sequence[str]
    byte_offsets: Sequence[int]
    byte_lengths: Sequence[int]
    digests: Sequence[bytes]
    locations: bytes

    def __len__(self) -> int:
        return len(self.sop_instance_uids)

    def __iter__(self) -> Iterator[InstanceLocation]:
        layouts = decode_locations(self.locations)
        for index, position in enumerate(self.positions):
            yield self._location(index, layouts[position])

    def kind(self) -> InstanceLocation | None:
        """Return one of the instances if all of them can be had in the same forms, `None` if they have to be asked.

        Much quicker than looking at each, and what a series mostly is.
        """
        layout = decode_kind(self.locations, self.positions[0]) if self.positions else None
        return None if layout is None else self._location(0, layout)

    def _location(self, index: int, layout: FileLayout) -> InstanceLocation:
        return InstanceLocation(
            study_instance_uid=self.study_instance_uid,
            series_instance_uid=self.series_instance_uid,
            sop_instance_uid=self.sop_instance_uids[index],
            sop_class_uid=layout.sop_class_uid,
            transfer_syntax_uid=layout.transfer_syntax_uid,
            object_key=self.object_keys[index],
            byte_offset=self.byte_offsets[index],
            byte_length=self.byte_lengths[index],
            digest=self.digests[index],
            pixel_data=layout.pixel_data,
            bulk=layout.bulk,
            neutralised=layout.neutralised,
            pixel_format=layout.pixel_format,
        )


class InstanceIndex:
    """Finds where instances lie."""

    def __init__(
        self,
        database: Database,
        *,
        cache_bytes: int = CACHE_BYTES,
        clock: Callable[[], float] = time.monotonic,
        meters: LocationMeters | None = None,
    ) -> None:
        self._database = database
        self._meters = meters or LocationMeters()
        self._cache = LocationCache(capacity_bytes=cache_bytes, clock=clock)
        self._deletes = 0
        # Viewers ask for many frames of a series at once; one of them asks the database, the others wait.
        self._locks: WeakValueDictionary[tuple[Visibility, str], asyncio.Lock] = WeakValueDictionary()
        self._checks: WeakValueDictionary[Visibility, asyncio.Lock] = WeakValueDictionary()

    async def locate(self, scope: Scope, visibility: Visibility) -> list[SegmentLocations]:
        """Locate every instance of a study, a series, or the one instance, in the order of packs.

        Raises:
            GoneError: it was deleted.
            NotFoundError: there is none, or this principal may not see it.
        """
        async with self._database.connection() as connection:
            if scope.sop_instance_uid is not None:
                rows = await connection.fetch(LOCATE_INSTANCE, *visibility.parameters(), *scope.parameters())
                found = [_only(_segment(row), scope.sop_instance_uid) for row in rows]
            else:
                rows = await connection.fetch(LOCATE_SEGMENTS, *visibility.parameters(), *scope.parameters()[:2])
                found = [_segment(row) for row in rows]
            if not found:
                raise await missing(connection, scope, visibility)
        return found

    async def locate_instance(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str, visibility: Visibility
    ) -> InstanceLocation:
        """Locate one instance; a few microseconds when its segment was touched a moment ago.

        Raises:
            GoneError: it was deleted.
            NotFoundError: there is none, or this principal may not see it.
        """
        segment = self._cache.find(visibility, sop_instance_uid)
        if segment is None or not self._cache.is_fresh(segment):
            scope = Scope(study_instance_uid, series_instance_uid, sop_instance_uid)
            segment = await self._refresh(scope, visibility, sop_instance_uid)
        else:
            self._meters.memory.inc()
        location = segment.locations[sop_instance_uid]
        if (location.study_instance_uid, location.series_instance_uid) != (study_instance_uid, series_instance_uid):
            async with self._database.connection() as connection:
                scope = Scope(study_instance_uid, series_instance_uid, sop_instance_uid)
                raise await missing(connection, scope, visibility)
        return location

    def forget_deleted(self) -> None:
        """Empty the cache; whoever deletes calls it after the commit and before anybody is told."""
        self._deletes += 1
        self._cache.clear()

    async def _refresh(self, scope: Scope, visibility: Visibility, sop_instance_uid: str) -> CachedSegment:
        async with self._locks.setdefault((visibility, scope.series_instance_uid or ""), asyncio.Lock()):
            segment = self._cache.find(visibility, sop_instance_uid)
            if segment is not None and await self._is_still_there(segment):
                return segment
            async with self._database.connection() as connection:
                self._meters.database.inc()
                return await self._load(connection, scope, visibility)

    async def _is_still_there(self, segment: CachedSegment) -> bool:
        # One lock for all series: whoever waits for it mostly finds his segment among those that were asked about.
        async with self._checks.setdefault(segment.visibility, asyncio.Lock()):
            if self._cache.is_fresh(segment):
                self._meters.memory.inc()
                return True
            is_there = segment.segment_id in await self._check(segment) and not self._cache.is_old(segment)
        if is_there:
            self._meters.checked.inc()
        return is_there

    async def _check(self, wanted: CachedSegment) -> set[int]:
        """Ask which of this segment and of those in use still exist, and drop the others."""
        deletes, asked_at = self._deletes, self._cache.now()
        # Whoever waited for long wants one that is no longer in use.
        asked = {segment.segment_id: segment for segment in (wanted, *self._cache.in_use(wanted.visibility))}
        async with self._database.connection() as connection:
            rows = await connection.fetch(CHECK_SEGMENTS, *wanted.visibility.parameters(), list(asked))
        remaining = {row[0] for row in rows}
        for segment in asked.values():
            if segment.segment_id not in remaining or self._cache.is_old(segment):
                self._cache.drop(segment)
            elif deletes == self._deletes:
                segment.checked_at = asked_at
        return remaining

    async def _load(self, connection: Connection, scope: Scope, visibility: Visibility) -> CachedSegment:
        deletes, asked_at = self._deletes, self._cache.now()
        row = await connection.fetchrow(LOCATE_INSTANCE, *visibility.parameters(), *scope.parameters())
        if row is None:
            raise await missing(connection, scope, visibility)
        found = _segment(row)
        # 14 ms for a thousand instances.
        is_small = len(found) <= _INLINE_INSTANCES and len(found.locations) <= _INLINE_BYTES
        locations = _by_uid(found) if is_small else await asyncio.to_thread(_by_uid, found)
        segment = CachedSegment(found.segment_id, visibility, locations, asked_at)
        if deletes == self._deletes:
            # Otherwise a delete came between, and what was read may be what it took away.
            self._cache.put(segment)
        return segment


def _segment(row: Any) -> SegmentLocations:
    study, series, segment_id, locations, positions, uids, keys, offsets, lengths, digests = row
    return SegmentLocations(
        segment_id=segment_id,
        study_instance_uid=study,
        series_instance_uid=series,
        positions=positions,
        sop_instance_uids=uids,
        object_keys=_shared(keys),
        byte_offsets=offsets,
        byte_lengths=lengths,
        digests=digests,
        locations=locations,
    )


def _by_uid(segment: SegmentLocations) -> dict[str, InstanceLocation]:
    return {location.sop_instance_uid: location for location in segment}


def _shared(keys: Sequence[str]) -> list[str]:
    """Keep one string for each key: the instances of a segment mostly lie in one pack."""
    known: dict[str, str] = {}
    return [known.setdefault(key, key) for key in keys]


def _only(segment: SegmentLocations, sop_instance_uid: str) -> SegmentLocations:
    index = segment.sop_instance_uids.index(sop_instance_uid)
    here = slice(index, index + 1)
    return SegmentLocations(
        segment_id=segment.segment_id,
        study_instance_uid=segment.study_instance_uid,
        series_instance_uid=segment.series_instance_uid,
        positions=segment.positions[here],
        sop_instance_uids=segment.sop_instance_uids[here],
        object_keys=segment.object_keys[here],
        byte_offsets=segment.byte_offsets[here],
        byte_lengths=segment.byte_lengths[here],
        digests=segment.digests[here],
        locations=segment.locations,
    )
