"""What the value of a matching parameter asks for (PS3.18 8.3.4.1; PS3.4 C.2.2.2)."""

import re
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.dicom.comparable_values import DAY_SECONDS, NUMBER_VRS, RANGE_VRS, WILDCARD_VRS, normalise
from dicomweb_archive.dicom.matching_keys import Fuzzy, Matching, Range, SingleValue, UidList, Universal, WildCard
from dicomweb_archive.dicom.name_words import ACCEPTED_KEY, fuzzy_words
from dicomweb_archive.errors import InvalidMatchError
from dicomweb_archive.wire.resources import is_uid

_ACCEPTED: Final = {
    "DA": "YYYYMMDD, or a range YYYYMMDD-YYYYMMDD of which one side may be left out",
    "TM": "HH, HHMM, HHMMSS or HHMMSS.FFFFFF, or a range of them of which one side may be left out",
    "DT": "YYYYMMDDHHMMSS.FFFFFF&ZZXX cut from the right, or a range of them of which one side may be left out",
    "UI": "one UID, or several separated by commas or backslashes",
    "AT": "eight hexadecimal digits",
    "SQ": "nothing for the sequence itself; name an attribute of its items, e.g. Sequence.Attribute=value",
}
EMPTY_VALUE: Final = '""'
"""Asks for attributes without a value when emptyvaluematching is on (PS3.4 C.2.2.2.7)."""

SEVERAL_VALUES_VRS: Final = frozenset({"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"})
"""VRs of which a key may ask for several values at once (PS3.4 C.2.2.2.8)."""

_NAME_GROUPS: Final = 3
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_ZONE = re.compile(r"[+-][0-9]{4}\Z")
_STARS = re.compile(r"\*+")

# A bound with fewer digits stands for the last moment that these digits allow. One hundred-thousandth is kept
# off, because seconds since year 1 as a double resolve 8 microseconds.
NEARLY: Final = 1 - 1e-5


@dataclass(frozen=True, slots=True)
class ValueLimits:
    """Bounds of one value."""

    uids: int = 1000
    values: int = 32
    wildcards: int = 8


def parse_matching(
    vr: str, name: str, value: str, *, limits: ValueLimits = ValueLimits(), zone: str = "", fuzzy: bool = False
) -> tuple[Matching, ...]:
    """Read a value as what it asks for; all that is returned must hold (several for the groups of a name).

    An empty value and a lone `*` are universal matching (PS3.4 C.2.2.2.3). `zone` is the request's Timezone
    Offset From UTC, for DT values that have none. `fuzzy` asks for fuzzy matching of person names.

    Raises:
        InvalidMatchError: the value does not fit the attribute's value representation; it is not repeated.
    """
    if not value.strip(" ") or not value.strip("*"):
        return (Universal(),)
    if vr == "UI":
        return (_parse_uids(name, value, limits.uids),)
    if vr in RANGE_VRS:
        return (_parse_moments(vr, name, value, zone),)
    if vr == "PN":
        words = _parse_words(name, value) if fuzzy else ()
        if words:
            return (Fuzzy(words),)
        groups = name_groups(name, value)
        return tuple(_parse_text(vr, name, group, limits.wildcards) for group in groups) or (Universal(),)
    if vr in WILDCARD_VRS or vr == "UN":
        return (_parse_text(vr, name, value, limits.wildcards),)
    valid = {"AT": _TAG.fullmatch(value) is not None, "SQ": False}.get(vr, True)
    if vr in NUMBER_VRS:
        valid = all(form.number is not None for form in normalise(vr, value))
    if not valid:
        raise InvalidMatchError(name, accepted=_ACCEPTED.get(vr, "a number"))
    return (SingleValue(value),)


def parse_all_values(
    vr: str, name: str, value: str, *, limits: ValueLimits = ValueLimits(), fuzzy: bool = False
) -> tuple[Matching, ...]:
    """Read several values, of which the attribute must have each and every one (PS3.4 C.2.2.2.8).

    Raises:
        InvalidMatchError: one of them is empty, has a wild card or does not fit, or they are too many.
    """
    pieces = tuple(dict.fromkeys(piece.strip(" ") for piece in value.split("\\", limits.values)))
    if len(pieces) > limits.values:
        raise InvalidMatchError(name, accepted=f"at most {limits.values} values")
    if not all(pieces) or any("*" in piece or "?" in piece for piece in pieces):
        raise InvalidMatchError(name, accepted="values without wild cards, separated by backslashes")
    read = (parse_matching(vr, name, piece, limits=limits, fuzzy=fuzzy) for piece in pieces)
    return tuple(matching for matchings in read for matching in matchings)


