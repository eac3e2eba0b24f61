"""Attribute matching: what a stored value and a search value are compared by (PS3.4 C.2.2.2).

`normalise` is the one function that index terms and queries go through, so both sides always agree.
`matches` is the slow and obvious matcher of one instance: the oracle of everything that is faster.

Decisions that the standard leaves to the implementation:

- Person names match without regard to case, accents, runs of blanks and trailing empty components; each
  component group (alphabetic, ideographic, phonetic) matches for itself (C.2.2.2.1.1).
- Fuzzy matching takes the words of all component groups, and of all values of the attribute, together.
- IS and DS match as numbers: `007` is `7` (C.2.2.2.1).
- DA, TM and DT match by meaning: `2230` is `223000`; a DT without offset is in the zone of its data set, or else
  of the archive (C.2.2.2.1.3).
- An attribute that is absent or empty matches universal and empty value matching only (C.2.2.1.2 would let every
  key match such an entity; a client that asks for a patient must not get those of unknown patients).
- Empty value matching below a sequence (C.2.2.2.7): an item has no value there; a sequence without items matches
  when nothing but emptiness is asked of its items.
- A missing time counts as midnight in combined date-time matching.
- When the request tells its zone, times and combined dates and times are compared as instants; a stored one is in
  the zone of its data set, or else of the archive. A date alone is compared as it is written.
"""

import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from dicomweb_archive.dicom.instance import Attributes, Element, Value
from dicomweb_archive.dicom.name_words import stored_words, without_accents, words_match
from dicomweb_archive.dicom.query import (
    AttributePath,
    DateTimeRange,
    Empty,
    Fuzzy,
    InZone,
    Matching,
    PathStep,
    Range,
    SearchQuery,
    SingleValue,
    UidList,
    Universal,
    WildCard,
    Zones,
)
from dicomweb_archive.dicom.values import BINARY_VRS

TIMEZONE_OFFSET: Final = 0x00080201

DAY_SECONDS: Final = 86_400
NUMBER_VRS: Final = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
RANGE_VRS: Final = frozenset({"DA", "DT", "TM"})
WILDCARD_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
"""VRs that `*` and `?` are wild cards in (PS3.4 C.2.2.2.4)."""


class MatchValue(NamedTuple):
    """One comparable form of a value.

    Attributes:
        text: equal texts mean equal values.
        number: for ranges and order: DA, DT in seconds (date ordinal times 86,400, plus the time of day in
            UTC), TM in seconds since midnight, numbers as they are; `None` for text and for what is not valid.
    """

    text: str
    number: float | None


def normalise(vr: str, value: str | float) -> tuple[MatchValue, ...]:
    """Give what one value is compared by: one form, none when it is empty, one a group for PN.

    Values of a wrong grammar stay comparable as text. VRs without comparable values (SQ, OB, UN bytes) give
    nothing. The result holds neither NUL nor lone surrogates.
    """
    if isinstance(value, int | float):
        return (_number_value(vr, value),) if vr in NUMBER_VRS else normalise(vr, str(value))
    # Hot path: most values of a series are short and come again and again.
    return _known(vr, value) if len(value) <= _SHORT else _read(vr, value)


def _read(vr: str, value: str) -> tuple[MatchValue, ...]:
    return _READERS.get(vr, _read_text)(_storable(value))


_SHORT: Final = 64
_known = lru_cache(maxsize=16_384)(_read)


def person_name_text(text: str) -> str:
    """Fold one component group of a person name: case, accents, runs of blanks, trailing delimiters."""
    plain = text.lower() if text.isascii() else without_accents(text)
    blank_free = "^".join(" ".join(component.split()) for component in plain.split("^"))
    return blank_free.rstrip("^ ")


def wildcard_text(vr: str, pattern: str) -> str:
    """Bring a wild card pattern into the form of `MatchValue.text`; `*` and `?` keep their meaning."""
    clean = _storable(pattern)
    return person_name_text(clean) if vr == "PN" else _PADDING.get(vr, _strip_both)(clean)


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


