"""Filter in SQL: the condition under which a planned filter is true, or false, for one instance.

Unknown is neither, so both conditions are composed and NOT swaps them: negation reaches the leaves, where false
means that there are values and none of them fits. Neither condition is ever NULL where it is negated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from sqlalchemy import (
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
)
from sqlalchemy.dialects.postgresql import JSONPATH

from dicomweb_archive.index.search.planning.filter_plan import (
    AllOf,
    AnyOf,
    ColumnLeaf,
    Leaf,
    Node,
    Opposite,
    Row,
    SomeItem,
    Test,
    ValueLeaf,
    nodes_of,
)
from dicomweb_archive.index.search.planning.planner import ColumnForm
from dicomweb_archive.index.search.sql.columns import has_value, value_parameters
from dicomweb_archive.index.search.sql.positions import DIGESTS, Expression
from dicomweb_archive.index.search.sql.segments import EMPTY, ONE, Condition, like_any_case
from dicomweb_archive.index.search.sql.sql_types import JSON, JSONS, NUMBER, NUMBERS, TEXT, TEXTS
from dicomweb_archive.index.segments.terms import equality_form

Parameters: TypeAlias = dict[str, Any]

_ZERO: Expression = literal_column("0")
_TOLD_BY_TEXT = frozenset({"study_date", "study_time", "series_number"})
_ONE_EMPTY_ITEM: Expression = literal_column("'[{}]'::jsonb")


@dataclass(frozen=True, slots=True)
class FilterWriter:
    """Composes conditions over the rows that are at hand.

    Attributes:
        rows: study, series and instance, as far as the filter looks at them.
        sources: the values of each attribute of the data set, for the instance at hand.
    """

    rows: Mapping[Row, FromClause]
    sources: tuple[Expression, ...] = ()

    def is_true(self, node: Node, item: Expression | None = None) -> Condition:
        """Compose the condition that a node is true; `item` is the item of a sequence that it is about."""
        match node:
            case Opposite(operand):
                return self.is_false(operand, item)
            case AllOf(operands):
                return and_(*(self.is_true(operand, item) for operand in operands))
            case AnyOf(operands):
                return or_(*(self.is_true(operand, item) for operand in operands))
            case SomeItem():
                return self._in_items(node, item, true=True)
        return self._fits(node, item)

    def is_false(self, node: Node, item: Expression | None = None) -> Condition:
        """Compose the condition that a node is false."""
        match node:
            case Opposite(operand):
                return self.is_true(operand, item)
            case AllOf(operands):
                return or_(*(self.is_false(operand, item) for operand in operands))
            case AnyOf(operands):
                return and_(*(self.is_false(operand, item) for operand in operands))
            case SomeItem():
                return and_(not_(self._in_items(node, item, true=True)), self._in_items(node, item, true=False))
        fits = func.coalesce(self._fits(node, item), false())
        return not_(fits) if node.test is Test.NULL else and_(self._present(node, item), not_(fits))

    def _in_items(self, node: SomeItem, item: Expression | None, *, true: bool) -> Condition:
        """Some item makes all operands true (one of them false)."""
        items = self._container(node.source, item)
        if node.source is None:
            items = _member(items, bindparam(f"filter_step_of_{node.number}", type_=TEXT))
        listed = case((_has_entries(items), items), else_=_ONE_EMPTY_ITEM)
        name = f"filter_item_{node.number}{'t' if true else 'f'}"
        source = func.jsonb_array_elements(listed).table_valued(column("value", JSON)).render_derived(name=name)
        inner = source.c.value
        told = (
            and_(*(self.is_true(operand, inner) for operand in node.operands))
            if true
            else or_(*(self.is_false(operand, inner) for operand in node.operands))
        )
        return exists(select(ONE).select_from(source).where(told))

    def _container(self, source: int | None, item: Expression | None) -> Expression:
        if source is not None:
            return self.sources[source]
        assert item is not None
        return item

    # --- conditions --------------------------------------------------------------------------------------------

    def _fits(self, leaf: Leaf, item: Expression | None) -> Condition:
        if leaf.test is Test.NULL:
            return not_(self._present(leaf, item))
        name = f"filter_{leaf.number}"
        if isinstance(leaf, ValueLeaf):
            return _VALUE_TESTS.get(leaf.test, _by_path)(name, leaf.test, self._values(leaf, item))
        tested = self._column(leaf)
        match ColumnForm(leaf.form):
            case ColumnForm.NUMBER:
                return and_(_is_number(leaf, tested), _compare(name, leaf.test, tested, NUMBER))
            case ColumnForm.TEXT:
                return and_(self._present(leaf, item), _compare(name, leaf.test, tested, TEXT))
            case ColumnForm.NAME:
                groups = func.string_to_array(tested, literal_column("'='"), type_=TEXTS)
                return _some(name, leaf.test, groups)
            case ColumnForm.ARRAY:
                return _some(name, leaf.test, tested)

    def _column(self, leaf: ColumnLeaf) -> Expression:
        return self.rows[leaf.row].c[leaf.column]

    def _values(self, leaf: ValueLeaf, item: Expression | None) -> Expression:
        container = self._container(leaf.source, item)
        if not leaf.by_path:
            return container
        way = cast(bindparam(f"filter_{leaf.number}_below", type_=TEXT), JSONPATH)
        return func.jsonb_path_query_array(container, way, type_=JSON)

    def _present(self, leaf: Leaf, item: Expression | None) -> Condition:
        if isinstance(leaf, ValueLeaf):
            return _has_entries(self._values(leaf, item))
        tested = self._column(leaf)
        match ColumnForm(leaf.form):
            case ColumnForm.ARRAY:
                return func.cardinality(tested) > _ZERO
            case ColumnForm.NUMBER:
                if leaf.column not in _TOLD_BY_TEXT:
                    return _is_number(leaf, tested)
                # What is no date, time or number in spite of its VR is there all the same, as in values of segments.
                return or_(_is_number(leaf, tested), has_value(f"filter_{leaf.number}", self.rows[leaf.row]))
            case _:
                return tested != EMPTY


def _is_number(leaf: ColumnLeaf, tested: Expression) -> Condition:
    # A missing date or time is -1, a missing number NULL; counts are always there.
    return tested >= _ZERO if leaf.column in ("study_date", "study_time") else tested.is_not(None)


def filter_parameters(node: Node) -> Parameters:
    """Return the values for the parameters of a filter's conditions."""
    values: Parameters = {}
    for inner in nodes_of(node):
        match inner:
            case SomeItem():
                values[f"filter_step_of_{inner.number}"] = inner.step
            case ColumnLeaf():
                values |= _column_values(inner)
            case ValueLeaf():
                values[f"filter_{inner.number}"] = _json_value(inner)
                values[f"filter_{inner.number}_below"] = inner.below
    return values


