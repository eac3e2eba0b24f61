"""What answers are sorted by and what is counted in them, the slow and obvious way (docs/conformance.md)."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

from tests.reference_filter import step_of, vr_of
from tests.reference_search import DAY, MOMENT_VRS, NUMBER_VRS, Plain, meaning, name_groups, tag

_OF_STUDIES = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID",
    "StudyInstanceUID", "StudyID", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
)  # fmt: skip
_OF_SERIES = ("Modality", "SeriesInstanceUID", "SeriesNumber", "NumberOfSeriesRelatedInstances")
_OF_INSTANCES = ("SOPInstanceUID", "InstanceNumber")
ORDERS = {
    "study": (_OF_STUDIES,),
    "series": (_OF_STUDIES, _OF_SERIES),
    "instance": (_OF_STUDIES, _OF_SERIES, _OF_INSTANCES),
}
WITHIN_SERIES = (
    "SeriesDescription", "SoftwareVersions", "OperatorsName", "AcquisitionDate", "AcquisitionTime", "KVP", "Rows",
    "AcquisitionDateTime", "SliceLocation", "ImagePositionPatient", "FrameOfReferenceUID", "RealWorldValueSlope",
)  # fmt: skip


def out_of_order(views: Sequence[Plain], order: Sequence[str]) -> int | None:
    """Return the number of the first row that should stand before the one in front of it."""
    for number in range(1, len(views)):
        if not _may_follow(views[number - 1], views[number], order):
            return number
    return None


def _may_follow(before: Plain, behind: Plain, order: Sequence[str]) -> bool:
    for member in order:
        first, second = (sort_value(view, member.removeprefix("-")) for view in (before, behind))
        if first == second:
            continue
        # What lacks a value comes last either way.
        if first is None or second is None:
            return second is None
        return bool(first > second if member.startswith("-") else first < second)
    return True


def sort_value(view: Plain, name: str) -> Any:
    """Return what an entity is sorted by; None when it lacks a value, or has one that is no number or moment."""
    vr, values = view.get(tag(name), ("", []))
    of_row = name in _OF_STUDIES + _OF_SERIES
    values = [value for value in values if _comparable(vr, value)] if of_row else values[:1]
    if not values:
        return None
    if vr == "PN":
        groups = name_groups(str(values[0]))
        return ("=".join(groups) if of_row else "".join(groups[:1])) or None
    value = meaning(vr, values[0])
    return None if isinstance(value, str) and vr in NUMBER_VRS + MOMENT_VRS else value


def _comparable(vr: str, value: Any) -> bool:
    return bool(name_groups(str(value))) if vr == "PN" else meaning(vr, value) is not None


def counts(entities: Iterable[Sequence[Plain]], name: str, interval: str = "") -> dict[Any, int]:
    """Count the entities that hold each value of an attribute, below whatever sequences."""
    found: Counter[Any] = Counter()
    path = tuple(name.split("."))
    vr = vr_of(path[-1])
    for views in entities:
        held = {value for view in views for value in _values(view, path, vr)}
        if name in _OF_STUDIES:
            # The row of a study has moments, and nothing where a text is none.
            held = {value for value in held if vr not in MOMENT_VRS or isinstance(value, Fraction)}
        found.update({_bin(vr, value, interval) for value in held} if interval else {same(vr, v) for v in held})
    return dict(found)


def _values(view: Plain, path: tuple[str, ...], vr: str) -> Iterable[Any]:
    for value in (value for _, values in step_of(path[0]).elements(view) for value in values):
        if len(path) > 1:
            yield from _values(value, path[1:], vr)
        elif vr == "PN":
            yield from name_groups(str(value))
        elif (meant := meaning(vr, value)) is not None:
            yield meant


def same(vr: str, value: Any) -> Any:
    """Round as far as doubles and fifteen digits tell values apart."""
    if isinstance(value, Fraction):
        return round(float(value), 6 if vr == "TM" else 3)
    return float(f"{value:.12g}") if isinstance(value, float) else value


def _bin(vr: str, value: Any, interval: str) -> Any:
    if vr in MOMENT_VRS:
        day = date.fromordinal(int(value // DAY))
        return f"{day.year:04}" if interval == "year" else f"{day.year:04}-{day.month:02}"
    return math.floor(value / float(interval)) * float(interval)
