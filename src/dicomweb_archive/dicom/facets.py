"""Facets: the values that matching entities have of an attribute, by how often; and bins of numbers and dates."""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from dicomweb_archive.dicom.attribute_path import AttributePath
from dicomweb_archive.dicom.comparable_values import DAY_SECONDS, NUMBER_VRS

DATE_VRS: Final = frozenset({"DA", "DT"})


class Calendar(StrEnum):
    """A bin of dates."""

    YEAR = "year"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class FacetField:
    """An attribute whose values are counted; `name` is how it was asked for.

    Attributes:
        interval: width of a bin, from zero on, for numbers; a part of the calendar for dates; `None`: each value.
    """

    path: AttributePath
    name: str
    interval: Calendar | float | None = None


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value, or a bin from `value` up to but without `upto`, and how many entities hold it."""

    value: str | int | float
    count: int
    upto: int | float | None = None


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values of one attribute; `distinct` is how many there are altogether."""

    field: FacetField
    vr: str
    values: tuple[FacetValue, ...]
    distinct: int


def facet_value(field: FacetField, vr: str, number: float | None, text: str | None, count: int) -> FacetValue:
    """Tell a value of the index as DICOM writes it (see `dicom/comparable_values.py`)."""
    if number is None:
        return FacetValue(text or "", count)
    match field.interval:
        case Calendar.YEAR:
            return FacetValue(f"{int(number):04}", count)
        case Calendar.MONTH:
            return FacetValue(f"{int(number) // 100:04}-{int(number) % 100:02}", count)
        case None:
            return FacetValue(_written(vr, number), count)
        case width:
            return FacetValue(_short(number * width), count, _short((number + 1) * width))


def takes(field: FacetField, vr: str) -> bool:
    """Tell whether values of this representation can be put into the bins that were asked for."""
    match field.interval:
        case None:
            return True
        case Calendar():
            return vr in DATE_VRS
        case _:
            return vr in NUMBER_VRS


def _written(vr: str, number: float) -> str | int | float:
    if vr not in DATE_VRS and vr != "TM":
        return _short(number)
    day, seconds = divmod(number, DAY_SECONDS)
    if vr == "TM" and day == 1 and seconds < 1:
        # A leap second (PS3.5 6.2) belongs to the day that it ends.
        seconds += DAY_SECONDS
    if vr != "TM" and not 1 <= day <= date.max.toordinal():
        # A data set has the attribute with another value representation.
        return _short(number)
    clock = timedelta(seconds=round(seconds, 6))
    whole = int(clock.total_seconds())
    hour, minute = divmod(min(whole, DAY_SECONDS - 1) // 60, 60)
    time = f"{hour:02}{minute:02}{whole - hour * 3600 - minute * 60:02}"
    if clock.microseconds:
        time += f".{clock.microseconds:06}".rstrip("0")
    if vr == "TM":
        return time
    calendar = f"{date.fromordinal(int(day)):%Y%m%d}".zfill(8)
    return calendar if vr == "DA" else calendar + time


def _short(number: float) -> int | float:
    rounded = float(f"{number:.15g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
