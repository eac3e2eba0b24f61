"""Lone segment: a store of one segment, which most stores are, written by one statement that is its own transaction.

Eight statements would write the same, each with a round trip; for one instance these cost more than the rows, and
for a long series they hold up the statements of others.
"""

from collections.abc import Mapping

from asyncpg import exceptions

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.building import SegmentContent
from dicomweb_archive.index.segments.level_rows import series_columns, study_columns
from dicomweb_archive.index.segments.rows import DATA_AND_ZONES, insert_instances, segment_parameters
from dicomweb_archive.index.writing.events import EventKind


def _store_segment(first: str, only_if: str) -> str:
    """Compose the statement of `STORE_SEGMENT`, with an expression before all others and a condition of all writing."""
    return f"""
with {first}known as (
  select st.id as study_id, st.collection_id, st.facts as study_facts, se.id as series_id, se.facts as series_facts
  from study st left join series se on se.study_id = st.id and se.series_instance_uid = $2::text
  where st.space_id = $16::int4 and st.study_instance_uid = $1::text
), new_study as (
  insert into study (space_id, collection_id, study_instance_uid, attributes, facts, patient_id, patient_name,
    study_date, study_time, accession_number, study_id, referring_physician_name, patient_name_words,
    referring_physician_name_words, modalities, sop_classes, series_count, instance_count, size_bytes)
  select $16, $26::int4, $1, $27::bytea, $4::int8, $28::text, $29::text, $30::float8, $31::float8, $32::text,
    $33::text, $34::text, $35::text, $36::text, array_remove(array[$38::text], ''), $40::text[], 1, $3, $41::int8
  where not exists (select 1 from known) and not exists (
    select from tombstone w where w.space_id = $16 and w.study_instance_uid = $1 and w.series_instance_uid = ''
      and w.sop_instance_uid = '' and w.reason <> ''){only_if}
  on conflict (space_id, study_instance_uid) do nothing returning id
), home as (
  select study_id, series_id from known
  where collection_id = $26 and study_facts = $4 and coalesce(series_facts = $5::int8, true){only_if}
  union all select id, null from new_study
), new_series as (
  insert into series (study_id, series_instance_uid, attributes, facts, modality, series_number, instance_count,
    size_bytes)
  select study_id, $2, $37::bytea, $5, $38, $39::int4, $3, $41 from home where series_id is null
  on conflict (study_id, series_instance_uid) do nothing returning study_id, id
), place as (
  select study_id, series_id from home where series_id is not null union all select study_id, id from new_series
), new_pack as (
  insert into pack (object_key, size_bytes) select $19::text, $42::int8 from place returning id as lone
), new_segment as (
  insert into segment (study_id, series_id, instance_count, study_facts, series_facts, terms, varying)
  select study_id, series_id, $3, $4, $5, $6::int8[], $24::int4[] from place returning id
), {DATA_AND_ZONES},
new_instances as ({insert_instances("new_pack", "array[]::int8[]")} returning 1
), back as (
  delete from tombstone t using place where t.space_id = $16 and t.study_instance_uid = $1 and (
    t.series_instance_uid = '' or
    (t.series_instance_uid = $2 and t.sop_instance_uid = any(string_to_array($18, ',') || ''::text)))
), noted as (
  insert into event (kind, actor, space_id, study_instance_uid, detail)
  select $43::text, $44::text, $16, $1, jsonb_build_object(
    'study', study_id, 'series', jsonb_build_array(series_id), 'instances', $3, 'size_bytes', $41) from place
), written as (
  select (select count(*) from new_instances) as instances
), added_study as (
  update study st set series_count = st.series_count + (k.series_id is null)::int4,
    instance_count = st.instance_count + $3, size_bytes = st.size_bytes + $41,
    modalities = case when k.series_id is not null then st.modalities else
      array(select distinct m from unnest(st.modalities || $38) m where m <> '' order by m) end,
    sop_classes = array(select distinct c from unnest(st.sop_classes || $40) c where c <> '' order by c),
    revision = st.revision + 1, changed_at = now()
  from known k, written where written.instances > 0 and st.id = k.study_id and st.space_id + 0 = $16 and st.facts = $4
  returning st.id
), added_series as (
  update series se set instance_count = se.instance_count + $3, size_bytes = se.size_bytes + $41,
    revision = se.revision + 1, changed_at = now()
  from known k, added_study where se.id = k.series_id and se.study_id + 0 = k.study_id and se.facts = $5 returning se.id
)
select 1 / ((select count(study_id) from known) = (select count(*) from added_study)
  and (select count(series_id) from known) = (select count(*) from added_series))::int4
from written where instances > 0
"""  # noqa: S608 - composed of constants


# Does what `register` does for any number of segments, and nothing at all (it returns nothing) where rows are there
# that say something else about study or series, for then a vote is due, or of another home of the study, where it was
# withdrawn, or where somebody else is just making it. New rows are made with their counters; those of known rows are
# added to at the end, when all else is written, because all stores of a study share their locks: study before series,
# as everywhere. When a vote of somebody else or a delete has changed a row until then, or the study has gone to another
# space, dividing by zero takes everything back.
STORE_SEGMENT = _store_segment("", "")

# Does the same for as long as a submission takes instances, which it does until the statement is committed: whoever
# seals it waits.
STORE_SEGMENT_WHILE_OPEN = _store_segment(
    "held_open as (select from submission where space_id = $16 and state = 'open' for share), ",
    " and exists (select from held_open)",
)


async def store_lone_segment(
    connection: Connection,
    content: SegmentContent,
    pack: tuple[str, int],
    path_ids: Mapping[str, int],
    *,
    space_id: int,
    collection_id: int,
    actor: str,
    while_open: bool,
) -> bool:
    """Write a segment whose instances are all that a pack, given by key and size, brings.

    Args:
        while_open: only as long as the submission whose space it is takes instances.

    Returns:
        whether it was written; if not, nothing was, and it takes the way of several segments.

    Raises:
        asyncpg.UniqueViolationError: an instance is there already; nothing is written.
    """
    scanned = content.instances[0].scanned
    segment = segment_parameters(
        content,
        space_id,
        path_ids,
        first=(scanned.study_instance_uid, scanned.series_instance_uid),
        packs=pack[0],
    )
    study, series = study_columns(content.study_attributes), series_columns(content.series_attributes)
    try:
        done = await connection.fetchval(
            STORE_SEGMENT_WHILE_OPEN if while_open else STORE_SEGMENT,
            *segment,
            collection_id,
            content.study_attributes,
            study.patient_id,
            study.patient_name,
            study.study_date,
            study.study_time,
            study.accession_number,
            study.study_id,
            study.referring_physician_name,
            study.patient_name_words,
            study.referring_physician_name_words,
            content.series_attributes,
            series.modality,
            series.series_number,
            sorted({stored.scanned.sop_class_uid for stored in content.instances} - {""}),
            sum(stored.byte_length for stored in content.instances),
            pack[1],
            EventKind.INSTANCES_STORED.value,
            actor,
        )
    except exceptions.DivisionByZeroError:
        return False
    return done is not None
