"""Attribute matching: whether an instance is what a search asks for (PS3.4 C.2.2.2).

`matches` is the slow and obvious matcher of one instance: the oracle of everything that is faster. Values are compared
in the form of `dicom/comparable_values.py`.

Decisions that the standard leaves to the implementation:

- Fuzzy matching takes the words of all component groups, and of all values of the attribute, together.
- An attribute that is absent or empty matches universal and empty value matching only (C.2.2.1.2 would let every
  key match such an entity; a client that asks for a patient must not get those of unknown patients).
- Empty value matching below a sequence (C.2.2.2.7): an item has no value there; a sequence without items matches
  when nothing but emptiness is asked of its items.
- A missing time counts as midnight in combined date-time matching.
- When the request tells its zone, times and combined dates and times are compared as instants; a stored one is in
  the zone of its data set, or else of the archive. A date alone is compared as it is written.
"""

import re
from collections.abc import Iterable, Mapping

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.comparable_values import DAY_SECONDS, normalise, wildcard_text, with_zone
from dicomweb_archive.dicom.instance import Attributes, Element, Value
from dicomweb_archive.dicom.matching_keys import (
    DateTimeRange,
    Empty,
    Fuzzy,
    InZone,
    Matching,
    Range,
    SingleValue,
    UidList,
    Universal,
    WildCard,
    Zones,
)
from dicomweb_archive.dicom.name_words import stored_words, words_match
from dicomweb_archive.dicom.query import SearchQuery
from dicomweb_archive.dicom.time_zones import zone_seconds, zone_text
from dicomweb_archive.dicom.values import BINARY_VRS


def matches(attributes: Attributes, query: SearchQuery) -> bool:
    """Tell whether one instance satisfies a whole query; plain, slow, and the oracle of the SQL.

    Whoever checks computed or study level keys puts these elements into `attributes` before.
    """
    scope = ((0x0020000D, query.study_instance_uid), (0x0020000E, query.series_instance_uid))
    for tag, uid in scope:
        if uid is not None and not _element_matches(attributes.get(tag), "UI", SingleValue(uid)):
            return False
    if not all(_combined_matches(attributes, pair) for pair in query.combined):
        return False
    own = zone_seconds(attributes)
    if own is not None:
        attributes = _in_own_zone(attributes, zone_text(attributes))
    return _item_matches(attributes, [(k.path.steps, k.path.vr, _with_zone(k.matching, own)) for k in query.keys])


def _in_own_zone(attributes: Attributes, zone: str) -> dict[int, Element]:
    """Give every date-time without an offset the one of the data set, also inside of sequences."""
    changed = {tag: e for tag, e in attributes.items() if e.vr not in ("DT", "SQ")}
    for tag, element in attributes.items():
        if element.vr == "SQ":
            items = tuple(_in_own_zone(item, zone) for item in _items(element))
            changed[tag] = element._replace(values=items)
        elif element.vr == "DT":
            values = (with_zone(value, zone) if isinstance(value, str) else value for value in element.values)
            changed[tag] = element._replace(values=tuple(values))
    return changed


def _with_zone(matching: Matching, own: int | None) -> Matching:
    if not isinstance(matching, InZone) or own is None:
        return matching
    return InZone(matching.low, matching.high, Zones(matching.zones.request, own))


_Condition = tuple[tuple[PathStep, ...], str, Matching]


def _item_matches(attributes: Attributes, conditions: Iterable[_Condition]) -> bool:
    """Check all conditions against one data set or item; those under one sequence against one item."""
    nested: dict[PathStep, list[_Condition]] = {}
    for steps, vr, matching in conditions:
        if isinstance(matching, Universal):
            continue
        if len(steps) > 1:
            nested.setdefault(steps[0], []).append((steps[1:], vr, matching))
        elif isinstance(matching, Empty):
            if not all(map(is_empty, find_elements(attributes, steps[0]))):
                return False
        elif not any(_element_matches(found, vr, matching) for found in find_elements(attributes, steps[0])):
            return False
    return all(_some_item_matches(attributes, step, inner) for step, inner in nested.items())


