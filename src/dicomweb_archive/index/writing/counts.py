"""Counts and votes: what study and series rows say about the instances below them.

A row's attributes are those of most of its instances, of equals the oldest (architecture section 3). Segments
carry the hash of theirs, so a vote is one grouping over the segments, needed only when hashes differ.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.document import decode_document
from dicomweb_archive.index.segments.level_rows import (
    SERIES_ROW_TAGS,
    STUDY_ROW_TAGS,
    facts_of,
    level_attributes,
    series_columns,
    study_columns,
)
from dicomweb_archive.index.segments.locations import decode_locations
from dicomweb_archive.index.segments.rows import joined_uids
from dicomweb_archive.index.writing.events import EventKind
from dicomweb_archive.index.writing.study_rows import StudyMovedError

# Ends a store into one study: takes tombstones of what came back away, writes the event, and adds to the counters
# of the study and then of its series, in that order, which is everybody's. Everything is computed from the rows
# themselves, so that waiting for another store's update of them loses nothing. Returns the facts of the study
# (without a series) and of the series; not all of them when the study has left the space meanwhile, or a series it
# (adding nothing keeps that question from choosing the index).
ADD_TO_STUDY = """
with back as (
  delete from tombstone t where t.space_id = $2 and t.study_instance_uid = $3
    and (t.series_instance_uid, t.sop_instance_uid) in (
      select n.series, unnest(string_to_array(n.instances, ',') || ''::text) from unnest($4::text[], $5::text[])
        as n(series, instances))
), noted as (
  insert into event (kind, actor, space_id, study_instance_uid, detail) values ($6, $7, $2, $3, $8::jsonb)
), one as (
  update study set series_count = series_count + $9, instance_count = instance_count + $10,
    size_bytes = size_bytes + $11,
    modalities = array(select distinct m from unnest(modalities || $12::text[]) m where m <> '' order by m),
    sop_classes = array(select distinct c from unnest(sop_classes || $13::text[]) c where c <> '' order by c),
    revision = revision + 1, changed_at = now()
  where id = $1 and space_id + 0 = $2 returning id, facts
), several as (
  update series s set instance_count = s.instance_count + new.instances,
    size_bytes = s.size_bytes + new.size_bytes, revision = s.revision + 1, changed_at = now()
  from one, unnest($14::int8[], $15::int4[], $16::int8[]) as new(id, instances, size_bytes)
  where s.id = new.id and s.study_id = one.id returning s.id, s.facts
)
select null as series_id, facts from one union all select id, facts from several
"""


def _vote(level: str) -> str:
    """Compose the election of a study or series: most instances win, of equals whose first one was stored first.

    The pack tells when that was: it stays the same when segments are merged or built anew.
    """
    return f"""
with said as (
  select {level}_facts as facts, min(id) as segment_id, sum(instance_count) as instances
  from segment where {level}_id = $1 group by {level}_facts
), most as (
  select facts, segment_id from said where instances = (select max(instances) from said)
)
select m.facts, m.segment_id from most m left join lateral (
  select i.pack_id, i.byte_offset from segment s join instance i on i.segment_id = s.id
  where s.{level}_id = $1 and s.{level}_facts = m.facts and (select count(*) > 1 from most)
  order by i.pack_id, i.byte_offset limit 1
) first on true order by first.pack_id, first.byte_offset limit 1
"""  # noqa: S608 - composed of constants


# Elects what a study's row says.
VOTE_STUDY = _vote("study")

# Elects what a series' row says.
VOTE_SERIES = _vote("series")

# Reads the document in which the elected attributes stand.
FIND_DOCUMENT = """
select d.document, s.instance_count from segment s join segment_data d on d.segment_id = s.id where s.id = $1
"""

# Writes an elected study.
UPDATE_STUDY_FACTS = """
update study set attributes = $2, facts = $3, patient_id = $4, patient_name = $5, study_date = $6,
  study_time = $7, accession_number = $8, study_id = $9, referring_physician_name = $10,
  patient_name_words = $11, referring_physician_name_words = $12
where id = $1
"""

# Writes an elected series.
UPDATE_SERIES_FACTS = """
update series set attributes = $2, facts = $3, modality = $4, series_number = $5 where id = $1
"""

# Lists the modalities of a study anew, when that of a series has changed or a series has gone.
UPDATE_MODALITIES = """
update study set modalities =
  array(select distinct modality from series where study_id = $1 and modality <> '' order by modality)
