"""Tests on the columns of study and series rows in SQL."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    Double,
    FromClause,
    Integer,
    and_,
    bindparam,
    column,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
)

from dicomweb_archive.index.search.planning.conditions import STUDY_MOMENT, ColumnTest, Kind
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.sql.positions import Expression
from dicomweb_archive.index.search.sql.segments import EMPTY, ONE, Condition, holds_all, holds_any
from dicomweb_archive.index.search.sql.sql_types import BYTES, INT, NUMBER, TEXT, TEXTS
from dicomweb_archive.index.search.sql.zones import zone_of_row
from dicomweb_archive.index.segments.level_rows import NO_NUMBER

_ZERO: Expression = literal_column("0")
_DAY: Expression = literal_column("86400")
_FOUR_DAYS: Expression = literal_column("345600")


def column_test(name: str, test: ColumnTest, row: FromClause) -> Condition:
    """Compose the condition of one test on the row of a study or series; `name` begins its parameters."""
    match test.kind:
        case Kind.BETWEEN:
            return _between(name, test, row)
        case Kind.NAME:
            return _name(name, test, row.c[test.column])
        case Kind.IN_ZONE:
            return _in_zone(name, test, row)
        case Kind.EMPTY:
            return _empty(name, test, row)
    tested = row.c[test.column]
    match test.kind:
        case Kind.EQUALS:
            numeric = isinstance(tested.type, Integer | Double)
            return tested == bindparam(name, type_=NUMBER if numeric else TEXT)
        case Kind.ANY_OF:
            return tested == func.any(bindparam(name, type_=TEXTS))
        case Kind.LIKE:
            return and_(tested.like(bindparam(name, type_=TEXT)), tested != EMPTY)
        case Kind.FUZZY:
            return tested.like(func.any(bindparam(name, type_=TEXTS)))
        case Kind.HOLDS:
            return holds_all(tested, bindparam(name, type_=TEXTS))
        case Kind.HOLDS_ANY:
            return holds_any(tested, bindparam(name, type_=TEXTS))
        case _:
            return _some_entry(func.unnest(tested), f"entry_{name}", bindparam(name, type_=TEXT))


def _between(name: str, test: ColumnTest, row: FromClause) -> Condition:
    low, high = bindparam(f"{name}_low", type_=NUMBER), bindparam(f"{name}_high", type_=NUMBER)
    if test.column != STUDY_MOMENT:
        return row.c[test.column].between(low, high)
    moment = row.c.study_date + func.greatest(row.c.study_time, literal_column("0"))
    # The second line lets the index on dates narrow the search; a day and a leap second are all that time adds.
    near = row.c.study_date.between(low - literal_column("172800"), high)
    return and_(row.c.study_date >= literal_column("0"), moment.between(low, high), near)


def _in_zone(name: str, test: ColumnTest, row: FromClause) -> Condition:
    """A study's time, or date and time, in the zone of the request, whatever zone the study is in."""
    low, high = bindparam(f"{name}_low", type_=NUMBER), bindparam(f"{name}_high", type_=NUMBER)
    request, archive = bindparam(f"{name}_request", type_=INT), bindparam(f"{name}_archive", type_=INT)
    shift = request - zone_of_row(row.c.attributes, archive)
    if test.column != STUDY_MOMENT:
        clock = row.c[test.column] + shift
        return and_(row.c[test.column] >= _ZERO, (clock - func.floor(clock / _DAY) * _DAY).between(low, high))
    moment = row.c.study_date + func.greatest(row.c.study_time, _ZERO) + shift
    # Time and zones are less than four days, so the index on dates narrows the search.
    near = row.c.study_date.between(low - _FOUR_DAYS, high + _FOUR_DAYS)
    return and_(near, row.c.study_date >= _ZERO, moment.between(low, high))


def _empty(name: str, test: ColumnTest, row: FromClause) -> Condition:
    """No value: an empty text or array; no number, and no text in its place that is none."""
    tested = row.c[test.column]
    if isinstance(tested.type, ARRAY):
        return func.cardinality(tested) == literal_column("0")
    if not isinstance(tested.type, Integer | Double):
        return tested == EMPTY
    no_number = or_(tested.is_(None), tested == literal_column(str(NO_NUMBER)))
    return and_(no_number, not_(has_value(name, row)))


def has_value(name: str, row: FromClause) -> Condition:
    """The attributes of a row hold a value of the one that `value_parameters` name, be it no number or date at all."""
    first, later = (bindparam(f"{name}_{place}", type_=BYTES) for place in ("first", "later"))
    like = row.c.attributes.op("~~", is_comparison=True)
    return or_(like(first), like(later))


def value_parameters(name: str, with_value: str) -> dict[str, bytes]:
    """Return the values for the parameters of `has_value`."""
    # An attribute begins behind the brace or a line feed, where none inside of a sequence does.
    return {f"{name}_first": f"{{{with_value}%".encode(), f"{name}_later": f"%\n{with_value}%".encode()}


def _name(name: str, test: ColumnTest, names: Expression) -> Condition:
    """One component group matches; the first line is what the indexes answer, the second makes it exact."""
    pattern = bindparam(name, type_=TEXT)
    near = [names.like(pattern)]
    if not test.open_start:
        near.append(names.like(bindparam(f"{name}_later", type_=TEXT)))
    if not test.open_end:
        near.append(names.like(bindparam(f"{name}_earlier", type_=TEXT)))
    if not test.open_start and not test.open_end:
        near.append(names.like(bindparam(f"{name}_between", type_=TEXT)))
    groups = func.string_to_array(names, literal_column("'='"), type_=TEXTS)
    return and_(or_(*near), _some_entry(func.unnest(groups), f"group_{name}", pattern))


def _some_entry(entries: Any, alias: str, pattern: Expression) -> Condition:
    listed = entries.table_valued(column("value", TEXT)).render_derived(name=alias)
    return exists(select(ONE).select_from(listed).where(listed.c.value.like(pattern)))


def column_parameters(plan: SearchPlan) -> dict[str, Any]:
    """Return the values for the parameters of `column_test`; tests are named by table and number."""
    values: dict[str, Any] = {}
    for table, tests in (("study", plan.study), ("series", plan.series)):
        for number, test in enumerate(tests):
            name = f"{table}_{number}"
            if test.kind is Kind.BETWEEN:
                values[f"{name}_low"], values[f"{name}_high"] = test.value
                continue
            if test.kind is Kind.IN_ZONE:
                values[f"{name}_low"], values[f"{name}_high"], zones = test.value
                values[f"{name}_request"], values[f"{name}_archive"] = zones.request, zones.archive
                continue
            values[name] = test.value
            if test.kind is Kind.EMPTY and test.value is not None:
                values |= value_parameters(name, test.value)
            if test.kind is Kind.NAME:
                values[f"{name}_later"] = f"%={test.value}"
                values[f"{name}_earlier"] = f"{test.value}=%"
                values[f"{name}_between"] = f"%={test.value}=%"
    return values
