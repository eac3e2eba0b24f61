"""Moving: a study goes from one space to another, rows only, for packs do not know spaces.

Where the other space does not have the study its row changes hands, with all that hangs on it. Where it does, series
and segments change their parents, and the rows above them are counted and voted on anew. Instances whose UID the other
space has already do not move: with the same bytes they are dropped, with others they stay where they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicomweb_archive.errors import ConflictError, NotFoundError
from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.writing.counts import UPDATE_MODALITIES, list_sop_classes, vote_on_series, vote_on_study
from dicomweb_archive.index.writing.packs import delete_free_packs
from dicomweb_archive.index.writing.rebuilding import Rebuilding

# Locks the study in both spaces, in the order of ids, which is everybody's. Stores into it have finished or find out
# at their end that it has gone; merges and deletes wait.
LOCK_STUDIES = """
select id, space_id, collection_id, facts, sop_classes, instance_count, size_bytes from study
where study_instance_uid = $1 and space_id = any($2::int4[]) order by id for update
"""

# Finds the instances of the study whose UID the other space has, and tells whether they are the same ones there.
FIND_MET = """
select i.segment_id, i.position, i.pack_id, i.sop_instance_uid, se.series_instance_uid,
  i.digest = o.digest and o.study_instance_uid = $3 and o.series_instance_uid = se.series_instance_uid as is_same
from segment sg join series se on se.id = sg.series_id join instance i on i.segment_id = sg.id
cross join lateral (
  select x.digest, xst.study_instance_uid, xse.series_instance_uid
  from instance x join segment xsg on xsg.id = x.segment_id
  join series xse on xse.id = xsg.series_id join study xst on xst.id = xsg.study_id
  where x.space_id = $2 and x.sop_instance_uid = i.sop_instance_uid limit 1
) o
where sg.study_id = $1
order by i.segment_id, i.position
"""

HAND_OVER_STUDY = "update study set space_id = $2, revision = revision + 1, changed_at = now() where id = $1"
HAND_OVER_INSTANCES = """
update instance i set space_id = $2 from segment sg where sg.study_id = $1 and i.segment_id = sg.id
"""

LIST_POSITIONS = "select position from instance where segment_id = $1"
FIND_SEGMENTS_OF = """
select distinct segment_id from instance where space_id = $1 and sop_instance_uid = any($2::text[])
"""

# Lists the segments that move, locked against those who would note something about them meanwhile.
LOCK_SEGMENTS = "select id from segment where study_id = $1 and id <> all($2::int8[]) order by id for update"

# Makes the study's row in the other space; counts follow.
COPY_STUDY = """
insert into study (space_id, collection_id, embargo_until, study_instance_uid, patient_id, patient_name, study_date,
  study_time, accession_number, study_id, referring_physician_name, patient_name_words,
  referring_physician_name_words, attributes, facts)
select $2, collection_id, embargo_until, study_instance_uid, patient_id, patient_name, study_date,
  study_time, accession_number, study_id, referring_physician_name, patient_name_words,
  referring_physician_name_words, attributes, facts
from study where id = $1 returning id, facts
"""

# Makes rows of series that move in part and that the other study does not have.
COPY_SERIES = """
insert into series (study_id, series_instance_uid, modality, series_number, attributes, facts)
select $2, s.series_instance_uid, s.modality, s.series_number, s.attributes, s.facts from series s
where s.study_id = $1
  and exists (select from segment g where g.series_id = s.id and g.id = any($3::int8[]))
  and exists (select from segment g where g.series_id = s.id and g.id <> all($3::int8[]))
  and not exists (
    select from series t where t.study_id = $2 and t.series_instance_uid = s.series_instance_uid)
"""

# Takes over whole series that the other study does not have.
TAKE_SERIES = """
update series s set study_id = $2 where s.study_id = $1
  and exists (select from segment g where g.series_id = s.id and g.id = any($3::int8[]))
  and not exists (
    select from series t where t.study_id = $2 and t.series_instance_uid = s.series_instance_uid)
