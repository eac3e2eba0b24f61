"""Facets in SQL: what matches, its segments, and one branch a field that counts the values in them.

A branch takes the values of a field from the cheapest place that has them: from the columns of study and series
rows; from terms, unfolded segment by segment or looked up by the dictionary; from the re-check form where a segment
has a zone instead of terms, or where instances are counted and the attribute varies between them.

Values of requests are parameters; the text holds names of ours and numbers of parameters alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from dicomweb_archive.dicom.comparable_values import DAY_SECONDS
from dicomweb_archive.dicom.facets import Calendar, FacetField
from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.search.planning.planner import SERIES_COLUMNS, STUDY_COLUMNS, ColumnForm

# What matches, by level: `hit` with the entity, and `seg` with its segments. Of instances a segment is the entity:
# `n` is how many of its instances match, `positions` which ones, null for all.
_SEGMENTS = {
    Level.STUDY: """seg as materialized (
  select h.id as entity, p.id as segment_id, 1::int8 as n, null::int4[] as positions
  from hit h join segment p on p.study_id = h.id)""",
    Level.SERIES: """seg as materialized (
  select h.id as entity, p.id as segment_id, 1::int8 as n, null::int4[] as positions
  from hit h join segment p on p.series_id = h.id)""",
    Level.INSTANCE: """seg as materialized (
  select segment_id as entity, segment_id, n, positions from hit)""",
}
_WHOLE_SEGMENTS = "select segment_id, instance_count::int8 as n, null::int4[] as positions from ({0}) found"
_POSITIONS = """select segment_id, count(*)::int8 as n, array_agg(position::int4) as positions
  from ({0}) found group by segment_id"""

# The row of a study or series that goes with what matches.
_ROWS = {
    (Level.STUDY, "study"): "select h.id as entity, 1::int8 as n, r.* from hit h join study r on r.id = h.id",
    (Level.STUDY, "series"): "select h.id as entity, 1::int8 as n, r.* from hit h join series r on r.study_id = h.id",
    (Level.SERIES, "study"): """select h.id as entity, 1::int8 as n, r.* from hit h
    join series q on q.id = h.id join study r on r.id = q.study_id""",
    (Level.SERIES, "series"): "select h.id as entity, 1::int8 as n, r.* from hit h join series r on r.id = h.id",
    (Level.INSTANCE, "study"): """select h.segment_id as entity, h.n, r.* from hit h
    join segment p on p.id = h.segment_id join study r on r.id = p.study_id""",
    (Level.INSTANCE, "series"): """select h.segment_id as entity, h.n, r.* from hit h
    join segment p on p.id = h.segment_id join series r on r.id = p.series_id""",
}

# A number or text of the re-check form; digests of long texts begin with U+FFFF, which is no character.
_RECHECK = """case when jsonb_typeof(q.v) = 'number' then (q.v #>> '{}')::float8 end as number,
    case when jsonb_typeof(q.v) = 'string' then q.v #>> '{}' end as text"""
_COMPARABLE = "jsonb_typeof(q.v) in ('number', 'string') and q.v #>> '{}' <> '' and (q.v #>> '{}') not like U&'\\FFFF%'"


class Drive(StrEnum):
    """Where a branch over terms begins."""

    SEGMENTS = "segments"
    DICTIONARY = "dictionary"


@dataclass(frozen=True, slots=True)
class IndexedField:
    """A field that the index knows: the path's id, `None` for a column, and where its branch begins."""

    field: FacetField
    path_id: int | None
    drive: Drive = Drive.SEGMENTS


@dataclass(slots=True)
class Arguments:
    """The arguments of a statement; hands out the numbers of their parameters."""

    values: list[Any] = field(default_factory=list)

    def add(self, value: Any, kind: str) -> str:
        """Add a value; returns its parameter."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"


def hits_text(level: Level, ids: str, *, by_position: bool) -> str:
    """Compose `hit` from the statement that finds everything that matches."""
    if level is Level.INSTANCE:
        ids = (_POSITIONS if by_position else _WHOLE_SEGMENTS).format(ids)
    return f"hit as materialized ({ids})"


def total_text(level: Level, hits: str) -> str:
    """Compose the statement that counts what matches, and its rows of `hit`."""
    counted = "sum(n)" if level is Level.INSTANCE else "count(*)"
    return f"with {hits} select coalesce({counted}, 0)::int8 as total, count(*) as hits from hit"  # noqa: S608


def facets_text(level: Level, hits: str, fields: Sequence[IndexedField], limit: int, arguments: Arguments) -> str:
    """Compose the statement that counts the values of all fields, the most frequent of each first."""
    most = arguments.add(limit, "int8")
    branches = []
    for number, indexed in enumerate(fields):
        source = _column_branch(level, indexed, arguments) or _index_branch(level, indexed, arguments)
        counted = "number, text, sum(n)::int8 as count, count(*) over () as different"
        order = f"group by number, text order by sum(n) desc, number, text limit {most}"
        branches.append(f"(select {number} as field, {counted} from ({source}) held {order})")  # noqa: S608
    return f"with {hits}, {_SEGMENTS[level]}\n" + "\nunion all\n".join(branches)


def has_column(asked: FacetField) -> bool:
    """Tell whether study or series rows have a column of this attribute."""
    return _column_of(asked) is not None


def _column_of(asked: FacetField) -> tuple[str, str, ColumnForm] | None:
    step = asked.path.steps[0]
    if len(asked.path.steps) > 1 or step.private_creator is not None:
        return None
    for table, columns in (("study", STUDY_COLUMNS), ("series", SERIES_COLUMNS)):
        if step.tag in columns:
            return (table, *columns[step.tag])
    return None


def _column_branch(level: Level, indexed: IndexedField, arguments: Arguments) -> str | None:
    found = _column_of(indexed.field)
    if found is None:
        return None
    table, name, form = found
    rows = _ROWS[level, table]
    match form:
        case ColumnForm.NUMBER:
            # A missing date is stored as -1.
            missing = "and r.number >= 0" if table == "study" else ""
            binned = _binned(indexed.field, "r.number", arguments)
            return f"""select distinct entity, n, {binned} as number, null::text as text
  from (select entity, n, {name}::float8 as number from ({rows}) o) r where r.number is not null {missing}"""  # noqa: S608
        case ColumnForm.TEXT:
            values = f"unnest(array[{name}])"
        case ColumnForm.NAME:
            values = f"unnest(string_to_array({name}, '='))"
        case ColumnForm.ARRAY:
            values = f"unnest({name})"
    return f"""select distinct entity, n, null::float8 as number, text
  from (select entity, n, {values} as text from ({rows}) o) r where text <> ''"""  # noqa: S608


def _index_branch(level: Level, indexed: IndexedField, arguments: Arguments) -> str:
    path = arguments.add(indexed.path_id, "int4")
    steps = list(map(str, indexed.field.path.steps))
    step = arguments.add(steps[0], "text")
    below = arguments.add(_json_path(steps[1:]), "text") + "::jsonpath"
    # Long sequences lie apart from the others.
    shared = f"coalesce(d.common -> {step}, d.large -> {step} -> 'shared')"
    varying = f"coalesce(d.columns -> {step}, d.large -> {step} -> 'varying')"
    values = _values(indexed.field, arguments)
    by_terms = _by_terms(indexed.drive, path)
    by_zone = "exists (select from zone z where z.segment_id = s.segment_id and z.path_id = " + path + ")"
    if level is not Level.INSTANCE:
        everywhere = arguments.add("$[*][*]" + _json_path(steps[1:])[1:].removeprefix("[*]"), "text") + "::jsonpath"
        return f"""select distinct entity, 1::int8 as n, {values} from ({by_terms}) v
  union
  select distinct entity, 1::int8, {values} from (
    select s.entity, {_RECHECK} from seg s join segment_data d on d.segment_id = s.segment_id
    cross join lateral (
      select jsonb_path_query({shared}, {below}) as v
      union all select jsonb_path_query({varying}, {everywhere})) q
    where {by_zone} and {_COMPARABLE}) v"""  # noqa: S608
    varies = f"""coalesce((select -({path}) = any(h.path_ids)
      from segment_paths sp join path_set h on h.hash = sp.path_set
      where sp.segment_id = s.segment_id), {varying} is not null)"""  # noqa: S608
    return f"""select distinct entity, n, {values} from (
    select v.* from ({by_terms}) v join seg s on s.segment_id = v.entity
    join segment_data d on d.segment_id = s.segment_id where not {varies} and not {by_zone}) v
  union all
  select distinct entity, n, {values} from (
    select s.entity, s.n, {_RECHECK} from seg s join segment_data d on d.segment_id = s.segment_id
    cross join lateral (select jsonb_path_query({shared}, {below}) as v) q
    where {by_zone} and not {varies} and {_COMPARABLE}) v
  union all
  select entity, count(distinct position)::int8, number, text from (
    select entity, position, {values} from (
      select s.entity, e.position, {_RECHECK} from seg s join segment_data d on d.segment_id = s.segment_id
      cross join lateral jsonb_array_elements({varying}) with ordinality e(own, position)
      cross join lateral (select jsonb_path_query(e.own, {below}) as v) q
      where {varies} and (s.positions is null or e.position - 1 = any(s.positions)) and {_COMPARABLE}) v) w
  group by entity, number, text"""  # noqa: S608


def _by_terms(drive: Drive, path: str) -> str:
    value = "t.number, case when t.number is null then t.value end as text"
    if drive is Drive.DICTIONARY:
        # OFFSET 0 keeps it one look-up a term.
        return f"""select s.entity, s.n, {value} from term t
    cross join lateral (select p.id from segment p where p.terms @> array[t.hash] offset 0) l
    join seg s on s.segment_id = l.id where t.path_id = {path} and t.value <> ''"""  # noqa: S608
    return f"""select s.entity, s.n, {value} from seg s join segment p on p.id = s.segment_id
    cross join lateral unnest(p.terms) h join term t on t.hash = h
    where t.path_id = {path} and t.value <> ''"""  # noqa: S608


def _values(asked: FacetField, arguments: Arguments) -> str:
    return f"{_binned(asked, 'v.number', arguments)} as number, v.text"


def _binned(asked: FacetField, number: str, arguments: Arguments) -> str:
    # Days are counted from the first of January of the year 1, which is day 1. A data set may hold an attribute with
    # another value representation than its own, so not every number is a date, and what is none has no bin.
    is_date = f"{number} >= 86400 and {number} < {(date.max.toordinal() + 1) * DAY_SECONDS}"
    day = f"(date '0001-01-01' + (floor({number} / 86400)::int4 - 1))"
    match asked.interval:
        case None:
            return number
        case Calendar.YEAR:
            return f"case when {is_date} then date_part('year', {day}) end"
        case Calendar.MONTH:
            return f"case when {is_date} then date_part('year', {day}) * 100 + date_part('month', {day}) end"
        case width:
            # The largest numbers there are would grow beyond themselves.
            held = f"greatest(-1e290::float8, least(1e290::float8, {number}))"
            return f"floor({held} / {arguments.add(width, 'float8')})"


def _json_path(steps: Sequence[str]) -> str:
    """Write the path from the values of the outermost attribute to those of the innermost one."""
    quoted = (step.replace("\\", "\\\\").replace('"', '\\"') for step in steps)
    return "$[*]" + "".join(f'."{step}"[*]' for step in quoted)