def zone_seconds(attributes: Attributes) -> int | None:
    """Return how many seconds east of UTC a data set's dates and times are, `None` when it does not tell."""
    return offset_seconds(zone_text(attributes))


_OFFSET = re.compile(r"([+-])(0[0-9]|1[0-4])([0-5][0-9])")


def offset_seconds(text: str) -> int | None:
    """Read an offset from UTC (PS3.3 C.12.1.1.8), `None` when it is none."""
    found = _OFFSET.fullmatch(text)
    if found is None:
        return None
    size = int(found[2]) * 3600 + int(found[3]) * 60
    return -size if found[1] == "-" else size


def with_zone(text: str, zone: str) -> str:
    """Give a date-time the offset of its data set when it has none of its own."""
    found = _DATE_TIME.fullmatch(text.strip(" "))
    return found[0] + zone if found is not None and found["sign"] is None else text


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


def zone_text(attributes: Attributes) -> str:
    """Return the offset from UTC that a data set tells, empty when it tells none."""
    element = attributes.get(TIMEZONE_OFFSET)
    value = element.values[0] if element is not None and element.values else None
    return value.strip(" ") if isinstance(value, str) and offset_seconds(value.strip(" ")) is not None else ""


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


# --- one reader a family of VRs ------------------------------------------------------------------------------

# PostgreSQL text takes neither NUL nor lone surrogates, and both sides of a comparison must change alike.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _storable(text: str) -> str:
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text.rstrip("\x00"))


def _strip_both(text: str) -> str:
    return text.strip(" ")


def _strip_right(text: str) -> str:
    return text.rstrip(" ")


# Leading blanks count in these VRs, trailing ones are padding everywhere (PS3.5 6.2).
_PADDING: Mapping[str, Callable[[str], str]] = MappingProxyType(
    dict.fromkeys(("LT", "ST", "UC", "UR", "UT"), _strip_right)
)


def _text(text: str) -> tuple[MatchValue, ...]:
    return (MatchValue(text, None),) if text else ()


def _read_text(text: str) -> tuple[MatchValue, ...]:
    return _text(_strip_both(text))


def _read_long_text(text: str) -> tuple[MatchValue, ...]:
    return _text(_strip_right(text))


def _read_uid(text: str) -> tuple[MatchValue, ...]:
    # Some modalities pad UIDs with a space where the standard wants NUL (PS3.5 9.1).
    return _text(text.strip(" \ufffd"))


def _read_tag(text: str) -> tuple[MatchValue, ...]:
    return _text(_strip_both(text).upper())


def _read_person_name(text: str) -> tuple[MatchValue, ...]:
    groups = (person_name_text(group) for group in text.split("="))
    # Groups that fold to the same text are one value; their order is kept.
    return tuple(MatchValue(group, None) for group in dict.fromkeys(groups) if group)


_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})|([0-9]{4})\.([0-9]{2})\.([0-9]{2})")


def _read_date(text: str) -> tuple[MatchValue, ...]:
    stripped = _strip_both(text)
    found = _DATE.fullmatch(stripped)
    if found is None:
        return _text(stripped)
    year, month, day = (int(group) for group in found.groups() if group is not None)
    try:
        ordinal = date(year, month, day).toordinal()
    except ValueError:
        return _text(stripped)
    return (MatchValue(f"{year:04}{month:02}{day:02}", float(ordinal * DAY_SECONDS)),)


# Seconds go up to 60 for leap seconds; colons are of ACR-NEMA times (PS3.5 6.2).
_CLOCK = r"([01][0-9]|2[0-3])(?:{0}([0-5][0-9])(?:{0}([0-5][0-9]|60)(?:\.([0-9]{{1,6}}))?)?)?"
_TIME = re.compile(f"{_CLOCK.format('')}|{_CLOCK.format(':')}")


