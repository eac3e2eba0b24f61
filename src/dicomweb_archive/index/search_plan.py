"""Search plan: which part of the index answers which key of a query. Pure; nothing here knows SQL.

Study and patient level keys that people search by every day match the columns of the study row, a few series
keys those of the series row, SOP Instance UID its row; every other attribute is found by its terms and zones
and, where it varies within a segment, checked again on the segment's columns.

Two plans are equal when their statements have the same text: values do not take part in comparison.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import Any, TypeAlias

from dicomweb_archive.dicom.matching import NUMBER_VRS, RANGE_VRS, normalise, wildcard_text
from dicomweb_archive.dicom.query import (
    AttributePath,
    DateTimeRange,
    Key,
    Level,
    Range,
    SearchQuery,
    SingleValue,
    UidList,
    Universal,
    WildCard,
)
from dicomweb_archive.dicom.tags import keyword_of
from dicomweb_archive.errors import InvalidMatchError

DAY_SECONDS = 86_400

SOP_INSTANCE_UID = 0x00080018
INSTANCE_AVAILABILITY = 0x00080056


class Kind(StrEnum):
    """How a value is compared."""

    EQUALS = "equals"
    ANY_OF = "any_of"
    LIKE = "like"
    BETWEEN = "between"
    NAME = "name"
    """One component group of the `=`-joined person name in a column is LIKE the pattern."""
    HOLDS = "holds"
    """One entry of an array column equals."""
    HOLDS_LIKE = "holds_like"


class ColumnForm(StrEnum):
    """What a column of the study or series row holds."""

    TEXT = "text"
    NUMBER = "number"
    NAME = "name"
    ARRAY = "array"


STUDY_COLUMNS = MappingProxyType(
    {
        0x00080020: ("study_date", ColumnForm.NUMBER),
        0x00080030: ("study_time", ColumnForm.NUMBER),
        0x00080050: ("accession_number", ColumnForm.TEXT),
        0x00080061: ("modalities", ColumnForm.ARRAY),
        0x00080062: ("sop_classes", ColumnForm.ARRAY),
        0x00080090: ("referring_physician_name", ColumnForm.NAME),
        0x00100010: ("patient_name", ColumnForm.NAME),
        0x00100020: ("patient_id", ColumnForm.TEXT),
        0x0020000D: ("study_instance_uid", ColumnForm.TEXT),
        0x00200010: ("study_id", ColumnForm.TEXT),
        0x00201206: ("series_count", ColumnForm.NUMBER),
        0x00201208: ("instance_count", ColumnForm.NUMBER),
    }
)
SERIES_COLUMNS = MappingProxyType(
    {
        0x00080060: ("modality", ColumnForm.TEXT),
        0x0020000E: ("series_instance_uid", ColumnForm.TEXT),
        0x00200011: ("series_number", ColumnForm.NUMBER),
        0x00201209: ("instance_count", ColumnForm.NUMBER),
    }
)

STUDY_MOMENT = "study_moment"
"""Stands for study_date + study_time, a missing time counted as midnight."""

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
    """

    path: str = field(compare=False)
    kind: Kind
    texts: tuple[str, ...] = field(default=(), compare=False)
    numbers: tuple[float | None, ...] = field(default=(), compare=False)
    pattern: str = field(default="", compare=False)
    low: float = field(default=-inf, compare=False)
    high: float = field(default=inf, compare=False)

    @property
    def nested(self) -> bool:
        """Whether the attribute lies inside a sequence."""
        return "." in self.path


@dataclass(frozen=True, slots=True)
class ValueTest:
    """A key at its place in the data set or in an item; `key` is its number in the plan."""

    step: str = field(compare=False)
    key: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class MomentTest:
    """A combined date and time (PS3.4 C.2.2.2.5.4); `key` is the number of the key on its date."""

    date_step: str = field(compare=False)
    time_step: str = field(compare=False)
    key: int
    low: float = field(default=-inf, compare=False)
    high: float = field(default=inf, compare=False)


@dataclass(frozen=True, slots=True)
class ItemTest:
    """One item of the sequence passes all tests (PS3.4 C.2.2.2.6)."""

    step: str = field(compare=False)
    tests: tuple["PositionTest", ...]


