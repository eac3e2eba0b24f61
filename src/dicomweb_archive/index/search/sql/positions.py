"""Re-check in SQL: which instances of a segment pass the index keys, read from the segment's columns.

`common` has the values that all instances of the segment share, `columns` those that vary, by position, both
by path step; `large` the same of long sequences (`docs/design/0004-tag-index.md`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import orjson
from sqlalchemy import (
    ColumnElement,
    FromClause,
    and_,
    bindparam,
    case,
    cast,
    column,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)

from dicomweb_archive.index.search.planning.conditions import (
    ClockTest,
    ItemTest,
    Kind,
    MomentTest,
    PositionTest,
    ValueTest,
    asks_for_emptiness,
)
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice
from dicomweb_archive.index.search.sql import aliases
from dicomweb_archive.index.search.sql.sql_types import INT, JSON, NUMBER, TEXT, TEXTS
from dicomweb_archive.index.search.sql.zones import ZONE_STEP, zone_of_values
from dicomweb_archive.index.segments.terms import LONG_TEXT, equality_form, step_mark

Expression: TypeAlias = ColumnElement[Any]
Parameters: TypeAlias = dict[str, Any]

_IN_RANGE: Expression = literal_column("'$[*] ? (@ >= $low && @ <= $high)'::jsonpath")
_CLOCK: Expression = literal_column(
    "'$[*] ? ((@ + $shift) % 86400 >= $low && (@ + $shift) % 86400 <= $high)'::jsonpath"
)
_ZERO: Expression = literal_column("0")
_ONE: Expression = literal_column("1")
_VARYING: Expression = literal_column("'varying'")
_SHARED: Expression = literal_column("'shared'")
_NO_VALUES: Expression = literal_column("'[]'::jsonb")
DIGESTS: Expression = literal_column(f"""'{{"{LONG_TEXT}"%'""")
"""The digests of long texts, which stand beside their first characters and are for equality only."""
_FAR = 1e300
"""Stands for an open bound: JSON has no infinity."""


def recheck_source(
    plan: SearchPlan, data: FromClause, segment: FromClause, *, needed: Expression | None = None
) -> FromClause:
    """Extract the columns of each test once for a segment, so that they are not unpacked at every position.

    The data are looked up from inside, one segment that passed its terms at a time: as a join of its own
    PostgreSQL may begin with it and open every segment there is.

    Args:
        needed: looked up only then; the caller joins so that a segment without a row stays.
    """
    extracted = []
    for number, test in enumerate(plan.tests):
        for suffix, parameter in _suffixed(_step_parameters(number, test)):
            step: Expression = bindparam(parameter, type_=TEXT)
            varies = may_vary(segment, f"mark_{number}{suffix}")
            varying, shared = values_of_step(data, step, may_be_large=_may_be_large(test), varies=varies)
            extracted += [varying.label(f"varying_{number}{suffix}"), shared.label(f"shared_{number}{suffix}")]
    # OFFSET 0 keeps PostgreSQL from putting the extraction into every place that uses it.
    own = select(*extracted).where(data.c.segment_id == segment.c.id).correlate(segment)
    if needed is not None:
        own = own.where(needed)
    return own.offset(_ZERO).lateral("x")


def values_of_step(
    data: FromClause, step: Expression, *, may_be_large: bool, varies: Expression
) -> tuple[Expression, Expression]:
    """Return the values of a step that vary in a segment, and those that all its instances share.

    Columns are by far the larger part of a segment's data, and unpacked only where the step `varies`.
    """
    varying, shared = _member(data.c.columns, step), _member(data.c.common, step)
    if may_be_large:
        large = _member(data.c.large, step)
        varying = func.coalesce(varying, _member(large, _VARYING), type_=JSON)
        shared = func.coalesce(shared, _member(large, _SHARED), type_=JSON)
    return case((varies, varying)), shared


def may_vary(segment: FromClause, mark: str) -> Expression:
    """A step varies within a segment, or the segment was written before it was noted which do."""
    return or_(segment.c.varying.is_(None), bindparam(mark, type_=INT) == func.any(segment.c.varying))


def some_varies(segment: FromClause, marks: Sequence[str]) -> Expression:
    """One of the marked steps may vary within a segment."""
    return or_(*(may_vary(segment, mark) for mark in marks))


def positions_to_try(segment: FromClause, marks: Sequence[str]) -> FromClause:
    """The positions of a segment, of which the first stands for all where no marked step varies."""
    last = segment.c.instance_count - _ONE
    numbers = func.generate_series(_ZERO, case((some_varies(segment, marks), last), else_=_ZERO))
    return numbers.table_valued("position").render_derived(name="u")


def marks_of_tests(plan: SearchPlan) -> list[str]:
    """Return the parameters that mark the steps of the tests."""
    return [f"mark_{n}{suffix}" for n, test in enumerate(plan.tests) for suffix, _ in _suffixed(_steps(test))]


def passes(plan: SearchPlan, choice: Choice, source: FromClause, position: Expression) -> Expression:
    """Return the condition that the instance at `position` passes all tests."""
    return and_(*(_passes(n, t, plan, choice, source, position) for n, t in enumerate(plan.tests)))


def at_most_one_varies(plan: SearchPlan, segment: FromClause) -> Expression:
    """Return the condition under which the terms alone prove that one instance passes all tests."""
    varying = [case((varies, _ONE), else_=_ZERO) for varies in _varies(plan, segment)]
    return and_(segment.c.varying.is_not(None), sum(varying[1:], varying[0]) <= _ONE)


def none_varies(plan: SearchPlan, segment: FromClause) -> Expression:
    """Return the condition under which the terms alone prove that every instance passes all tests."""
    return and_(segment.c.varying.is_not(None), *(not_(varies) for varies in _varies(plan, segment)))


def _varies(plan: SearchPlan, segment: FromClause) -> list[Expression]:
    marks = [bindparam(f"mark_{number}a", type_=INT) for number in range(len(plan.tests))]
    return [mark == func.any(segment.c.varying) for mark in marks]


def position_parameters(plan: SearchPlan) -> Parameters:
    """Return the values for the parameters of `recheck_source` and `passes`."""
    parameters: Parameters = {}
    for number, test in enumerate(plan.tests):
        steps = _steps(test)
        parameters |= dict(zip(_step_parameters(number, test), steps, strict=True))
        parameters |= {f"mark_{number}{suffix}": step_mark(step) for suffix, step in _suffixed(steps)}
    for name, test in _below("", plan.tests):
        parameters |= _test_parameters(name, test, plan)
    return parameters


def _may_be_large(test: PositionTest) -> bool:
    return isinstance(test, ItemTest) or (isinstance(test, ValueTest) and test.kind is Kind.EMPTY)


def _suffixed(steps: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip("abc", steps, strict=False)


def _step_parameters(number: int, test: PositionTest) -> tuple[str, ...]:
    return tuple(f"step_{number}{suffix}" for suffix, _ in _suffixed(_steps(test)))


def _steps(test: PositionTest) -> tuple[str, ...]:
    """What is taken out of a segment's data for a test at the top of the data set."""
    match test:
        case MomentTest():
            steps = (test.date_step, test.time_step)
            return (*steps, ZONE_STEP) if test.zoned else steps
        case ClockTest():
            return (test.step, ZONE_STEP)
        case _:
            return (test.step,)


