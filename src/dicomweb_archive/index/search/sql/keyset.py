"""Order in SQL: sort values that are never NULL, and what lies behind the last row of the page before."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    FromClause,
    and_,
    bindparam,
    case,
    cast,
    collate,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from dicomweb_archive.index.search.planning.order import SortForm, SortKey, Source
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.sql.positions import Expression
from dicomweb_archive.index.search.sql.segments import BARRIER, EMPTY, Condition
from dicomweb_archive.index.search.sql.sql_types import JSON, LONG, NUMBER, TEXT

Rows: TypeAlias = Mapping[Source, FromClause]
"""The tables, or what stands for them, that sort values are taken from."""

# Indexes on expressions are made of the same constants (database/tables), or PostgreSQL would not know them again.
HIGHEST_TEXT: Expression = literal_column("'\U0010ffff'")
HIGHEST_NUMBER: Expression = literal_column("'Infinity'::float8")
_LOWEST_NUMBER: Expression = literal_column("'-Infinity'::float8")
_MISSING_NUMBER: Expression = literal_column("'-1'::float8")

_TYPES: Mapping[SortForm, Any] = {
    SortForm.ID: LONG,
    SortForm.COUNT: NUMBER,
    SortForm.NUMBER: NUMBER,
    SortForm.NULLABLE: NUMBER,
    SortForm.UID: TEXT,
    SortForm.TEXT: TEXT,
}


def label_of(number: int) -> str:
    """Return the name of a sort value in the rows of a page."""
    return f"k{number}"


def sort_values(keys: Sequence[SortKey], rows: Rows, *, first: int = 0) -> list[Expression]:
    """Return the sort values of rows; `first` is the number of the first key in the plan's order."""
    return [_value(n, key, rows) for n, key in enumerate(keys, first)]


def numbered(values: Sequence[Expression], *, first: int = 0) -> list[Expression]:
    """Return sort values as columns of a page, each named by its number in the order."""
    return [value.label(label_of(number)) for number, value in enumerate(values, first)]


def labelled(keys: Sequence[SortKey], row: FromClause, *, first: int = 0) -> list[Expression]:
    """Return the sort values of a subquery whose columns they are."""
    return [row.c[label_of(number)] for number in range(first, first + len(keys))]


def in_order(keys: Sequence[SortKey], values: Sequence[Expression]) -> list[Expression]:
    """Return what to sort by."""
    return [value.desc() if key.descending else value.asc() for key, value in zip(keys, values, strict=True)]


def behind(keys: Sequence[SortKey], values: Sequence[Expression], *, or_at: bool = False) -> Condition:
    """Return the condition that a row lies behind the last one of the page before, or at it."""
    last = [bindparam(f"after_{number}", type_=_TYPES[key.form]) for number, key in enumerate(keys)]
    if len({key.descending for key in keys}) == 1:
        # A comparison of rows is what an index on several columns answers.
        row, bounds = (tuple_(*values), tuple_(*last)) if len(keys) > 1 else (values[0], last[0])
        if keys[0].descending:
            return row <= bounds if or_at else row < bounds
        return row >= bounds if or_at else row > bounds
    condition: Condition | None = None
    for key, value, bound in reversed(list(zip(keys, values, last, strict=True))):
        beyond = value < bound if key.descending else value > bound
        if condition is None:
            at_last = value <= bound if key.descending else value >= bound
            condition = at_last if or_at else beyond
        else:
            condition = or_(beyond, and_(value == bound, condition))
    assert condition is not None, "an order has two directions at least here"
    # The same again of the first value alone is what an index can begin with.
    return and_(values[0] <= last[0] if keys[0].descending else values[0] >= last[0], condition)


def segment_values(keys: Sequence[SortKey], data: FromClause, segment: FromClause) -> FromClause:
    """Extract the columns of `SEGMENT` keys once for a segment, as `recheck_source` does for tests."""
    extracted = []
    for number, key in enumerate(keys):
        if key.source is Source.SEGMENT:
            path = bindparam(f"order_path_{number}", type_=TEXT)
            extracted += [
                _member(data.c.columns, path).label(f"varying_{number}"),
                _member(data.c.common, path).label(f"shared_{number}"),
            ]
    own = select(*extracted).where(data.c.segment_id == segment.c.id).correlate(segment)
    return own.offset(BARRIER).lateral("y")


def order_parameters(plan: SearchPlan) -> dict[str, Any]:
    """Return the values for the parameters of this module."""
    paths = {f"order_path_{number}": key.path for number, key in enumerate(plan.order)}
    return paths | {f"after_{number}": value for number, value in enumerate(plan.after or ())}


def _value(number: int, key: SortKey, rows: Rows) -> Expression:
    if key.source is Source.SEGMENT:
        return _segment_value(number, key, rows)
    return _column_value(key, rows[key.source].c[key.column])


def _column_value(key: SortKey, column: Expression) -> Expression:
    match key.form:
        case SortForm.TEXT if not key.descending:
            return func.coalesce(func.nullif(column, EMPTY), HIGHEST_TEXT, type_=TEXT)
        case SortForm.NUMBER if not key.descending:
            return func.coalesce(func.nullif(column, _MISSING_NUMBER), HIGHEST_NUMBER, type_=NUMBER)
        case SortForm.NULLABLE:
            return func.coalesce(cast(column, NUMBER), _LOWEST_NUMBER if key.descending else HIGHEST_NUMBER)
        case _:
            return column


def _segment_value(number: int, key: SortKey, rows: Rows) -> Expression:
    """The first value in the normal form of terms; the columns of a segment have it by position."""
    y, position = rows[Source.SEGMENT], rows[Source.INSTANCE].c.position
    values = func.coalesce(_member(y.c[f"varying_{number}"], position), y.c[f"shared_{number}"], type_=JSON)
    if key.form is SortForm.NULLABLE:
        first = _member(values, BARRIER)
        found = case((func.jsonb_typeof(first) == literal_column("'number'"), cast(first, NUMBER)))
        return func.coalesce(found, _LOWEST_NUMBER if key.descending else HIGHEST_NUMBER, type_=NUMBER)
    text = func.nullif(values.op("->>", return_type=TEXT)(BARRIER), EMPTY, type_=TEXT)
    return collate(func.coalesce(text, EMPTY if key.descending else HIGHEST_TEXT, type_=TEXT), "C")


def _member(container: Expression, key: Expression) -> Expression:
    return container.op("->", return_type=JSON)(key)
