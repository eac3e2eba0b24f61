"""The form of an edit by rules: rows as people fill them in, written as a request would write the rules they mean."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from dicomweb_archive.errors import InvalidRequestError
from dicomweb_archive.web.forms import Form

MOST_RULES: Final = 20
MOST_CONDITIONS: Final = 8
MOST_FIELDS: Final = MOST_RULES * (5 + 3 * MOST_CONDITIONS) + 8
_LONGEST_NAME: Final = 1024
_LONGEST_VALUE: Final = 8000
_PLACE = re.compile(r"rules\[(\d+)\](?:\.when\[(\d+)\])?(?:\.([a-z]+))?")


class Deed(StrEnum):
    """What a rule does, in the words of the form."""

    SET = "set"
    MAP = "map"
    DROP = "drop"
    REPLACE = "replace"
    REMOVE = "remove"


DEEDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        Deed.SET: "becomes the new text",
        Deed.MAP: "these values become the new text",
        Deed.DROP: "these values are removed",
        Deed.REPLACE: "this part becomes the new text",
        Deed.REMOVE: "is removed",
    }
)


class Test(StrEnum):
    """What a condition asks, in the words of the form."""

    IS = "is"
    IS_NOT = "is_not"
    CONTAINS = "contains"
    PRESENT = "present"
    ABSENT = "absent"


TESTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        Test.IS: "is one of",
        Test.IS_NOT: "is none of",
        Test.CONTAINS: "contains",
        Test.PRESENT: "is there",
        Test.ABSENT: "is not there",
    }
)


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """A row for a condition; a blank one means none."""

    attribute: str = ""
    test: str = Test.IS
    value: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether nobody has written into it."""
        return not self.attribute and not self.value


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A row for a rule; a blank one means none.

    Attributes:
        old: whole values, one a line, or a part of a text; by what is done.
        new: the new text.
    """

    attribute: str = ""
    deed: str = Deed.SET
    old: str = ""
    new: str = ""
    vr: str = ""
    when: tuple[ConditionRow, ...] = ()

    @property
    def is_blank(self) -> bool:
        """Whether nobody has written into it."""
        return not (self.attribute or self.old or self.new or self.when)


def read_rows(form: Form) -> Sequence[RuleRow]:
    """Read the rows that a form has.

    Raises:
        InvalidParameterError: a text is too long, or holds the character NUL.
    """
    numbers = range(1, MOST_RULES + 1)
    return [_rule_row(form, f"rule-{each}") for each in numbers if f"rule-{each}-attribute" in form.fields]


def without_blank(rows: Sequence[RuleRow]) -> Sequence[RuleRow]:
    """Return the rows into which somebody has written."""
    kept = (replace(row, when=tuple(each for each in row.when if not each.is_blank)) for row in rows)
    return [row for row in kept if not row.is_blank]


def rules_of(rows: Sequence[RuleRow]) -> Sequence[Mapping[str, Any]]:
    """Write rows, none of them blank, as a request writes rules.

    Raises:
        InvalidRequestError: a row says too little, or there is none.
    """
    if not rows:
        raise InvalidRequestError("there is no rule: name an attribute, and say what becomes of it")
    return [dict(_members(number, row)) for number, row in enumerate(rows, 1)]


def told(problem: str) -> str:
    """Say in the words of the form where a rule is wrong."""
    return _PLACE.sub(_place, problem)


def _rule_row(form: Form, name: str) -> RuleRow:
    places = (f"{name}-{each}" for each in range(1, MOST_CONDITIONS + 1))
    return RuleRow(
        attribute=form.text(f"{name}-attribute", at_most=_LONGEST_NAME),
        deed=_chosen(form, f"{name}-deed", DEEDS, Deed.SET),
        old=form.text(f"{name}-old", at_most=_LONGEST_VALUE, trimmed=False),
        new=form.text(f"{name}-new", at_most=_LONGEST_VALUE, trimmed=False),
        vr=form.text(f"{name}-vr", at_most=2).upper(),
        when=tuple(_condition_row(form, place) for place in places if f"{place}-attribute" in form.fields),
    )


def _condition_row(form: Form, name: str) -> ConditionRow:
    return ConditionRow(
        attribute=form.text(f"{name}-attribute", at_most=_LONGEST_NAME),
        test=_chosen(form, f"{name}-test", TESTS, Test.IS),
        value=form.text(f"{name}-value", at_most=_LONGEST_VALUE, trimmed=False),
    )


def _chosen(form: Form, name: str, choices: Mapping[str, str], default: str) -> str:
    found = form.get(name) or default
    if found not in choices:
        raise InvalidRequestError("nothing was chosen: say what becomes of each attribute")
    return found


def _members(number: int, row: RuleRow) -> Iterator[tuple[str, Any]]:
    if not row.attribute:
        raise InvalidRequestError(f"rule {number} names no attribute")
    _require_all_counts(number, row)
    yield "attribute", row.attribute
    match Deed(row.deed):
        case Deed.SET:
            yield from {"action": "set", "value": _text(row.new), "vr": row.vr or None}.items()
        case Deed.MAP:
            yield from {"action": "map", "map": _pairs(number, row)}.items()
        case Deed.DROP:
            yield from {"action": "map", "map": dict.fromkeys(_lines(row.old))}.items()
        case Deed.REPLACE:
            yield from {"action": "replace", "find": _text(row.old), "replacement": _text(row.new)}.items()
        case Deed.REMOVE:
            yield "action", "remove"
    yield "when", [_condition(number, place, each) for place, each in enumerate(row.when, 1)]


def _require_all_counts(number: int, row: RuleRow) -> None:
    """Refuse what would be passed over: whoever names values does not mean all of them."""
    deed = Deed(row.deed)
    idle = {
        "its values": row.old and deed in (Deed.SET, Deed.REMOVE),
        "its new text": row.new and deed in (Deed.DROP, Deed.REMOVE),
        "its VR": row.vr and deed != Deed.SET,
    }
    if named := [name for name, is_idle in idle.items() if is_idle]:
        raise InvalidRequestError(
            f"what rule {number} says as {' and '.join(named)} would count for nothing: leave it blank, or choose "
            "something else of what becomes of the attribute"
        )


def _pairs(number: int, row: RuleRow) -> Mapping[str, str]:
    """Pair values with what they become: line by line, or all of them with the only one."""
    old, new = _lines(row.old), _lines(row.new)
    if len(new) == 1:
        new *= len(old)
    if len(old) != len(new) or len(set(old)) < len(old):
        raise InvalidRequestError(
            f"rule {number} needs one new text, or one for each of its values, which are all others"
        )
    return dict(zip(old, new, strict=True))


def _condition(number: int, place: int, row: ConditionRow) -> Mapping[str, Any]:
    if not row.attribute:
        raise InvalidRequestError(f"condition {place} of rule {number} names no attribute")
    match Test(row.test):
        case Test.IS | Test.IS_NOT:
            return {"attribute": row.attribute, row.test: _lines(row.value)}
        case Test.CONTAINS:
            return {"attribute": row.attribute, "contains": _text(row.value)}
        case Test.PRESENT | Test.ABSENT:
            if row.value:
                raise InvalidRequestError(f"the values of condition {place} of rule {number} would count for nothing")
            return {"attribute": row.attribute, "present": row.test == Test.PRESENT}


def _lines(text: str) -> list[str]:
    """Return the values of a field, one a line; an empty field holds the empty value."""
    return text.removesuffix("\n").split("\n")


def _text(text: str) -> str:
    # Lines of a text end with both characters (PS3.5 6.1.3); browsers send them so, forms are read without.
    return text.replace("\n", "\r\n")


def _place(found: re.Match[str]) -> str:
    rule, condition, member = found.groups()
    said = f"rule {int(rule) + 1}"
    if condition is not None:
        said = f"condition {int(condition) + 1} of {said}"
    return said if member in (None, "attribute") else f"{said}, its {_MEMBERS.get(member, member)},"


_MEMBERS: Final = {"value": "new text", "map": "new text", "find": "part of a text", "vr": "VR"}
