"""Range headers: one range of the bytes that there are, or the whole."""

import pytest

from dicomweb_archive.errors import RangeNotSatisfiableError
from dicomweb_archive.wire.byte_ranges import parse_range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=99-", (99, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes= 0-9 ", (0, 10)),
    ],
)
def test_a_range_is_cut_to_what_there_is(text: str, expected: tuple[int, int]) -> None:
    assert parse_range(text, 100) == expected


@pytest.mark.parametrize(
    "text",
    [
        "bytes=0-1,5-6",
        "bytes=" + ",".join(["0-1"] * 500),
        "items=0-1",
        "bytes=-",
        "bytes=9-8",
        "bytes=a-b",
        "bytes=0x1-2",
        "bytes=١-٢",
        "bytes 0-1",
        "bytes=--1",
        "bytes=" + "9" * 5000 + "-",
        "",
    ],
)
def test_several_ranges_and_other_grammars_ask_for_the_whole(text: str) -> None:
    assert parse_range(text, 100) is None


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_behind_the_end_cannot_be_satisfied(text: str) -> None:
    with pytest.raises(RangeNotSatisfiableError) as caught:
        parse_range(text, 100)
    assert caught.value.length == 100


def test_nothing_has_no_range() -> None:
    with pytest.raises(RangeNotSatisfiableError):
        parse_range("bytes=0-", 0)
