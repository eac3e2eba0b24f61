"""The slow and obvious search: what PS3.4 C.2.2.2 and our documents say, on plain lists of data sets.

Written from the words of the standard and of docs/design/0005-search.md, and from nothing of the implementation, which
is tested against it: no index, no normal form, no SQL. An entity matches when one instance below it satisfies all keys
together; keys below one sequence hold in one item; the keys of `ROW_KEYS` match what most instances of the study or
series say, of equals the oldest.
"""

import re
import struct
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any, TypeAlias

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from tests.reference_words import fuzzy_test, fuzzy_words, has_text

Pairs: TypeAlias = Sequence[tuple[str, str]]
Plain: TypeAlias = dict[int, tuple[str, list[Any]]]
"""A data set as VR and values by tag; items of sequences are data sets again."""

Test: TypeAlias = Callable[[str, list[Any]], bool]
"""Tells whether the values of one element, with its VR, satisfy a key."""

STUDY_KEYS = (
    "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "SOPClassesInStudy", "ReferringPhysicianName",
    "PatientName", "PatientID", "StudyInstanceUID", "StudyID", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)  # fmt: skip
SERIES_KEYS = ("Modality", "SeriesNumber", "SeriesInstanceUID", "NumberOfSeriesRelatedInstances")
"""Which keys match the row of the study, and of the series (docs/design/0005-search.md)."""

UNIQUE = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}

TEXT_VRS = ("AE", "AS", "CS", "LO", "SH")
LONG_TEXT_VRS = ("LT", "ST", "UC", "UR", "UT")
WILD_VRS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
NUMBER_VRS = ("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV")
MOMENT_VRS = ("DA", "DT", "TM")
SEVERAL_VRS = ("AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC")
SWITCHES = ("emptyvaluematching", "multiplevaluematching", "fuzzymatching")
CONTROLS = (*SWITCHES, "text")
DAY = 86_400
ZONE, ROW_ZONE = 0x00080201, -1
"""Timezone Offset From UTC of an instance, and that of its study's row."""


def tag(keyword: str) -> int:
    """Return the tag of a keyword or of eight hex digits."""
    found = tag_for_keyword(keyword)
    return int(keyword, 16) if found is None else int(found)


# --- data sets ---------------------------------------------------------------------------------------------------


def plain(dataset: Dataset) -> Plain:
    """Take a data set apart into lists."""
    return {int(element.tag): (element.VR, _values(element.VR, element.value)) for element in dataset}


def _values(vr: str, value: Any) -> list[Any]:
    if vr == "SQ":
        return [plain(item) for item in value]
    if value is None or value == "" or isinstance(value, bytes):
        return []
    values = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    return [_value(vr, single) for single in values]


def as_told(row: dict[str, Any]) -> Plain:
    """Take DICOM JSON apart into lists."""
    return {
        int(key, 16): (element["vr"], [_from_json(v) for v in element.get("Value", [])]) for key, element in row.items()
    }


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    groups = ("Alphabetic", "Ideographic", "Phonetic")
    if value.keys() <= set(groups):
        return "=".join(value.get(group, "") for group in groups).rstrip("=")
    return as_told(value)


def _value(vr: str, value: Any) -> Any:
    if vr == "AT":
        return f"{int(value):08X}"
    if vr in ("DS", "IS") and value is not None and value != "":
        return getattr(value, "original_string", None) or str(value)
    return value if isinstance(value, int | float) else str(value or "")


def in_own_zone(attributes: Plain, zone: str | None = None) -> Plain:
    """Give date-times the offset that their data set tells, also those in its sequences."""
    zone = zone_of(attributes) if zone is None else zone
    own: Plain = {}
    for number, (vr, values) in attributes.items():
        if vr == "SQ":
            values = [in_own_zone(item, zone) for item in values]
        own[number] = (vr, [zoned(str(value), zone) for value in values] if vr == "DT" else values)
    return own


def zone_of(attributes: Plain, number: int = ZONE) -> str:
    """Return the offset that a data set tells; empty when it tells none that is one."""
    text = "".join(map(str, attributes.get(number, ("", []))[1][:1])).strip(" ")
    return text if re.fullmatch(r"[+-](0\d|1[0-4])[0-5]\d", text, re.ASCII) else ""


