"""Purging: what must leave no trace goes from every space, and from every object that holds it.

Packs that hold something else besides are written anew without it, before anything changes. Then one transaction takes
the rows away, and lets those of the neighbours point to the new packs. The event names the objects that are left to
delete, so that a purge whose end nobody has seen can be asked for again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncpg import exceptions

from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.curation.edits.purged import forget_edits
from dicomweb_archive.index.curation.purged_findings import forget_findings
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.index.segments.rows import insert_packs
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.index.writing.packs import delete_free_packs, take_retired_packs
from dicomweb_archive.index.writing.purged_terms import mark_terms
from dicomweb_archive.index.writing.rebuilding import Rebuilding
from dicomweb_archive.index.writing.removal import Removal

_NAMED = """
st.study_instance_uid = $1 and ($2::text is null or se.series_instance_uid = $2)
  and ($3::text is null or i.sop_instance_uid = $3)
"""
_INSTANCES = """
from instance i join segment sg on sg.id = i.segment_id
join series se on se.id = sg.series_id join study st on st.id = sg.study_id
"""
_NAMED_CONFLICT = """
k.study_instance_uid = $1 and ($2::text is null or k.series_instance_uid = $2)
  and ($3::text is null or k.sop_instance_uid = $3)
"""

# Finds in which spaces and collections it is, and whether only as conflicts.
FIND_PLACES = f"""
select space_id, collection_id, bool_and(is_conflict) as only_conflicts from (
  select st.space_id, st.collection_id, false as is_conflict {_INSTANCES} where {_NAMED}
  union all
  select s.space_id, s.collection_id, true from conflict k join submission s on s.id = k.submission_id
  where {_NAMED_CONFLICT}
) place group by space_id, collection_id order by space_id
"""  # noqa: S608 - composed of constants

# What a pack has besides its members is less than this at its end, and so much for each: two headers with its name
# (`storage/zip_format.py`). What is dead takes more.
_END_BYTES = 128
_MEMBER_BYTES = "76 + 2 * (length(m.sop_instance_uid) + 4) + m.byte_length"

# Lists what lies in the packs that hold any of it. A pack of the series may hold a dead copy of an instance, of before
# that was stored anew or compacted, of which no row tells: all of them in which something is dead are taken too.
LIST_NEIGHBOURS = f"""
with packs as (
  select i.pack_id {_INSTANCES} where {_NAMED} union select k.pack_id from conflict k where {_NAMED_CONFLICT}
  union
  select p.id from pack p where $3::text is not null and p.id in (
    select i.pack_id {_INSTANCES} where st.study_instance_uid = $1 and se.series_instance_uid = $2
    union select k.pack_id from conflict k where k.study_instance_uid = $1 and k.series_instance_uid = $2
  ) and p.size_bytes > {_END_BYTES}
    + (select coalesce(sum({_MEMBER_BYTES}), 0) from instance m where m.pack_id = p.id)
    + (select coalesce(sum({_MEMBER_BYTES}), 0) from conflict m where m.pack_id = p.id)
)
select p.id as pack_id, p.object_key, i.sop_instance_uid, i.byte_offset, i.byte_length, i.digest, st.id as study_id,
  ({_NAMED}) as is_named
from packs join pack p on p.id = packs.pack_id
join instance i on i.pack_id = p.id join segment sg on sg.id = i.segment_id
join series se on se.id = sg.series_id join study st on st.id = sg.study_id
union all
select p.id, p.object_key, k.sop_instance_uid, k.byte_offset, k.byte_length, k.digest, null, ({_NAMED_CONFLICT})
from packs join pack p on p.id = packs.pack_id join conflict k on k.pack_id = p.id
order by pack_id, byte_offset
"""  # noqa: S608 - composed of constants

# What was announced of it is forgotten too, and so are totals with which the rest could not agree any more.
FORGET_ANNOUNCED = f"""
with gone as (
  select i.sop_instance_uid {_INSTANCES} where {_NAMED}
  union select k.sop_instance_uid from conflict k where {_NAMED_CONFLICT}
), forgotten as (
  delete from manifest_instance m using gone where m.sop_instance_uid = gone.sop_instance_uid
  returning m.submission_id
)
update manifest m set studies = null, series = null, size_bytes = null, instances = m.instances - f.instances
from (select submission_id, count(*)::int4 as instances from forgotten group by submission_id) f
where m.submission_id = f.submission_id
"""  # noqa: S608 - composed of constants

LIST_SEGMENTS = f"select distinct sg.id {_INSTANCES} where {_NAMED}"

DELETE_CONFLICTS = f"delete from conflict k where {_NAMED_CONFLICT}"  # noqa: S608 - composed of constants

# Locks the studies of whatever lies in these packs.
LOCK_STUDIES = "select id from study where id = any($1::int8[]) order by id for update"

# Lets what was copied point to its new place.
MOVE_INTO_PACK = """
update instance i set pack_id = $2, byte_offset = new.byte_offset
from unnest($3::text[], $4::int8[], $5::int8[]) as new(uid, old_offset, byte_offset)
where i.pack_id = $1 and i.sop_instance_uid = new.uid and i.byte_offset = new.old_offset
returning i.segment_id
"""
MOVE_CONFLICTS = """
update conflict k set pack_id = $2, byte_offset = new.byte_offset
from unnest($3::text[], $4::int8[], $5::int8[]) as new(uid, old_offset, byte_offset)
where k.pack_id = $1 and k.sop_instance_uid = new.uid and k.byte_offset = new.old_offset
"""
LIST_LEFT = "select id from pack where id = any($1::int8[])"
LIST_POSITIONS = "select position from instance where segment_id = $1"

# Lets the tombstone lead to the event that knows more; of what was kept as a conflict alone there is none yet.
POINT_TOMBSTONE = """
insert into tombstone (space_id, level, study_instance_uid, series_instance_uid, sop_instance_uid, event_id,
  collection_id)
