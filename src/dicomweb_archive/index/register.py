"""Register: makes stored packs known, all of a request in one transaction."""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from asyncpg import exceptions

from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.counts import Added, add_counts
from dicomweb_archive.index.dictionary import Dictionary
from dicomweb_archive.index.engine import Connection, Database
from dicomweb_archive.index.events import EventKind, insert_event
from dicomweb_archive.index.level_rows import series_columns
from dicomweb_archive.index.segment_rows import SegmentRows, allocate_ids, insert_segments
from dicomweb_archive.index.segments import SegmentContent, StoredInstance, build_segments
from dicomweb_archive.index.study_rows import SeriesKey, SeriesRow, find_or_insert_series, series_key

__all__ = ["KnownInstance", "PackRecord", "Register", "Registration", "StoredInstance"]

DEFAULT_COLLECTION = 1

# Finds which instances a space has, to tell a repetition from a conflict.
FIND_DIGESTS = """
select i.sop_instance_uid, i.digest, st.study_instance_uid, se.series_instance_uid
from instance i
join segment sg on sg.id = i.segment_id
join study st on st.id = sg.study_id
join series se on se.id = sg.series_id
where i.space_id = $1 and i.sop_instance_uid = any($2::text[])
"""

# What was deleted once and comes back is no longer gone.
DELETE_TOMBSTONES = """
delete from tombstone t
using unnest($2::text[], $3::text[], $4::text[]) as back(study, series, sop)
where t.space_id = $1 and t.study_instance_uid = back.study and t.series_instance_uid = back.series
  and t.sop_instance_uid = back.sop
"""

_ATTEMPTS = 8
_INLINE_INSTANCES = 2

# Another store won an instance, a delete took the study away, or PostgreSQL broke a circle of waits. After the
# roll-back nothing is left of the attempt and the next one sees what the others have committed.
_TRY_AGAIN = (
    exceptions.UniqueViolationError,
    exceptions.ForeignKeyViolationError,
    exceptions.DeadlockDetectedError,
    exceptions.SerializationError,
)


class Registration(StrEnum):
    """What became of one instance."""

    STORED = "stored"
    SAME = "same"
    """The archive has it already, byte for byte."""
    CONFLICT = "conflict"
    """The archive has other bytes under its SOP Instance UID."""


@dataclass(frozen=True, slots=True)
class KnownInstance:
    """An instance that a space has: the digest of its bytes as received, and where it belongs."""

    digest: bytes
    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class PackRecord:
    """A durable pack and what lies in it: each inner list one series, sharing one base."""

    object_key: str
    size_bytes: int
    segments: list[list[StoredInstance]]


@dataclass(frozen=True, slots=True)
class _PreparedPack:
    record: PackRecord
    contents: list[SegmentContent]