def name_groups(name: str, value: str) -> list[str]:
    """Return the component groups of a person name that say something; each becomes a condition of its own.

    Raises:
        InvalidMatchError: they are more than a name has (PS3.5 6.2.1.1).
    """
    groups = [group for group in value.split("=") if group.strip(" ^")]
    if len(groups) > _NAME_GROUPS:
        raise InvalidMatchError(name, accepted=f"at most {_NAME_GROUPS} component groups")
    return groups


def is_reversed(bounds: Range) -> bool:
    """Tell whether a range ends before it begins."""
    return bounds.low is not None and bounds.high is not None and bounds.low > bounds.high


def _parse_uids(name: str, value: str, at_most: int) -> Matching:
    uids = tuple(dict.fromkeys(uid.strip(" ") for uid in re.split(r"[,\\]", value, maxsplit=at_most)))
    if len(uids) > at_most:
        raise InvalidMatchError(name, accepted=f"at most {at_most} UIDs")
    if not all(map(is_uid, uids)):
        raise InvalidMatchError(name, accepted=_ACCEPTED["UI"])
    return UidList(uids) if len(uids) > 1 else SingleValue(uids[0])


def _parse_text(vr: str, name: str, value: str, at_most: int) -> Matching:
    if "*" not in value and "?" not in value:
        return SingleValue(value)
    pattern = _STARS.sub("*", value)
    if pattern == "*":
        return Universal()
    if pattern.count("*") > at_most:
        raise InvalidMatchError(name, accepted=f"at most {at_most} asterisks in a {vr} value")
    return WildCard(pattern)


def _parse_words(name: str, value: str) -> tuple[tuple[str, ...], ...]:
    words = fuzzy_words(value)
    if words is None:
        raise InvalidMatchError(name, accepted=ACCEPTED_KEY)
    return words


def _parse_moments(vr: str, name: str, value: str, zone: str) -> Matching:
    """Read one date, time or date-time, or a range of them."""
    # A hyphen may also begin the offset of a DT. It is read as a range first (PS3.4 C.2.2.2.1.3), and the first
    # reading that makes sense is taken.
    hyphens = [found.start() for found in re.finditer("-", value[:80])][:4]
    readings = (_range(vr, value[:position], value[position + 1 :], zone) for position in hyphens)
    for bounds in readings:
        if bounds is not None and (vr == "TM" or not is_reversed(bounds)):
            return bounds
    if _moment(vr, value, zone) is None:
        raise InvalidMatchError(name, accepted=_ACCEPTED[vr])
    return SingleValue(value + zone if vr == "DT" and not _ZONE.search(value) else value)


def _range(vr: str, first: str, last: str, zone: str) -> Range | None:
    if not first and not last:
        return None
    low = _moment(vr, first, zone) if first else None
    high = _moment(vr, last, zone) if last else None
    if (first and low is None) or (last and high is None):
        return None
    return Range(low, None if high is None else high + _rest(vr, last))


def _moment(vr: str, text: str, zone: str) -> float | None:
    zoned = text + zone if vr == "DT" and not _ZONE.search(text) else text
    return next((form.number for form in normalise(vr, zoned)), None)


def _rest(vr: str, text: str) -> float:
    """Give the seconds from a moment to the last one with the same leading digits (not of DA: days are whole)."""
    if vr == "DA" or "." in text:
        return 0.0
    digits = _ZONE.sub("", text).strip(" ").replace(":", "")
    clock_digits = len(digits) - (8 if vr == "DT" else 0)
    if clock_digits > 0:
        return {2: 3599, 4: 59}.get(clock_digits, 0) + NEARLY
    whole_days = {4: _days_in_year(digits), 6: _days_in_month(digits)}.get(len(digits), 1)
    return whole_days * DAY_SECONDS - 1 + NEARLY


def _days_in_year(digits: str) -> int:
    year = int(digits[:4])
    return 366 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 365


def _days_in_month(digits: str) -> int:
    if len(digits) != 6:
        return 0
    month = int(digits[4:])
    return 28 + (_days_in_year(digits) - 365) if month == 2 else 30 + (month in (1, 3, 5, 7, 8, 10, 12))