def _below(prefix: str, tests: Sequence[PositionTest]) -> Iterator[tuple[str, PositionTest]]:
    """Name every test: its numbers from the outside in."""
    for number, test in enumerate(tests):
        name = f"{prefix}_{number}"
        yield name, test
        if isinstance(test, ItemTest):
            yield from _below(name, test.tests)


def _test_parameters(name: str, test: PositionTest, plan: SearchPlan) -> Parameters:
    match test:
        case ItemTest():
            inner: Parameters = {}
            for number, below in enumerate(test.tests):
                if isinstance(below, MomentTest):
                    inner |= {f"inner{name}_{number}a": below.date_step, f"inner{name}_{number}b": below.time_step}
                else:
                    inner[f"inner{name}_{number}a"] = below.step
            return inner
        case MomentTest() | ClockTest():
            zones = {f"request{name}": test.zones.request, f"archive{name}": test.zones.archive}
            return {f"low{name}": test.low, f"high{name}": test.high, **zones}
        case ValueTest():
            return {} if test.kind is Kind.FUZZY else {f"value{name}": _value(test, plan)}


def _value(test: ValueTest, plan: SearchPlan) -> Any:
    key = plan.keys[test.key]
    match key.kind:
        case Kind.EQUALS:
            pairs = zip(key.texts, key.numbers, strict=True)
            values = [equality_form(text) if number is None else number for text, number in pairs]
            return orjson.dumps(values).decode()
        case Kind.ANY_OF:
            return list(key.texts)
        case Kind.LIKE:
            return key.pattern
        case _:
            return orjson.dumps({"low": max(key.low, -_FAR), "high": min(key.high, _FAR)}).decode()


