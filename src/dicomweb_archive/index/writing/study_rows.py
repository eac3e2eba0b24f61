"""Study and series rows: found, or made by whoever stores into them first."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.building import SegmentContent
from dicomweb_archive.index.segments.level_rows import series_columns, study_columns

# Finds the studies of a request in one space, and the series of them that it names.
FIND_ROWS = """
select st.study_instance_uid, st.id as study_id, st.collection_id, se.series_instance_uid, se.id as series_id
from study st left join series se on se.study_id = st.id and se.series_instance_uid = any($3::text[])
where st.space_id = $1 and st.study_instance_uid = any($2::text[])
"""

# Makes a study; nothing is returned when somebody else made it meanwhile.
INSERT_STUDY = """
insert into study (space_id, collection_id, study_instance_uid, attributes, facts, patient_id, patient_name,
  study_date, study_time, accession_number, study_id, referring_physician_name, patient_name_words,
  referring_physician_name_words, revision)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0)
on conflict (space_id, study_instance_uid) do nothing
returning id
"""

# Makes a series; nothing is returned when somebody else made it meanwhile.
INSERT_SERIES = """
insert into series (study_id, series_instance_uid, attributes, facts, modality, series_number, revision)
values ($1, $2, $3, $4, $5, $6, 0)
on conflict (study_id, series_instance_uid) do nothing
returning id
"""


# Finds those of new studies that were withdrawn: only a curator lets them in again.
FIND_WITHDRAWN = """
select study_instance_uid from tombstone
where space_id = $1 and study_instance_uid = any($2::text[]) and level = 'study' and reason <> ''
"""


class StudyMovedError(Exception):
    """A study or series has gone to another space, or into another study, since its row was found; look again."""


class OtherHomeError(Exception):
    """Studies belong to another collection than the one that is stored into, or were withdrawn from the space."""

    def __init__(self, study_instance_uids: frozenset[str]) -> None:
        super().__init__("studies have another home")
        self.study_instance_uids = study_instance_uids


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

    Raises:
        StudyMovedError: nothing is done, and looking again may help.
        OtherHomeError: studies are there and belong to another collection, or were withdrawn.
    """
    first: dict[SeriesKey, SegmentContent] = {}
    for content in contents:
        first.setdefault(series_key(content), content)
    keys = sorted(first, key=lambda key: (key.study_instance_uid, key.series_instance_uid))
    studies, series = await _find(connection, space_id, collection_id, keys)
    await _refuse_withdrawn(connection, space_id, {key.study_instance_uid for key in keys} - studies.keys())
    for uid, content in sorted({key.study_instance_uid: first[key] for key in reversed(keys)}.items()):
        while uid not in studies:
            new_id = await _insert_study(connection, space_id, collection_id, uid, content)
            if new_id is None:
                # Somebody else has made it meanwhile.
                found, more = await _find(connection, space_id, collection_id, keys)
                studies.update(found)
                series.update(more)
            else:
                studies[uid] = new_id
    for key in keys:
        if key not in series:
            study_id = studies[key.study_instance_uid]
            new_id = await _insert_series(connection, study_id, key.series_instance_uid, first[key])
            if new_id is None:
                series.update((await _find(connection, space_id, collection_id, [key]))[1])
            else:
                series[key] = SeriesRow(new_id, study_id, is_new=True)
        if key not in series:
            raise StudyMovedError
    return series


async def _refuse_withdrawn(connection: Connection, space_id: int, study_instance_uids: Collection[str]) -> None:
    if study_instance_uids:
        rows = await connection.fetch(FIND_WITHDRAWN, space_id, list(study_instance_uids))
        if rows:
            raise OtherHomeError(frozenset(row["study_instance_uid"] for row in rows))


async def _find(
    connection: Connection, space_id: int, collection_id: int, keys: Sequence[SeriesKey]
) -> tuple[dict[str, int], dict[SeriesKey, SeriesRow]]:
    """Return the ids of studies, and the rows of series, that are there."""
    rows = await connection.fetch(
        FIND_ROWS,
        space_id,
        [key.study_instance_uid for key in keys],
        [key.series_instance_uid for key in keys],
    )
    away = frozenset(row["study_instance_uid"] for row in rows if row["collection_id"] != collection_id)
    if away:
        raise OtherHomeError(away)
    wanted = frozenset(keys)
    series = {
        SeriesKey(row["study_instance_uid"], row["series_instance_uid"]): SeriesRow(
            row["series_id"], row["study_id"], is_new=False
        )
        for row in rows
        if row["series_id"] is not None
    }
    studies = {row["study_instance_uid"]: row["study_id"] for row in rows}
    return studies, {key: row for key, row in series.items() if key in wanted}


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
        columns.patient_name_words,
        columns.referring_physician_name_words,
    )
    return new_id


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