PositionTest: TypeAlias = ValueTest | MomentTest | ItemTest
"""What one instance of a segment has to pass."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """A query, sorted by what answers it.

    Attributes:
        tests: the index keys again, as they hang together in one instance.
        sop_instance_uids: the instance is one of these; `None` when not asked.
        impossible: no instance can match, whatever is stored.
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

    @property
    def selective(self) -> bool:
        """Whether a column test alone leaves a handful of studies."""
        columns = {test.column for test in self.study if test.kind in (Kind.EQUALS, Kind.ANY_OF)}
        return self.by_series or not columns.isdisjoint(SELECTIVE_COLUMNS)

    @property
    def by_series(self) -> bool:
        """Whether the series is named by its UID."""
        return any(test.column == "series_instance_uid" and test.kind is not Kind.LIKE for test in self.series)


def plan_search(query: SearchQuery) -> SearchPlan:
    """Sort the keys of a query by what answers them (PS3.4 C.2.2.2, PS3.18 8.3.4.1).

    Raises:
        InvalidMatchError: a wild card for an attribute that has none.
    """
    return _Planner(query).plan()


def escape_like(text: str) -> str:
    """Write a text so that SQL's LIKE takes it literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def like_pattern(pattern: str) -> str:
    """Write a wild card pattern (`*`, `?`) for SQL's LIKE."""
    return escape_like(pattern).replace("*", "%").replace("?", "_")


class _Planner:
    """Builds one plan."""

    def __init__(self, query: SearchQuery) -> None:
        self._query = query
        self._study: list[ColumnTest] = []
        self._series: list[ColumnTest] = []
        self._keys: list[IndexKey] = []
        self._tree: dict[str, Any] = {}
        self._sop_instance_uids: set[str] | None = None
        self._impossible = False

    def plan(self) -> SearchPlan:
        query = self._query
        for column, tests, uid in (
            ("study_instance_uid", self._study, query.study_instance_uid),
            ("series_instance_uid", self._series, query.series_instance_uid),
        ):
            if uid is not None:
                tests.append(ColumnTest(column, Kind.EQUALS, uid))
        for key in query.keys:
            self._add_key(key)
        for pair in query.combined:
            self._add_moment(pair)
        uids = self._sop_instance_uids
        return SearchPlan(
            level=query.level,
            study=tuple(self._study),
            series=tuple(self._series),
            keys=tuple(self._keys),
            tests=_tests(self._tree),
            sop_instance_uids=None if uids is None else tuple(sorted(uids)),
            by_sop_instance=uids is not None,
            impossible=self._impossible or uids == set(),
            limit=query.limit,
            offset=query.offset,
        )

    def _add_key(self, key: Key) -> None:
        if isinstance(key.matching, Universal):
            return
        tag = key.path.tag
        plain = len(key.path.steps) == 1 and key.path.steps[0].private_creator is None
        if plain and tag in STUDY_COLUMNS:
            self._study += self._column_tests(*STUDY_COLUMNS[tag], key)
        elif plain and tag in SERIES_COLUMNS:
            self._series += self._column_tests(*SERIES_COLUMNS[tag], key)
        elif plain and tag == SOP_INSTANCE_UID:
            self._add_sop_instance_uids(key)
        elif plain and tag == INSTANCE_AVAILABILITY and isinstance(key.matching, SingleValue):
            # Whatever the archive holds can be had at once.
            self._impossible |= key.matching.text.strip() != "ONLINE"
        else:
            self._add_index_key(key)

    def _column_tests(self, column: str, form: ColumnForm, key: Key) -> Iterable[ColumnTest]:
        match key.matching:
            case SingleValue(text):
                values = normalise(key.path.vr, text)
                self._impossible |= not values
                if form is ColumnForm.NUMBER:
                    self._impossible |= any(value.number is None for value in values)
                    return [ColumnTest(column, Kind.EQUALS, value.number) for value in values]
                return [_text_test(column, form, value.text) for value in values]
            case UidList(uids):
                return [ColumnTest(column, Kind.ANY_OF, list(uids))]
            case WildCard(pattern) if form is not ColumnForm.NUMBER:
                return [_pattern_test(column, form, like_pattern(wildcard_text(key.path.vr, pattern)))]
            case Range(low, high) if form is ColumnForm.NUMBER:
                # A missing date is stored as -1 and is in no range.
                return [ColumnTest(column, Kind.BETWEEN, (max(0.0, low or 0.0), _above(high)))]
            case _:
                raise InvalidMatchError(_name(key.path), accepted="a single value or a range where it has one")

    def _add_sop_instance_uids(self, key: Key) -> None:
        match key.matching:
            case SingleValue(text):
                uids = {value.text for value in normalise("UI", text)}
            case UidList(listed):
                uids = set(listed)
            case _:
                raise InvalidMatchError(_name(key.path), accepted="a UID or a list of UIDs")
        known = self._sop_instance_uids
        self._sop_instance_uids = uids if known is None else known & uids

    def _add_index_key(self, key: Key) -> None:
        name, vr = str(key.path), key.path.vr
        number = len(self._keys)
        test = ValueTest(str(key.path.steps[-1]), number, Kind.EQUALS)
        match key.matching:
            case SingleValue(text):
                values = normalise(vr, text)
                self._impossible |= not values
                found = IndexKey(name, Kind.EQUALS, tuple(v.text for v in values), tuple(v.number for v in values))
            case UidList(uids):
                test = ValueTest(test.step, number, Kind.ANY_OF)
                found = IndexKey(name, Kind.ANY_OF, tuple(uids), (None,) * len(uids))
            case WildCard(pattern) if vr not in NUMBER_VRS | RANGE_VRS:
                test = ValueTest(test.step, number, Kind.LIKE)
                found = IndexKey(name, Kind.LIKE, pattern=like_pattern(wildcard_text(vr, pattern)))
            case Range(low, high):
                test = ValueTest(test.step, number, Kind.BETWEEN)
                found = IndexKey(name, Kind.BETWEEN, low=_below(low), high=_above(high))
            case _:
                raise InvalidMatchError(_name(key.path), accepted="a single value or a range where it has one")
        self._keys.append(found)
        self._hang(key.path, test)

    def _add_moment(self, pair: DateTimeRange) -> None:
        if (pair.date.tag, pair.time.tag) == (0x00080020, 0x00080030) and len(pair.date.steps) == 1:
            bounds = (0.0 if pair.low is None else pair.low, _above(pair.high))
            self._study.append(ColumnTest(STUDY_MOMENT, Kind.BETWEEN, bounds))
            return
        low, high = _below(pair.low), _above(pair.high)
        number = len(self._keys)
        # The date alone prunes: a time of day adds a day at most (and a leap second).
        self._keys.append(IndexKey(str(pair.date), Kind.BETWEEN, low=low - 2 * DAY_SECONDS, high=high))
        steps = str(pair.date.steps[-1]), str(pair.time.steps[-1])
        self._hang(pair.date, MomentTest(*steps, number, low, high))

    def _hang(self, path: AttributePath, test: ValueTest | MomentTest) -> None:
        node = self._tree
        for step in path.steps[:-1]:
            node = node.setdefault(str(step), {})
        node.setdefault("", []).append(test)


