"""Search plan: which part of the index answers which key of a query. Pure; nothing here knows SQL.

Study and patient level keys that people search by every day match the columns of the study row, a few series
keys those of the series row, SOP Instance UID its row; every other attribute is found by its terms and zones
and, where it varies within a segment, checked again on the segment's columns.

Two plans are equal when their statements have the same text: values do not take part in comparison.
"""

from dataclasses import dataclass, field

from dicomweb_archive.dicom.query import Counting, Level
from dicomweb_archive.index.search.planning.conditions import ColumnTest, IndexKey, Kind, PositionTest
from dicomweb_archive.index.search.planning.filter_plan import FilterPlan
from dicomweb_archive.index.search.planning.order import DEFAULT_ORDER, SortKey, goes_by_study

COUNT_CAP = 100_000
"""Further matches are counted exactly up to this many, unless an exact count is asked for."""

SELECTIVE_COLUMNS = frozenset({"study_instance_uid", "accession_number", "patient_id"})
"""Equality on one of these leaves a handful of studies (series_instance_uid: of series)."""


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
    filter: FilterPlan | None = None
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
