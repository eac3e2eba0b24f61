"""Study and series rows: found, or made by whoever stores into them first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dicomweb_archive.index.engine import Connection
from dicomweb_archive.index.level_rows import series_columns, study_columns
from dicomweb_archive.index.segments import SegmentContent

# Finds the studies of a request in one space.
FIND_STUDIES = """
select study_instance_uid, id from study where space_id = $1 and study_instance_uid = any($2::text[])
"""

# Makes a study; nothing is returned when somebody else made it meanwhile.
INSERT_STUDY = """
insert into study (space_id, collection_id, study_instance_uid, attributes, facts, patient_id, patient_name,
  study_date, study_time, accession_number, study_id, referring_physician_name, revision)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0)
on conflict (space_id, study_instance_uid) do nothing
returning id
"""

# Finds the series of a request by study.
FIND_SERIES = """
select s.study_id, s.series_instance_uid, s.id
from unnest($1::int8[], $2::text[]) as wanted(study_id, series_instance_uid)
join series s using (study_id, series_instance_uid)
"""

# Makes a series; nothing is returned when somebody else made it meanwhile.
INSERT_SERIES = """
insert into series (study_id, series_instance_uid, attributes, facts, modality, series_number, revision)
values ($1, $2, $3, $4, $5, $6, 0)
on conflict (study_id, series_instance_uid) do nothing
returning id
"""


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Names a series within a space."""

    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """Ids of a series and its study; `is_new` when this transaction made it."""

    id: int
    study_id: int
    is_new: bool


def series_key(content: SegmentContent) -> SeriesKey:
    """Tell which series a segment belongs to."""
    scanned = content.instances[0].scanned
    return SeriesKey(scanned.study_instance_uid, scanned.series_instance_uid)


async def find_or_insert_series(
    connection: Connection, contents: Iterable[SegmentContent], *, space_id: int, collection_id: int
) -> dict[SeriesKey, SeriesRow]:
    """Return the rows of every series of the segments, made where missing.

    New rows are made in sorted order, studies first: two stores then never wait for each other in a circle.
    """
    first: dict[SeriesKey, SegmentContent] = {}
    for content in contents:
        first.setdefault(series_key(content), content)
    keys = sorted(first, key=lambda key: (key.study_instance_uid, key.series_instance_uid))
    by_study = {key.study_instance_uid: first[key] for key in reversed(keys)}
    study_ids = await _find_or_insert_studies(connection, by_study, space_id, collection_id)
    rows = await _find_series(connection, keys, study_ids)
    for key in keys:
        while key not in rows:
            content = first[key]
            study_id = study_ids[key.study_instance_uid]
            new_id = await _insert_series(connection, study_id, key.series_instance_uid, content)
            if new_id is None:
                rows.update(await _find_series(connection, [key], study_ids))
            else:
                rows[key] = SeriesRow(new_id, study_id, is_new=True)
    return rows


async def _find_or_insert_studies(
    connection: Connection, first: Mapping[str, SegmentContent], space_id: int, collection_id: int
) -> dict[str, int]:
    ids: dict[str, int] = dict(await connection.fetch(FIND_STUDIES, space_id, list(first)))
    for uid in sorted(first):
        while uid not in ids:
            new_id = await _insert_study(connection, space_id, collection_id, uid, first[uid])
            if new_id is None:
                ids.update(await connection.fetch(FIND_STUDIES, space_id, [uid]))
            else:
                ids[uid] = new_id
    return ids


async def _insert_study(
    connection: Connection, space_id: int, collection_id: int, uid: str, content: SegmentContent
) -> int | None:
    columns = study_columns(content.study_attributes)
    new_id: int | None = await connection.fetchval(
        INSERT_STUDY,
        space_id,
        collection_id,
        uid,
        content.study_attributes,
        content.study_facts,
        columns.patient_id,
        columns.patient_name,
        columns.study_date,
        columns.study_time,
        columns.accession_number,
        columns.study_id,
        columns.referring_physician_name,
    )
    return new_id


async def _find_series(
    connection: Connection, keys: Iterable[SeriesKey], study_ids: Mapping[str, int]
) -> dict[SeriesKey, SeriesRow]:
    keys = list(keys)
    uid_of = {study_ids[key.study_instance_uid]: key.study_instance_uid for key in keys}
    found = await connection.fetch(
        FIND_SERIES,
        [study_ids[key.study_instance_uid] for key in keys],
        [key.series_instance_uid for key in keys],
    )
    return {SeriesKey(uid_of[study_id], uid): SeriesRow(id_, study_id, is_new=False) for study_id, uid, id_ in found}


async def _insert_series(connection: Connection, study_id: int, uid: str, content: SegmentContent) -> int | None:
    columns = series_columns(content.series_attributes)
    new_id: int | None = await connection.fetchval(
        INSERT_SERIES,
        study_id,
        uid,
        content.series_attributes,
        content.series_facts,
        columns.modality,
        columns.series_number,
    )
    return new_id
