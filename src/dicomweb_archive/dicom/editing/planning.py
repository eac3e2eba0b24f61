"""Plans of edits: what rules mean for one instance, read from its attributes in the DICOM JSON model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.comparable_values import normalise
from dicomweb_archive.dicom.editing.rules import Condition, EditAction, EditRule, EditRules, Steps, path_name
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.dicom.editing.value_rules import TYPED_VRS, is_value
from dicomweb_archive.dicom.element_text import read_element, shown_text, whole_text
from dicomweb_archive.dicom.tags import format_tag, private_entry, vr_of
from dicomweb_archive.dicom.values import NUMBER_VRS

_LOST: Final = "\ufffd"
_BLOCKS: Final = range(0x10, 0x100)

Model: TypeAlias = dict[str, Any]
"""Attributes of a data set or item by tag, as eight hex digits; numbers are texts."""

Parents: TypeAlias = tuple[tuple[int, int], ...]
"""The sequences around an attribute, outermost first, each with the number of the item from zero."""


class Operation(NamedTuple):
    """What is to be done with one element; `text` is `None` where it is removed."""

    parents: Parents
    tag: int
    vr: str
    text: str | None


class ChangeKind(StrEnum):
    """What becomes of an element."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


class Change(NamedTuple):
    """What an edit does to one attribute of an instance, in words for people.

    Attributes:
        path: its name in the index.
        before, after: `None` where it is not there, binary or a sequence.
    """

    path: str
    vr: str
    kind: ChangeKind
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class EditPlan:
    """What becomes of one instance; nothing where there are no operations."""

    operations: tuple[Operation, ...]
    changes: tuple[Change, ...]


class _Place(NamedTuple):
    """A data set or item in which a rule applies, with those around it."""

    sets: tuple[Model, ...]
    parents: Parents


def plan_edit(rules: EditRules, texts: Mapping[int, bytes]) -> EditPlan:
    """Say what the rules do to an instance, whose elements are given in the form of a segment's document.

    Raises:
        UnfitForEditError: they are meant for it and cannot be applied to it.
    """
    # Read anew for each instance, because the rules change it.
    model = {format_tag(tag): read_element(text) for tag, text in texts.items() if rules.need(tag)}
    planner = _Planner(model)
    for rule in rules.rules:
        planner.apply(rule)
    return planner.plan()


@dataclass(slots=True)
class _Planner:
    model: Model
    _before: dict[tuple[Parents, int], tuple[str, Any]] = field(default_factory=dict)
    _after: dict[tuple[Parents, int], tuple[str, str | None]] = field(default_factory=dict)

    def apply(self, rule: EditRule) -> None:
        for place in _places(_Place((self.model,), ()), rule.steps[:-1]):
            if all(_holds(condition, rule.steps, place.sets) for condition in rule.when):
                self._apply_in(rule, place)

    def plan(self) -> EditPlan:
        gone = {(*parents, tag) for (parents, tag), (_, text) in self._after.items() if text is None}
        operations, changes = [], []
        for (parents, tag), (vr, text) in self._after.items():
            path, element = self._before[parents, tag]
            before = None if element is None else whole_text(element)
            is_as_it_was = text is None if element is None else before is not None and before == text
            if is_as_it_was or any((*parents[:depth], parents[depth][0]) in gone for depth in range(len(parents))):
                continue
            operations.append(Operation(parents, tag, vr, text))
            changes.append(_change(path, vr, element, before, text))
        return EditPlan(tuple(operations), tuple(changes))

    def _apply_in(self, rule: EditRule, place: _Place) -> None:
        here = place.sets[-1]
        step = rule.steps[-1]
        tags = list(_tags_of(here, step))
        if not tags and rule.action is EditAction.SET:
            tags = [self._reserve(place, step, path_name(rule.steps))]
        for tag in tags:
            element = here.get(format_tag(tag))
            new = _new_text(rule, element)
            if new is element:
                continue
            vr = _vr_of(rule, element, tag)
            if new is not None and vr == "UI":
                # Of private attributes only the instance knows; see `wire/edit_rules.py`.
                raise UnfitForEditError(Unfit.UID)
            if new is not None and not is_value(vr, new, tag):
                raise UnfitForEditError(Unfit.VALUE if vr in TYPED_VRS or vr in NUMBER_VRS else Unfit.BINARY)
            self._put(place, tag, path_name(rule.steps), vr, new)

    def _reserve(self, place: _Place, step: PathStep, path: str) -> int:
        """Return the tag of an attribute that is not there, its private block reserved (PS3.5 7.8.1)."""
        if step.private_creator is None:
            return step.tag
        group = step.tag & 0xFFFF0000
        reserved = {int(name, 16) for name in place.sets[-1] if int(name, 16) & 0xFFFF0000 == group}
        for block in _BLOCKS:
            of_block = range(group | block << 8, (group | block << 8) + 0x100)
            if creator_is(place.sets[-1], group | block, step.private_creator):
                return group | block << 8 | step.tag & 0xFF
            if group | block not in reserved and reserved.isdisjoint(of_block):
                steps = path.rpartition(".")[0] if place.parents else ""
                name = f"{steps}.{format_tag(group | block)}" if steps else format_tag(group | block)
                self._put(place, group | block, name, "LO", step.private_creator)
                return group | block << 8 | step.tag & 0xFF
        raise UnfitForEditError(Unfit.NO_BLOCK)

    def _put(self, place: _Place, tag: int, path: str, vr: str, text: str | None) -> None:
        here = place.sets[-1]
        name = format_tag(tag)
        self._before.setdefault((place.parents, tag), (path, here.get(name)))
        self._after[place.parents, tag] = vr, text
        if text is None:
            del here[name]
        else:
            here[name] = {"vr": vr, "Value": [text]} if text else {"vr": vr}


