"""What values are compared by, and the reference matcher (PS3.4 C.2.2.2)."""

import math
from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.comparable_values import DAY_SECONDS, MatchValue, normalise, person_name_text, wildcard_text
from dicomweb_archive.dicom.instance import Element
from dicomweb_archive.dicom.matching import matches
from dicomweb_archive.dicom.matching_keys import (
    DateTimeRange,
    Key,
    Matching,
    Range,
    SingleValue,
    UidList,
    Universal,
    WildCard,
)
from dicomweb_archive.dicom.query import Level, SearchQuery

EVERY_VR = "AE AS AT CS DA DS DT FD FL IS LO LT OB PN SH SL SS ST SV TM UC UI UL UN UR US UT UV".split()  # noqa: SIM905
MAY_1 = date(2024, 5, 1).toordinal() * DAY_SECONDS


def texts(vr: str, value: str | float) -> list[str]:
    return [form.text for form in normalise(vr, value)]


@pytest.mark.parametrize(
    ("vr", "value", "text", "number"),
    [
        ("CS", " ORIGINAL ", "ORIGINAL", None),
        ("LT", " indented ", " indented", None),
        ("UI", "1.2.3\0", "1.2.3", None),
        ("UI", "1.2.3 ", "1.2.3", None),
        ("AT", "0020000d", "0020000D", None),
        ("AS", "042Y", "042Y", None),
        ("DA", "20240501", "20240501", MAY_1),
        ("DA", "2024.05.01", "20240501", MAY_1),
        ("DA", "20240230", "20240230", None),
        ("DA", "２０２４0501", "２０２４0501", None),
        ("TM", "2230", "223000", 81_000),
        ("TM", "22:30:00.500", "223000.5", 81_000.5),
        ("TM", "235960", "235960", 86_400),
        ("TM", "2460", "2460", None),
        ("DT", "2024", "20240101000000", (date(2024, 1, 1).toordinal()) * DAY_SECONDS),
        ("DT", "20240501013000.25+0130", "20240501000000.25", MAY_1 + 0.25),
        ("DT", "20240430230000-0100", "20240501000000", MAY_1),
        ("DT", "00010101000000+0100", "00010101000000+0100", None),
        ("IS", "007", "7", 7),
        ("IS", "+12 ", "12", 12),
        ("DS", "1.50", "1.5", 1.5),
        ("DS", "1e2", "100", 100),
        ("DS", "-0.0", "0", 0),
        ("DS", "1.5e400", "1.5e400", None),
        ("DS", "NaN", "NaN", None),
        ("DS", "1_000", "1_000", None),
        ("SV", 9_007_199_254_740_993, "9007199254740993", float(9_007_199_254_740_993)),
        ("FD", 0.1, "0.1", 0.1),
        ("FD", math.nan, "nan", None),
        ("US", 512, "512", 512),
        ("LO", "a\0b", "a\ufffdb", None),
        ("LO", "a\ud800b", "a\ufffdb", None),
    ],
)
def test_a_value_is_compared_by_its_meaning(vr: str, value: str | float, text: str, number: float | None) -> None:
    assert normalise(vr, value) == (MatchValue(text, number),)


@pytest.mark.parametrize(
    ("vr", "value"), [("LO", "  "), ("UI", "\0"), ("PN", "^^"), ("PN", "=="), ("SQ", "x"), ("DA", " ")]
)
def test_padding_alone_is_no_value(vr: str, value: str) -> None:
    assert normalise(vr, value) == ()


def test_a_single_precision_number_is_found_as_it_was_typed() -> None:
    assert texts("FL", "0.1") == texts("FL", 0.10000000149011612)