def zoned(text: str, zone: str) -> str:
    """Give a date-time an offset where it has none."""
    bare = text.strip(" ")
    # Also to one that is no day of the calendar.
    return bare + zone if re.fullmatch(r"\d{4,14}(\.\d{1,6})?", bare, re.ASCII) else text


def seconds_of(zone: str) -> int:
    """Return how far east of UTC a zone is."""
    away = int(zone[1:3] or 0) * 3600 + int(zone[3:] or 0) * 60
    return -away if zone[:1] == "-" else away


# --- what a value means --------------------------------------------------------------------------------------------


def meaning(vr: str, value: Any) -> Any:
    """Return what a single value is compared by; None when it is empty."""
    if vr in NUMBER_VRS:
        return _number(vr, value)
    text = str(value).rstrip("\0")
    text = text.rstrip(" ") if vr in LONG_TEXT_VRS else text.strip(" ")
    if not text:
        return None
    readers = {"DA": _day, "TM": _time_of_day, "DT": _instant}
    if vr in readers:
        moment = readers[vr](text)
        return text if moment is None else moment[0]
    return text.upper() if vr == "AT" else text


def _number(vr: str, value: Any) -> Any:
    text = str(value).strip(" ")
    if not text:
        return None
    try:
        number = Fraction(text)
    except ValueError:
        return text
    # Doubles and floats are compared as what they can hold.
    return struct.unpack("<f", struct.pack("<f", float(number)))[0] if vr == "FL" else float(number)


def name_groups(text: str) -> list[str]:
    """Fold the component groups of a person name: no case, no accents, no blanks or delimiters too many."""
    return [folded for group in text.split("=") if (folded := _folded(group))]


def _folded(group: str) -> str:
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", group).casefold())
    bare = unicodedata.normalize("NFC", "".join(c for c in apart if not unicodedata.combining(c)))
    return "^".join(" ".join(part.split()) for part in bare.split("^")).rstrip("^ ")


Moment: TypeAlias = tuple[Fraction, Fraction]
"""The first moment that a text stands for, and the first one after all that its digits allow."""


def _day(text: str) -> Moment | None:
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)|(\d{4})\.(\d\d)\.(\d\d)", text, re.ASCII)
    try:
        day = date(*(int(part) for part in found.groups() if part)) if found else None  # type: ignore[call-arg]
    except ValueError:
        return None
    return None if day is None else (Fraction(day.toordinal() * DAY), Fraction((day.toordinal() + 1) * DAY))


def _time_of_day(text: str) -> Moment | None:
    digits = text.replace(":", "") if re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?", text, re.ASCII) else text
    found = re.fullmatch(r"([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d|60)(\.\d{1,6})?)?)?", digits, re.ASCII)
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    first = int(hour) * 3600 + int(minute or 0) * 60 + int(second or 0) + Fraction("0" + (fraction or ".0"))
    unit = 3600 if minute is None else 60 if second is None else 1 if fraction is None else Fraction(1, 10**6)
    return first, first + unit


