"""Combined date-time matching: a range of dates and one of times are one interval (PS3.18 8.3.4.1.1)."""

from collections.abc import Mapping, Sequence
from typing import Final

from dicomweb_archive.dicom.comparable_values import DAY_SECONDS, RANGE_VRS, normalise
from dicomweb_archive.dicom.matching_keys import (
    DateTimeRange,
    InZone,
    Key,
    Matching,
    Range,
    SingleValue,
    Universal,
    Zones,
)
from dicomweb_archive.errors import InvalidMatchError
from dicomweb_archive.wire.match_values import NEARLY, is_reversed

_SLACK: Final = 5e-5
DATE_TIME_PAIRS: Final[Mapping[int, int]] = {
    0x00080020: 0x00080030,
    0x00080021: 0x00080031,
    0x00080022: 0x00080032,
    0x00080023: 0x00080033,
    0x00400244: 0x00400245,
    0x00400250: 0x00400251,
}
"""Dates with their times: study, series, acquisition, content, start and end of the performed step."""


def combine_date_times(
    keys: Sequence[Key], zones: Zones | None = None
) -> tuple[tuple[Key, ...], tuple[DateTimeRange, ...]]:
    """Join ranges of a date and its time into one interval; ranges that stay alone must not be reversed.

    Args:
        zones: of the request and of the archive when the request has told its own. A single date with its time is an
            interval too then, because it may be another date elsewhere (PS3.4 C.2.2.2.1.3), and a time without its
            date is one of the request's day (C.2.2.2.5.2).
    """
    by_tag = {key.path.tag: key for key in keys if len(key.path.steps) == 1 and key.path.vr in RANGE_VRS}
    combined: list[DateTimeRange] = []
    taken: set[Key] = set()
    for date_tag, time_tag in DATE_TIME_PAIRS.items():
        date, time = by_tag.get(date_tag), by_tag.get(time_tag)
        if date is None or time is None:
            continue
        date_range, time_range = date.matching, time.matching
        if zones is not None and isinstance(date_range, SingleValue):
            date_range, time_range = _as_range("DA", date_range), _as_range("TM", time_range)
        if not isinstance(date_range, Range) or not isinstance(time_range, Range):
            continue
        interval = _combine(date_range, time_range)
        if interval is None:
            continue
        if is_reversed(interval):
            raise InvalidMatchError(f"{date_tag:08X} with {time_tag:08X}", accepted="a start before the end")
        combined.append(DateTimeRange(date.path, time.path, interval.low, interval.high, zones))
        taken |= {date, time}
    plain = tuple(key for key in keys if key not in taken)
    for key in plain:
        if isinstance(key.matching, Range) and is_reversed(key.matching):
            raise InvalidMatchError(f"{key.path.tag:08X}", accepted="a start before the end")
    if zones is not None:
        plain = tuple(Key(key.path, _in_zone(key, zones)) for key in plain)
    returned = tuple(
        Key(path, Universal()) for pair in combined for path in (pair.date, pair.time)
    )  # so that both are answered like any other key
    return plain + returned, tuple(combined)


def _as_range(vr: str, matching: Matching) -> Matching:
    if not isinstance(matching, SingleValue):
        return matching
    number = next((form.number for form in normalise(vr, matching.text)), None)
    # Wider by what a double cannot tell apart.
    slack = _SLACK if vr == "TM" else 0.0
    return matching if number is None else Range(number - slack, number + slack)


def _in_zone(key: Key, zones: Zones) -> Matching:
    """Give a time of day the request's zone, where its data set tells the stored one: not inside of sequences."""
    bounds = _as_range("TM", key.matching)
    if key.path.vr != "TM" or len(key.path.steps) > 1 or not isinstance(bounds, Range):
        return key.matching
    high = float(DAY_SECONDS) if bounds.high is None else bounds.high
    return InZone(0.0 if bounds.low is None else bounds.low, high, zones)


def _combine(date: Range, time: Range) -> Range | None:
    """Join a range of dates and one of times into one interval (PS3.18 8.3.4.1.1; PS3.4 C.2.2.2.5.4).

    `None`: a bound of the time has no date beside it, so that the two can only be matched each for itself.
    The result may be reversed.
    """
    if (time.low is not None and date.low is None) or (time.high is not None and date.high is None):
        return None
    low = None if date.low is None else date.low + (time.low or 0.0)
    last = DAY_SECONDS - 1 + NEARLY if time.high is None else time.high
    high = None if date.high is None else date.high + last
    return Range(low, high)
