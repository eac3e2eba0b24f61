"""Search plan: which part of the index answers which key of a query. Pure; nothing here knows SQL.

Study and patient level keys that people search by every day match the columns of the study row, a few series
keys those of the series row, SOP Instance UID its row; every other attribute is found by its terms and zones
and, where it varies within a segment, checked again on the segment's columns.

Two plans are equal when their statements have the same text: values do not take part in comparison.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from dicomweb_archive.dicom.query import Counting, Level, Zones
from dicomweb_archive.index.search.planning.order import DEFAULT_ORDER, SortKey, goes_by_study

if TYPE_CHECKING:
    # A filter's plan is made of index keys, so its module stands on this one.
    from dicomweb_archive.index.search.planning.filter_plan import FilterPlan


class Kind(StrEnum):
    """How a value is compared."""

    EQUALS = "equals"
    ANY_OF = "any_of"
    LIKE = "like"
    BETWEEN = "between"
    IN_ZONE = "in_zone"
    """A time of day, or a combined date and time, in the zone of the request."""
    EMPTY = "empty"
    """The attribute has no value or is not there (PS3.4 C.2.2.2.7)."""
    NAME = "name"
    """One component group of the `=`-joined person name in a column is LIKE the pattern."""
    HOLDS = "holds"
    """One entry of an array column equals."""
    HOLDS_ANY = "holds_any"
    """One entry of an array column is one of these."""
    HOLDS_LIKE = "holds_like"
    TEXT_RANGE = "text_range"
    """Between two texts, of filters."""
    LIKE_ANY_CASE = "like_any_case"
    """LIKE without regard to case, of filters."""
    FUZZY = "fuzzy"
    """A word of a person name begins with one of these spellings (PS3.18 8.3.4.2)."""


UNTOLD = frozenset({Kind.EMPTY, Kind.IN_ZONE})
"""Kinds of which no term tells, so that every segment is left to its re-check."""

STUDY_MOMENT = "study_moment"
"""Stands for study_date + study_time, a missing time counted as midnight."""

COUNT_CAP = 100_000
"""Further matches are counted exactly up to this many, unless an exact count is asked for."""

SELECTIVE_COLUMNS = frozenset({"study_instance_uid", "accession_number", "patient_id"})
"""Equality on one of these leaves a handful of studies (series_instance_uid: of series)."""


@dataclass(frozen=True, slots=True)
class ColumnTest:
    """A condition on one column of the study or series row.

    Attributes:
        value: what is bound: one value, a list, or for BETWEEN the pair of bounds (infinite when open).
        open_start, open_end: a NAME pattern begins (ends) with a wild card.
    """

    column: str
    kind: Kind
    value: Any = field(compare=False)
    open_start: bool = False
    open_end: bool = False


@dataclass(frozen=True, slots=True)
class IndexKey:
    """A condition on one attribute that terms, zones and columns answer.

    Attributes:
        path: the path's name in the index.
        texts: of EQUALS and ANY_OF, as in terms; EQUALS wants all of them in one value (name groups).
        numbers: beside `texts`, `None` where a text is no number.
        pattern: of LIKE, with SQL's wild cards.
        low, high: of BETWEEN, infinite when open.
        spellings: of FUZZY, those of one word of the key.
        nested: the attribute lies inside a sequence.
        grouped: several texts are wanted in one value, which terms do not tell: each may be of another value.
    """

    path: str = field(compare=False)
    kind: Kind
    texts: tuple[str, ...] = field(default=(), compare=False)
    numbers: tuple[float | None, ...] = field(default=(), compare=False)
    pattern: str = field(default="", compare=False)
    low: float = field(default=-inf, compare=False)
    high: float = field(default=inf, compare=False)
    spellings: tuple[str, ...] = field(default=(), compare=False)
    nested: bool = field(init=False, default=False)
    grouped: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nested", "." in self.path)
        object.__setattr__(self, "grouped", self.kind is Kind.EQUALS and len(self.texts) > 1)


@dataclass(frozen=True, slots=True)
class ValueTest:
    """A key at its place in the data set or in an item; `key` is its number in the plan."""

    step: str = field(compare=False)
    key: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class MomentTest:
    """A combined date and time (PS3.4 C.2.2.2.5.4); `key` is the number of the key on its date.

    With `zoned` it is compared as an instant, in seconds of the request's zone.
    """

    date_step: str = field(compare=False)
    time_step: str = field(compare=False)
    key: int
    low: float = field(default=-inf, compare=False)
    high: float = field(default=inf, compare=False)
    zoned: bool = False
    zones: Zones = field(default=Zones(0), compare=False)


@dataclass(frozen=True, slots=True)
class ClockTest:
    """A time of day in the request's zone, at the top of the data set."""

    step: str = field(compare=False)
    key: int
    low: float = field(compare=False)
    high: float = field(compare=False)
    zones: Zones = field(compare=False)


