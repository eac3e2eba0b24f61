"""Costly figures: one asks, all wait, and what cost much is kept."""

import asyncio

import pytest

from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.services.kept import MOST_FIGURES, Kept


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Costly:
    """Something that takes a while, and counts how often it was asked."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds
        self.asked = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        await self.may_end.wait()
        self.clock.now += self.seconds
        return number


async def test_callers_at_the_same_time_share_one_answer() -> None:
    clock = Clock()
    costly, kept = Costly(clock, 1), Kept[int](clock)
    held = await asyncio.gather(*(kept.get("all", costly) for _ in range(5)))
    assert [one.value for one in held] == [1] * 5
    assert (await kept.get("others", costly)).value == 2


async def test_what_is_quick_is_asked_anew_each_time() -> None:
    clock = Clock()
    costly, kept = Costly(clock, 0.01), Kept[int](clock)
    assert [(await kept.get("all", costly)).value for _ in range(3)] == [1, 2, 3]


async def test_what_cost_much_is_kept_then_handed_out_old_while_it_is_asked_anew() -> None:
    clock = Clock()
    costly, kept = Costly(clock, 1), Kept[int](clock)
    assert (await kept.get("all", costly)).value == 1
    clock.now += 9
    assert (await kept.get("all", costly)).value == 1
    assert costly.asked == 1
    clock.now += 2
    costly.may_end.clear()
    assert (await kept.get("all", costly)).value == 1
    await asyncio.sleep(0)
    assert costly.asked == 2
    costly.may_end.set()
    await asyncio.sleep(0.01)
    assert (await kept.get("all", costly)).value == 2


async def test_what_nobody_has_looked_at_for_long_is_not_handed_out() -> None:
    clock = Clock()
    costly, kept = Costly(clock, 1), Kept[int](clock)
    assert (await kept.get("all", costly)).value == 1
    clock.now += 21
    assert (await kept.get("all", costly)).value == 2


async def test_a_caller_that_leaves_takes_the_answer_from_nobody() -> None:
    clock = Clock()
    costly, kept = Costly(clock, 1), Kept[int](clock)
    costly.may_end.clear()
    first = asyncio.create_task(kept.get("all", costly))
    second = asyncio.create_task(kept.get("all", costly))
    await asyncio.sleep(0)
    first.cancel()
    costly.may_end.set()
    assert (await second).value == 1


async def test_a_failure_reaches_who_waits_and_is_not_kept() -> None:
    clock = Clock()
    kept = Kept[int](clock)

    async def fail() -> int:
        message = "away"
        raise DatabaseUnavailableError(message)

    with pytest.raises(DatabaseUnavailableError):
        await kept.get("all", fail)
    assert (await kept.get("all", Costly(clock, 1))).value == 1


async def test_closing_gives_up_what_is_being_asked() -> None:
    clock = Clock()
    costly, kept = Costly(clock, 1), Kept[int](clock)
    costly.may_end.clear()
    waiting = asyncio.create_task(kept.get("all", costly))
    await asyncio.sleep(0)
    await kept.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_no_more_figures_are_kept_than_it_may_be() -> None:
    clock = Clock()
    kept = Kept[int](clock)
    first, others = Costly(clock, 1), Costly(clock, 1)
    await kept.get("first", first)
    for name in range(MOST_FIGURES - 1):
        await kept.get(name, others)
        clock.now -= 1
    assert (await kept.get("first", first)).value == 1
    await kept.get("one more", others)
    clock.now -= 1
    assert (await kept.get("first", first)).value == 1
    await kept.get(0, others)
    assert others.asked == MOST_FIGURES + 1
