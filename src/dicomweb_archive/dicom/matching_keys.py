"""Matching keys: an attribute and how its values are to match (PS3.4 C.2.2.2), in one form for every door."""

from dataclasses import dataclass

from dicomweb_archive.dicom.attribute_path import AttributePath


@dataclass(frozen=True, slots=True)
class SingleValue:
    """Equal by meaning (PS3.4 C.2.2.2.1); `text` is the value as sent, unescaped, never padded."""

    text: str


@dataclass(frozen=True, slots=True)
class UidList:
    """Any of these UIDs (PS3.4 C.2.2.2.2)."""

    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WildCard:
    """`*` any characters, `?` one (PS3.4 C.2.2.2.4)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Range:
    """Inclusive range of DA, TM or DT in the index's numbers (`dicom/comparable_values.py`); `None` is open.

    PS3.4 C.2.2.2.5.
    """

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Universal:
    """Matches everything; the attribute is returned (PS3.4 C.2.2.2.3)."""


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """Each word begins a word of the person name (PS3.18 8.3.4.2); `words` has the spellings of each.

    The spellings are those of `dicom/name_words.py`; one of them is enough.
    """

    words: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Zones:
    """Time zones of a search, in seconds east of UTC.

    Attributes:
        request: of its dates and times, by Timezone Offset From UTC (PS3.4 C.2.2.2).
        archive: of stored data sets that do not tell their own.
    """

    request: int
    archive: int = 0


@dataclass(frozen=True, slots=True)
class InZone:
    """A time of day in the request's zone, midnight included (PS3.4 C.2.2.2.5.2); bounds in seconds."""

    low: float
    high: float
    zones: Zones


@dataclass(frozen=True, slots=True)
class Empty:
    """Matches an attribute that has no value or is not there (PS3.4 C.2.2.2.7)."""


Matching = SingleValue | UidList | WildCard | Range | Universal | Fuzzy | InZone | Empty


@dataclass(frozen=True, slots=True)
class Key:
    """One matching key. Keys whose path goes through the same sequence must hold in one item (C.2.2.2.6)."""

    path: AttributePath
    matching: Matching


@dataclass(frozen=True, slots=True)
class DateTimeRange:
    """Combined date-time matching of a DA and TM pair (PS3.18 8.3.4.1.1; PS3.4 C.2.2.2.5.4).

    Bounds are in the index's numbers: seconds of date plus seconds of time. With `zones` they are compared as
    instants, without as they are written.
    """

    date: AttributePath
    time: AttributePath
    low: float | None
    high: float | None
    zones: Zones | None = None