def _column_values(leaf: ColumnLeaf) -> Parameters:
    name = f"filter_{leaf.number}"
    values: Parameters = dict(value_parameters(name, leaf.with_value))
    if leaf.test is Test.BETWEEN:
        return values | {f"{name}_low": leaf.value[0], f"{name}_high": leaf.value[1]}
    return values | {name: leaf.value}


def _json_value(leaf: ValueLeaf) -> Any:
    match leaf.test:
        case Test.LIKE | Test.LIKE_ANY_CASE | Test.NULL:
            return leaf.value
        case Test.EQUAL:
            variables: Any = [_whole(leaf.value)]
        case Test.BETWEEN:
            variables = {"low": leaf.value[0], "high": leaf.value[1]}
        case Test.ONE_OF:
            return [orjson.dumps([_whole(value)]).decode() for value in leaf.value]
        case _:
            variables = {"bound": leaf.value}
    return orjson.dumps(variables).decode()


def _whole(value: Any) -> Any:
    return equality_form(value) if isinstance(value, str) else value


# --- columns ---------------------------------------------------------------------------------------------------


def _compare(name: str, test: Test, tested: Expression, kind: Any) -> Condition:
    """Compare one value; texts in the order of their characters, whatever the collation of the database."""
    ordered = tested.collate("C") if kind is TEXT else tested
    bound = bindparam(name, type_=kind)
    match test:
        case Test.EQUAL:
            return tested == bound
        case Test.ONE_OF:
            return tested == func.any(bindparam(name, type_=NUMBERS if kind is NUMBER else TEXTS))
        case Test.LIKE:
            return tested.like(bound)
        case Test.LIKE_ANY_CASE:
            return like_any_case(tested, bound)
        case Test.LESS:
            return ordered < bound
        case Test.AT_MOST:
            return ordered <= bound
        case Test.GREATER:
            return ordered > bound
        case Test.AT_LEAST:
            return ordered >= bound
        case _:
            return ordered.between(bindparam(f"{name}_low", type_=kind), bindparam(f"{name}_high", type_=kind))


def _some(name: str, test: Test, entries: Expression) -> Condition:
    """One entry of an array of texts compares so; an array without entries has none."""
    listed = func.unnest(entries).table_valued(column("value", TEXT)).render_derived(name=f"entry_of_{name}")
    told = and_(listed.c.value != EMPTY, _compare(name, test, listed.c.value, TEXT))
    return exists(select(ONE).select_from(listed).where(told))


# --- values of segments ----------------------------------------------------------------------------------------


def _member(container: Expression, key: Expression) -> Expression:
    return container.op("->", return_type=JSON)(key)


def _has_entries(values: Expression) -> Condition:
    """There is a list and something in it; an instance that lacks the attribute has a JSON null in its column."""
    is_list = func.jsonb_typeof(values) == literal_column("'array'")
    return case((is_list, func.jsonb_array_length(values) > _ZERO), else_=false())


def _equal(name: str, _: Test, values: Expression) -> Condition:
    return values.op("@>", is_comparison=True)(bindparam(name, type_=JSON))


def _one_of(name: str, _: Test, values: Expression) -> Condition:
    return values.op("@>", is_comparison=True)(func.any(bindparam(name, type_=JSONS)))


def _texts(name: str, test: Test, values: Expression) -> Condition:
    is_list = func.jsonb_typeof(values) == literal_column("'array'")
    listed = func.jsonb_array_elements_text(case((is_list, values)))
    source = listed.table_valued(column("value", TEXT)).render_derived(name=f"text_of_{name}")
    told = and_(_compare(name, test, source.c.value, TEXT), source.c.value.not_like(DIGESTS))
    return exists(select(ONE).select_from(source).where(told))


def _by_path(name: str, test: Test, values: Expression) -> Condition:
    return func.jsonb_path_exists(values, _PATHS[test], bindparam(name, type_=JSON))


_VALUE_TESTS: Mapping[Test, Callable[[str, Test, Expression], Condition]] = {
    Test.EQUAL: _equal,
    Test.ONE_OF: _one_of,
    Test.LIKE: _texts,
    Test.LIKE_ANY_CASE: _texts,
}

_PATHS: Mapping[Test, Expression] = {
    test: literal_column(f"'$[*] ? ({condition})'::jsonpath")
    for test, condition in {
        Test.LESS: "@ < $bound",
        Test.AT_MOST: "@ <= $bound",
        Test.GREATER: "@ > $bound",
        Test.AT_LEAST: "@ >= $bound",
        Test.BETWEEN: "@ >= $low && @ <= $high",
    }.items()
}
