"""SearchQuery: what is looked for, in one form for every door and every language of filters."""

from dataclasses import dataclass
from enum import StrEnum

from dicomweb_archive.dicom.attribute_path import AttributePath
from dicomweb_archive.dicom.free_text import Phrase
from dicomweb_archive.dicom.matching_keys import DateTimeRange, Key
from dicomweb_archive.dicom.query_filter import Expression


class Level(StrEnum):
    """Level of the entities that a search returns (PS3.4 C.6.1.1)."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


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
    filter: Expression | None = None
    text: tuple[Phrase, ...] = ()
    fuzzy: bool = False
    order: tuple[OrderKey, ...] = ()
    after: tuple[str | int | float, ...] | None = None
    counting: Counting = Counting.BOUNDED
