"""Boolean filter of a search: conditions on attributes under AND, OR and NOT, one form for text and JSON (OGC CQL2).

What it means for one instance, in three values (true, false, unknown); an entity matches when one instance below
it makes the whole filter true:

- A condition on an attribute is true when one of its values fulfils it, unknown when the attribute is absent or
  empty, else false. `IsNull` is true when the attribute is absent or empty, else false.
- NOT of unknown is unknown. AND is false when one operand is, OR true when one operand is; else unknown counts.
- A condition on an attribute inside sequences looks at the values in all items. Operands of one AND that lie below
  the same sequence hold together in one item: true when they are in some item, else false when they are in some
  item, else unknown. A sequence without items counts as one item without attributes. See `joined`.

`dicom/filter_matching.py` is this text as code.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import TypeAlias

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep

Literal: TypeAlias = str | int | float | date | datetime
"""A value as it was written; `dicom/filter_values.py` gives it the meaning that the attribute's VR has."""


class Operator(StrEnum):
    """How a value of the attribute compares with the literal; unequal is NOT of EQUAL."""

    EQUAL = "="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True)
class Comparison:
    """One value of the attribute compares so; texts in the order of their characters, names folded."""

    path: AttributePath
    operator: Operator
    value: Literal


@dataclass(frozen=True, slots=True)
class Between:
    """One value of the attribute lies between both bounds, which belong to the range."""

    path: AttributePath
    low: Literal
    high: Literal


@dataclass(frozen=True, slots=True)
class OneOf:
    """One value of the attribute equals one of these."""

    path: AttributePath
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Like:
    r"""One value of the attribute looks like the pattern: `%` any characters, `_` one, `\` takes the next literally.

    `any_case`: upper and lower case are the same (CASEI). Person names match without regard to case and accents
    anyway, each component group for itself.
    """

    path: AttributePath
    pattern: str
    any_case: bool = False


@dataclass(frozen=True, slots=True)
class IsNull:
    """The attribute is absent or empty; of a sequence: it has no items."""

    path: AttributePath


@dataclass(frozen=True, slots=True)
class Not:
    """The operand is false."""

    operand: "Expression"


@dataclass(frozen=True, slots=True)
class And:
    """All operands are true."""

    operands: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One operand is true."""

    operands: tuple["Expression", ...]


Condition: TypeAlias = Comparison | Between | OneOf | Like | IsNull
Expression: TypeAlias = Condition | Not | And | Or


@dataclass(frozen=True, slots=True)
class InItem:
    """Operands of an AND that hold together in one item of a sequence; their paths begin in the item."""

    step: PathStep
    operands: tuple[Expression, ...]


def conditions(expression: Expression) -> Iterator[Condition]:
    """Yield the conditions of a filter, from left to right."""
    match expression:
        case Not(operand):
            yield from conditions(operand)
        case And(operands) | Or(operands):
            for operand in operands:
                yield from conditions(operand)
        case _:
            yield expression


def conjuncts(expression: Expression) -> tuple[Expression, ...]:
    """Return what all must be true for the expression to be true: the operands of its outermost ANDs."""
    if not isinstance(expression, And):
        return (expression,)
    return tuple(inner for operand in expression.operands for inner in conjuncts(operand))


def joined(operands: Sequence[Expression]) -> tuple[Expression | InItem, ...]:
    """Join those operands of one AND that lie wholly below the same sequence, when they are two or more."""
    by_sequence: dict[PathStep, list[Expression]] = {}
    alone: list[Expression | InItem] = []
    for operand in conjuncts(And(tuple(operands))):
        step = _sequence_of(operand)
        if step is None:
            alone.append(operand)
        else:
            by_sequence.setdefault(step, []).append(operand)
    for step, below in by_sequence.items():
        if len(below) == 1:
            alone.append(below[0])
        else:
            alone.append(InItem(step, tuple(map(_inside, below))))
    return tuple(alone)


def with_vrs(expression: Expression, vr_by_path: dict[str, str]) -> Expression:
    """Give attributes of unknown VR (private ones) the VR with which the archive holds them."""
    match expression:
        case Not(operand):
            return Not(with_vrs(operand, vr_by_path))
        case And(operands):
            return And(tuple(with_vrs(operand, vr_by_path) for operand in operands))
        case Or(operands):
            return Or(tuple(with_vrs(operand, vr_by_path) for operand in operands))
    if expression.path.vr != "UN":
        return expression
    known = vr_by_path.get(str(expression.path), "UN")
    return replace(expression, path=AttributePath(expression.path.steps, known))


def _sequence_of(expression: Expression) -> PathStep | None:
    """Return the sequence that all conditions lie below, if there is one."""
    paths = [condition.path for condition in conditions(expression)]
    first = paths[0].steps[0]
    inside = all(len(path.steps) > 1 and path.steps[0] == first for path in paths)
    return first if inside else None


def _inside(expression: Expression) -> Expression:
    """Return the expression as it is for an item: without the first step of its paths."""
    match expression:
        case Not(operand):
            return Not(_inside(operand))
        case And(operands):
            return And(tuple(map(_inside, operands)))
        case Or(operands):
            return Or(tuple(map(_inside, operands)))
    return replace(expression, path=AttributePath(expression.path.steps[1:], expression.path.vr))
