"""The memory level: bounded, and what was asked for again outlasts what was looked at once."""

from dicomweb_archive.storage.blocks.memory import MemoryLevel

BLOCK = bytes(1000)
ROOM = 20 * 1250


def test_a_block_is_held_until_the_room_is_needed() -> None:
    level = MemoryLevel(ROOM)
    assert sum(level.put("a", number, BLOCK) for number in range(20)) == 0
    assert level.find("a", range(20)) == [BLOCK] * 20
    assert level.put("a", 20, BLOCK) == 1
    assert level.size_bytes <= ROOM


def test_all_or_nothing_is_found() -> None:
    level = MemoryLevel(ROOM)
    level.put("a", 0, BLOCK)
    assert level.find("a", range(2)) is None
    assert level.get("a", 0) == BLOCK
    assert level.get("b", 0) is None


def test_a_thousand_blocks_seen_once_leave_those_that_are_used() -> None:
    level = MemoryLevel(ROOM)
    for number in range(10):
        level.put("used", number, BLOCK)
        level.get("used", number)
    for number in range(1000):
        level.put("scan", number, BLOCK)
    assert level.find("used", range(10)) is not None
    assert level.size_bytes <= ROOM


def test_what_was_used_once_upon_a_time_goes_too() -> None:
    level = MemoryLevel(ROOM)
    for generation in ("old", "new"):
        for number in range(18):
            level.put(generation, number, BLOCK)
            level.get(generation, number)
    assert level.get("old", 0) is None
    assert level.get("new", 17) == BLOCK
    assert level.size_bytes <= ROOM


def test_looking_without_using_changes_nothing() -> None:
    level = MemoryLevel(ROOM)
    level.put("a", 0, BLOCK)
    for number in range(1, 21):
        assert level.peek("a", [0]) is not None
        level.put("a", number, BLOCK)
    assert level.peek("a", [0]) is None


def test_an_object_is_forgotten_with_all_its_blocks() -> None:
    level = MemoryLevel(ROOM)
    for number in range(4):
        level.put("a", number, BLOCK)
        level.put("b", number, BLOCK)
    level.get("a", 0)
    level.forget(["a"])
    assert level.peek("a", [0]) is None
    assert level.peek("b", range(4)) is not None
    level.forget(["b"])
    assert level.size_bytes == 0


def test_a_level_without_room_holds_nothing() -> None:
    level = MemoryLevel(0)
    assert level.put("a", 0, BLOCK) == 0
    assert level.get("a", 0) is None
