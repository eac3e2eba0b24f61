"""How pages write numbers, sizes, dates and names."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")


def format_count(number: int) -> str:
    """Write a whole number with thin spaces between thousands: `12 345 678`."""
    return f"{number:,}".replace(",", "\u202f")


def format_size(size_bytes: int) -> str:
    """Write a size in the largest decimal unit that leaves a whole number before the point: `1.4 GB`."""
    if size_bytes == 1:
        return "1 byte"
    number = float(size_bytes)
    for unit in _UNITS:
        if number < 999.5 or unit == _UNITS[-1]:
            digits = 1 if unit != "bytes" and number < 99.95 else 0
            return f"{number:.{digits}f} {unit}"
        number /= 1000
    raise AssertionError("the loop ends at its last unit")


def format_day(day: date) -> str:
    """Write a day so that no country reads it otherwise: `31 Jan 2024`."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def format_moment(moment: datetime) -> str:
    """Write a moment to the minute, in UTC: `31 Jan 2024, 10:15 UTC`."""
    utc = moment.astimezone(UTC)
    return f"{format_day(utc.date())}, {utc:%H:%M} UTC"


def format_duration(seconds: float) -> str:
    """Write a duration in its two largest units: `3 days 4 h`, `5 min 10 s`."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} day{'s' if days > 1 else ''} {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


FILTERS: Final[Mapping[str, Callable[[Any], str]]] = {
    "count": format_count,
    "size": format_size,
    "day": format_day,
    "moment": format_moment,
    "duration": format_duration,
}
"""Filters of templates, by name."""