def test_a_huge_number_text_stays_text() -> None:
    assert normalise("IS", "9" * 30_000) == (MatchValue("9" * 30_000, None),)


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("MÜLLER^Hans^^^", ["muller^hans"]),
        ("  de  la   Cruz ^Ana ", ["de la cruz^ana"]),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["yamada^tarou", "山田^太郎", "やまた^たろう"]),
        ("=山田^太郎", ["山田^太郎"]),
        ("Strauß", ["strauss"]),
        ("A=A", ["a"]),
    ],
)
def test_person_names_fold_case_accents_and_blanks_group_by_group(name: str, groups: list[str]) -> None:
    assert texts("PN", name) == groups


@given(st.text())
def test_folding_a_name_twice_changes_nothing(name: str) -> None:
    once = person_name_text(name)
    assert person_name_text(once) == once


def test_a_question_mark_stands_for_a_syllable_of_hangul() -> None:
    assert person_name_text("홍^길동") == "홍^길동"
    assert person_name_text("\u1112\u1169\u11bc") == "홍"


@given(st.sampled_from(EVERY_VR), st.text())
def test_what_is_compared_can_always_be_stored(vr: str, value: str) -> None:
    for form in normalise(vr, value):
        form.text.encode("utf-8")
        assert "\0" not in form.text
        assert form.text
        assert form.number is None or math.isfinite(form.number)


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_a_moment_has_the_same_number_in_every_zone(moment: datetime, minutes: int) -> None:
    try:
        local = moment + timedelta(minutes=minutes)
    except OverflowError:
        return
    sign = "-" if minutes < 0 else "+"
    zone = f"{sign}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"
    plain = f"{moment.year:04}{moment:%m%d%H%M%S}.{moment.microsecond:06}"
    zoned = f"{local.year:04}{local:%m%d%H%M%S}.{local.microsecond:06}{zone}"
    (first,) = normalise("DT", plain)
    (second,) = normalise("DT", zoned)
    assert first.text == second.text
    assert first.number == pytest.approx(second.number, abs=1e-4)


@given(st.dates(), st.times())
def test_date_plus_time_is_the_date_time(day: date, moment: time) -> None:
    clock = f"{moment:%H%M%S}"
    (d,), (t,), (dt,) = (
        normalise("DA", f"{day.year:04}{day:%m%d}"),
        normalise("TM", clock),
        normalise("DT", f"{day.year:04}{day:%m%d}{clock}"),
    )
    assert d.number is not None
    assert t.number is not None
    assert dt.number == d.number + t.number


def path(*tags: int | PathStep, vr: str) -> AttributePath:
    return AttributePath(tuple(tag if isinstance(tag, PathStep) else PathStep(tag) for tag in tags), vr)


def query(*keys: Key, **scope: str) -> SearchQuery:
    return SearchQuery(
        Level.INSTANCE,
        keys,
        study_instance_uid=scope.get("study"),
        series_instance_uid=scope.get("series"),
    )


INSTANCE = {
    0x00080020: Element("DA", b"", ("20240501",)),
    0x00080030: Element("TM", b"", ("1200",)),
    0x00080008: Element("CS", b"", ("ORIGINAL", None, "PRIMARY")),
    0x00080050: Element("SH", b""),
    0x00100010: Element("PN", b"", ("Müller^Hans=山田^太郎",)),
    0x0020000D: Element("UI", b"", ("1.2.3",)),
    0x0020000E: Element("UI", b"", ("1.2.3.4",)),
    0x00200013: Element("IS", b"", ("007",)),
    0x00290011: Element("LO", b"", ("ACME",)),
    0x00291102: Element("LO", b"", ("secret",)),
    0x00400275: Element(
        "SQ",
        b"",
        (
            {0x00400009: Element("SH", b"", ("A",)), 0x00401001: Element("SH", b"", ("1",))},
            {0x00400009: Element("SH", b"", ("B",)), 0x00401001: Element("SH", b"", ("2",))},
        ),
    ),
}


