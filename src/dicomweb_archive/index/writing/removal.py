"""Removal: deletes of studies, series and instances, each with its tombstone and event in one transaction.

A segment that loses some of its instances is built anew under another id from what remains of its document;
so segments never change, and caches need only ask whether one still exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from asyncpg import exceptions

from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.scope import Scope, missing
from dicomweb_archive.index.writing.counts import UPDATE_MODALITIES, list_sop_classes, vote_on_series, vote_on_study
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.index.writing.packs import delete_free_packs, take_retired_packs
from dicomweb_archive.index.writing.rebuilding import Rebuilding

# Locks the study: stores into it wait, or have finished.
LOCK_STUDY = f"""
select st.id, st.space_id, st.collection_id, st.embargo_until, st.facts from study st
where {visible("st")} and st.study_instance_uid = $4 for update
"""  # noqa: S608 - composed of constants

# Finds a series of the locked study.
FIND_SERIES = "select id, facts from series where study_id = $1 and series_instance_uid = $2"

# Finds an instance of a series of the locked study, and its neighbours.
FIND_INSTANCE = """
select i.segment_id, i.position, array(select n.position from instance n where n.segment_id = i.segment_id) as positions
from instance i join segment sg on sg.id = i.segment_id
where i.space_id = $1 and i.sop_instance_uid = $2 and sg.series_id = $3
"""

# Counts what a delete takes away, and names the packs that may become free.
COUNT_REMOVED = """
select count(*)::int4 as instances, count(distinct sg.series_id)::int4 as series,
  coalesce(sum(i.byte_length), 0)::int8 as size_bytes, array_agg(distinct i.pack_id) as pack_ids
from segment sg join instance i on i.segment_id = sg.id
where sg.study_id = $1 and ($2::int8 is null or sg.series_id = $2) and ($3::text is null or i.sop_instance_uid = $3)
"""

DELETE_STUDY = "delete from study where id = $1"
DELETE_SERIES = "delete from series where id = $1"

# Remembers that the resource existed (PS3.18 8.5: Gone), and why it went where that is to be known.
INSERT_TOMBSTONE = """
insert into tombstone (space_id, level, study_instance_uid, series_instance_uid, sop_instance_uid, event_id, reason,
  collection_id, embargo_until)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (space_id, study_instance_uid, series_instance_uid, sop_instance_uid) do update
set deleted_at = now(), event_id = excluded.event_id, reason = excluded.reason, collection_id = excluded.collection_id,
  embargo_until = excluded.embargo_until
"""

# Takes what was removed off the counters of the series.
SUBTRACT_FROM_SERIES = """
update series set instance_count = instance_count - $2, size_bytes = size_bytes - $3, revision = revision + 1,
  changed_at = now()
where id = $1 returning instance_count, facts
"""

# Takes what was removed off the counters of the study, and lists anew the SOP classes that are left.
SUBTRACT_FROM_STUDY = """
update study set series_count = series_count - $2, instance_count = instance_count - $3,
  size_bytes = size_bytes - $4, sop_classes = $5, revision = revision + 1, changed_at = now()