"""
TAKE_SEGMENTS = """
update segment g set study_id = t.study_id, series_id = t.id
from series s join series t on t.series_instance_uid = s.series_instance_uid
where g.series_id = s.id and t.study_id = $1 and g.id = any($2::int8[])
"""
TAKE_PATHS = """
update segment_paths p set study_id = g.study_id, series_id = g.series_id
from segment g where g.id = p.segment_id and g.id = any($1::int8[])
"""
TAKE_INSTANCES = """
with taken as (
  update instance set space_id = $1 where segment_id = any($2::int8[]) returning byte_length
) select count(*)::int4 as instances, coalesce(sum(byte_length), 0)::int8 as size_bytes from taken
"""

DROP_EMPTY_SERIES = """
delete from series s where s.study_id = $1 and not exists (select from segment g where g.series_id = s.id)
"""
DROP_EMPTY_STUDY = """
delete from study st where st.id = $1 and not exists (select from series s where s.study_id = st.id) returning 1
"""

# Counts series anew: all of a study, or those of these segments.
RECOUNT_SERIES = """
update series s set instance_count = c.instances, size_bytes = c.size_bytes, revision = s.revision + 1,
  changed_at = now()
from (
  select g.series_id, count(*)::int4 as instances, sum(i.byte_length)::int8 as size_bytes
  from segment g join instance i on i.segment_id = g.id
  where g.study_id = $1
    and ($2::int8[] is null or g.series_id in (select x.series_id from segment x where x.id = any($2)))
  group by g.series_id
) c
where s.id = c.series_id returning s.id, s.facts
"""
RECOUNT_STUDY = """
update study st set series_count = c.series, instance_count = c.instances, size_bytes = c.size_bytes,
  sop_classes = $2, revision = st.revision + 1, changed_at = now()
from (
  select count(*)::int4 as series, coalesce(sum(instance_count), 0)::int4 as instances,
    coalesce(sum(size_bytes), 0)::int8 as size_bytes
  from series where study_id = $1
) c
where st.id = $1 returning st.facts
"""

# What is here again is no longer gone.
LIFT_TOMBSTONES = """
delete from tombstone t where t.space_id = $1 and t.study_instance_uid = $2 and (
  t.series_instance_uid = ''
  or t.sop_instance_uid = '' and exists (
    select from series s where s.study_id = $3 and s.series_instance_uid = t.series_instance_uid)
  or exists (select from instance i where i.space_id = $1 and i.sop_instance_uid = t.sop_instance_uid))
"""


@dataclass(frozen=True, slots=True)
class MetInstance:
    """An instance that does not move, because the other space has its SOP Instance UID with other bytes."""

    series_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class MovedStudy:
    """What became of a study that was to move.

    Attributes:
        study_id: of its row where it went; `None` when nothing moved.
        instances, size_bytes: of what moved.
        same: how many the other space had already, byte for byte; they were dropped.
        conflicts: what stayed.
        free_object_keys: objects that hold nothing any more, to be deleted after the commit.
    """

    study_id: int | None
    instances: int
    size_bytes: int
    same: int = 0
    conflicts: tuple[MetInstance, ...] = ()
    free_object_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """Which study goes from where to where, and what its segments are built with."""

    study_instance_uid: str
    from_space: int
    to_space: int
    segments: Rebuilding


async def move_study(connection: Connection, move: Move) -> MovedStudy:
    """Move a study; the caller holds the transaction, and tries again when others were in the way.

    Raises:
        NotFoundError: the space does not have it.
        ConflictError: the other space has a study of this UID in another collection.
    """
    rows = await connection.fetch(LOCK_STUDIES, move.study_instance_uid, [move.from_space, move.to_space])
    of_space = {row["space_id"]: row for row in rows}
    source, target = of_space.get(move.from_space), of_space.get(move.to_space)
    if source is None:
        message = "There is no such study in this space"
        raise NotFoundError(message)
    if target is not None and target["collection_id"] != source["collection_id"]:
        message = "The study is in another collection already; a study has one home collection"
        raise ConflictError(message)
    met = await connection.fetch(FIND_MET, source["id"], move.to_space, move.study_instance_uid)
    if target is None and not met:
        moved = await _hand_over(connection, move, source)
    else:
        moved = await _take_in(connection, move, source, target, met)
    if moved.study_id is not None:
        await connection.execute(LIFT_TOMBSTONES, move.to_space, move.study_instance_uid, moved.study_id)
    return moved


async def _hand_over(connection: Connection, move: Move, source: Mapping[str, Any]) -> MovedStudy:
    """Give the study's row, and all that hangs on it, to the other space."""
    await connection.execute(HAND_OVER_STUDY, source["id"], move.to_space)
    await connection.execute(HAND_OVER_INSTANCES, source["id"], move.to_space)
    return MovedStudy(source["id"], source["instance_count"], source["size_bytes"])


