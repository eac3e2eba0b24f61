"""Planner of filters: what of a filter becomes keys, what rows tell, and what instances of segments have to pass."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.comparable_values import MatchValue
from dicomweb_archive.dicom.filter_values import comparable, like_text
from dicomweb_archive.dicom.matching_keys import Key, Matching, Range, SingleValue, WildCard
from dicomweb_archive.dicom.query import SearchQuery
from dicomweb_archive.dicom.query_filter import (
    And,
    Between,
    Comparison,
    Condition,
    Expression,
    InItem,
    IsNull,
    Like,
    Not,
    OneOf,
    Operator,
    conjuncts,
    joined,
)
from dicomweb_archive.dicom.tags import SOP_INSTANCE_UID
from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.search.planning.conditions import IndexKey, Kind
from dicomweb_archive.index.search.planning.filter_plan import (
    AllOf,
    AnyOf,
    ColumnLeaf,
    FilterPlan,
    Leaf,
    Node,
    Opposite,
    Row,
    SomeItem,
    Test,
    ValueLeaf,
    leaves_of,
    weight,
)
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.planner import (
    SERIES_COLUMNS,
    STUDY_COLUMNS,
    ColumnForm,
    plan_search,
    with_value,
)
from dicomweb_archive.index.search.planning.text_plan import SoughtPhrase
from dicomweb_archive.index.segments.terms import TEXT_LIMIT

HIGHEST_TEXT: Final = "\U0010ffff"

MOST_WEIGHT: Final = 300
"""Most conditions in a filter's statement, which takes a millisecond each to compose."""

_TESTS: Final[Mapping[Operator, Test]] = {
    Operator.EQUAL: Test.EQUAL,
    Operator.LESS: Test.LESS,
    Operator.AT_MOST: Test.AT_MOST,
    Operator.GREATER: Test.GREATER,
    Operator.AT_LEAST: Test.AT_LEAST,
}
_MOMENTS: Final = frozenset({0x00080020, 0x00080030})
_PATTERN = re.compile(r"\\.|.", re.DOTALL)


def plan_with_filter(query: SearchQuery) -> SearchPlan:
    """Plan a query with its filter and its free text.

    Raises:
        InvalidMatchError: a value does not fit its attribute, or a wild card is for one that has none.
        InvalidParameterError: the filter makes a statement too long, or the answer cannot be sorted so.
    """
    if query.filter is None and not query.text:
        return plan_search(query)
    query = with_keys(query)
    found = plan_filter(query.filter) or FilterPlan()
    phrases = tuple(SoughtPhrase(phrase.pattern) for phrase in query.text)
    return replace(plan_search(query), filter=replace(found, phrases=phrases))


def with_keys(query: SearchQuery) -> SearchQuery:
    """Make ordinary keys of those conditions of a filter that are none else, so that they are planned like keys.

    Conditions below a sequence stay when others of the query go through it: a filter's items are its own.

    Raises:
        InvalidMatchError: a value does not fit its attribute.
    """
    if query.filter is None:
        return query
    taken = {key.path.steps[0] for key in query.keys if len(key.path.steps) > 1}
    operands = conjuncts(query.filter)
    shared = [operand for operand in joined(operands) if isinstance(operand, InItem)]
    taken |= {operand.step for operand in shared}
    keys: list[Key] = []
    rest: list[Expression] = []
    for operand in operands:
        key = _key(operand, taken)
        if key is None:
            rest.append(operand)
        else:
            keys.append(key)
    return replace(query, keys=query.keys + tuple(keys), filter=_all(rest))


def plan_filter(expression: Expression | None) -> FilterPlan | None:
    """Plan what is left of a filter.

    Raises:
        InvalidMatchError: a value does not fit its attribute.
        InvalidParameterError: NOT of sequences within sequences makes a statement too long.
    """
    if expression is None:
        return None
    building = _Building()
    parts: dict[frozenset[Row], list[Node]] = {}
    for operand in joined(conjuncts(expression)):
        node = building.node(operand)
        rows = _rows(node)
        alone = rows if len(rows) == 1 and Row.INSTANCE not in rows else frozenset[Row]()
        parts.setdefault(alone, []).append(node)
    if weight(*(node for nodes in parts.values() for node in nodes))[0] > MOST_WEIGHT:
        raise InvalidParameterError("filter", accepted="fewer sequences within each other under NOT")
    study, series = (_all_of(parts.get(frozenset({row}), ())) for row in (Row.STUDY, Row.SERIES))
    return FilterPlan(
        study=study,
        series=series,
        rest=_all_of(parts.get(frozenset(), ())),
        sources=tuple(building.sources),
        source_count=len(building.sources),
        keys=tuple(building.keys),
    )