class Register:
    """Writes what was stored into the index (PS3.18 10.5).

    Packs must be durable before they are registered: a row never stands without its object.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dictionary = Dictionary(database)
        self._secret: bytes | None = None

    async def find_digests(self, space_id: int, sop_instance_uids: Sequence[str]) -> dict[str, KnownInstance]:
        """Return what the space has under these UIDs."""
        async with self._database.connection() as connection:
            return await _find_digests(connection, space_id, sop_instance_uids)

    async def register(
        self,
        packs: Sequence[PackRecord],
        *,
        actor: str,
        space_id: int = ARCHIVE_SPACE,
        collection_id: int = DEFAULT_COLLECTION,
    ) -> dict[str, Registration]:
        """Make the instances of the packs visible, all together, and say what became of each.

        An instance that somebody else stored meanwhile is SAME or CONFLICT and left out, the others are
        stored. A pack of which nothing was stored has no row: its object may be deleted by the caller. When a
        SOP Instance UID comes twice in one call, the first counts.

        Raises:
            DatabaseUnavailableError: nothing is visible, and trying again later may help.
        """
        outcome: dict[str, Registration] = {}
        waiting = _without_repetitions(packs)
        for attempt in range(_ATTEMPTS):
            if attempt:
                # Whoever we collided with gets the time to finish.
                await asyncio.sleep(random.uniform(0.2, 1) * 0.01 * 2**attempt)  # noqa: S311
                waiting = await self._leave_out_known(waiting, space_id, outcome)
            prepared = await self._prepare(waiting)
            if not prepared:
                return outcome
            path_ids = await self._dictionary.add([c.terms for pack in prepared for c in pack.contents])
            try:
                async with self._database.transaction() as connection:
                    await _write(connection, prepared, path_ids, actor, space_id, collection_id)
            except _TRY_AGAIN:
                continue
            outcome.update((uid, Registration.STORED) for uid in _uids(waiting))
            return outcome
        message = "Too many stores and deletes of the same instances at once; try again later"
        raise DatabaseUnavailableError(message)

    async def _leave_out_known(
        self, packs: Sequence[PackRecord], space_id: int, outcome: dict[str, Registration]
    ) -> list[PackRecord]:
        known = await self.find_digests(space_id, list(_uids(packs)))
        for stored in _instances(packs):
            scanned = stored.scanned
            found = known.get(scanned.sop_instance_uid)
            if found is not None:
                mine = KnownInstance(stored.digest, scanned.study_instance_uid, scanned.series_instance_uid)
                outcome[scanned.sop_instance_uid] = Registration.SAME if mine == found else Registration.CONFLICT
        return _only(packs, frozenset(_uids(packs)) - known.keys())

    async def _prepare(self, packs: Sequence[PackRecord]) -> list[_PreparedPack]:
        if self._secret is None:
            self._secret = await self._database.term_secret()
        if sum(1 for _ in _instances(packs)) <= _INLINE_INSTANCES:
            return _build(packs, self._secret)
        # Terms, JSON and deflate of a big segment take milliseconds.
        return await asyncio.to_thread(_build, packs, self._secret)


def _build(packs: Sequence[PackRecord], secret: bytes) -> list[_PreparedPack]:
    prepared = []
    for pack in packs:
        contents = [content for segment in pack.segments for content in build_segments(segment, secret)]
        prepared.append(_PreparedPack(pack, contents))
    return prepared


def _instances(packs: Iterable[PackRecord]) -> Iterable[StoredInstance]:
    return (stored for pack in packs for segment in pack.segments for stored in segment)


def _uids(packs: Iterable[PackRecord]) -> Iterable[str]:
    return (stored.scanned.sop_instance_uid for stored in _instances(packs))


def _without_repetitions(packs: Sequence[PackRecord]) -> list[PackRecord]:
    seen: set[str] = set()
    kept = []
    for pack in packs:
        segments = []
        for segment in pack.segments:
            fresh = []
            for stored in segment:
                if stored.scanned.sop_instance_uid not in seen:
                    seen.add(stored.scanned.sop_instance_uid)
                    fresh.append(stored)
            segments.append(fresh)
        kept.append(PackRecord(pack.object_key, pack.size_bytes, segments))
    return _only(kept, seen)


def _only(packs: Sequence[PackRecord], uids: Iterable[str]) -> list[PackRecord]:
    """Keep the instances of these UIDs, and the packs and segments that hold any."""
    wanted = frozenset(uids)
    kept = []
    for pack in packs:
        segments = [[s for s in segment if s.scanned.sop_instance_uid in wanted] for segment in pack.segments]
        if any(segments):
            kept.append(PackRecord(pack.object_key, pack.size_bytes, [s for s in segments if s]))
    return kept


async def _find_digests(
    connection: Connection, space_id: int, sop_instance_uids: Sequence[str]
) -> dict[str, KnownInstance]:
    rows = await connection.fetch(FIND_DIGESTS, space_id, list(sop_instance_uids))
    return {sop: KnownInstance(digest, study, series) for sop, digest, study, series in rows}


async def _write(
    connection: Connection,
    packs: Sequence[_PreparedPack],
    path_ids: Mapping[str, int],
    actor: str,
    space_id: int,
    collection_id: int,
) -> None:
    """Write everything of a request; the caller holds the transaction."""
    contents = [content for pack in packs for content in pack.contents]
    series = await find_or_insert_series(connection, contents, space_id=space_id, collection_id=collection_id)
    pack_ids, segment_ids = await allocate_ids(connection, len(packs), len(contents))
    await connection.copy_records_to_table(
        "pack",
        records=[
            (id_, pack.record.object_key, pack.record.size_bytes) for id_, pack in zip(pack_ids, packs, strict=True)
        ],
        columns=["id", "object_key", "size_bytes"],
    )
    rows: list[SegmentRows] = []
    for pack_id, pack in zip(pack_ids, packs, strict=True):
        for content in pack.contents:
            row = series[series_key(content)]
            segment_id = segment_ids[len(rows)]
            in_pack = [pack_id] * len(content.instances)
            rows.append(SegmentRows(segment_id, row.study_id, row.id, content, in_pack))
    await insert_segments(connection, rows, path_ids, space_id=space_id)
    await _delete_tombstones(connection, contents, space_id)
    await _insert_events(connection, contents, series, actor, space_id)
    await add_counts(connection, _added(contents, series))


async def _delete_tombstones(connection: Connection, contents: Sequence[SegmentContent], space_id: int) -> None:
    back = set()
    for content in contents:
        key = series_key(content)
        back |= {(key.study_instance_uid, "", ""), (key.study_instance_uid, key.series_instance_uid, "")}
        back |= {
            (key.study_instance_uid, key.series_instance_uid, stored.scanned.sop_instance_uid)
            for stored in content.instances
        }
    await connection.execute(DELETE_TOMBSTONES, space_id, *map(list, zip(*sorted(back), strict=True)))


async def _insert_events(
    connection: Connection,
    contents: Sequence[SegmentContent],
    series: Mapping[SeriesKey, SeriesRow],
    actor: str,
    space_id: int,
) -> None:
    for study_uid in sorted({key.study_instance_uid for key in series}):
        of_study = [content for content in contents if series_key(content).study_instance_uid == study_uid]
        await insert_event(
            connection,
            EventKind.INSTANCES_STORED,
            actor=actor,
            space_id=space_id,
            study_instance_uid=study_uid,
            detail={
                "series": sorted({series[series_key(content)].id for content in of_study}),
                "instances": sum(len(content.instances) for content in of_study),
                "size_bytes": sum(s.byte_length for content in of_study for s in content.instances),
            },
        )


def _added(contents: Sequence[SegmentContent], series: Mapping[SeriesKey, SeriesRow]) -> list[Added]:
    added = []
    for key, row in series.items():
        of_series = [content for content in contents if series_key(content) == key]
        instances = [stored for content in of_series for stored in content.instances]
        added.append(
            Added(
                study_id=row.study_id,
                series_id=row.id,
                is_new_series=row.is_new,
                instances=len(instances),
                size_bytes=sum(stored.byte_length for stored in instances),
                modality=series_columns(of_series[0].series_attributes).modality,
                sop_classes=frozenset(stored.scanned.sop_class_uid for stored in instances),
                study_facts=frozenset(content.study_facts for content in of_series),
                series_facts=frozenset(content.series_facts for content in of_series),
            )
        )
    return added