def _instant(text: str) -> Moment | None:
    found = re.fullmatch(r"(\d{4})(\d\d)?(\d\d)?(\d\d(?:\d\d){0,2}(?:\.\d+)?)?([+-]\d{4})?", text, re.ASCII)
    if found is None:
        return None
    year, month, day, clock, zone = found.groups()
    time = _time_of_day(clock) if clock else (Fraction(0), Fraction(DAY))
    if time is None or (zone and not ("0000" <= zone[1:] <= "1459" and zone[3:] < "60")):
        return None
    try:
        begun = datetime(int(year), int(month or 1), int(day or 1))  # noqa: DTZ001 - counted in UTC below
        later = {None: (int(year) + 1, 1)}.get(month) or (int(year) + int(month) // 12, int(month) % 12 + 1)
        ended = begun + timedelta(days=1) if day else datetime(*later, 1)  # noqa: DTZ001
    except (ValueError, OverflowError):
        return None
    away = (int(zone[1:3]) * 3600 + int(zone[3:]) * 60) * (-1 if zone[0] == "-" else 1) if zone else 0
    first = Fraction(begun.toordinal() * DAY - away)
    return (first + time[0], first + time[1]) if clock else (first, Fraction(ended.toordinal() * DAY - away))


# --- what a key asks for -------------------------------------------------------------------------------------------


def universal(_vr: str, _values: list[Any]) -> bool:
    """Everything matches (PS3.4 C.2.2.2.3)."""
    return True


def without_value(vr: str, values: list[Any]) -> bool:
    """There is no value (PS3.4 C.2.2.2.7)."""
    return not any(name_groups(str(value)) if vr == "PN" else meaning(vr, value) is not None for value in values)


def each_of(vr: str, text: str, make: Callable[[str, str], Test]) -> Test:
    """Each of the values between backslashes is there (PS3.4 C.2.2.2.8)."""
    wanted = [make(vr, piece) for piece in text.split("\\")]
    return lambda stored, values: all(test(stored, values) for test in wanted)


def fuzzy_test_of(vr: str, text: str) -> Test:
    """Each word begins a word of the name (PS3.18 8.3.4.2), as far as the attribute is one."""
    plain = test_of(vr, text, "")
    if vr not in ("PN", "UN") or plain is universal or not fuzzy_words(text):
        return plain
    return lambda stored, values: bool(fuzzy_test(text, values)) if stored == "PN" else plain(stored, values)


def test_of(vr: str, text: str, zone: str) -> Test:
    """Return what the text of a key asks of an attribute (PS3.4 C.2.2.2.1 to 5); `vr` may be UN for a private one."""
    if not text.strip(" ") or not text.strip("*"):
        return universal
    if vr == "UI":
        uids = {uid.strip(" ") for uid in re.split(r"[,\\]", text)}
        return lambda _, values: any(str(value).rstrip(" \0") in uids for value in values)
    if vr in MOMENT_VRS and "-" in text and (bounds := range_of(vr, text, zone)):
        return lambda stored, values: any(_lies_within(stored, value, bounds) for value in values)
    if vr == "PN":
        # A group that is `*` asks for nothing, as a key that is `*` does: names without that group match too.
        wanted = [group for group in text.split("=") if group.strip(" ^") and group.strip("*")]
        if not wanted:
            return universal
        return lambda _, values: all(any(_name_matches(group, name) for name in values) for group in wanted)
    text = zoned(text, zone) if vr == "DT" else text
    wild = ("*" in text or "?" in text) and (vr in WILD_VRS or vr == "UN")
    if not wild:
        return lambda stored, values: any(_equal(stored, value, text) for value in values)
    return lambda stored, values: any(_is_like(stored, value, text) for value in values)


def _equal(vr: str, value: Any, text: str) -> bool:
    if vr == "PN":
        wanted = set(name_groups(text))
        return bool(wanted) and wanted <= set(name_groups(str(value)))
    found = meaning(vr, value)
    return found is not None and found == meaning(vr, text)


def _is_like(vr: str, value: Any, text: str) -> bool:
    if vr == "PN":
        return any(_wild(_folded(text)).fullmatch(group) is not None for group in name_groups(str(value)))
    found = meaning(vr, value)
    pattern = text.rstrip(" ") if vr in LONG_TEXT_VRS else text.strip(" ")
    return isinstance(found, str) and _wild(pattern).fullmatch(found) is not None


def _name_matches(group: str, name: Any) -> bool:
    is_wild = "*" in group or "?" in group
    return _is_like("PN", name, group) if is_wild else _folded(group) in name_groups(str(name))


def _wild(pattern: str) -> re.Pattern[str]:
    """`*` is any run of characters, `?` any single one (PS3.4 C.2.2.2.4)."""
    return re.compile("".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in pattern), re.DOTALL)


NEARLY = Fraction(1, 20_000)
"""Seconds since year 1 as a double resolve some microseconds; single times in a zone are as wide as this."""

Bounds: TypeAlias = tuple[Fraction | None, Fraction | None]
"""From the first moment on, and before the other."""


def range_of(vr: str, text: str, zone: str = "") -> Bounds | None:
    """Read a range; a hyphen that makes none belongs to an offset from UTC (PS3.4 C.2.2.2.5)."""
    read = {"DA": _day, "TM": _time_of_day, "DT": lambda moment: _instant(zoned(moment, zone))}[vr]
    for place in (found.start() for found in re.finditer("-", text)):
        first, last = text[:place].strip(" "), text[place + 1 :].strip(" ")
        low, high = read(first) if first else None, read(last) if last else None
        if (first and low is None) or (last and high is None) or not (first or last):
            continue
        if vr == "TM" or low is None or high is None or low[0] < high[1]:
            return low and low[0], high and high[1]
    return None


