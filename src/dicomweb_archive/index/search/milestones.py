"""Milestones: how many instances lie before every so many series, so that a deep page need not count from the first."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.index.search.planning.plan import Stretch

KEPT_MILESTONES: Final = 8
"""Of how many scopes milestones are kept: of a billion instances in series of 200 they are ten thousand pairs."""

_LAST: Final = 2**62


@dataclass(frozen=True, slots=True)
class Milestones:
    """Ids of series and how many instances there are before each, as true of one revision.

    Attributes:
        whole: no series has been left out behind the last one.
    """

    revision: str
    series: Sequence[int]
    before: Sequence[int]
    whole: bool = True

    def reach(self, offset: int, size: int) -> bool:
        """Tell whether so many instances behind an offset lie before the last series, if they are anywhere."""
        return self.whole or offset + size <= self.before[-1]

    def stretch(self, offset: int, size: int) -> Stretch:
        """Return the series among which so many instances behind an offset lie."""
        first = bisect_right(self.before, offset) - 1
        end = bisect_left(self.before, offset + size)
        return Stretch(self.series[first], self.series[end] if end < len(self.series) else _LAST, self.before[first])