def _some_item_matches(attributes: Attributes, step: PathStep, inner: list[_Condition]) -> bool:
    items = [item for found in find_elements(attributes, step) for item in _items(found)]
    if not items:
        return all(isinstance(matching, Empty) for _, _, matching in inner)
    return any(_item_matches(item, inner) for item in items)


_EMPTY_JSON_BYTES = len(b'{"vr":"XX"}')


def is_empty(element: Element) -> bool:
    """Tell whether an element is present without a value, blanks and delimiters not counted as one."""
    if element.is_bulk or any(isinstance(value, Mapping) for value in element.values):
        return False
    if any(normalise(element.vr, value) for value in element.values if isinstance(value, str | int | float)):
        return False
    # Binary values are in the JSON only.
    return element.vr not in BINARY_VRS or len(element.json) <= _EMPTY_JSON_BYTES


def find_elements(attributes: Attributes, step: PathStep) -> list[Element]:
    """Look an attribute up; a private one in every block that its creator has reserved (PS3.5 7.8.1)."""
    if step.private_creator is None:
        element = attributes.get(step.tag)
        return [] if element is None else [element]
    group, low = step.tag & 0xFFFF0000, step.tag & 0xFF
    blocks = (tag & 0xFF for tag in attributes if group | 0x10 <= tag <= group | 0xFF)
    owned = (block for block in blocks if attributes[group | block].values[:1] == (step.private_creator,))
    found = (attributes.get(group | block << 8 | low) for block in owned)
    return [element for element in found if element is not None]


def _items(element: Element) -> list[Attributes]:
    return [value for value in element.values if isinstance(value, Mapping)]


def _element_matches(element: Element | None, vr: str, matching: Matching) -> bool:
    if isinstance(matching, Universal):
        return True
    if element is None:
        return False
    known_vr = element.vr if vr == "UN" else vr
    if isinstance(matching, Fuzzy):
        # The words of a key may lie in different component groups, and so do the values of one attribute.
        names = (value for value in element.values if isinstance(value, str))
        return words_match(matching.words, frozenset(word for name in names for word in stored_words(name)))
    return any(_value_matches(value, known_vr, matching) for value in element.values)


def _value_matches(value: Value, vr: str, matching: Matching) -> bool:
    if value is None or isinstance(value, Mapping):
        return False
    stored = normalise(vr, value)
    match matching:
        case SingleValue(text):
            wanted = {form.text for form in normalise(vr, text)}
            return bool(wanted) and wanted <= {form.text for form in stored}
        case UidList(uids):
            return any(form.text in uids for form in stored)
        case WildCard(pattern):
            regex = _wildcard_regex(wildcard_text(vr, pattern))
            return any(regex.fullmatch(form.text) is not None for form in stored)
        case Range(low, high):
            return any(_within(form.number, low, high) for form in stored)
        case InZone(low, high, zones):
            clocks = [form.number for form in stored if form.number is not None]
            return any(low <= (clock - zones.archive + zones.request) % DAY_SECONDS <= high for clock in clocks)
        case _:
            return True


def _wildcard_regex(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(character) or re.escape(character) for character in pattern), re.DOTALL)


def _within(number: float | None, low: float | None, high: float | None) -> bool:
    if number is None:
        return False
    return (low is None or low <= number) and (high is None or number <= high)


def _combined_matches(attributes: Attributes, pair: DateTimeRange) -> bool:
    day = _first_number(attributes, pair.date)
    if day is None:
        return False
    shift = 0
    if pair.zones is not None:
        own = zone_seconds(attributes)
        shift = pair.zones.request - (pair.zones.archive if own is None else own)
    return _within(day + (_first_number(attributes, pair.time) or 0.0) + shift, pair.low, pair.high)


def _first_number(attributes: Attributes, path: AttributePath) -> float | None:
    for element in find_elements(attributes, path.steps[-1]):
        for value in element.values:
            if isinstance(value, str):
                return next((form.number for form in normalise(path.vr, value)), None)
    return None
