"""Rules of edits as a request writes them: read, and refused where no instance could ever take them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.editing.extents import PIXEL_GROUP
from dicomweb_archive.dicom.editing.rules import Condition, EditAction, EditRule, EditRules, Steps, path_name
from dicomweb_archive.dicom.editing.value_rules import TYPED_VRS, is_value
from dicomweb_archive.dicom.held_attributes import path_steps
from dicomweb_archive.dicom.values import NUMBER_VRS
from dicomweb_archive.errors import ConflictError, InvalidParameterError
from dicomweb_archive.wire.attribute_paths import UNSEARCHABLE_GROUPS, AttributeNames, UnknownAttributeError

MOST_DEPTH: Final = 8
"""Sequences within each other in a path, and the attribute at its end."""

_TYPED: Final = (TYPED_VRS - {"UI"}) | NUMBER_VRS.keys()

# What the instance is known by, what its text and pixels are read by: the index holds what they say.
_FIXED: Final = frozenset(
    {
        tags.SPECIFIC_CHARACTER_SET, tags.SOP_CLASS_UID, tags.SOP_INSTANCE_UID, tags.STUDY_INSTANCE_UID,
        tags.SERIES_INSTANCE_UID, tags.PIXEL_REPRESENTATION,
        0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102,
    }
)  # fmt: skip


def read_rules(said: Sequence[Mapping[str, Any]]) -> EditRules:
    """Read rules, whose members have the right types already.

    Raises:
        InvalidParameterError: one of them cannot be applied to anything.
        ConflictError: one would change a UID.
    """
    return EditRules(tuple(_rule(f"rules[{number}]", rule) for number, rule in enumerate(said)))


def _rule(name: str, said: Mapping[str, Any]) -> EditRule:
    creators = said.get("creators") or {}
    steps = _steps(f"{name}.attribute", said["attribute"], creators)
    action = EditAction(said["action"])
    _require_editable(f"{name}.attribute", steps, action)
    vr = said.get("vr")
    if vr is not None and vr not in _TYPED:
        raise InvalidParameterError(f"{name}.vr", accepted="a value representation whose values are text or numbers")
    conditions = enumerate(said.get("when") or ())
    rule = EditRule(
        steps=steps,
        action=action,
        value=_member(name, said, "value", action is EditAction.SET) or "",
        mapping=_member(name, said, "map", action is EditAction.MAP) or {},
        find=_member(name, said, "find", action is EditAction.REPLACE) or "",
        replacement=_member(name, said, "replacement", action is EditAction.REPLACE) or "",
        vr=vr,
        when=tuple(_condition(f"{name}.when[{number}]", each, creators) for number, each in conditions),
    )
    _require_values(name, rule)
    return rule


def _member(name: str, said: Mapping[str, Any], member: str, is_wanted: bool) -> Any:
    found = said.get(member)
    if (found is not None) != is_wanted:
        accepted = "what the action needs" if is_wanted else "nothing with this action"
        raise InvalidParameterError(f"{name}.{member}", accepted=accepted)
    return found


def _condition(name: str, said: Mapping[str, Any], creators: Mapping[str, str]) -> Condition:
    tests = [each for each in ("is", "is_not", "contains", "present") if said.get(each) is not None]
    if len(tests) != 1:
        raise InvalidParameterError(name, accepted="one of is, is_not, contains, present")
    values = said.get("is") if tests == ["is"] else said.get("is_not")
    return Condition(
        steps=_steps(f"{name}.attribute", said["attribute"], creators),
        values=None if values is None else frozenset(values),
        is_not=tests == ["is_not"],
        contains=said.get("contains"),
        present=said.get("present"),
    )


def _steps(name: str, text: str, creators: Mapping[str, str]) -> Steps:
    """Read a path: the name of an attribute in the inventory, or keywords and tags with the creators of blocks."""
    accepted = "a keyword, a tag, or several joined by dots; private ones with `creators`, or as the inventory has them"
    steps = tuple(path_steps(text))
    is_name = bool(steps) and path_name(steps) == text
    if not is_name or any(step.private_creator is None and tags.is_private(step.tag) for step in steps):
        try:
            steps = AttributeNames(list(creators.items()), depth=MOST_DEPTH).parse(text).steps
        except UnknownAttributeError:
            raise InvalidParameterError(name, accepted=accepted) from None
    if len(steps) > MOST_DEPTH or any(
        step.tag >> 16 in UNSEARCHABLE_GROUPS or (step.tag & 0xFFFF == 0 and not step.private_creator) for step in steps
    ):
        raise InvalidParameterError(name, accepted=accepted)
    return steps


def _require_editable(name: str, steps: Steps, action: EditAction) -> None:
    step = steps[-1]
    is_creator = step.private_creator is None and tags.is_private_creator(step.tag)
    is_pixels = steps[0].tag >> 16 >= PIXEL_GROUP or step.tag >> 16 == PIXEL_GROUP
    if is_creator or is_pixels or step.tag in _FIXED:
        accepted = "an attribute by which neither the instance nor its pixels, character set or private blocks are read"
        raise InvalidParameterError(name, accepted=accepted)
    vr = _known_vr(step.tag, step.private_creator)
    if action is not EditAction.REMOVE and vr == "UI":
        message = (
            "UIDs are not edited, because others refer to them: an attribute with a UID can only be removed;"
            " new UIDs are given to a submission as a whole"
        )
        raise ConflictError(message)
    if action is not EditAction.REMOVE and vr is not None and vr not in _TYPED:
        raise InvalidParameterError(
            name, accepted="an attribute whose values are text or numbers, or the action remove"
        )


def _require_values(name: str, rule: EditRule) -> None:
    """Refuse values that are none of the attribute's VR, where this is known without looking at an instance."""
    step = rule.steps[-1]
    vr = _known_vr(step.tag, step.private_creator) or rule.vr
    if rule.action is EditAction.REPLACE and (not rule.find or (vr is not None and vr not in TYPED_VRS)):
        raise InvalidParameterError(f"{name}.find", accepted="text that occurs in the values of a text attribute")
    if vr is None or rule.action is EditAction.REPLACE:
        return
    values = [rule.value] if rule.action is EditAction.SET else [text for text in rule.mapping.values() if text]
    if not all(is_value(vr, value, step.tag) for value in values):
        member = "value" if rule.action is EditAction.SET else "map"
        raise InvalidParameterError(f"{name}.{member}", accepted=f"values of the value representation {vr} (PS3.5 6.2)")


def _known_vr(tag: int, creator: str | None) -> str | None:
    entry = tags.dictionary_entry(tag) if creator is None else tags.private_entry(tag, creator)
    return entry if entry is None or len(entry) == 2 else None