async def _take_in(
    connection: Connection,
    move: Move,
    source: Mapping[str, Any],
    target: Mapping[str, Any] | None,
    met: Sequence[Mapping[str, Any]],
) -> MovedStudy:
    """Bring what is new into the study that the other space has, or into one made for it."""
    same = [row for row in met if row["is_same"]]
    stays = [row for row in met if not row["is_same"]]
    await _part(connection, move, met)
    staying = await connection.fetch(FIND_SEGMENTS_OF, move.from_space, [row["sop_instance_uid"] for row in stays])
    moving = await connection.fetch(LOCK_SEGMENTS, source["id"], [row["segment_id"] for row in staying])
    ids = [row["id"] for row in moving]
    study_id = None
    taken: Mapping[str, int] = {"instances": 0, "size_bytes": 0}
    if ids:
        home = target or await connection.fetchrow(COPY_STUDY, source["id"], move.to_space)
        study_id = home["id"]
        taken = await _take(connection, move, source["id"], study_id, ids)
    await connection.execute(DROP_EMPTY_SERIES, source["id"])
    if not await connection.fetchval(DROP_EMPTY_STUDY, source["id"]) and (ids or same):
        await recount_study(connection, source["id"], await list_sop_classes(connection, source["id"]), None)
    if study_id is not None:
        # Of what moves as a whole the classes are known; those of a long study are not all read for them.
        classes = (
            await list_sop_classes(connection, study_id)
            if met or target is None
            else sorted({*target["sop_classes"], *source["sop_classes"]})
        )
        await recount_study(connection, study_id, classes, ids)
    return MovedStudy(
        study_id,
        taken["instances"],
        taken["size_bytes"],
        len(same),
        tuple(MetInstance(row["series_instance_uid"], row["sop_instance_uid"]) for row in stays),
        await delete_free_packs(connection, sorted({row["pack_id"] for row in same})),
    )


async def _part(connection: Connection, move: Move, met: Sequence[Mapping[str, Any]]) -> None:
    """Part the segments that hold instances which do not move: those that do, and those that stay."""
    by_segment: dict[int, dict[int, bool]] = {}
    for row in met:
        by_segment.setdefault(row["segment_id"], {})[row["position"]] = row["is_same"]
    for segment_id, positions in by_segment.items():
        everything = {row["position"] for row in await connection.fetch(LIST_POSITIONS, segment_id)}
        stays = {position for position, is_same in positions.items() if not is_same}
        if stays == everything:
            continue
        parts = [everything - positions.keys(), stays]
        await move.segments.part(connection, segment_id, parts)


async def _take(
    connection: Connection, move: Move, source_id: int, study_id: int, segment_ids: Sequence[int]
) -> Mapping[str, int]:
    """Give series and segments to the other study; returns how much that was."""
    await connection.execute(COPY_SERIES, source_id, study_id, segment_ids)
    await connection.execute(TAKE_SERIES, source_id, study_id, segment_ids)
    await connection.execute(TAKE_SEGMENTS, study_id, segment_ids)
    await connection.execute(TAKE_PATHS, segment_ids)
    taken: Mapping[str, int] = await connection.fetchrow(TAKE_INSTANCES, move.to_space, segment_ids)
    return taken


async def recount_study(
    connection: Connection, study_id: int, sop_classes: Sequence[str], segment_ids: Sequence[int] | None
) -> None:
    """Make the rows of the study, and of the series with these segments, say what is below them now.

    The caller holds the lock of the study; `None`: all of its series.
    """
    for series_id, facts in await connection.fetch(RECOUNT_SERIES, study_id, segment_ids):
        await vote_on_series(connection, series_id, facts)
    facts = await connection.fetchval(RECOUNT_STUDY, study_id, sop_classes)
    await vote_on_study(connection, study_id, facts)
    await connection.execute(UPDATE_MODALITIES, study_id)