values ($1, case when $4 <> '' then 'instance' when $3 <> '' then 'series' else 'study' end, $2, $3, $4, $5, $6)
on conflict (space_id, study_instance_uid, series_instance_uid, sop_instance_uid) do update
set event_id = excluded.event_id, collection_id = excluded.collection_id
"""

# Finds earlier purges of the same.
FIND_PURGES = """
select e.id, e.detail ->> 'objects' as objects from tombstone t join event e on e.id = t.event_id
where t.study_instance_uid = $1 and t.series_instance_uid = $2 and t.sop_instance_uid = $3 and e.kind = $4
order by e.id
"""

_ATTEMPTS = 8
_TRY_AGAIN = (
    exceptions.UniqueViolationError,
    exceptions.ForeignKeyViolationError,
    exceptions.DeadlockDetectedError,
    exceptions.SerializationError,
)


class _ChangedError(Exception):
    """Something has come into one of the packs meanwhile; what was done is to be taken back."""


@dataclass(frozen=True, slots=True)
class PackContent:
    """A pack that holds what is to be purged.

    Attributes:
        stays: what else is in it: SOP Instance UID, offset, length and digest of each.
    """

    pack_id: int
    object_key: str
    stays: tuple[tuple[str, int, int, bytes], ...]


@dataclass(frozen=True, slots=True)
class NewPack:
    """What has taken the place of a pack; the offsets are in the order of what stays."""

    object_key: str
    size_bytes: int
    byte_offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PurgeOrder:
    """What is purged, by whom and why.

    Attributes:
        packs: those that hold any of it, as they were listed.
        replacements: by id of a pack of which something stays; `None` where nothing of that can be read any more.
        reason: a word of ours, for the event.
    """

    scope: Scope
    packs: Sequence[PackContent]
    replacements: Mapping[int, NewPack | None]
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge has taken away; the objects hold it still and are to be deleted."""

    event_ids: tuple[int, ...]
    instances: int
    object_keys: tuple[str, ...]


