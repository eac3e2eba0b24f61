"""Long streams step back for others, and for nobody otherwise."""

import asyncio
from typing import Any

from dicomweb_archive.web.turns import Turns, turns_of


async def steps_of_others(turns: Turns) -> int:
    """Return how many steps somebody else makes while a stream steps back once."""
    steps = 0

    async def walk() -> None:
        nonlocal steps
        while True:
            await asyncio.sleep(0)
            steps += 1

    other = asyncio.create_task(walk())
    await asyncio.sleep(0)
    before = steps
    await turns.step_back()
    other.cancel()
    return steps - before


def begun(turns: Turns) -> Turns:
    turns.begin({"type": "http"})
    return turns


async def test_alone_a_stream_gives_one_turn() -> None:
    turns = begun(Turns())
    with turns.stream():
        assert await steps_of_others(turns) == 1


async def test_a_request_beside_it_makes_several_steps_at_once() -> None:
    turns = begun(begun(Turns()))
    with turns.stream():
        assert await steps_of_others(turns) > 3


async def test_streams_do_not_step_back_for_each_other() -> None:
    turns = begun(begun(Turns()))
    with turns.stream(), turns.stream():
        assert await steps_of_others(turns) == 1


async def test_a_request_that_has_ended_is_not_stepped_back_for() -> None:
    turns = begun(begun(Turns()))
    turns.end()
    with turns.stream():
        assert await steps_of_others(turns) == 1


def test_all_requests_of_a_process_share_their_turns() -> None:
    turns = Turns()
    first: dict[str, Any] = {"type": "http"}
    second: dict[str, Any] = {"type": "http"}
    turns.begin(first)
    turns.begin(second)
    assert turns_of(first) is turns_of(second) is turns