def _lies_within(vr: str, value: Any, bounds: Bounds) -> bool:
    moment = meaning(vr, value)
    return isinstance(moment, Fraction) and _between(moment, bounds)


def _between(moment: Fraction, bounds: Bounds) -> bool:
    low, high = bounds
    return (low is None or low <= moment) and (high is None or moment < high)


# --- keys in a data set --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One step of a path: a tag, or a creator with the group and last byte of the tags in its blocks."""

    tag: int
    creator: str | None = None

    def elements(self, attributes: Plain) -> list[tuple[str, list[Any]]]:
        """Return what stands at this step: in every block of the creator (PS3.5 7.8.1)."""
        if self.creator is None:
            return [attributes[self.tag]] if self.tag in attributes else []
        group = self.tag & 0xFFFF0000
        blocks = [
            block
            for block in range(0x10, 0x100)
            if group | block in attributes
            and [str(value).strip(" ") for value in attributes[group | block][1][:1]] == [self.creator]
        ]
        tags = [group | block << 8 | self.tag & 0xFF for block in blocks]
        return [attributes[found] for found in tags if found in attributes]


Condition: TypeAlias = tuple[tuple[Step, ...], Test]


def holds(attributes: Plain, conditions: Iterable[Condition]) -> bool:
    """Tell whether one data set or item satisfies all; those below one sequence in one item (C.2.2.2.6)."""
    below: dict[Step, list[Condition]] = {}
    for steps, test in conditions:
        if test is universal:
            continue
        if len(steps) > 1:
            below.setdefault(steps[0], []).append((steps[1:], test))
        elif test is without_value:
            if not all(test(vr, values) for vr, values in steps[0].elements(attributes)):
                return False
        elif not any(test(vr, values) for vr, values in steps[0].elements(attributes)):
            return False
    for step, inner in below.items():
        items = [item for vr, items in step.elements(attributes) if vr == "SQ" for item in items]
        # Where there is no item, nothing that is asked for to be missing is there.
        if not (any(holds(i, inner) for i in items) if items else all(test is without_value for _, test in inner)):
            return False
    return True


DATE_TIME_PAIRS = (
    ("StudyDate", "StudyTime"), ("SeriesDate", "SeriesTime"), ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"), ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
    ("PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime"),
)  # fmt: skip


class Keys:
    """The matching keys of a query string, understood."""

    def __init__(self, given_pairs: Pairs) -> None:
        told = dict(given_pairs)
        self._switches = {name for name in SWITCHES if told.get(name) == "true"}
        self._words = told.get("text")
        given_pairs = [(name, value) for name, value in given_pairs if name not in CONTROLS]
        self.zone = next((value for name, value in given_pairs if _is_zone(name)), "")
        pairs = [(name, value) for name, value in given_pairs if not _is_zone(name)]
        self._creators = {
            tag(name.split(".")[-1]): value.strip(" ") for name, value in pairs if _is_creator(tag(name.split(".")[-1]))
        }
        self._asked: set[int] = set()
        read = [(self._steps(name), value) for name, value in pairs]
        given = {steps[0].tag: value for steps, value in read if len(steps) == 1}
        self.combined = [
            (*map(tag, names), bounds)
            for names in DATE_TIME_PAIRS
            if (bounds := _combined(*(given.get(tag(name), "") for name in names), in_zone=bool(self.zone)))
        ]
        taken = {(Step(number),) for date_tag, time_tag, _ in self.combined for number in (date_tag, time_tag)}
        left = [(steps, v) for steps, v in read if steps not in taken and steps[-1].tag not in self._asked]
        self.clocks = [(steps[0].tag, v) for steps, v in left if self._is_clock(steps, v)]
        self.conditions: list[Condition] = [
            (steps, self._test(_vr(steps[-1]), value)) for steps, value in left if not self._is_clock(steps, value)
        ]

    def hold(self, instance: Plain, attributes: Plain) -> bool:
        """Tell whether one instance satisfies all of them; `attributes` has the rows of its study and series too."""
        if not all(_moment_holds(attributes, *pair, self.zone) for pair in self.combined):
            return False
        if not all(_clock_holds(attributes, number, value, self.zone) for number, value in self.clocks):
            return False
        return holds(attributes, self.conditions) and (self._words is None or has_text(instance, self._words))

    def _is_clock(self, steps: tuple[Step, ...], value: str) -> bool:
        """Whether a time of the request's day is asked for: not inside of sequences."""
        asks = bool(value.strip(" ")) and bool(value.strip("*")) and value != '""'
        return bool(self.zone) and len(steps) == 1 and _vr(steps[0]) == "TM" and asks

    def _test(self, vr: str, value: str) -> Test:
        if value == '""' and "emptyvaluematching" in self._switches:
            return without_value
        if "\\" in value and vr in SEVERAL_VRS and "multiplevaluematching" in self._switches:
            return each_of(vr, value, self._single)
        return self._single(vr, value)

    def _single(self, vr: str, value: str) -> Test:
        if "fuzzymatching" in self._switches and vr in ("PN", "UN"):
            return fuzzy_test_of(vr, value)
        return test_of(vr, value, self.zone)

    def _steps(self, name: str) -> tuple[Step, ...]:
        steps = []
        for member in map(tag, name.split(".")):
            block = member & 0xFFFF0000 | member >> 8 & 0xFF
            if member & 0x10000 and not _is_creator(member):
                # A creator that tells a private block apart is no key.
                self._asked.add(block)
                steps.append(Step(member & 0xFFFF00FF, self._creators[block]))
            else:
                steps.append(Step(member))
        return tuple(steps)


