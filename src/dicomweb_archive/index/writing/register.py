"""Register: makes stored packs known, all of a request in one transaction."""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from asyncpg import exceptions

from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.index.access import ARCHIVE_SPACE, Visibility, visible
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.segments.building import SegmentContent, StoredInstance, build_segments
from dicomweb_archive.index.segments.level_rows import series_columns
from dicomweb_archive.index.segments.rows import insert_packs, insert_segment
from dicomweb_archive.index.writing.counts import AddedSeries, AddedStudy, add_to_study
from dicomweb_archive.index.writing.dictionary import Dictionary
from dicomweb_archive.index.writing.lone_segment import store_lone_segment
from dicomweb_archive.index.writing.study_rows import (
    OtherHomeError,
    SeriesKey,
    SeriesRow,
    StudyMovedError,
    find_or_insert_series,
    series_key,
)

__all__ = [
    "KnownInstance",
    "PackRecord",
    "Register",
    "Registration",
    "SpaceClosedError",
    "StoredInstance",
    "only_instances",
]

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

# Finds which instances a series of a space has.
FIND_SERIES = """
select i.sop_instance_uid
from study st
join series se on se.study_id = st.id
join segment sg on sg.series_id = se.id
join instance i on i.segment_id = sg.id
where st.space_id = $1 and st.study_instance_uid = $2 and se.series_instance_uid = $3
limit $4
"""

# Finds which instances of these may be seen, with the digests of their bytes.
FIND_SEEN = f"""
select i.sop_instance_uid, i.digest
from instance i
join segment sg on sg.id = i.segment_id
join study st on st.id = sg.study_id
where {visible("st")} and i.space_id = any($1) and i.sop_instance_uid = any($4::text[])
"""  # noqa: S608 - composed of constants

# Keeps a submission open until the transaction ends: whoever seals it waits.
HOLD_OPEN = "select id from submission where space_id = $1 and state = 'open' for share"

_ATTEMPTS = 8
# Terms, JSON and deflate take about 1 ms for so much; a segment of many or large instances takes up to a second.
_INLINE_INSTANCES = 2
_INLINE_JSON_BYTES = 16 * 1024
_INLINE_SEGMENTS = 50

# Another store won an instance, a delete took the study away, it was published, or PostgreSQL broke a circle of
# waits. After the roll-back nothing is left of the attempt and the next one sees what the others have committed.
_TRY_AGAIN = (
    exceptions.UniqueViolationError,
    exceptions.ForeignKeyViolationError,
    exceptions.DeadlockDetectedError,
    exceptions.SerializationError,
    StudyMovedError,
)


class Registration(StrEnum):
    """What became of one instance."""

    STORED = "stored"
    SAME = "same"
    """The archive has it already, byte for byte."""
    CONFLICT = "conflict"
    """The archive has other bytes under its SOP Instance UID."""
    OTHER_HOME = "other_home"
    """The space has its study as one of another collection, or it was withdrawn from there."""


@dataclass(frozen=True, slots=True)
class KnownInstance:
    """An instance that a space has: the digest of its bytes as kept, and the series that it belongs to."""

    digest: bytes
    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class PackRecord:
    """A durable pack and what lies in it: each inner list one series, sharing one base."""

    object_key: str
    size_bytes: int
    segments: list[list[StoredInstance]]


class SpaceClosedError(Exception):
    """The submission whose space it is takes no more instances; nothing is registered."""


@dataclass(frozen=True, slots=True)
class _PreparedPack:
    record: PackRecord
    contents: list[SegmentContent]


