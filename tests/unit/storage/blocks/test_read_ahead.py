"""Read-ahead: only where an object is read in its order, and never more than its window."""

from dicomweb_archive.storage.blocks.read_ahead import ReadAhead


def test_one_read_of_an_object_says_nothing() -> None:
    ahead = ReadAhead(16)
    for number in range(2000):
        assert not ahead.next(f"object-{number}", 3, 5)


def test_a_second_read_near_the_first_opens_a_window_that_grows() -> None:
    ahead = ReadAhead(16)
    assert not ahead.next("a", 0, 1)
    assert ahead.next("a", 2, 3) == range(4, 8)
    assert not ahead.next("a", 4, 5)
    assert ahead.next("a", 6, 7) == range(8, 16)
    wanted = [ahead.next("a", block, block) for block in range(8, 200)]
    assert max(map(len, wanted)) <= 16
    read = [number for window in wanted for number in window]
    assert read == list(range(16, read[-1] + 1))


def test_the_same_again_is_no_order() -> None:
    ahead = ReadAhead(16)
    assert not any(ahead.next("a", 3, 5) for _ in range(5))
    assert not any(ahead.next("a", block, block) for block in (4, 3, 2, 1, 0))


def test_reads_here_and_there_open_none() -> None:
    ahead = ReadAhead(16)
    assert not any(ahead.next("a", block, block + 1) for block in (0, 500, 100, 900, 40, 700))


def test_clients_that_ask_for_neighbours_out_of_order_are_one_reader() -> None:
    ahead = ReadAhead(16)
    wanted = [ahead.next("a", block, block + 1) for block in (4, 0, 8, 2, 6, 12, 10)]
    assert sum(map(len, wanted)) > 0
    read = [number for window in wanted for number in window]
    assert len(read) == len(set(read))


def test_nothing_is_read_ahead_behind_the_end() -> None:
    ahead = ReadAhead(16)
    ahead.next("a", 0, 1)
    ahead.note_end("a", 5)
    assert ahead.next("a", 2, 3) == range(4, 5)
    assert not ahead.next("a", 4, 4)


def test_an_object_that_is_forgotten_begins_anew() -> None:
    ahead = ReadAhead(16)
    ahead.next("a", 0, 1)
    ahead.forget("a")
    assert not ahead.next("a", 2, 3)