def creator_is(model: Model, tag: int, creator: str) -> bool:
    """Tell whether an element reserves its block for this creator."""
    element = model.get(format_tag(tag))
    values = element.get("Value") if element else None
    if not values or not isinstance(values[0], str):
        return False
    cleaned = normalise("LO", values[0])
    return bool(cleaned) and cleaned[0].text == creator


def _places(place: _Place, steps: Steps) -> Iterator[_Place]:
    """Go through the items that a path of sequences leads to; the data set itself for none."""
    if not steps:
        yield place
        return
    for tag in _tags_of(place.sets[-1], steps[0]):
        element = place.sets[-1][format_tag(tag)]
        if element["vr"] == "SQ":
            for number, item in enumerate(element.get("Value", ())):
                yield from _places(_Place((*place.sets, item), (*place.parents, (tag, number))), steps[1:])


def _tags_of(model: Model, step: PathStep) -> Iterator[int]:
    """Yield the tags that a step stands for among those that are there; a creator may have several blocks."""
    if step.private_creator is None:
        if format_tag(step.tag) in model:
            yield step.tag
        return
    group = step.tag & 0xFFFF0000
    for block in _BLOCKS:
        tag = group | block << 8 | step.tag & 0xFF
        if format_tag(tag) in model and creator_is(model, group | block, step.private_creator):
            yield tag


def _holds(condition: Condition, steps: Steps, sets: tuple[Model, ...]) -> bool:
    shared = 0
    for own, others in zip(condition.steps[:-1], steps[:-1], strict=False):
        if own != others:
            break
        shared += 1
    start = _Place((sets[shared],), ())
    elements = [
        place.sets[-1][format_tag(tag)]
        for place in _places(start, condition.steps[shared:-1])
        for tag in _tags_of(place.sets[-1], condition.steps[-1])
    ]
    if condition.present is not None:
        return bool(elements) is condition.present
    texts = [text for text in map(whole_text, elements) if text is not None]
    if condition.contains is not None:
        return any(condition.contains in text for text in texts)
    assert condition.values is not None
    return any(text in condition.values or shown_text(text) in condition.values for text in texts) != condition.is_not


def _new_text(rule: EditRule, element: Model | None) -> Any:
    """Return the text that an element gets, `None` where it is removed, and the element itself where it stays."""
    if rule.action is EditAction.SET:
        return rule.value
    if rule.action is EditAction.REMOVE or element is None:
        return None
    before = whole_text(element)
    if element["vr"] == "SQ" or before is None:
        return element
    if rule.action is EditAction.MAP:
        for known in (before, shown_text(before)):
            if known in rule.mapping:
                return rule.mapping[known]
        return element
    if rule.find not in before:
        return element
    if _LOST in before or element["vr"] not in TYPED_VRS:
        # What could not be read would be written anew as something else.
        raise UnfitForEditError(Unfit.CHARACTER_SET if _LOST in before else Unfit.BINARY)
    return before.replace(rule.find, rule.replacement)


def _vr_of(rule: EditRule, element: Model | None, tag: int) -> str:
    if element is not None and (element["vr"] != "UN" or rule.action is EditAction.REMOVE):
        vr: str = element["vr"]
        return vr
    creator = rule.steps[-1].private_creator
    known = vr_of(tag) if creator is None else private_entry(tag, creator)
    found = known or rule.vr
    if found is None or len(found) != 2:
        raise UnfitForEditError(Unfit.NO_VR)
    return found


def _change(path: str, vr: str, element: Model | None, before: str | None, after: str | None) -> Change:
    kind = ChangeKind.ADDED if element is None else ChangeKind.REMOVED if after is None else ChangeKind.CHANGED
    if element is not None and element["vr"] == "SQ":
        before = None
    shown = [None if text is None else shown_text(text) for text in (before, after)]
    return Change(path, vr, kind, *shown)
