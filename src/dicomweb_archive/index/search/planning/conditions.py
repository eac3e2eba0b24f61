"""Conditions of a plan: what is asked of columns, of terms and zones, and of the instances of a segment.

Two of them are equal when their statements have the same text: values do not take part in comparison.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, TypeAlias

from dicomweb_archive.dicom.matching_keys import Zones


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
