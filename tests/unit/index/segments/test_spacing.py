"""Spacing of zones: a fixed distance between numbers, told of merged segments as of whole ones."""

import random

import pytest

from dicomweb_archive.index.segments.spacing import joined_spacing, spacing_of


@pytest.mark.parametrize(
    ("numbers", "spacing"),
    [
        ([1.0, 2.0, 3.0], 1.0),
        ([-120.25, -119.625, -117.125], 0.625),
        # Further apart than the distance, and in any order.
        ([30.0, -10.0, 5.0], 5.0),
        ([0.1 * n for n in range(50)], 0.1),
        # Dates are seconds since the year 0.
        ([63_600_000_000.0, 63_600_086_400.0], 86_400.0),
    ],
)
def test_a_fixed_distance_is_found(numbers: list[float], spacing: float):
    assert spacing_of(numbers) == pytest.approx(spacing)


@pytest.mark.parametrize(
    "numbers",
    [
        [1.0, 1.0001, 7.5],
        [0.123456, 1.123456],
        [1e300, 2e300],
        [4.0, 4.0],
    ],
    ids=["nothing is excluded", "more decimals", "too large", "one value"],
)
def test_nothing_is_told_of(numbers: list[float]):
    assert spacing_of(numbers) is None


def test_zones_joined_tell_what_their_values_together_would():
    chance = random.Random(7)
    for _ in range(200):
        distance = chance.choice((0.6, 1.25, 2, 5, 0.0001))
        numbers = [round(chance.choice((0, 0.3, 0.61)) + distance * chance.randrange(200), 4) for _ in range(60)]
        parts = [sorted(set(numbers[:20])), sorted(set(numbers[20:40]))]
        if any(spacing_of(part) is None for part in parts):
            continue
        zones = [(part[0], spacing_of(part)) for part in parts]
        assert joined_spacing(zones, numbers[40:]) == spacing_of(numbers)


def test_a_zone_of_which_nothing_is_told_takes_it_from_all():
    assert joined_spacing([(1.0, 1.0), (2.0, None)], []) is None
