"""Purging: what must leave no trace goes from every space, and from every object that holds it.

Packs that hold something else besides are written anew without it, before anything changes. Then one transaction takes
the rows away, and lets those of the neighbours point to the new packs. The event names the objects that are left to
delete, so that a purge whose end nobody has seen can be asked for again. What the store does not have may come back, a
folder that was not mounted for one: a pack that others need stays as it is, and asked again it is written anew.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from asyncpg import exceptions

from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.curation.edits.purged import forget_edits
from dicomweb_archive.index.curation.purged_approvals import forget_approvals_in
from dicomweb_archive.index.curation.purged_findings import forget_findings
from dicomweb_archive.index.curation.purged_packs import (
    LIST_LIVING,
    PackContent,
    Replacements,
    list_left,
    pack_contents,
    replace_packs,
)
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.index.writing.packs import delete_free_packs, take_retired_packs
from dicomweb_archive.index.writing.purged_terms import mark_terms
from dicomweb_archive.index.writing.rebuilding import Rebuilding
from dicomweb_archive.index.writing.removal import Removal

Result = TypeVar("Result")

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
class PurgeOrder:
    """What is purged, by whom and why.

    Attributes:
        packs: those that hold any of it, as they were listed.
        reason: a word of ours, for the event.
    """

    scope: Scope
    packs: Sequence[PackContent]
    replacements: Replacements
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge has taken away; the objects hold it still and are to be deleted, if nothing else needs them."""

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
            return pack_contents(await connection.fetch(LIST_NEIGHBOURS, *scope.parameters()))

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

        async def work(connection: Connection, segments: Rebuilding) -> Purged | None:
            return await self._purge(connection, order, segments)

        return await self._change(work)

    async def list_living(self, object_keys: Sequence[str]) -> list[PackContent]:
        """List those packs of earlier purges in which something else lies still."""
        async with self._database.connection() as connection:
            return pack_contents(await connection.fetch(LIST_LIVING, list(object_keys)))

    async def replace(self, packs: Sequence[PackContent], replacements: Replacements) -> bool | None:
        """Let what lies in packs of earlier purges lie in new ones; `None` when they hold something else by now.

        Raises:
            DatabaseUnavailableError: nothing has changed, and trying again later may help.
        """

        async def work(connection: Connection, segments: Rebuilding) -> bool | None:
            keys = [pack.object_key for pack in packs]
            if not await _hold(connection, packs, LIST_LIVING, keys):
                return None
            await replace_packs(connection, packs, replacements, segments)
            await _drop(connection, packs, replacements)
            return True

        return await self._change(work)

    async def _change(self, work: Callable[[Connection, Rebuilding], Awaitable[Result | None]]) -> Result | None:
        """Do something in one transaction, again when others were in the way; `None`: it has to be looked at anew."""
        segments = await self._removal.segments()
        try:
            for _ in range(_ATTEMPTS):
                try:
                    async with self._database.transaction() as connection:
                        return await work(connection, segments)
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
        if not await _hold(connection, order.packs, LIST_NEIGHBOURS, *named):
            return None
        places = await connection.fetch(FIND_PLACES, *named)
        # Copies from before a compaction, of which no row tells what is in them.
        retired = await take_retired_packs(connection, order.scope, everywhere=True)
        missing = [pack.object_key for pack in order.packs if pack.pack_id in order.replacements.missing]
        gone = (*(pack.object_key for pack in order.packs if pack.object_key not in missing), *retired)
        await replace_packs(connection, order.packs, order.replacements, segments)
        await connection.execute(FORGET_ANNOUNCED, *named)
        await mark_terms(connection, [row["id"] for row in await connection.fetch(LIST_SEGMENTS, *named)])
        instances = await _delete_conflicts(connection, order)
        await forget_findings(connection, order.scope)
        await forget_edits(connection, order.scope)
        await forget_approvals_in(connection, [place["space_id"] for place in places])
        for place in places:
            if place["only_conflicts"]:
                continue
            visibility = Visibility((place["space_id"],), see_embargoed=True)
            removed = await self._removal.delete_within(
                connection, order.scope, visibility, segments, actor=order.actor
            )
            instances += removed.instances
        await _drop(connection, order.packs, order.replacements)
        event_ids = [await _note(connection, order, place, [*gone, *missing]) for place in places]
        return Purged(tuple(event_ids), instances, gone)


async def _hold(connection: Connection, packs: Sequence[PackContent], statement: str, *named: object) -> bool:
    """Lock the studies of whatever lies in packs, and tell whether these hold what they did when they were listed."""
    rows = await connection.fetch(statement, *named)
    await connection.fetch(LOCK_STUDIES, sorted({row["study_id"] for row in rows} - {None}))
    # What came or went before the locks were ours shows now.
    return pack_contents(await connection.fetch(statement, *named)) == list(packs)


async def _drop(connection: Connection, packs: Sequence[PackContent], replacements: Replacements) -> None:
    """Drop the rows of packs that nothing needs any more; of those that were replaced there must be none left."""
    pack_ids = [pack.pack_id for pack in packs]
    await delete_free_packs(connection, pack_ids)
    if await list_left(connection, pack_ids) - replacements.unread:
        raise _ChangedError


async def _delete_conflicts(connection: Connection, order: PurgeOrder) -> int:
    deleted: str = await connection.execute(DELETE_CONFLICTS, *order.scope.parameters())
    return int(deleted.split()[-1])


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
