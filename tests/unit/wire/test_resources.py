"""Identifiers and frame lists of paths, and the URLs of answers."""

import pytest

from dicomweb_archive.errors import InvalidRequestError
from dicomweb_archive.wire.resources import ServiceRoot, is_uid, parse_bulk_path, parse_frames, parse_uid


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008", "0.0", "1." + "2" * 62, "1.02"])
def test_a_uid_is_digits_and_dots(uid: str) -> None:
    assert is_uid(uid)
    assert parse_uid(uid, "study") == uid


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1.",
        ".1",
        "1..2",
        "1.2a",
        "../1",
        "/etc",
        "1.2\n",
        "1.2\0",
        "1 2",
        "١.٢",
        "1." + "2" * 63,
        "*",
        "1%2f2",
        "1\\2",
    ],
)
def test_anything_else_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_uid(text, "series")
    assert "series" in str(caught.value)
    assert len(text) < 3 or text not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "frames"),
    [("1", (1,)), ("1,2,30", (1, 2, 30)), ("3,1", (3, 1)), ("007", (7,)), ("999999999", (999_999_999,))],
)
def test_frame_numbers_begin_with_one(text: str, frames: tuple[int, ...]) -> None:
    assert parse_frames(text) == frames


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1,", ",1", "1,,2", "1,1", "a", "1.0", "1e3", "9" * 20, " 1", "１", "1;2", "+1"]
)
def test_a_bad_frame_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_frames(text)


def test_a_frame_list_is_bounded() -> None:
    assert len(parse_frames(",".join(map(str, range(1, 11))), at_most=10)) == 10
    with pytest.raises(InvalidRequestError, match="more than 10 frames"):
        parse_frames(",".join(map(str, range(1, 12))), at_most=10)


@pytest.mark.parametrize("path", ["7FE00010", "00081140/0/7FE00010", "54000100/11/54001010/0/54001010"])
def test_a_bulk_path_is_tags_and_item_numbers(path: str) -> None:
    assert parse_bulk_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "7fe00010",
        "7FE00010/",
        "7FE00010/0",
        "../7FE00010",
        "7FE00010/x/7FE00010",
        "7FE00010\n",
        "7FE00010/0/" * 400,
    ],
)
def test_a_bad_bulk_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_bulk_path(path)


def test_urls_are_built_from_the_configured_root() -> None:
    root = ServiceRoot("https://h/dicom-web")
    assert root.study("1.2") == "https://h/dicom-web/studies/1.2"
    assert root.series("1", "2") == "https://h/dicom-web/studies/1/series/2"
    assert root.instance("1", "2", "3") == "https://h/dicom-web/studies/1/series/2/instances/3"
    assert root.frames("1", "2", "3", (4, 5)).endswith("/studies/1/series/2/instances/3/frames/4,5")
    assert root.bulkdata("1", "2", "3", "00081140/0/7FE00010").endswith("/instances/3/bulkdata/00081140/0/7FE00010")


def test_a_warning_header_names_the_service_and_quotes_its_text() -> None:
    assert ServiceRoot("http://h/d").warning('say "no"') == r'299 http://h/d "say \"no\""'
    assert ServiceRoot("http://h/d").warning("Out of memory", "A700").startswith("A700 http://h/d ")