class Purging:
    """Takes everything of a study, series or instance away, wherever it is."""

    def __init__(self, database: Database, removal: Removal) -> None:
        self._database = database
        self._removal = removal

    async def find_collections(self, scope: Scope) -> frozenset[int]:
        """Return the collections that have any of it, published or not; empty when there is nothing."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_PLACES, *scope.parameters())
        return frozenset(row["collection_id"] for row in rows)

    async def list_packs(self, scope: Scope) -> list[PackContent]:
        """List the packs that hold any of it."""
        async with self._database.connection() as connection:
            return _packs(await connection.fetch(LIST_NEIGHBOURS, *scope.parameters()))

    async def find_earlier(self, scope: Scope) -> Purged | None:
        """Return what earlier purges of the same have left to do, as far as that is known."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_PURGES, *_uids(scope), EventKind.PURGED.value)
        keys = tuple(key for row in rows for key in row["objects"].split(",") if key)
        return Purged(tuple(row["id"] for row in rows), 0, keys) if rows else None

    async def purge(self, order: PurgeOrder) -> Purged | None:
        """Take it away; `None` when what the packs hold is no longer what it was, and has to be listed anew.

        Raises:
            DatabaseUnavailableError: nothing has changed, and trying again later may help.
        """
        segments = await self._removal.segments()
        try:
            for _ in range(_ATTEMPTS):
                try:
                    async with self._database.transaction() as connection:
                        return await self._purge(connection, order, segments)
                except _ChangedError:
                    return None
                except _TRY_AGAIN:
                    continue
        finally:
            self._removal.forget()
        message = "Too many stores and deletes of the same study at once; try again later"
        raise DatabaseUnavailableError(message)

    async def _purge(self, connection: Connection, order: PurgeOrder, segments: Rebuilding) -> Purged | None:
        named = order.scope.parameters()
        rows = await connection.fetch(LIST_NEIGHBOURS, *named)
        await connection.fetch(LOCK_STUDIES, sorted({row["study_id"] for row in rows} - {None}))
        # What came or went before the locks were ours shows now.
        if _packs(await connection.fetch(LIST_NEIGHBOURS, *named)) != order.packs:
            return None
        places = await connection.fetch(FIND_PLACES, *named)
        # Copies from before a compaction, of which no row tells what is in them.
        retired = await take_retired_packs(connection, order.scope)
        keys = (*(pack.object_key for pack in order.packs), *retired)
        await _replace(connection, order, segments)
        await connection.execute(FORGET_ANNOUNCED, *named)
        await mark_terms(connection, [row["id"] for row in await connection.fetch(LIST_SEGMENTS, *named)])
        instances = await _delete_conflicts(connection, order)
        await forget_findings(connection, order.scope)
        await forget_edits(connection, order.scope)
        for place in places:
            if place["only_conflicts"]:
                continue
            visibility = Visibility((place["space_id"],), see_embargoed=True)
            removed = await self._removal.delete_within(
                connection, order.scope, visibility, segments, actor=order.actor
            )
            instances += removed.instances
        pack_ids = [pack.pack_id for pack in order.packs]
        await delete_free_packs(connection, pack_ids)
        lost = {pack_id for pack_id, replacement in order.replacements.items() if replacement is None}
        if {row["id"] for row in await connection.fetch(LIST_LEFT, pack_ids)} - lost:
            raise _ChangedError
        event_ids = [await _note(connection, order, place, keys) for place in places]
        return Purged(tuple(event_ids), instances, keys)


async def _replace(connection: Connection, order: PurgeOrder, segments: Rebuilding) -> None:
    """Let what stays point to the new packs; its segments get new ids, so that no cache keeps the old places."""
    new = [(each.object_key, each.size_bytes) for each in order.replacements.values() if each is not None]
    pack_ids = await insert_packs(connection, new)
    changed: set[int] = set()
    for pack in order.packs:
        replacement = order.replacements.get(pack.pack_id)
        if replacement is None:
            # Nothing stays of it, or nothing that could be read: then the rows say so by leading nowhere.
            continue
        places = (
            pack.pack_id,
            pack_ids[replacement.object_key],
            [uid for uid, *_ in pack.stays],
            [offset for _, offset, *_ in pack.stays],
            list(replacement.byte_offsets),
        )
        changed.update(row["segment_id"] for row in await connection.fetch(MOVE_INTO_PACK, *places))
        await connection.execute(MOVE_CONFLICTS, *places)
    for segment_id in sorted(changed):
        positions = {row["position"] for row in await connection.fetch(LIST_POSITIONS, segment_id)}
        await segments.part(connection, segment_id, [positions])


async def _delete_conflicts(connection: Connection, order: PurgeOrder) -> int:
    deleted: str = await connection.execute(DELETE_CONFLICTS, *order.scope.parameters())
    return int(deleted.split()[-1])


def _packs(rows: Iterable[Mapping[str, Any]]) -> list[PackContent]:
    packs: dict[tuple[int, str], list[tuple[str, int, int, bytes]]] = {}
    for row in rows:
        stays = packs.setdefault((row["pack_id"], row["object_key"]), [])
        if not row["is_named"]:
            stays.append((row["sop_instance_uid"], row["byte_offset"], row["byte_length"], row["digest"]))
    return [PackContent(pack_id, key, tuple(stays)) for (pack_id, key), stays in packs.items()]


def _uids(scope: Scope) -> list[str]:
    return [uid or "" for uid in scope.parameters()]


async def _note(connection: Connection, order: PurgeOrder, place: Mapping[str, int], object_keys: Sequence[str]) -> int:
    event_id = await insert_event(
        connection,
        EventKind.PURGED,
        actor=order.actor,
        space_id=place["space_id"],
        study_instance_uid=order.scope.study_instance_uid,
        detail={"objects": ",".join(object_keys), "reason": order.reason},
        collection_id=place["collection_id"],
    )
    await connection.execute(POINT_TOMBSTONE, place["space_id"], *_uids(order.scope), event_id, place["collection_id"])
    return event_id
