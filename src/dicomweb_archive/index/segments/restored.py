"""Instances restored from a segment's rows, so that a segment which loses some can be built anew."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dicomweb_archive.dicom.instance import Element, ScannedInstance, Value
from dicomweb_archive.index.segments.document import Document
from dicomweb_archive.index.segments.locations import FileLayout

SPECIFIC_CHARACTER_SET = 0x00080005

_DECIMAL_VRS = frozenset({"FL", "FD"})
_INTEGER_VRS = frozenset({"SL", "SS", "SV", "UL", "US", "UV"})


def restore_instances(
    document: Document,
    layouts: Sequence[FileLayout],
    positions: Iterable[int],
    *,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_instance_uids: Mapping[int, str],
    byte_lengths: Mapping[int, int],
    character_sets: Sequence[Sequence[str] | None],
) -> list[ScannedInstance]:
    """Read the instances at `positions` back, all as differences from the first of them.

    Args:
        character_sets: by position what the files say, since JSON says that all is UTF-8 (PS3.18 F.2.2).
    """
    scanned = []
    base: dict[int, Element] = {}
    # Most elements are the same in all instances.
    known: dict[bytes, Element] = {}
    for position in positions:
        texts = document.element_texts(position)
        elements = {
            tag: known.get(text) or known.setdefault(text, element_from_json(text)) for tag, text in texts.items()
        }
        _say_character_set(elements, character_sets[position])
        base = base or elements
        layout = layouts[position]
        scanned.append(
            ScannedInstance(
                transfer_syntax_uid=layout.transfer_syntax_uid,
                sop_class_uid=layout.sop_class_uid,
                sop_instance_uid=sop_instance_uids[position],
                study_instance_uid=study_instance_uid,
                series_instance_uid=series_instance_uid,
                size_bytes=byte_lengths[position],
                base=base,
                delta=_difference(base, elements),
                pixel_data=layout.pixel_data,
                bulk=layout.bulk,
                preamble_neutralised=layout.neutralised,
            )
        )
    return scanned


def element_from_json(text: bytes) -> Element:
    """Read an element back from its attribute object (PS3.18 F.2.2), with the values that can be matched."""
    # Numbers stay text until their VR is known: those of IS and DS are matched as they were written.
    attribute = json.loads(text.decode(), strict=False, parse_int=str, parse_float=str)
    return _element(attribute, text)


def _say_character_set(elements: dict[int, Element], values: Sequence[str] | None) -> None:
    element = elements.get(SPECIFIC_CHARACTER_SET)
    if element is not None and values is not None:
        elements[SPECIFIC_CHARACTER_SET] = element._replace(values=tuple(values))


def _difference(base: Mapping[int, Element], elements: Mapping[int, Element]) -> dict[int, Element | None]:
    changed: dict[int, Element | None] = {
        tag: element for tag, element in elements.items() if tag not in base or base[tag].json != element.json
    }
    changed.update((tag, None) for tag in base.keys() - elements.keys())
    return changed


def _element(attribute: Mapping[str, Any], text: bytes) -> Element:
    vr: str = attribute["vr"]
    values = tuple(_value(vr, value) for value in attribute.get("Value", ()))
    return Element(vr, text, values, is_bulk="BulkDataURI" in attribute)


def _value(vr: str, value: Any) -> Value:
    if value is None:
        return None
    if vr == "SQ":
        return {int(tag, 16): _element(inner, _text(inner)) for tag, inner in value.items()}
    if vr == "PN":
        groups = [value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    if vr in _DECIMAL_VRS:
        return float(value)
    if vr in _INTEGER_VRS:
        return int(value)
    return str(value)


def _text(attribute: Mapping[str, Any]) -> bytes:
    """Inner elements are never written out again; their length alone decides (empty or not)."""
    return json.dumps(attribute, separators=(",", ":")).encode()
