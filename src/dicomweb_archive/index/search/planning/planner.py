"""Planner: sorts the keys of a query by what answers them, pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import Any

from dicomweb_archive.dicom.attribute_path import AttributePath
from dicomweb_archive.dicom.attributes import INSTANCE_AVAILABILITY
from dicomweb_archive.dicom.comparable_values import NUMBER_VRS, RANGE_VRS, normalise, wildcard_text
from dicomweb_archive.dicom.matching_keys import (
    DateTimeRange,
    Empty,
    Fuzzy,
    InZone,
    Key,
    Range,
    SingleValue,
    UidList,
    Universal,
    WildCard,
    Zones,
)
from dicomweb_archive.dicom.name_words import ACCEPTED_KEY, fuzzy_words
from dicomweb_archive.dicom.query import SearchQuery
from dicomweb_archive.dicom.tags import keyword_of
from dicomweb_archive.errors import InvalidMatchError
from dicomweb_archive.index.search.planning.conditions import (
    STUDY_MOMENT,
    ClockTest,
    ColumnTest,
    IndexKey,
    ItemTest,
    Kind,
    MomentTest,
    PositionTest,
    ValueTest,
)
from dicomweb_archive.index.search.planning.order import plan_order
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.segments.name_words import beginning_pattern

DAY_SECONDS = 86_400

SOP_INSTANCE_UID = 0x00080018


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
NEVER_EMPTY = frozenset(
    {SOP_INSTANCE_UID, INSTANCE_AVAILABILITY, 0x0020000D, 0x0020000E, 0x00201206, 0x00201208, 0x00201209}
)
"""What every entity has: its UID, and what the archive itself says of it."""


def plan_search(query: SearchQuery) -> SearchPlan:
    """Sort the keys of a query by what answers them (PS3.4 C.2.2.2, PS3.18 8.3.4.1).

    Raises:
        InvalidMatchError: a wild card for an attribute that has none.
        InvalidParameterError: an attribute that the answer cannot be sorted by.
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
            order=plan_order(query),
            after=query.after,
            resumed=query.after is not None,
            counting=query.counting,
        )

    def _add_key(self, key: Key) -> None:
        if isinstance(key.matching, Universal):
            return
        tag = key.path.tag
        plain = len(key.path.steps) == 1 and key.path.steps[0].private_creator is None
        if plain and tag in NEVER_EMPTY and isinstance(key.matching, Empty):
            self._impossible = True
        elif plain and tag in STUDY_COLUMNS:
            self._study += self._column_tests(*STUDY_COLUMNS[tag], key)
        elif plain and tag in SERIES_COLUMNS:
            self._series += self._column_tests(*SERIES_COLUMNS[tag], key)
        elif plain and tag == SOP_INSTANCE_UID:
            self._add_sop_instance_uids(key)
        elif plain and tag == INSTANCE_AVAILABILITY and isinstance(key.matching, SingleValue):
            # Whatever the archive holds can be had at once.
            self._impossible |= key.matching.text.strip() != "ONLINE"
        elif isinstance(key.matching, Fuzzy):
            self._add_words(key.path, key.matching)
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
                return [ColumnTest(column, Kind.HOLDS_ANY if form is ColumnForm.ARRAY else Kind.ANY_OF, list(uids))]
            case WildCard(pattern) if form is not ColumnForm.NUMBER:
                return [_pattern_test(column, form, like_pattern(wildcard_text(key.path.vr, pattern)))]
            case Range(low, high) if form is ColumnForm.NUMBER:
                # A missing date is stored as -1 and is in no range.
                return [ColumnTest(column, Kind.BETWEEN, (max(0.0, low or 0.0), _above(high)))]
            case Fuzzy(words) if form is ColumnForm.NAME:
                patterns = ([beginning_pattern(spelling) for spelling in spellings] for spellings in words)
                return [ColumnTest(f"{column}_words", Kind.FUZZY, each) for each in patterns]
            case InZone(low, high, zones) if form is ColumnForm.NUMBER:
                return [ColumnTest(column, Kind.IN_ZONE, (low, high, zones))]
            case Empty():
                # Numbers need a look at the attribute: a date that is none has no number either.
                return [ColumnTest(column, Kind.EMPTY, with_value(key.path) if form is ColumnForm.NUMBER else None)]
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
            case InZone(low, high, zones) if len(key.path.steps) == 1:
                self._keys.append(IndexKey(name, Kind.IN_ZONE))
                self._hang(key.path, ClockTest(test.step, number, low, high, zones))
                return
            case Empty():
                test = ValueTest(test.step, number, Kind.EMPTY)
                found = IndexKey(name, Kind.EMPTY)
            case _:
                raise InvalidMatchError(_name(key.path), accepted="a single value or a range where it has one")
        self._keys.append(found)
        self._hang(key.path, test)

    def _add_words(self, path: AttributePath, matching: Fuzzy) -> None:
        """Add a key for each word: they may begin words of different component groups, which are terms of their own."""
        for spellings in matching.words:
            test = ValueTest(str(path.steps[-1]), len(self._keys), Kind.FUZZY)
            self._keys.append(IndexKey(str(path), Kind.FUZZY, spellings=spellings))
            self._hang(path, test)

    def _add_moment(self, pair: DateTimeRange) -> None:
        if (pair.date.tag, pair.time.tag) == (0x00080020, 0x00080030) and len(pair.date.steps) == 1:
            bounds = (0.0 if pair.low is None else pair.low, _above(pair.high))
            if pair.zones is None:
                self._study.append(ColumnTest(STUDY_MOMENT, Kind.BETWEEN, bounds))
            else:
                self._study.append(ColumnTest(STUDY_MOMENT, Kind.IN_ZONE, (*bounds, pair.zones)))
            return
        low, high = _below(pair.low), _above(pair.high)
        number = len(self._keys)
        # The date alone prunes: a time of day adds a day at most (and a leap second), zones differ by 28 hours.
        apart = 0 if pair.zones is None else 2 * DAY_SECONDS
        bounds = low - 2 * DAY_SECONDS - apart, high + apart
        self._keys.append(IndexKey(str(pair.date), Kind.BETWEEN, low=bounds[0], high=bounds[1]))
        steps = str(pair.date.steps[-1]), str(pair.time.steps[-1])
        zoned = pair.zones is not None and len(pair.date.steps) == 1
        self._hang(pair.date, MomentTest(*steps, number, low, high, zoned, pair.zones or Zones(0)))

    def _hang(self, path: AttributePath, test: ValueTest | MomentTest | ClockTest) -> None:
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