def _passes(
    number: int, test: PositionTest, plan: SearchPlan, choice: Choice, source: FromClause, position: Expression
) -> Expression:
    varying, shared = source.c[f"varying_{number}a"], source.c[f"shared_{number}a"]
    own = _member(varying, position)
    name = f"_{number}"
    if isinstance(test, MomentTest | ClockTest):
        values = [_at(source, f"{number}{suffix}", position) for suffix, _ in _suffixed(_steps(test))]
        if isinstance(test, ClockTest):
            return _clock(name, values[0], _shift(name, values[1]))
        return _moment(name, values[0], values[1], _shift(name, values[2]) if test.zoned else _ZERO)
    if choice.settles(test, plan):
        # Shared by all instances: the term has proved it for each of them.
        return or_(varying.is_(None), _test(name, test, own))
    return _test(name, test, func.coalesce(own, shared))


def _at(source: FromClause, place: str, position: Expression) -> Expression:
    return func.coalesce(_member(source.c[f"varying_{place}"], position), source.c[f"shared_{place}"], type_=JSON)


def _shift(name: str, zone: Expression) -> Expression:
    """Return the seconds to add to what the instance says, so that it is in the zone of the request."""
    request, archive = bindparam(f"request{name}", type_=INT), bindparam(f"archive{name}", type_=INT)
    return request - zone_of_values(zone, archive)


def _clock(name: str, values: Expression, shift: Expression) -> Expression:
    """A time of day among the values lies within the bounds, counted from the midnight of the request's zone."""
    bounds = ((bound, bindparam(f"{bound}{name}", type_=NUMBER)) for bound in ("low", "high"))
    # Two days more, so that the remainder is that of a positive number.
    later = ("shift", shift + literal_column("172800"))
    pairs = [piece for key, value in (*bounds, later) for piece in (literal_column(f"'{key}'"), value)]
    return func.coalesce(func.jsonb_path_exists(values, _CLOCK, func.jsonb_build_object(*pairs)), false())


def _test(name: str, test: PositionTest, value: Expression) -> Expression:
    if isinstance(test, ItemTest):
        return _some_item(name, test, value)
    assert isinstance(test, ValueTest), "dates and times in zones are at the top, where more than one value is at hand"
    if test.kind is Kind.FUZZY:
        return _some_word(name, test.key, value)
    return _TESTS[test.kind](f"value{name}", value)


def _some_item(name: str, test: ItemTest, items: Expression) -> Expression:
    listed = func.jsonb_array_elements(_list(items))
    source = listed.table_valued(column("value", JSON)).render_derived(name=f"item{name}")
    item = source.c.value
    conditions = []
    for number, below in enumerate(test.tests):
        inner = _member(item, bindparam(f"inner{name}_{number}a", type_=TEXT))
        if isinstance(below, MomentTest):
            time = _member(item, bindparam(f"inner{name}_{number}b", type_=TEXT))
            conditions.append(_moment(f"{name}_{number}", inner, time))
        else:
            conditions.append(_test(f"{name}_{number}", below, inner))
    some = exists(select(_ONE).select_from(source).where(*conditions))
    return or_(_is_empty("", items), some) if asks_for_emptiness(test) else some