def _clock(hour: str, minute: str | None, second: str | None, fraction: str | None) -> tuple[int, int]:
    """Seconds of the day, and microseconds."""
    whole = int(hour) * 3600 + int(minute or 0) * 60 + int(second or 0)
    return whole, int((fraction or "").ljust(6, "0"))


def _read_time(text: str) -> tuple[MatchValue, ...]:
    stripped = _strip_both(text)
    found = _TIME.fullmatch(stripped)
    if found is None:
        return _text(stripped)
    hour, minute, second, fraction = found.group(1, 2, 3, 4) if found[1] else found.group(5, 6, 7, 8)
    whole, micro = _clock(hour, minute, second, fraction)
    canonical = f"{hour}{minute or '00'}{second or '00'}{_fraction_text(micro)}"
    return (MatchValue(canonical, whole + micro / 1e6),)


def _fraction_text(micro: int) -> str:
    return f".{micro:06}".rstrip("0") if micro else ""


_DATE_TIME = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})"
    rf"(?:{_CLOCK.format('')})?)?)?"
    r"(?:(?P<sign>[+-])(0[0-9]|1[0-4])([0-5][0-9]))?"
)


def _read_date_time(text: str) -> tuple[MatchValue, ...]:
    stripped = _strip_both(text)
    found = _DATE_TIME.fullmatch(stripped)
    if found is None:
        return _text(stripped)
    year, month, day, hour, minute, second, fraction, sign, zone_hours, zone_minutes = found.groups()
    whole, micro = _clock(hour or "0", minute, second, fraction)
    if sign:
        offset = int(zone_hours) * 3600 + int(zone_minutes) * 60
        whole += offset if sign == "-" else -offset
    try:
        midnight = datetime(int(year), int(month or 1), int(day or 1))  # noqa: DTZ001 - all are taken as UTC
        moment = midnight + timedelta(seconds=whole, microseconds=micro)
    except (ValueError, OverflowError):
        return _text(stripped)
    number = midnight.toordinal() * DAY_SECONDS + whole + micro / 1e6
    # isoformat, because strftime does not pad years before 1000 on every platform.
    canonical = re.sub("[-T:]", "", moment.isoformat(timespec="seconds")) + _fraction_text(micro)
    return (MatchValue(canonical, number),)


_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _number_reader(vr: str) -> Callable[[str], tuple[MatchValue, ...]]:
    def read(text: str) -> tuple[MatchValue, ...]:
        stripped = _strip_both(text)
        if _INTEGER.fullmatch(stripped):
            return (_number_value(vr, int(stripped)),)
        # Bounded, because reading thousands of digits costs and no number needs them.
        if len(stripped) > 64 or not _DECIMAL.fullmatch(stripped):
            return _text(stripped)
        number = float(stripped)
        return (_number_value(vr, number),) if math.isfinite(number) else _text(stripped)

    return read


def _number_value(vr: str, value: float) -> MatchValue:
    number = value
    if vr == "FL" and isinstance(value, float):
        number = _single_precision(value)
    if isinstance(number, float):
        if not math.isfinite(number):
            return MatchValue(str(number), None)
        if number.is_integer() and abs(number) < 1e15:
            number = int(number)
    return MatchValue(repr(number), float(number))


def _single_precision(value: float) -> float:
    """Round as a 4-byte float, so that a search for 0.1 finds the stored 0.10000000149011612."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return value


_READERS: Final[Mapping[str, Callable[[str], tuple[MatchValue, ...]]]] = MappingProxyType(
    {
        "PN": _read_person_name,
        "DA": _read_date,
        "TM": _read_time,
        "DT": _read_date_time,
        "UI": _read_uid,
        "AT": _read_tag,
        "SQ": lambda _text: (),
        **dict.fromkeys(_PADDING, _read_long_text),
        **{vr: _number_reader(vr) for vr in NUMBER_VRS},
    }
)
