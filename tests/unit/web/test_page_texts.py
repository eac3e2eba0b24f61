"""How pages write numbers, names and dates."""

from datetime import UTC, date, datetime

import pytest

from dicomweb_archive.web.pages.datasets import day_of, format_name, has_pictures, text_of, time_of
from dicomweb_archive.web.pages.formats import format_count, format_day, format_duration, format_moment, format_size


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (123_456, "123 kB"),
        (999_600, "1.0 MB"),
        (75_400_000_000, "75.4 GB"),
        (5 * 10**15, "5.0 PB"),
        (5 * 10**18, "5000 PB"),
    ],
)
def test_sizes_have_three_digits_at_most_before_the_unit(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


def test_counts_days_moments_and_durations_are_written_for_people() -> None:
    assert format_count(12_345_678) == "12\u202f345\u202f678"
    assert format_day(date(2024, 1, 31)) == "31 Jan 2024"
    assert format_moment(datetime(2024, 1, 31, 9, 5, tzinfo=UTC)) == "31 Jan 2024, 09:05 UTC"
    assert [format_duration(seconds) for seconds in (59, 61, 3_660, 90_000, 200_000)] == [
        "59 s",
        "1 min 1 s",
        "1 h 1 min",
        "1 day 1 h",
        "2 days 7 h",
    ]


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ({"Alphabetic": "Doe^Jane"}, "Doe, Jane"),
        ({"Alphabetic": "Doe^Jane^Q^Dr.^PhD"}, "Doe, Dr. Jane Q, PhD"),
        ({"Alphabetic": "Doe"}, "Doe"),
        ({"Alphabetic": "^Jane"}, "Jane"),
        ({"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}, "Yamada, Tarou (山田, 太郎)"),
        ({"Ideographic": "山田^太郎"}, "山田, 太郎"),
        ({"Alphabetic": "a^b^c^d^e^f"}, "a, d b c, e f"),
        ({}, ""),
    ],
)
def test_names_are_written_family_name_first(groups: dict[str, str], text: str) -> None:
    assert format_name(groups) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("20240131", "31 Jan 2024"), ("2024.01.31", "31 Jan 2024"), ("20240230", "20240230"), ("unknown", "unknown")],
)
def test_dates_that_are_none_are_shown_as_they_stand(value: str, text: str) -> None:
    assert day_of({"00080020": {"vr": "DA", "Value": [value]}}, "00080020") == text


def test_values_of_every_kind_have_a_text() -> None:
    data_set = {
        "00080030": {"vr": "TM", "Value": ["101500.25"]},
        "00080008": {"vr": "CS", "Value": ["A", None, "B"]},
        "00081032": {"vr": "SQ", "Value": [{}]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}, None]},
        "00420011": {"vr": "OB", "InlineBinary": "AAAA"},
        "7FE00010": {"vr": "OW", "BulkDataURI": "x"},
        "00100020": {"vr": "LO"},
    }
    assert time_of(data_set, "00080030") == "10:15"
    assert text_of(data_set, "00080008") == "A, , B"
    assert text_of(data_set, "00081032") == "(1 item)"
    assert text_of(data_set, "00100010") == "Doe, Jane, "
    assert text_of(data_set, "00420011") == "(3 bytes)"
    assert text_of(data_set, "7FE00010") == "(kept in the file)"
    assert text_of(data_set, "00100020") == text_of(data_set, "00100030") == ""


def test_documents_alone_have_no_picture() -> None:
    assert has_pictures(["SR", "CT"])
    assert not has_pictures(["SR", "KO"])
    assert not has_pictures([])
