"""Representatives: what the index knows of a study or series that a picture of it is chosen by."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from dicomweb_archive.dicom.representative import InstanceOutline, SeriesOutline
from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.scope import Scope, missing

_ROWS, _IMAGE_TYPE, _INSTANCE_NUMBER, _TOTAL_COLUMNS = "00280010", "00080008", "00200013", "00480006"
_MOST_SEGMENTS = 64
# So many are outlined in half a millisecond.
_INLINE_INSTANCES = 500

# Names a study or a series at one moment: its revision changes with whatever is stored or deleted in it.
FIND_REVISION = f"""
select coalesce(se.id, st.id) as id, coalesce(se.revision, st.revision) as revision
from study st left join series se on se.study_id = st.id and se.series_instance_uid = $5
where {visible("st")} and st.study_instance_uid = $4 and ($5::text is null or se.id is not null)
"""  # noqa: S608 - composed of constants

# Lists series in the order of a search's result, each with what its first segment says of its images.
OUTLINE_SERIES = f"""
select se.id, se.series_instance_uid, se.modality,
  coalesce(d.common -> '{_IMAGE_TYPE}', jsonb_path_query_first(d.columns, '$."{_IMAGE_TYPE}"[0]')) as image_type,
  coalesce(d.common ? '{_ROWS}' or d.columns ? '{_ROWS}', false) as has_rows
from study st
join series se on se.study_id = st.id
left join lateral (
  select sd.common, sd.columns from segment sg join segment_data sd on sd.segment_id = sg.id
  where sg.series_id = se.id order by sg.id limit 1
) d on true
where {visible("st")} and st.study_instance_uid = $4 and ($5::text is null or se.series_instance_uid = $5)
order by se.series_number nulls last, se.id
"""  # noqa: S608 - composed of constants

# Reads what instances are ordered by, of the segments in the middle of a series: most series have but one or two.
OUTLINE_INSTANCES = f"""
select sg.id, sg.instance_count,
  jsonb_build_object('n', d.common -> '{_INSTANCE_NUMBER}', 't', d.common -> '{_IMAGE_TYPE}',
    'w', d.common -> '{_TOTAL_COLUMNS}') as common,
  jsonb_build_object('n', d.columns -> '{_INSTANCE_NUMBER}', 't', d.columns -> '{_IMAGE_TYPE}',
    'w', d.columns -> '{_TOTAL_COLUMNS}') as columns
from segment sg join segment_data d on d.segment_id = sg.id
where sg.series_id = $1
order by sg.id limit {_MOST_SEGMENTS}
offset greatest(0, (select count(*) from segment where series_id = $1) / 2 - {_MOST_SEGMENTS // 2})
"""  # noqa: S608 - composed of constants

# Names one instance of a segment, which may have been merged since it was outlined.
FIND_UID = """
select sop_instance_uid from instance where segment_id = $1 and position = $2
union all
select i.sop_instance_uid from segment_moved m
join instance i on i.segment_id = m.new_segment_id and i.position = m.shift + $2 where m.segment_id = $1
"""


class Revision(NamedTuple):
    """A study or series (`level` tells which) at one moment."""

    level: str
    id: int
    number: int


class RepresentativeIndex:
    """Finds what stands for studies and series."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def revision(self, scope: Scope, visibility: Visibility) -> Revision:
        """Return the present revision of a study, or of a series when the scope names one: one point query.

        Raises:
            GoneError: it was deleted.
            NotFoundError: there is none, or this principal may not see it.
        """
        study, series, _ = scope.parameters()
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_REVISION, *visibility.parameters(), study, series)
            if row is None:
                raise await missing(connection, scope, visibility)
        return Revision("study" if series is None else "series", row["id"], row["revision"])

    async def series(self, scope: Scope, visibility: Visibility) -> list[SeriesOutline]:
        """Outline the series of a study, or the one that the scope names, by their number."""
        study, series, _ = scope.parameters()
        async with self._database.connection() as connection:
            rows = await connection.fetch(OUTLINE_SERIES, *visibility.parameters(), study, series)
        return [
            SeriesOutline(
                row["id"],
                row["series_instance_uid"],
                row["modality"],
                _texts(_json(row["image_type"])),
                row["has_rows"],
            )
            for row in rows
        ]

    async def instances(self, series_id: int) -> list[InstanceOutline]:
        """Outline the instances of a series; of one in very many segments those in the middle."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(OUTLINE_INSTANCES, series_id)
        if sum(row["instance_count"] for row in rows) > _INLINE_INSTANCES:
            return await asyncio.to_thread(_all_outlines, rows)
        return _all_outlines(rows)

    async def sop_instance_uid(self, outline: InstanceOutline) -> str | None:
        """Return the UID of an outlined instance; `None` when it has been deleted meanwhile."""
        async with self._database.connection() as connection:
            uid: str | None = await connection.fetchval(FIND_UID, outline.segment_id, outline.position)
        return uid


def _all_outlines(rows: Sequence[Any]) -> list[InstanceOutline]:
    return [outline for row in rows for outline in _outlines(row)]


def _outlines(row: Any) -> Iterator[InstanceOutline]:
    common, columns = _json(row["common"]), _json(row["columns"])
    for position in range(row["instance_count"]):
        yield InstanceOutline(
            row["id"],
            position,
            _number(_value(common, columns, "n", position)),
            _texts(_value(common, columns, "t", position)),
            _number(_value(common, columns, "w", position)),
        )


def _value(common: Mapping[str, Any], columns: Mapping[str, Any], name: str, position: int) -> Sequence[Any]:
    """Return the values of an attribute in one instance; see `docs/design/0004-tag-index.md` for their form."""
    column = columns[name]
    return (common[name] if column is None else column[position]) or ()


def _json(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, str | bytes) else value


def _texts(values: Sequence[Any] | None) -> tuple[str, ...]:
    return tuple(value.upper() for value in values or () if isinstance(value, str))


def _number(values: Sequence[Any]) -> float | None:
    return values[0] if values and isinstance(values[0], int | float) else None
