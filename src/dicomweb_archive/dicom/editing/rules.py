"""Rules of an edit: which attribute, under which conditions, becomes what; as data that is kept and read again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.held_attributes import path_steps

Steps = tuple[PathStep, ...]


class EditAction(StrEnum):
    """What a rule does with an attribute."""

    SET = "set"
    """Give it this value, whether it was there or not."""
    REMOVE = "remove"
    MAP = "map"
    """Give it another value, by the one that it has; values that are not named stay."""
    REPLACE = "replace"
    """Replace a part of its text, wherever it occurs."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of an attribute; exactly one of the tests is given.

    Attributes:
        steps: the path. Where it shares sequences with the rule's own, it is the same item that counts.
        values: one of these it has; `is_not` turns that round, and an attribute that is absent has none.
        contains: what occurs in its text.
        present: whether it is there, with a value or without.
    """

    steps: Steps
    values: frozenset[str] | None = None
    is_not: bool = False
    contains: str | None = None
    present: bool | None = None


@dataclass(frozen=True, slots=True)
class EditRule:
    """One correction.

    Attributes:
        steps: the path; inside sequences it stands for each of their items.
        value: of `SET`; several are joined by a backslash.
        mapping: of `MAP`: to `None`, the attribute is removed.
        find, replacement: of `REPLACE`.
        vr: of an attribute that the dictionary does not know, where it is not there yet.
        when: all of it must hold.
    """

    steps: Steps
    action: EditAction
    value: str = ""
    mapping: Mapping[str, str | None] = field(default_factory=dict)
    find: str = ""
    replacement: str = ""
    vr: str | None = None
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class EditRules:
    """The rules of an edit, each of which sees what those before it have made."""

    rules: tuple[EditRule, ...]

    @cached_property
    def _paths(self) -> frozenset[PathStep]:
        tested = (condition.steps[0] for rule in self.rules for condition in rule.when)
        return frozenset(tested) | {rule.steps[0] for rule in self.rules}

    @cached_property
    def _tags(self) -> frozenset[int]:
        return frozenset(step.tag for step in self._paths if step.private_creator is None)

    @cached_property
    def _groups(self) -> frozenset[int]:
        return frozenset(step.tag >> 16 for step in self._paths if step.private_creator is not None)

    def need(self, tag: int) -> bool:
        """Tell whether the rules look at an attribute of the data set, or may; of private ones at the whole group."""
        return tag in self._tags or tag >> 16 in self._groups

    def to_json(self) -> list[dict[str, Any]]:
        """Return what `from_json` reads."""
        return [dict(_rule_members(rule)) for rule in self.rules]

    @classmethod
    def from_json(cls, rules: list[dict[str, Any]]) -> "EditRules":
        """Read rules back that were kept."""
        return cls(tuple(map(_rule, rules)))


def path_name(steps: Steps) -> str:
    """Return the name of a path, as the index and the inventory have it."""
    return ".".join(map(str, steps))


def _rule_members(rule: EditRule) -> Iterator[tuple[str, Any]]:
    yield "attribute", path_name(rule.steps)
    yield "action", rule.action.value
    if rule.action is EditAction.SET:
        yield "value", rule.value
    if rule.action is EditAction.MAP:
        yield "map", dict(rule.mapping)
    if rule.action is EditAction.REPLACE:
        yield "find", rule.find
        yield "replacement", rule.replacement
    if rule.vr is not None:
        yield "vr", rule.vr
    if rule.when:
        yield "when", [dict(_condition_members(each)) for each in rule.when]


def _condition_members(condition: Condition) -> Iterator[tuple[str, Any]]:
    yield "attribute", path_name(condition.steps)
    if condition.values is not None:
        yield "is_not" if condition.is_not else "is", sorted(condition.values)
    if condition.contains is not None:
        yield "contains", condition.contains
    if condition.present is not None:
        yield "present", condition.present


def _rule(said: Mapping[str, Any]) -> EditRule:
    return EditRule(
        steps=tuple(path_steps(said["attribute"])),
        action=EditAction(said["action"]),
        value=said.get("value", ""),
        mapping=said.get("map", {}),
        find=said.get("find", ""),
        replacement=said.get("replacement", ""),
        vr=said.get("vr"),
        when=tuple(map(_condition, said.get("when", ()))),
    )


def _condition(said: Mapping[str, Any]) -> Condition:
    values = said.get("is_not", said.get("is"))
    return Condition(
        steps=tuple(path_steps(said["attribute"])),
        values=None if values is None else frozenset(values),
        is_not="is_not" in said,
        contains=said.get("contains"),
        present=said.get("present"),
    )
