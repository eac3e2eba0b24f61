"""Filter matching: what a filter says of one instance; plain, slow, and the oracle of the SQL."""

import re
from collections.abc import Iterator, Mapping, Sequence
from operator import ge, gt, le, lt

from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.comparable_values import MatchValue, normalise
from dicomweb_archive.dicom.filter_values import comparable, like_text
from dicomweb_archive.dicom.instance import Attributes, Value
from dicomweb_archive.dicom.matching import find_elements
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
    Or,
    joined,
)

_ORDER = {Operator.LESS: lt, Operator.AT_MOST: le, Operator.GREATER: gt, Operator.AT_LEAST: ge}


def evaluate(attributes: Attributes, expression: Expression | InItem) -> bool | None:
    """Tell what a filter says of one instance (or item); `None` is unknown.

    Whoever checks computed or study level attributes puts these elements into `attributes` before.
    """
    match expression:
        case Not(operand):
            known = evaluate(attributes, operand)
            return None if known is None else not known
        case And(operands):
            return _all([evaluate(attributes, operand) for operand in joined(operands)])
        case Or(operands):
            known = _all([evaluate(attributes, Not(operand)) for operand in operands])
            return None if known is None else not known
        case InItem(step, operands):
            items = [v for e in find_elements(attributes, step) for v in e.values if isinstance(v, Mapping)]
            told = [evaluate(item, And(operands)) for item in items or [{}]]
            return max((known for known in told if known is not None), default=None)
    return _condition(attributes, expression)


def _all(told: Sequence[bool | None]) -> bool | None:
    if False in told:
        return False
    return None if None in told else True


def _condition(attributes: Attributes, condition: Condition) -> bool | None:
    stored = list(_stored(attributes, condition.path.steps, condition.path.vr))
    if isinstance(condition, IsNull):
        return not stored
    return any(_fulfils(value, condition) for value in stored) if stored else None


def _stored(attributes: Attributes, steps: Sequence[PathStep], vr: str) -> Iterator[MatchValue]:
    for element in find_elements(attributes, steps[0]):
        for value in element.values:
            if len(steps) > 1:
                if isinstance(value, Mapping):
                    yield from _stored(value, steps[1:], vr)
            elif isinstance(value, Mapping):
                yield MatchValue("item", None)
            else:
                yield from _forms(value, element.vr if vr == "UN" else vr)


def _forms(value: Value, vr: str) -> Iterator[MatchValue]:
    if isinstance(value, str | int | float):
        yield from (form for form in normalise(vr, value) if form.text)


def _fulfils(stored: MatchValue, condition: Condition) -> bool:
    match condition:
        case Comparison(path, Operator.EQUAL, value):
            return stored.text == comparable(path, value).text
        case Comparison(path, operator, value):
            return _ordered(stored, comparable(path, value), operator)
        case Between(path, low, high):
            above = _ordered(stored, comparable(path, low), Operator.AT_LEAST)
            return above and _ordered(stored, comparable(path, high), Operator.AT_MOST)
        case OneOf(path, values):
            return stored.text in {comparable(path, value).text for value in values}
        case Like(path, pattern, any_case):
            return _like(like_text(path, pattern), stored.text, any_case=any_case)
        case _:
            return False


def _ordered(stored: MatchValue, wanted: MatchValue, operator: Operator) -> bool:
    if wanted.number is None:
        return stored.number is None and _ORDER[operator](stored.text, wanted.text)
    return stored.number is not None and _ORDER[operator](stored.number, wanted.number)


def _like(pattern: str, text: str, *, any_case: bool) -> bool:
    if any_case:
        pattern, text = pattern.lower(), text.lower()
    parts = {"%": ".*", "_": "."}
    found = re.findall(r"\\.|.", pattern, re.DOTALL)
    regex = "".join(parts.get(part) or re.escape(part[-1]) for part in found)
    return re.fullmatch(regex, text, re.DOTALL) is not None
