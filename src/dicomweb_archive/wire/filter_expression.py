"""CQL2 JSON: the tree of a filter, from either language, to an Expression over attributes (OGC 21-065r2)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import orjson

from dicomweb_archive.dicom.attribute_path import AttributePath
from dicomweb_archive.dicom.filter_values import attribute_name, check_null, comparable, like_text
from dicomweb_archive.dicom.query_filter import (
    And,
    Between,
    Comparison,
    Condition,
    Expression,
    IsNull,
    Like,
    Literal,
    Not,
    OneOf,
    Operator,
    Or,
)
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError
from dicomweb_archive.wire.filter_properties import parse_property
from dicomweb_archive.wire.filter_text import FilterLimits, Tree, name_function, parse_filter_text, unsupported
from dicomweb_archive.wire.json_checks import check_members, check_nesting
from dicomweb_archive.wire.match_values import name_groups

LANGUAGES: Final = ("cql2-text", "cql2-json")
DEFAULT_LIMITS: Final = FilterLimits()
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TURNED: Final = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_JSON: Final = "CQL2 JSON: objects with op and args, property, date or timestamp; texts and numbers"


def parse_filter(
    text: str, language: str = "cql2-text", *, depth: int, limits: FilterLimits = DEFAULT_LIMITS
) -> Expression:
    """Read a filter in one of `LANGUAGES`; `depth` bounds the paths of attributes.

    Raises:
        InvalidParameterError: the filter is not of the language, goes beyond a limit, or is not supported.
        InvalidMatchError: a value does not fit its attribute, which is named; the value is not.
    """
    if language == "cql2-text":
        return _Reader(limits, depth).read(parse_filter_text(text, limits))
    if language != "cql2-json":
        raise InvalidParameterError("filter-lang", accepted=" or ".join(LANGUAGES))
    raw = text.encode()
    # An expression nests in an object and a list.
    check_nesting(raw, "filter", 2 * limits.depth + 2)
    try:
        tree = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidParameterError("filter", accepted=_JSON) from None
    check_members(raw, "filter")
    return _Reader(limits, depth).read(tree)


@dataclass(slots=True)
class _Reader:
    """Reads one tree, whose depth is bounded; counts its conditions and values."""

    limits: FilterLimits
    depth: int
    _conditions: int = 0
    _values: int = 0

    def read(self, tree: Tree, level: int = 0) -> Expression:
        op, args = _operation(tree)
        if level > self.limits.depth:
            raise InvalidParameterError("filter", accepted=f"at most {self.limits.depth} expressions within each other")
        if op in ("and", "or") and args:
            operands = tuple(self.read(arg, level + 1) for arg in args)
            return (And if op == "and" else Or)(operands) if len(operands) > 1 else operands[0]
        if op == "not" and len(args) == 1:
            return Not(self.read(args[0], level + 1))
        self._count(conditions=1)
        reading = _READINGS.get(op)
        if reading is None:
            raise unsupported("arithmetic" if op in ("+", "-", "*", "/", "^", "%", "div") else name_function(op))
        return reading(self, op, args)

    def _count(self, *, conditions: int = 0, values: int = 0) -> None:
        self._conditions += conditions
        self._values += values
        if self._conditions > self.limits.conditions or self._values > self.limits.values:
            raise InvalidParameterError(
                "filter",
                accepted=f"at most {self.limits.conditions} conditions and {self.limits.values} values in lists",
            )

    # --- conditions ------------------------------------------------------------------------------------------

    def compare(self, op: str, args: Sequence[Tree]) -> Expression:
        first, second = _several(args, 2)
        if _is_attribute(second) and not _is_attribute(first):
            op, first, second = _TURNED[op], second, first
        path, any_case = self._attribute(first)
        negated = op == "<>"
        if any_case:
            if op not in ("=", "<>"):
                raise unsupported("CASEI with <, <=, > and >=")
            found: Expression = _checked(Like(path, _escaped(_plain_text(second, path)), any_case=True))
        else:
            found = _equal(path, _literal(second)) if op in ("=", "<>") else _comparison(path, op, _literal(second))
        return Not(found) if negated else found

    def like(self, _: str, args: Sequence[Tree]) -> Expression:
        first, pattern = _several(args, 2)
        path, any_case = self._attribute(first)
        return _checked(Like(path, _plain_text(pattern, path), any_case=any_case))

    def one_of(self, _: str, args: Sequence[Tree]) -> Expression:
        first, values = _several(args, 2)
        if not isinstance(values, list) or not values:
            raise InvalidParameterError("filter", accepted="IN with a list of values")
        self._count(values=len(values))
        path, any_case = self._attribute(first)
        if any_case:
            self._count(conditions=len(values) - 1)
            likes = (_checked(Like(path, _escaped(_plain_text(v, path)), any_case=True)) for v in values)
            return _any(tuple(likes))
        equals = [_equal(path, _literal(value)) for value in values]
        single = tuple(found.value for found in equals if isinstance(found, Comparison))
        several = tuple(found for found in equals if not isinstance(found, Comparison))
        self._count(conditions=len(several))
        return _any(((OneOf(path, single),) if single else ()) + several)

    def between(self, _: str, args: Sequence[Tree]) -> Expression:
        first, low, high = _several(args, 3)
        path, any_case = self._attribute(first)
        if any_case:
            raise unsupported("CASEI with BETWEEN")
        return _checked(Between(path, _literal(low), _literal(high)))

    def is_null(self, _: str, args: Sequence[Tree]) -> Expression:
        (first,) = _several(args, 1)
        return _checked(IsNull(self._attribute(first)[0]))

    def _attribute(self, tree: Tree) -> tuple[AttributePath, bool]:
        """Read what is compared: an attribute, and whether case is left out of account."""
        any_case = isinstance(tree, dict) and tree.get("op") == "casei"
        if any_case:
            (tree,) = _several(_operation(tree)[1], 1)
        match tree:
            case {"property": str(name)}:
                return parse_property(name, depth=self.depth), any_case
            case {"op": str()}:
                _literal(tree)
        raise InvalidParameterError(
            "filter", accepted="an attribute on one side of each condition; tags stand in double quotes"
        )


_READINGS: Mapping[str, Callable[[_Reader, str, Sequence[Tree]], Expression]] = {
    **dict.fromkeys(_TURNED, _Reader.compare),
    "like": _Reader.like,
    "in": _Reader.one_of,
    "between": _Reader.between,
    "isNull": _Reader.is_null,
}


def _operation(tree: Tree) -> tuple[str, list[Any]]:
    match tree:
        case {"op": str(op), "args": list(args)}:
            return op, args
        case bool():
            raise unsupported("TRUE and FALSE")
    raise InvalidParameterError("filter", accepted=_JSON)


def _several(args: Sequence[Tree], count: int) -> Sequence[Tree]:
    if len(args) != count:
        raise InvalidParameterError("filter", accepted=_JSON)
    return args


def _is_attribute(tree: Tree) -> bool:
    if not isinstance(tree, dict):
        return False
    return "property" in tree or (tree.get("op") == "casei" and _is_attribute(_first(tree)))


def _first(tree: Mapping[str, Any]) -> Tree:
    args = tree.get("args")
    return args[0] if isinstance(args, list) and args else None


def _literal(tree: Tree) -> Literal:
    match tree:
        case bool():
            raise unsupported("TRUE and FALSE")
        case str() if "\0" not in tree:
            return tree
        case int() | float():
            return tree
        case {"date": str(text)}:
            return _date(text)
        case {"timestamp": str(text)}:
            return _timestamp(text)
        case {"interval": _}:
            raise unsupported("INTERVAL")
        case {"property": _}:
            raise unsupported("a comparison of two attributes")
        case {"op": str(op)}:
            raise unsupported("CASEI around a value alone" if op == "casei" else name_function(op))
        case {"type": _} | {"bbox": _}:
            raise unsupported("geometries")
    raise InvalidParameterError("filter", accepted=_JSON)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "")
    except ValueError:
        raise InvalidParameterError("a DATE in filter", accepted="DATE('YYYY-MM-DD')") from None


def _timestamp(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text if _TIMESTAMP.fullmatch(text) else "")
    except ValueError:
        accepted = "TIMESTAMP('YYYY-MM-DDTHH:MM:SS.FFFFFFZ')"
        raise InvalidParameterError("a TIMESTAMP in filter", accepted=accepted) from None


def _plain_text(tree: Tree, path: AttributePath) -> str:
    """Read a text, also one in CASEI."""
    if isinstance(tree, dict) and tree.get("op") == "casei":
        tree = _first(tree)
    if not isinstance(tree, str) or "\0" in tree:
        raise InvalidMatchError(attribute_name(path), accepted="text in single quotes")
    return tree


def _escaped(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def _comparison(path: AttributePath, op: str, value: Literal) -> Expression:
    return _checked(Comparison(path, Operator(op), value))


def _equal(path: AttributePath, value: Literal) -> Expression:
    """Equality; of a person name with several component groups, of each of them."""
    if path.vr != "PN" or not isinstance(value, str) or "=" not in value:
        return _comparison(path, "=", value)
    groups = name_groups(attribute_name(path), value)
    equal = tuple(_comparison(path, "=", group) for group in groups or [""])
    return equal[0] if len(equal) == 1 else And(equal)


def _any(operands: tuple[Expression, ...]) -> Expression:
    return operands[0] if len(operands) == 1 else Or(operands)


def _checked(condition: Condition) -> Condition:
    """Check that the values fit the attribute; of private ones only the index knows the VR."""
    if condition.path.vr == "UN":
        return condition
    match condition:
        case Comparison(path, _, value):
            comparable(path, value)
        case Between(path, low, high):
            comparable(path, low)
            comparable(path, high)
        case OneOf(path, values):
            for value in values:
                comparable(path, value)
        case Like(path, pattern, _):
            like_text(path, pattern)
        case IsNull(path):
            check_null(path)
    return condition
