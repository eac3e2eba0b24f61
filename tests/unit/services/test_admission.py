"""So many at once, others after them, and nobody for ever."""

import asyncio

import pytest

from dicomweb_archive.errors import OverloadedError
from dicomweb_archive.services.admission import Admission


async def test_one_more_than_may_waits_for_a_turn() -> None:
    admission = Admission(most=2, wait_seconds=60)
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        async with admission.turn():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(work() for _ in range(10)))
    assert (running, most) == (0, 2)


async def test_who_waits_too_long_is_sent_away_and_takes_no_turn() -> None:
    admission = Admission(most=1, wait_seconds=0.01)
    async with admission.turn():
        with pytest.raises(OverloadedError):
            async with admission.turn():
                pytest.fail("there was no turn")
    async with admission.turn():
        pass