where id = $1
"""

# Reads where the SOP classes of a study stand.
LIST_LOCATIONS = """
select d.locations from segment sg join segment_data d on d.segment_id = sg.id where sg.study_id = $1
"""


@dataclass(frozen=True, slots=True)
class AddedSeries:
    """What one store brings to one series; `facts` are those of its new segments."""

    id: int
    series_instance_uid: str
    is_new: bool
    modality: str
    sop_instance_uids: Sequence[str]
    sop_classes: frozenset[str]
    size_bytes: int
    study_facts: frozenset[int]
    facts: frozenset[int]


@dataclass(frozen=True, slots=True)
class AddedStudy:
    """What one store brings to one study."""

    id: int
    study_instance_uid: str
    series: list[AddedSeries]


async def add_to_study(connection: Connection, added: AddedStudy, *, space_id: int, actor: str) -> None:
    """End a store into a study: event, counters and lists, and a vote where a row says otherwise.

    The last thing of a store, because it locks the rows that all stores of a study share; callers go through
    studies in the order of their ids, so that no two stores wait for each other in a circle.

    Raises:
        StudyMovedError: it is no longer where it was found.
    """
    rows = await connection.fetch(ADD_TO_STUDY, added.id, space_id, *_parameters(added, actor))
    facts = {row["series_id"]: row["facts"] for row in rows}
    if len(facts) <= len(added.series):
        raise StudyMovedError
    if any(series.study_facts != {facts[None]} for series in added.series):
        await vote_on_study(connection, added.id, facts[None])
    changed = False
    for series in added.series:
        if series.facts != {facts[series.id]}:
            changed |= await vote_on_series(connection, series.id, facts[series.id])
    if changed:
        await connection.execute(UPDATE_MODALITIES, added.id)


def _parameters(added: AddedStudy, actor: str) -> tuple[object, ...]:
    instances = [len(series.sop_instance_uids) for series in added.series]
    sizes = [series.size_bytes for series in added.series]
    ids = [series.id for series in added.series]
    detail = {"study": added.id, "series": ids, "instances": sum(instances), "size_bytes": sum(sizes)}
    return (
        added.study_instance_uid,
        ["", *(series.series_instance_uid for series in added.series)],
        ["", *(joined_uids(series.sop_instance_uids) for series in added.series)],
        EventKind.INSTANCES_STORED.value,
        actor,
        orjson.dumps(detail).decode(),
        sum(series.is_new for series in added.series),
        sum(instances),
        sum(sizes),
        [series.modality for series in added.series if series.is_new],
        sorted(frozenset().union(*(series.sop_classes for series in added.series))),
        ids,
        instances,
        sizes,
    )


async def vote_on_study(connection: Connection, study_id: int, facts: int) -> bool:
    """Make the study's row say what most instances say; returns whether it changed. The row is locked."""
    elected = await connection.fetchrow(VOTE_STUDY, study_id)
    if elected is None or elected["facts"] == facts:
        return False
    attributes = await _elected_attributes(connection, elected["segment_id"], elected["facts"], STUDY_ROW_TAGS)
    columns = study_columns(attributes)
    await connection.execute(
        UPDATE_STUDY_FACTS,
        study_id,
        attributes,
        elected["facts"],
        columns.patient_id,
        columns.patient_name,
        columns.study_date,
        columns.study_time,
        columns.accession_number,
        columns.study_id,
        columns.referring_physician_name,
        columns.patient_name_words,
        columns.referring_physician_name_words,
    )
    return True


async def vote_on_series(connection: Connection, series_id: int, facts: int) -> bool:
    """Make the series' row say what most instances say; returns whether it changed. Its study is locked."""
    elected = await connection.fetchrow(VOTE_SERIES, series_id)
    if elected is None or elected["facts"] == facts:
        return False
    attributes = await _elected_attributes(connection, elected["segment_id"], elected["facts"], SERIES_ROW_TAGS)
    columns = series_columns(attributes)
    await connection.execute(
        UPDATE_SERIES_FACTS, series_id, attributes, elected["facts"], columns.modality, columns.series_number
    )
    return True


async def _elected_attributes(connection: Connection, segment_id: int, facts: int, tags: frozenset[int]) -> bytes:
    """Read the attributes with this hash from a segment, most of whose instances have them."""
    document, instance_count = await connection.fetchrow(FIND_DOCUMENT, segment_id)
    # Documents of nested data hold megabytes, and an instance deep in a segment may be the first to say so.
    return await asyncio.to_thread(_find_attributes, document, instance_count, facts, tags)


def _find_attributes(document: bytes, instance_count: int, facts: int, tags: frozenset[int]) -> bytes:
    lines = decode_document(document)
    found = b"{}"
    for position in range(instance_count):
        found = level_attributes(lines.element_texts(position, tags), tags)
        if facts_of(found) == facts:
            break
    return found


async def list_sop_classes(connection: Connection, study_id: int) -> list[str]:
    """List the SOP classes of a study's instances anew, when some of them have gone."""
    rows = await connection.fetch(LIST_LOCATIONS, study_id)
    return await asyncio.to_thread(_sop_classes, [row["locations"] for row in rows])


def _sop_classes(locations: Sequence[bytes]) -> list[str]:
    return sorted({layout.sop_class_uid for blob in locations for layout in decode_locations(blob)})