def _all(operands: Sequence[Expression]) -> Expression | None:
    if len(operands) < 2:
        return operands[0] if operands else None
    return And(tuple(operands))


def _all_of(nodes: Iterable[Node]) -> Node | None:
    operands = tuple(nodes)
    if len(operands) < 2:
        return operands[0] if operands else None
    return AllOf(operands)


def _rows(node: Node) -> frozenset[Row]:
    """Return whose rows decide a node; nothing when instances of segments do."""
    leaves = list(leaves_of(node))
    if not all(isinstance(leaf, ColumnLeaf) for leaf in leaves):
        return frozenset()
    return frozenset(leaf.row for leaf in leaves if isinstance(leaf, ColumnLeaf))


# --- conditions that are keys ----------------------------------------------------------------------------------


def _key(operand: Expression, taken: set[PathStep]) -> Key | None:
    if not isinstance(operand, Comparison | Between | Like):
        return None
    steps = operand.path.steps
    if len(steps) > 1 and steps[0] in taken:
        return None
    plain = steps[0].tag if len(steps) == 1 and steps[0].private_creator is None else 0
    matching = _matching(operand)
    if matching is None:
        return None
    is_column = plain in STUDY_COLUMNS or plain in SERIES_COLUMNS or plain == SOP_INSTANCE_UID
    # Of columns only dates and times have ranges as keys, and a UID of an instance is looked up whole.
    if isinstance(matching, Range) and is_column and plain not in _MOMENTS:
        return None
    if isinstance(matching, WildCard) and plain == SOP_INSTANCE_UID:
        return None
    return Key(operand.path, matching)


def _matching(condition: Comparison | Between | Like) -> Matching | None:
    match condition:
        case Like(path, pattern, any_case):
            text = like_text(path, pattern)
            return None if any_case else _wild_card(text)
        case Between(path, low, high):
            return _range(comparable(path, low), comparable(path, high))
        case Comparison(path, Operator.EQUAL, value):
            return SingleValue(comparable(path, value).text)
    bound = comparable(condition.path, condition.value)
    match condition.operator:
        case Operator.LESS | Operator.AT_MOST:
            return _range(None, bound, inclusive=condition.operator is Operator.AT_MOST)
        case _:
            return _range(bound, None, inclusive=condition.operator is Operator.AT_LEAST)


def _range(low: MatchValue | None, high: MatchValue | None, *, inclusive: bool = True) -> Range | None:
    lowest = None if low is None else low.number
    highest = None if high is None else high.number
    if lowest is None and highest is None:
        # Texts have no ranges as keys.
        return None
    if not inclusive:
        lowest = None if lowest is None else math.nextafter(lowest, math.inf)
        highest = None if highest is None else math.nextafter(highest, -math.inf)
    return Range(lowest, highest)


def _wild_card(pattern: str) -> WildCard | None:
    parts = {"%": "*", "_": "?"}
    found = [parts.get(part) or (part[-1] if part[-1] not in "*?" else None) for part in _PATTERN.findall(pattern)]
    return None if None in found else WildCard("".join(part for part in found if part))