def _is_zone(name: str) -> bool:
    return "." not in name and tag(name) == ZONE


def _is_creator(number: int) -> bool:
    return bool(number & 0x10000) and 0x10 <= number & 0xFFFF <= 0xFF


def _vr(step: Step) -> str:
    if _is_creator(step.tag) and step.creator is None:
        return "LO"
    return "UN" if step.creator is not None else str(dictionary_VR(step.tag))


def _combined(day: str, time: str, *, in_zone: bool) -> Bounds | None:
    """A range of dates and one of times are one interval, where each time has its date (C.2.2.2.5.4).

    In a zone a single date with its time is one too (C.2.2.2.1.3).
    """
    days, times = range_of("DA", day), range_of("TM", time)
    if in_zone and days is None and (single := _day(day.strip(" "))):
        days, times = single, times or _single_time(time)
    if days is None or times is None:
        return None
    if (times[0] is not None and days[0] is None) or (times[1] is not None and days[1] is None):
        return None
    low = None if days[0] is None else days[0] + (times[0] or 0)
    # The last day as a whole, or up to the last time in it.
    high = None if days[1] is None else days[1] - (0 if times[1] is None else DAY - times[1])
    return low, high


def _single_time(text: str) -> Bounds | None:
    """A moment, as far as doubles tell moments apart."""
    read = _time_of_day(text.strip(" "))
    return read and (read[0] - NEARLY, read[0] + NEARLY)


def _moment_holds(attributes: Plain, date_tag: int, time_tag: int, bounds: Bounds, zone: str) -> bool:
    """A missing time counts as midnight."""
    day, time = first_of(attributes, date_tag), first_of(attributes, time_tag)
    shift = seconds_of(zone) - _own_seconds(attributes, time_tag) if zone else 0
    return isinstance(day, Fraction) and _between(day + (time if isinstance(time, Fraction) else 0) + shift, bounds)


def _clock_holds(attributes: Plain, number: int, text: str, zone: str) -> bool:
    """A time of the request's day (C.2.2.2.5.2)."""
    low, high = range_of("TM", text) or _single_time(text) or (None, None)
    shift = seconds_of(zone) - _own_seconds(attributes, number)
    clocks = (meaning("TM", value) for value in attributes.get(number, ("", []))[1])
    return any(_between((clock + shift) % DAY, (low, high)) for clock in clocks if isinstance(clock, Fraction))


def _own_seconds(attributes: Plain, number: int) -> int:
    of_study = number == tag("StudyTime")
    return seconds_of(zone_of(attributes, ROW_ZONE if of_study else ZONE))


def first_of(attributes: Plain, number: int) -> Any:
    vr, values = attributes.get(number, ("", []))
    return meaning(vr, values[0]) if values else None