def _tests(node: dict[str, Any]) -> tuple[PositionTest, ...]:
    inner = tuple(ItemTest(step, _tests(below)) for step, below in node.items() if step)
    return (*node.get("", ()), *inner)


def _text_test(column: str, form: ColumnForm, text: str) -> ColumnTest:
    if form is ColumnForm.ARRAY:
        return ColumnTest(column, Kind.HOLDS, [text])
    if form is ColumnForm.NAME:
        return ColumnTest(column, Kind.NAME, escape_like(text))
    return ColumnTest(column, Kind.EQUALS, text)


def _pattern_test(column: str, form: ColumnForm, pattern: str) -> ColumnTest:
    if form is ColumnForm.ARRAY:
        return ColumnTest(column, Kind.HOLDS_LIKE, pattern)
    if form is ColumnForm.NAME:
        # Wild cards at both ends make the forms for other groups than the first needless.
        return ColumnTest(column, Kind.NAME, pattern, pattern[:1] == "%", _ends_open(pattern))
    return ColumnTest(column, Kind.LIKE, pattern)


def _below(bound: float | None) -> float:
    return -inf if bound is None else bound


def _above(bound: float | None) -> float:
    return inf if bound is None else bound


def _ends_open(pattern: str) -> bool:
    return pattern.endswith("%") and not pattern.endswith("\\%")


def _name(path: AttributePath) -> str:
    return ".".join(keyword_of(step.tag) or str(step) for step in path.steps)


def with_known_vrs(keys: Sequence[Key], vr_by_path: dict[str, str]) -> tuple[Key, ...]:
    """Give keys of unknown VR (private ones) the VR with which the archive holds them."""
    return tuple(
        Key(AttributePath(key.path.steps, vr_by_path.get(str(key.path), "UN")), key.matching)
        if key.path.vr == "UN"
        else key
        for key in keys
    )