# --- conditions that are not -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Building:
    """A filter's plan as it grows."""

    sources: list[str] = field(default_factory=list)
    keys: list[IndexKey] = field(default_factory=list)
    _count: int = 0

    def node(self, expression: Expression | InItem, item: tuple[PathStep, ...] = ()) -> Node:
        """Plan an expression; `item` is the path of the item that it is about."""
        match expression:
            case Not(operand):
                return Opposite(self.node(operand, item))
            case And(operands):
                nodes = tuple(self.node(operand, item) for operand in joined(operands))
                return nodes[0] if len(nodes) == 1 else AllOf(nodes)
            case InItem(step, operands):
                # Operands may lie below the next sequence together.
                source = None if item else self._source(step)
                inside = tuple(self.node(operand, (*item, step)) for operand in joined(operands))
                return SomeItem(self._number(), source, str(step), inside)
            case Comparison() | Between() | OneOf() | Like() | IsNull():
                return self._leaf(expression, item)
        return AnyOf(tuple(self.node(operand, item) for operand in expression.operands))

    def _leaf(self, condition: Condition, item: tuple[PathStep, ...]) -> Leaf:
        test, value = _tested(condition)
        path = condition.path
        if not item and len(path.steps) == 1 and path.steps[0].private_creator is None:
            column = _COLUMNS.get(path.tag)
            if column is not None:
                return ColumnLeaf(self._number(), *column, test, value, with_value(path))
        key = _index_key(condition, item)
        if key is not None:
            self.keys.append(key)
        inner = path.steps if item else path.steps[1:]
        return ValueLeaf(
            self._number(),
            None if item else self._source(path.steps[0]),
            json_path(inner, in_item=bool(item)) if inner else None,
            bool(inner),
            bool(item) or len(path.steps) > 1,
            test,
            value,
            None if key is None else len(self.keys) - 1,
        )

    def _source(self, step: PathStep) -> int:
        name = str(step)
        if name not in self.sources:
            self.sources.append(name)
        return self.sources.index(name)

    def _number(self) -> int:
        self._count += 1
        return self._count - 1


_COLUMNS: Final[Mapping[int, tuple[Row, str, ColumnForm]]] = {
    **{tag: (Row.STUDY, name, form) for tag, (name, form) in STUDY_COLUMNS.items()},
    **{tag: (Row.SERIES, name, form) for tag, (name, form) in SERIES_COLUMNS.items()},
    SOP_INSTANCE_UID: (Row.INSTANCE, "sop_instance_uid", ColumnForm.TEXT),
}


def json_path(steps: Sequence[PathStep], *, in_item: bool) -> str:
    """Write the way from a sequence (or an item) to the values; strings of JSON are those of JSON paths."""
    members = "".join(f".{orjson.dumps(str(step)).decode()}[*]" for step in steps)
    return f"${members}" if in_item else f"$[*]{members}"


def _plain(value: MatchValue) -> Any:
    return value.text if value.number is None else value.number


def _tested(condition: Condition) -> tuple[Test, Any]:
    match condition:
        case Comparison(path, operator, value):
            return _TESTS[operator], _plain(comparable(path, value))
        case Between(path, low, high):
            return Test.BETWEEN, (_plain(comparable(path, low)), _plain(comparable(path, high)))
        case OneOf(path, values):
            return Test.ONE_OF, [_plain(comparable(path, value)) for value in values]
        case Like(path, pattern, any_case):
            return Test.LIKE_ANY_CASE if any_case else Test.LIKE, like_text(path, pattern)
        case _:
            return Test.NULL, None


def _index_key(condition: Condition, item: tuple[PathStep, ...]) -> IndexKey | None:
    """Return what terms and zones say about a condition that is true: at least what is asked, often more."""
    path = condition.path
    name = str(AttributePath((*item, *path.steps), path.vr))
    match condition:
        case Comparison(_, Operator.EQUAL, value):
            equal = comparable(path, value)
            return IndexKey(name, Kind.ANY_OF, (equal.text,), (equal.number,))
        case OneOf(_, values):
            forms = {form.text: form.number for form in (comparable(path, value) for value in values)}
            return IndexKey(name, Kind.ANY_OF, tuple(forms), tuple(forms.values()))
        case Like(_, pattern, any_case):
            return IndexKey(name, Kind.LIKE_ANY_CASE if any_case else Kind.LIKE, pattern=like_text(path, pattern))
        case Between(_, low, high):
            return _between(name, comparable(path, low), comparable(path, high))
        case Comparison(_, Operator.LESS | Operator.AT_MOST, value):
            return _between(name, None, comparable(path, value))
        case Comparison(_, _, value):
            return _between(name, comparable(path, value), None)
    return None


def _between(name: str, low: MatchValue | None, high: MatchValue | None) -> IndexKey:
    if any(bound is not None and bound.number is not None for bound in (low, high)):
        lowest = -math.inf if low is None or low.number is None else low.number
        highest = math.inf if high is None or high.number is None else high.number
        return IndexKey(name, Kind.BETWEEN, low=lowest, high=highest)
    # The dictionary and zones keep beginnings of long texts.
    first = "" if low is None else low.text[:TEXT_LIMIT]
    last = HIGHEST_TEXT if high is None else high.text[:TEXT_LIMIT] + HIGHEST_TEXT
    return IndexKey(name, Kind.TEXT_RANGE, (first, last))