class Register:
    """Writes what was stored into the index (PS3.18 10.5).

    Packs must be durable before they are registered: a row never stands without its object.

    Args:
        timezone: offset from UTC of date-times that do not tell their own.
    """

    def __init__(self, database: Database, *, timezone: str = "+0000") -> None:
        self._database = database
        self._timezone = timezone
        self._dictionary = Dictionary(database)
        self._secret: bytes | None = None

    async def find_digests(self, space_id: int, sop_instance_uids: Sequence[str]) -> dict[str, KnownInstance]:
        """Return what the space has under these UIDs."""
        async with self._database.connection() as connection:
            return await _find_digests(connection, space_id, sop_instance_uids)

    async def find_series(self, space_id: int, key: tuple[str, str], *, most: int) -> frozenset[str] | None:
        """Return the UIDs of the instances that a series of a space has; `None`: more than so many.

        Args:
            key: the UIDs of study and series.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_SERIES, space_id, *key, most + 1)
        return frozenset(uid for (uid,) in rows) if len(rows) <= most else None

    async def find_seen(self, sees: Visibility, sop_instance_uids: Sequence[str]) -> dict[str, bytes]:
        """Return the digests of those instances of these UIDs that may be seen."""
        async with self._database.connection() as connection:
            return dict(await connection.fetch(FIND_SEEN, *sees.parameters(), list(sop_instance_uids)))

    async def register(
        self,
        packs: Sequence[PackRecord],
        *,
        actor: str,
        space_id: int = ARCHIVE_SPACE,
        collection_id: int = DEFAULT_COLLECTION,
        while_open: bool = False,
    ) -> dict[str, Registration]:
        """Make the instances of the packs visible, all together, and say what became of each.

        An instance that somebody else stored meanwhile is SAME or CONFLICT and left out, the others are
        stored. A pack of which nothing was stored has no row: its object may be deleted by the caller. When a
        SOP Instance UID comes twice in one call, the first counts. Packs of a study that has another home are left
        out.

        Args:
            collection_id: of the studies that are made, and of those that are there: a study has one home.
            while_open: only as long as the submission whose space it is takes instances.

        Raises:
            SpaceClosedError: it takes none; nothing is visible.
            DatabaseUnavailableError: nothing is visible, and trying again later may help.
        """
        outcome: dict[str, Registration] = {}
        waiting = _without_repetitions(packs)
        for attempt in range(_ATTEMPTS):
            if attempt:
                # Whoever we collided with gets the time to finish.
                await asyncio.sleep(random.uniform(0.2, 1) * 0.01 * 2**attempt)  # noqa: S311 - no secret hangs on it
                waiting = await self._leave_out_known(waiting, space_id, outcome)
            prepared = await self._prepare(waiting)
            if not prepared:
                return outcome
            vocabulary = await self._dictionary.add([c.terms for pack in prepared for c in pack.contents])
            try:
                await self._write(prepared, vocabulary.path_ids, actor, space_id, collection_id, while_open=while_open)
            except _TRY_AGAIN:
                continue
            except OtherHomeError as error:
                waiting, away = _apart(waiting, error.study_instance_uids)
                outcome.update((uid, Registration.OTHER_HOME) for uid in _uids(away))
                continue
            self._dictionary.remember(vocabulary)
            outcome.update((uid, Registration.STORED) for uid in _uids(waiting))
            return outcome
        message = "Too many stores and deletes of the same instances at once; try again later"
        raise DatabaseUnavailableError(message)

    async def _write(
        self,
        packs: Sequence[_PreparedPack],
        path_ids: Mapping[str, int],
        actor: str,
        space_id: int,
        collection_id: int,
        *,
        while_open: bool,
    ) -> None:
        if len(packs) == len(packs[0].contents) == 1:
            (content,), record = packs[0].contents, packs[0].record
            async with self._database.connection() as connection:
                if await store_lone_segment(
                    connection,
                    content,
                    (record.object_key, record.size_bytes),
                    path_ids,
                    space_id=space_id,
                    collection_id=collection_id,
                    actor=actor,
                    while_open=while_open,
                ):
                    return
        async with self._database.transaction() as connection:
            if while_open and await connection.fetchval(HOLD_OPEN, space_id) is None:
                raise SpaceClosedError
            await _write(connection, packs, path_ids, actor, space_id, collection_id)

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
        return only_instances(packs, frozenset(_uids(packs)) - known.keys())

    async def _prepare(self, packs: Sequence[PackRecord]) -> list[_PreparedPack]:
        if self._secret is None:
            self._secret = await self._database.term_secret()
        if _are_few_and_small(packs):
            return _build(packs, self._secret, self._timezone)
        return await asyncio.to_thread(_build, packs, self._secret, self._timezone)


def _are_few_and_small(packs: Sequence[PackRecord]) -> bool:
    first = list(islice(_instances(packs), _INLINE_INSTANCES + 1))
    if len(first) > _INLINE_INSTANCES:
        return False
    # What differs may be most of an instance.
    attributes = (part for stored in first for part in (stored.scanned.base, stored.scanned.delta))
    json_bytes = sum(len(element.json) for part in attributes for element in part.values() if element is not None)
    return json_bytes <= _INLINE_JSON_BYTES


def _build(packs: Sequence[PackRecord], secret: bytes, timezone: str) -> list[_PreparedPack]:
    prepared = []
    for pack in packs:
        built = (build_segments(segment, secret, timezone=timezone) for segment in pack.segments)
        contents = [content for segment in built for content in segment]
        prepared.append(_PreparedPack(pack, contents))
    return prepared


def _instances(packs: Iterable[PackRecord]) -> Iterable[StoredInstance]:
    return (stored for pack in packs for segment in pack.segments for stored in segment)


def _uids(packs: Iterable[PackRecord]) -> Iterable[str]:
    return (stored.scanned.sop_instance_uid for stored in _instances(packs))


def _without_repetitions(packs: Sequence[PackRecord]) -> list[PackRecord]:
    uids = list(_uids(packs))
    if len(set(uids)) == len(uids) and all(all(pack.segments) and pack.segments for pack in packs):
        return list(packs)
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
    return only_instances(kept, seen)


def _apart(
    packs: Sequence[PackRecord], study_instance_uids: frozenset[str]
) -> tuple[list[PackRecord], list[PackRecord]]:
    """Part the packs, each of which holds one series, in those of other studies and those of these."""

    def is_away(pack: PackRecord) -> bool:
        return pack.segments[0][0].scanned.study_instance_uid in study_instance_uids

    return [pack for pack in packs if not is_away(pack)], [pack for pack in packs if is_away(pack)]


def only_instances(packs: Sequence[PackRecord], uids: Iterable[str]) -> list[PackRecord]:
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
    keys = [(pack.record.object_key, pack.record.size_bytes) for pack in packs]
    pack_ids = await insert_packs(connection, keys)
    placed = [(content, pack_ids[pack.record.object_key]) for pack in packs for content in pack.contents]
    # In the order of series, so that two stores of the same instances meet at the first of them.
    for content, pack_id in sorted(placed, key=lambda each: series[series_key(each[0])].id):
        row = series[series_key(content)]
        await insert_segment(
            connection,
            content,
            space_id=space_id,
            study_id=row.study_id,
            series_id=row.id,
            pack_ids=[pack_id] * len(content.instances),
            path_ids=path_ids,
        )
    # 80 ms for two thousand series.
    is_small = len(contents) <= _INLINE_SEGMENTS
    added = _added(contents, series) if is_small else await asyncio.to_thread(_added, contents, series)
    for study in sorted(added, key=lambda study: study.id):
        await add_to_study(connection, study, space_id=space_id, actor=actor)


def _added(contents: Sequence[SegmentContent], series: Mapping[SeriesKey, SeriesRow]) -> list[AddedStudy]:
    by_series: dict[SeriesKey, list[SegmentContent]] = {}
    for content in contents:
        by_series.setdefault(series_key(content), []).append(content)
    studies: dict[int, AddedStudy] = {}
    for key, of_series in by_series.items():
        row = series[key]
        study = studies.setdefault(row.study_id, AddedStudy(row.study_id, key.study_instance_uid, []))
        study.series.append(_added_series(key, row, of_series))
    return list(studies.values())


def _added_series(key: SeriesKey, row: SeriesRow, contents: Sequence[SegmentContent]) -> AddedSeries:
    instances = [stored for content in contents for stored in content.instances]
    return AddedSeries(
        id=row.id,
        series_instance_uid=key.series_instance_uid,
        is_new=row.is_new,
        modality=series_columns(contents[0].series_attributes).modality if row.is_new else "",
        sop_instance_uids=[stored.scanned.sop_instance_uid for stored in instances],
        sop_classes=frozenset(stored.scanned.sop_class_uid for stored in instances),
        size_bytes=sum(stored.byte_length for stored in instances),
        study_facts=frozenset(content.study_facts for content in contents),
        facts=frozenset(content.series_facts for content in contents),
    )