def _moment(name: str, date: Expression, time: Expression, shift: Expression = _ZERO) -> Expression:
    moment = _first_number(date) + func.coalesce(_first_number(time), _ZERO) + shift
    return moment.between(bindparam(f"low{name}", type_=NUMBER), bindparam(f"high{name}", type_=NUMBER))


def _first_number(values: Expression) -> Expression:
    first = _member(values, _ZERO)
    return case((func.jsonb_typeof(first) == literal_column("'number'"), cast(first, NUMBER)))


def _member(container: Expression, key: Expression) -> Expression:
    return container.op("->", return_type=JSON)(key)


def _list(values: Expression) -> Expression:
    """An instance that lacks the attribute has a JSON null in its column."""
    return case((func.jsonb_typeof(values) == literal_column("'array'"), values))


def _equals(parameter: str, values: Expression) -> Expression:
    return values.op("@>", is_comparison=True)(bindparam(parameter, type_=JSON))


def _any_of(parameter: str, values: Expression) -> Expression:
    return values.op("?|", is_comparison=True)(bindparam(parameter, type_=TEXTS))


def _like(parameter: str, values: Expression) -> Expression:
    listed = func.jsonb_array_elements_text(_list(values))
    source = listed.table_valued(column("value", TEXT)).render_derived(name=f"text_of_{parameter}")
    pattern = bindparam(parameter, type_=TEXT)
    matched = and_(source.c.value.like(pattern), source.c.value.not_like(DIGESTS))
    return exists(select(_ONE).select_from(source).where(matched))


def _some_word(name: str, key: int, values: Expression) -> Expression:
    """A name among the values has a word with one of the key's beginnings; names are found by their terms."""
    listed = func.jsonb_array_elements_text(_list(values))
    source = listed.table_valued(column("value", TEXT)).render_derived(name=f"name_of{name}")
    term, word, begin = aliases.TERM, aliases.WORD, word_beginnings(key, name)
    own = and_(term.c.path_id == bindparam(f"path_{key}", type_=INT), term.c.value == source.c.value)
    hash_ = select(term.c.hash).where(own).limit(_ONE).correlate(source).scalar_subquery()
    # OFFSET 0: name by name two look-ups in indexes, or PostgreSQL begins with all words of such a beginning.
    words = select(word.c.word).where(word.c.hash == hash_).correlate(source).offset(_ZERO).lateral(f"k{name}")
    joined = source.join(words, true()).join(begin, begins_with(words, begin))
    return exists(select(_ONE).select_from(joined))


def word_beginnings(key: int, name: str = "") -> FromClause:
    """The bounds between which the words lie that begin with a spelling of a FUZZY key."""
    lows, highs = (bindparam(f"word_{bound}_{key}", type_=TEXTS) for bound in ("lows", "highs"))
    listed = func.unnest(lows, highs).table_valued(column("low", TEXT), column("high", TEXT))
    return listed.render_derived(name=f"begin{name}_{key}")


def begins_with(word: FromClause, begin: FromClause) -> Expression:
    """A row of `name_word` lies within bounds of `word_beginnings`."""
    return and_(word.c.word >= begin.c.low, word.c.word < begin.c.high)


def _between(parameter: str, values: Expression) -> Expression:
    return func.jsonb_path_exists(values, _IN_RANGE, bindparam(parameter, type_=JSON))


def _is_empty(_parameter: str, values: Expression) -> Expression:
    """Absent in every instance of the segment, in this one, or present without a value."""
    return func.coalesce(or_(func.jsonb_typeof(values) == literal_column("'null'"), values == _NO_VALUES), true())


_TESTS: dict[Kind, Callable[[str, Expression], Expression]] = {
    Kind.EQUALS: _equals,
    Kind.ANY_OF: _any_of,
    Kind.LIKE: _like,
    Kind.BETWEEN: _between,
    Kind.EMPTY: _is_empty,
}
