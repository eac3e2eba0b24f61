"""Comparable values: what stored values and those of a search are compared by (PS3.4 C.2.2.2).

`normalise` is the one function that index terms and queries go through, so both sides always agree.

Decisions that the standard leaves to the implementation:

- Person names match without regard to case, accents, runs of blanks and trailing empty components; each
  component group (alphabetic, ideographic, phonetic) matches for itself (C.2.2.2.1.1).
- IS and DS match as numbers: `007` is `7` (C.2.2.2.1).
- DA, TM and DT match by meaning: `2230` is `223000`; a DT without offset is in the zone of its data set, or else
  of the archive (C.2.2.2.1.3).
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from dicomweb_archive.dicom.name_words import without_accents

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


def with_zone(text: str, zone: str) -> str:
    """Give a date-time the offset of its data set when it has none of its own."""
    found = _DATE_TIME.fullmatch(text.strip(" "))
    return found[0] + zone if found is not None and found["sign"] is None else text


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
