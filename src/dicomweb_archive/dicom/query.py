"""SearchQuery: what is looked for, in one form for every door and every language of filters."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Words are compared in the form of matching, and conditions of a filter name attributes: both stand on this module.
    from dicomweb_archive.dicom.free_text import Phrase
    from dicomweb_archive.dicom.query_filter import Expression


class Level(StrEnum):
    """Level of the entities that a search returns (PS3.4 C.6.1.1)."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class PathStep:
    """One step of an attribute path: a tag, with its creator when private.

    For a private element `tag` has its block number removed (`0x00290010` is written ggggxxee as `0x00290010`
    with creator): group and last byte count, the creator tells the block apart (PS3.5 7.8.1).
    """

    tag: int
    private_creator: str | None = None

    def __str__(self) -> str:
        if self.private_creator is None:
            return f"{self.tag:08X}"
        return f'{self.tag >> 16:04X}"{self.private_creator}"{self.tag & 0xFF:02X}'


@dataclass(frozen=True, slots=True)
class AttributePath:
    """An attribute, possibly inside sequences; `str()` is the path's name in the index (`00400275.00400009`)."""

    steps: tuple[PathStep, ...]
    vr: str

    @property
    def tag(self) -> int:
        """The tag of the last step."""
        return self.steps[-1].tag

    def __str__(self) -> str:
        return ".".join(map(str, self.steps))


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
    """Inclusive range of DA, TM or DT in the index's numbers (`dicom/matching.py`); `None` is open.

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


@dataclass(frozen=True, slots=True)
class OrderKey:
    """An attribute to order an answer by; what lacks it comes last in either direction."""

    path: AttributePath
    descending: bool = False


class Counting(StrEnum):
    """How what stands behind a page is counted (PS3.18 8.3.4.4.1)."""

    BOUNDED = "bounded"
    """Exactly as long as that is cheap, else "more than"."""
    EXACT = "exact"
    """Exactly, as long as a search may take."""
    NONE = "none"
    """Not at all."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search at one level.

    `keys` must all hold for one and the same instance below the entity that is returned.

    Attributes:
        study_instance_uid, series_instance_uid: the scope given by the resource path.
        include: attributes asked for by includefield; `include_all` for `all`.
        limit: page size, already bounded by the configured maximum; 0 is an empty page.
        filter: holds as well, for the same instance (`dicom/query_filter.py`); its attributes are not returned.
        text: words and phrases that the same instance has in whatever attributes (`dicom/free_text.py`).
        relational: the resource spans levels (`/series`, `/instances`, `/studies/{s}/instances`), so attributes
            of the levels above are returned too (PS3.18 10.6.3.3).
        fuzzy: keys of unknown VR match fuzzily where they turn out to be person names; of others the matching says it.
        order: what to sort by; the level's own order when empty.
        after: the sort values of the last row of the page before, ids included; see `index/search/planning/order.py`.
    """

    level: Level
    keys: tuple[Key, ...] = ()
    combined: tuple[DateTimeRange, ...] = ()
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    include: tuple[AttributePath, ...] = ()
    include_all: bool = False
    limit: int = 1000
    offset: int = 0
    relational: bool = False
    filter: "Expression | None" = None
    text: "tuple[Phrase, ...]" = ()
    fuzzy: bool = False
    order: tuple[OrderKey, ...] = ()
    after: tuple[str | int | float, ...] | None = None
    counting: Counting = Counting.BOUNDED
