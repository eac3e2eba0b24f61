"""Spacing of a zone: numbers that follow each other at a fixed distance, as slice positions and instance numbers do.

Bounds alone say that nearly every series has something at -100 mm. Where all values are the lowest one and whole
multiples of one distance, most of them are known not to.
"""

import math
from collections.abc import Sequence
from itertools import repeat
from operator import sub
from typing import Final

_TICKS: Final = 10_000
"""Distances are whole numbers of ten-thousandths: values with more decimals have none."""

_EXACT: Final = 2**53
_NEARLY: Final = 1e-3


def spacing_of(numbers: Sequence[float]) -> float | None:
    """Return the largest distance that all differences are whole multiples of; `None` when it excludes nothing."""
    return _told(_distance(numbers))


def joined_spacing(zones: Sequence[tuple[float | None, float | None]], numbers: Sequence[float]) -> float | None:
    """Return the spacing of zones, each given by its lowest number and spacing, together with further numbers."""
    known = [(low, spacing) for low, spacing in zones if low is not None and spacing is not None]
    between = _distance([*(low for low, _ in known), *numbers])
    if len(known) < len(zones) or between is None:
        return None
    return _told(math.gcd(between, *(round(spacing * _TICKS) for _, spacing in known)))


def _told(distance: int | None) -> float | None:
    return distance / _TICKS if distance is not None and distance > 1 else None


def _distance(numbers: Sequence[float]) -> int | None:
    """Return the greatest common divisor of all differences in ticks; `None` when a number has more decimals."""
    # Hot path (benchmarks/index): no loop of ours over all numbers.
    exact = [number * _TICKS for number in numbers]
    if not exact or max(map(abs, exact)) > _EXACT:
        return None if exact else 0
    ticks = list(map(round, exact))
    if max(map(abs, map(sub, exact, ticks))) > _NEARLY:
        return None
    return math.gcd(*map(sub, ticks, repeat(ticks[0])))