where id = $1 returning series_count, facts
"""

_ATTEMPTS = 5
# A foreign key is violated when a conflict has just been kept in a pack that was about to be dropped.
_TRY_AGAIN = (
    exceptions.DeadlockDetectedError,
    exceptions.SerializationError,
    exceptions.ForeignKeyViolationError,
)


@dataclass(frozen=True, slots=True)
class Removed:
    """What a delete took away; the objects hold nothing that lives and are to be deleted after it."""

    series: int
    instances: int
    size_bytes: int
    free_object_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Target:
    """The locked rows that a delete is about."""

    scope: Scope
    space_id: int
    collection_id: int
    embargo_until: date | None
    study_id: int
    series_id: int | None
    actor: str


class Removal:
    """Deletes resources (our extension of PS3.18).

    Args:
        instances: whose cache must not serve what is deleted.
        timezone: offset from UTC of date-times that do not tell their own.
    """

    def __init__(self, database: Database, instances: InstanceIndex, *, timezone: str = "+0000") -> None:
        self._database = database
        self._timezone = timezone
        self._instances = instances

    async def delete_study(self, study_instance_uid: str, visibility: Visibility, *, actor: str) -> Removed:
        """Delete a study.

        Raises:
            GoneError: it was deleted before.
            NotFoundError: there is none, or this principal may not see it.
        """
        return await self._delete(Scope(study_instance_uid), visibility, actor)

    async def delete_series(
        self, study_instance_uid: str, series_instance_uid: str, visibility: Visibility, *, actor: str
    ) -> Removed:
        """Delete a series, and its study when it was the last one; see `delete_study`."""
        return await self._delete(Scope(study_instance_uid, series_instance_uid), visibility, actor)

    async def delete_instance(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        visibility: Visibility,
        *,
        actor: str,
    ) -> Removed:
        """Delete an instance, and its series and study when it was the last one; see `delete_study`."""
        scope = Scope(study_instance_uid, series_instance_uid, sop_instance_uid)
        return await self._delete(scope, visibility, actor)

    def forget(self) -> None:
        """Let the cache serve nothing of what is gone; after the commit, and after a failure too.

        A connection that broke at the commit does not say which way it went.
        """
        self._instances.forget_deleted()

    async def _delete(self, scope: Scope, visibility: Visibility, actor: str) -> Removed:
        segments = await self.segments()
        try:
            for _ in range(_ATTEMPTS):
                try:
                    async with self._database.transaction() as connection:
                        return await self.delete_within(connection, scope, visibility, segments, actor=actor)
                except _TRY_AGAIN:
                    continue
        finally:
            self.forget()
        message = "Too many stores and deletes of the same study at once; try again later"
        raise DatabaseUnavailableError(message)

    async def segments(self) -> Rebuilding:
        """Return what segments are rebuilt with."""
        return Rebuilding(await self._database.term_secret(), self._timezone)

    async def delete_within(
        self, connection: Connection, scope: Scope, visibility: Visibility, segments: Rebuilding, *, actor: str
    ) -> Removed:
        """Delete what the scope names within the caller's transaction, who then calls `forget`."""
        study = await connection.fetchrow(LOCK_STUDY, *visibility.parameters(), scope.study_instance_uid)
        series_id = None
        if study is not None and scope.series_instance_uid is not None:
            series_id = await connection.fetchval(FIND_SERIES, study["id"], scope.series_instance_uid)
        if study is None or (scope.series_instance_uid is not None and series_id is None):
            raise await missing(connection, scope, visibility)
        home = study["space_id"], study["collection_id"], study["embargo_until"]
        target = _Target(scope, *home, study["id"], series_id, actor)
        counted = await connection.fetchrow(COUNT_REMOVED, target.study_id, series_id, scope.sop_instance_uid)
        if scope.sop_instance_uid is not None:
            if not counted["instances"]:
                raise await missing(connection, scope, visibility)
            await _rebuild_segment(connection, target, segments)
        levels = await _subtract(connection, target, counted)
        await _bury(connection, target, levels, counted)
        keys = await delete_free_packs(connection, counted["pack_ids"] or [])
        if scope.sop_instance_uid is None:
            keys += await take_retired_packs(connection, scope)
        return Removed(counted["series"], counted["instances"], counted["size_bytes"], keys)


async def _rebuild_segment(connection: Connection, target: _Target, segments: Rebuilding) -> None:
    """Replace the instance's segment by one without it; by none when it was alone."""
    found = await connection.fetchrow(FIND_INSTANCE, target.space_id, target.scope.sop_instance_uid, target.series_id)
    remaining = set(found["positions"]) - {found["position"]}
    await segments.part(connection, found["segment_id"], [remaining])


async def _subtract(connection: Connection, target: _Target, counted: Mapping[str, Any]) -> list[str]:
    """Delete rows without content and correct the others; returns the levels at which something is gone."""
    if target.series_id is None:
        await connection.execute(DELETE_STUDY, target.study_id)
        return ["study"]
    levels = ["series"] if target.scope.sop_instance_uid is None else ["instance"]
    left, facts = 0, 0
    if levels == ["instance"]:
        left, facts = await connection.fetchrow(
            SUBTRACT_FROM_SERIES, target.series_id, counted["instances"], counted["size_bytes"]
        )
    if left:
        await vote_on_series(connection, target.series_id, facts)
    else:
        await connection.execute(DELETE_SERIES, target.series_id)
        levels = ["series", *(level for level in levels if level != "series")]
    left, facts = await connection.fetchrow(
        SUBTRACT_FROM_STUDY,
        target.study_id,
        int("series" in levels),
        counted["instances"],
        counted["size_bytes"],
        await list_sop_classes(connection, target.study_id),
    )
    if left:
        await vote_on_study(connection, target.study_id, facts)
        await connection.execute(UPDATE_MODALITIES, target.study_id)
        return levels
    await connection.execute(DELETE_STUDY, target.study_id)
    return ["study", *levels]


async def _bury(connection: Connection, target: _Target, levels: Sequence[str], counted: Mapping[str, Any]) -> None:
    """Write the event, and a tombstone for each level at which something is gone."""
    scope = target.scope
    asked = "study" if scope.series_instance_uid is None else "series"
    kinds = {"study": EventKind.STUDY_DELETED, "series": EventKind.SERIES_DELETED}
    kind = kinds[asked] if scope.sop_instance_uid is None else EventKind.INSTANCE_DELETED
    uids = {"series_instance_uid": scope.series_instance_uid, "sop_instance_uid": scope.sop_instance_uid}
    event_id = await insert_event(
        connection,
        kind,
        actor=target.actor,
        space_id=target.space_id,
        study_instance_uid=scope.study_instance_uid,
        detail={
            "study": target.study_id,
            "instances": counted["instances"],
            "size_bytes": counted["size_bytes"],
            **{name: uid for name, uid in uids.items() if uid is not None},
        },
        collection_id=target.collection_id,
    )
    depth = {"study": 1, "series": 2, "instance": 3}
    for level in levels:
        named = [uid or "" for uid in scope.parameters()[: depth[level]]] + [""] * (3 - depth[level])
        home = target.collection_id, target.embargo_until
        await connection.execute(INSERT_TOMBSTONE, target.space_id, level, *named, event_id, "", *home)