@dataclass(frozen=True, slots=True)
class ItemTest:
    """One item of the sequence passes all tests (PS3.4 C.2.2.2.6)."""

    step: str = field(compare=False)
    tests: tuple["PositionTest", ...]


PositionTest: TypeAlias = ValueTest | MomentTest | ClockTest | ItemTest
"""What one instance of a segment has to pass."""


def asks_for_emptiness(test: PositionTest) -> bool:
    """Tell whether a test asks for nothing but attributes without a value; no item passes it as well as one."""
    match test:
        case ItemTest(_, tests):
            return all(map(asks_for_emptiness, tests))
        case MomentTest() | ClockTest():
            return False
        case _:
            return test.kind is Kind.EMPTY


@dataclass(frozen=True, slots=True)
class Stretch:
    """Series that hold a page of instances: ids from `first` to before `end`, behind `passed` instances."""

    first: int
    end: int
    passed: int


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """A query, sorted by what answers it.

    Attributes:
        tests: the index keys again, as they hang together in one instance.
        sop_instance_uids: the instance is one of these; `None` when not asked.
        impossible: no instance can match, whatever is stored.
        filter: what the boolean filter asks beyond the keys that its simple conditions have become.
        order: what rows are sorted by, down to what no two of them share.
        stretch: where among all instances, in their own order, the page lies (`search/milestones.py`); `skipping` when
            that is known.
        after: the sort values of the row that the page begins behind; `resumed` when there are any.
    """

    level: Level
    study: tuple[ColumnTest, ...] = ()
    series: tuple[ColumnTest, ...] = ()
    keys: tuple[IndexKey, ...] = ()
    tests: tuple[PositionTest, ...] = ()
    sop_instance_uids: tuple[str, ...] | None = field(default=None, compare=False)
    by_sop_instance: bool = False
    impossible: bool = False
    limit: int = field(default=0, compare=False)
    offset: int = field(default=0, compare=False)
    filter: "FilterPlan | None" = None
    order: tuple[SortKey, ...] = ()
    after: tuple[str | int | float, ...] | None = field(default=None, compare=False)
    resumed: bool = False
    stretch: Stretch | None = field(default=None, compare=False)
    skipping: bool = False
    counting: Counting = field(default=Counting.BOUNDED, compare=False)
    count_cap: int = field(default=COUNT_CAP, compare=False)

    @property
    def filtered(self) -> bool:
        """Whether the filter asks something of segments and their instances."""
        return self.filter is not None and self.filter.asks_instances

    @property
    def needs_segments(self) -> bool:
        """Whether rows of studies and series alone cannot answer."""
        return bool(self.keys) or self.by_sop_instance or self.filtered

    @property
    def needs_series(self) -> bool:
        """Whether rows of series are tested."""
        return bool(self.series) or (self.filter is not None and self.filter.series is not None)

    @property
    def by_study(self) -> int:
        """How many of the sort values are those of a study, when one study's rows lie together; else 0."""
        return goes_by_study(self.order)

    @property
    def in_own_order(self) -> bool:
        """Whether nobody has asked for another order than the level's own."""
        return self.order == DEFAULT_ORDER[self.level]

    @property
    def windowed(self) -> bool:
        """Whether candidates can be had in the order of the answer, a window at a time."""
        return self.in_own_order if self.level is Level.INSTANCE else bool(self.by_study)

    @property
    def selective(self) -> bool:
        """Whether a column test alone leaves a handful of studies."""
        columns = {test.column for test in self.study if test.kind in (Kind.EQUALS, Kind.ANY_OF)}
        return self.by_series or not columns.isdisjoint(SELECTIVE_COLUMNS)

    @property
    def by_series(self) -> bool:
        """Whether the series is named by its UID."""
        return any(test.column == "series_instance_uid" and test.kind is not Kind.LIKE for test in self.series)