def with_value(path: AttributePath) -> str:
    """Return how the row's attributes begin this one when it has a value (`level_rows.level_attributes`)."""
    return f'"{path.tag:08X}":{{"vr":"{path.vr}","Value"'


def _below(bound: float | None) -> float:
    return -inf if bound is None else bound


def _above(bound: float | None) -> float:
    return inf if bound is None else bound


def _ends_open(pattern: str) -> bool:
    return pattern.endswith("%") and not pattern.endswith("\\%")


def _name(path: AttributePath) -> str:
    return ".".join(keyword_of(step.tag) or str(step) for step in path.steps)


def with_known_vrs(keys: Sequence[Key], vr_by_path: dict[str, str], *, fuzzy: bool = False) -> tuple[Key, ...]:
    """Give keys of unknown VR (private ones) the VR with which the archive holds them.

    Raises:
        InvalidMatchError: it is a person name, to be matched fuzzily, and the key has too many words.
    """
    return tuple(
        _as_held(key, vr_by_path.get(str(key.path), "UN"), fuzzy=fuzzy) if key.path.vr == "UN" else key for key in keys
    )


def _as_held(key: Key, vr: str, *, fuzzy: bool) -> Key:
    path = AttributePath(key.path.steps, vr)
    if fuzzy and vr == "PN" and isinstance(key.matching, SingleValue | WildCard):
        value = key.matching.text if isinstance(key.matching, SingleValue) else key.matching.pattern
        words = fuzzy_words(value)
        if words is None:
            raise InvalidMatchError(_name(path), accepted=ACCEPTED_KEY)
        if words:
            return Key(path, Fuzzy(words))
    return Key(path, key.matching)