@pytest.mark.parametrize(
    ("tag", "vr", "matching", "expected"),
    [
        (0x00080008, "CS", SingleValue("PRIMARY"), True),
        (0x00080008, "CS", SingleValue("primary"), False),
        (0x00080008, "CS", WildCard("PRIM*"), True),
        (0x00080008, "CS", WildCard("?RIMARY"), True),
        (0x00080008, "CS", WildCard("P.*"), False),
        (0x00080050, "SH", SingleValue("A1"), False),
        (0x00080050, "SH", WildCard("*A"), False),
        (0x00080050, "SH", Universal(), True),
        (0x00081030, "LO", Universal(), True),
        (0x00081030, "LO", SingleValue("x"), False),
        (0x00100010, "PN", SingleValue("MULLER^HANS"), True),
        (0x00100010, "PN", SingleValue("山田^太郎"), True),
        (0x00100010, "PN", SingleValue("MULLER^HANS=山田^太郎"), True),
        (0x00100010, "PN", SingleValue("MULLER^HANS=山田^次郎"), False),
        (0x00100010, "PN", WildCard("mÜl*"), True),
        (0x00200013, "IS", SingleValue("7"), True),
        (0x0020000D, "UI", UidList(("9.9", "1.2.3")), True),
        (0x0020000D, "UI", UidList(("9.9",)), False),
        (0x00080020, "DA", Range(MAY_1, MAY_1), True),
        (0x00080020, "DA", Range(None, MAY_1 - 1), False),
        (0x00080020, "DA", Range(MAY_1 + 1, None), False),
        (0x00080030, "TM", SingleValue("120000"), True),
    ],
)
def test_one_key_against_one_instance(tag: int, vr: str, matching: Matching, expected: bool) -> None:
    assert matches(INSTANCE, query(Key(path(tag, vr=vr), matching))) is expected


@pytest.mark.parametrize(("first", "second", "expected"), [("A", "1", True), ("A", "2", False)])
def test_keys_under_one_sequence_hold_in_one_item(first: str, second: str, expected: bool) -> None:
    keys = (
        Key(path(0x00400275, 0x00400009, vr="SH"), SingleValue(first)),
        Key(path(0x00400275, 0x00401001, vr="SH"), SingleValue(second)),
    )
    assert matches(INSTANCE, query(*keys)) is expected


@pytest.mark.parametrize(("creator", "expected"), [("ACME", True), ("OTHER", False)])
def test_a_private_attribute_is_found_in_the_block_of_its_creator(creator: str, expected: bool) -> None:
    key = Key(path(PathStep(0x00290002, creator), vr="UN"), SingleValue("secret"))
    assert matches(INSTANCE, query(key)) is expected


def test_the_scope_of_the_resource_counts() -> None:
    assert matches(INSTANCE, query(study="1.2.3", series="1.2.3.4"))
    assert not matches(INSTANCE, query(study="1.2.4"))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (MAY_1 + 11 * 3600, MAY_1 + 13 * 3600, True),
        (MAY_1 - 86_400 + 13 * 3600, MAY_1 + 86_400 + 3600, True),
        (MAY_1 + 12 * 3600 + 1, None, False),
        (None, MAY_1 + 12 * 3600 - 1, False),
    ],
)
def test_date_and_time_together_are_one_interval(low: float | None, high: float | None, expected: bool) -> None:
    pair = DateTimeRange(path(0x00080020, vr="DA"), path(0x00080030, vr="TM"), low, high)
    assert matches(INSTANCE, SearchQuery(Level.STUDY, combined=(pair,))) is expected


def test_a_missing_time_counts_as_midnight_and_a_missing_date_never_matches() -> None:
    pair = DateTimeRange(path(0x00080020, vr="DA"), path(0x00080030, vr="TM"), MAY_1, MAY_1)
    wanted = SearchQuery(Level.STUDY, combined=(pair,))
    assert matches({0x00080020: Element("DA", b"", ("20240501",))}, wanted)
    assert not matches({0x00080030: Element("TM", b"", ("00",))}, wanted)


def test_a_pattern_is_folded_like_the_names_it_is_compared_with() -> None:
    assert wildcard_text("PN", "MÜL?ER*") == "mul?er*"
    assert wildcard_text("LO", " Head* ") == "Head*"
