"""Query strings become searches; bad ones are refused with the parameter's name and without its value."""

import time
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb_archive.dicom.comparable_values import DAY_SECONDS, normalise
from dicomweb_archive.dicom.instance import Element
from dicomweb_archive.dicom.matching import matches
from dicomweb_archive.dicom.matching_keys import (
    Empty,
    Fuzzy,
    InZone,
    Key,
    Matching,
    Range,
    SingleValue,
    UidList,
    Universal,
    WildCard,
    Zones,
)
from dicomweb_archive.dicom.name_words import KEY_WORDS
from dicomweb_archive.dicom.query import Level
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.search_limits import SearchLimits
from dicomweb_archive.wire.search_parameters import SearchRequest, parse_search


def search(query_string: str, limits: SearchLimits | None = None) -> SearchRequest:
    limits = limits or SearchLimits()
    raw = query_string.encode("utf-8", "surrogateescape")
    return parse_search(split_query(raw, limits), Level.STUDY, limits=limits)


def keys(query_string: str) -> dict[str, Matching]:
    return {str(key.path): key.matching for key in search(query_string).query.keys}


def day(year: int, month: int, day_: int) -> float:
    return float(date(year, month, day_).toordinal() * DAY_SECONDS)


@pytest.mark.parametrize(
    ("query_string", "path", "matching"),
    [
        ("PatientID=A%20B", "00100020", SingleValue("A B")),
        ("00100020=A+B", "00100020", SingleValue("A+B")),
        ("0020000d=1.2", "0020000D", SingleValue("1.2")),
        ("StudyInstanceUID=1.2,1.3,1.2", "0020000D", UidList(("1.2", "1.3"))),
        ("StudyInstanceUID=1.2%5C1.3", "0020000D", UidList(("1.2", "1.3"))),
        ("PatientName=*SMITH*", "00100010", WildCard("*SMITH*")),
        ("PatientName=SM??H", "00100010", WildCard("SM??H")),
        ("PatientName=M%C3%9CLLER", "00100010", SingleValue("MÜLLER")),
        ("PatientName==%E5%B1%B1*=", "00100010", WildCard("山*")),
        ("PatientName=a**b***", "00100010", WildCard("a*b*")),
        ("PatientName=*", "00100010", Universal()),
        ("PatientName==*", "00100010", Universal()),
        ("PatientName=", "00100010", Universal()),
        ("PatientName", "00100010", Universal()),
        ("StudyInstanceUID=*", "0020000D", Universal()),
        ("StudyDate=20240501", "00080020", SingleValue("20240501")),
        ("StudyDate=20240501-20240503", "00080020", Range(day(2024, 5, 1), day(2024, 5, 3))),
        ("StudyDate=20240501-", "00080020", Range(day(2024, 5, 1), None)),
        ("StudyDate=-20240501", "00080020", Range(None, day(2024, 5, 1))),
        ("StudyTime=1030-113000.5", "00080030", Range(37_800, 41_400.5)),
        ("SeriesNumber=5", "00200011", SingleValue("5")),
        ("ModalitiesInStudy=CT", "00080061", SingleValue("CT")),
        ("RequestAttributesSequence.ScheduledProcedureStepID=X", "00400275.00400009", SingleValue("X")),
        ("00400275.00401001=X", "00400275.00401001", SingleValue("X")),
        ("00290010=ACME&00291002=x", '0029"ACME"02', SingleValue("x")),
        ("00290010=ACME", "00290010", SingleValue("ACME")),
        ("00091234=x&00090012=Y&a=1", '0009"Y"34', SingleValue("x")),
        ("00081199=", "00081199", Universal()),
        ("0008FFFF=odd", "0008FFFF", SingleValue("odd")),
        ("PixelData=", "7FE00010", Universal()),
        ("InstitutionName=a,b", "00080080", SingleValue("a,b")),
        ("AffectedSOPClassUID=1&FrameIncrementPointer=00181063", "00280009", SingleValue("00181063")),
    ],
)
def test_a_parameter_becomes_a_key(query_string: str, path: str, matching: Matching) -> None:
    assert keys(query_string) == {path: matching}


@pytest.mark.parametrize(
    "keyword",
    [
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ModalitiesInStudy",
        "ReferringPhysicianName",
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "StudyID",
        "Modality",
        "SeriesInstanceUID",
        "SeriesNumber",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "RequestAttributesSequence.RequestedProcedureID",
        "SOPClassUID",
        "SOPInstanceUID",
        "InstanceNumber",
    ],
)
def test_every_key_that_must_be_matchable_is_one(keyword: str) -> None:
    # PS3.18 Table 10.6.1-5
    value = {"Date": "20240101", "Time": "1030"}.get(keyword[-4:], "1")
    request = search(f"{keyword}={value}")
    assert len(request.query.keys) == 1
    assert not request.warnings


def test_each_group_of_a_name_is_a_key_of_its_own() -> None:
    query = search("PatientName=Yamada*=%E5%B1%B1*").query
    assert [key.matching for key in query.keys] == [WildCard("Yamada*"), WildCard("山*")]


@pytest.mark.parametrize(
    ("high", "last", "beyond"),
    [
        ("2024", "20241231235959.9", "20250101000000"),
        ("202402", "20240229235959.9", "20240301000000"),
        ("20240501", "20240501235959.9", "20240502000000"),
        ("2024050110", "20240501105959.9", "20240501110000"),
        ("20240501103000", "20240501103000.9", "20240501103001"),
        ("20240501103000+0100", "20240501093000.9", "20240501093001"),
    ],
)
def test_a_short_upper_bound_reaches_to_the_end_of_what_it_says(high: str, last: str, beyond: str) -> None:
    (key,) = search(f"AcquisitionDateTime=-{high.replace('+', '%2B')}").query.keys
    assert isinstance(key.matching, Range)
    assert key.matching.high is not None
    inside, outside = (normalise("DT", text)[0].number for text in (last, beyond))
    assert inside is not None
    assert outside is not None
    assert inside <= key.matching.high < outside


def moment(*parts: int) -> float:
    at = datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]
    return at.toordinal() * DAY_SECONDS + at.hour * 3600.0 + at.minute * 60


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("20240501-0500-20240502-0500", moment(2024, 5, 1, 5), moment(2024, 5, 3, 5)),
        ("20240501-20240502-0500", moment(2024, 5, 1), moment(2024, 5, 3, 5)),
        ("20240501-0500-", moment(2024, 5, 1, 5), None),
        ("-20240502-0500", None, moment(2024, 5, 3, 5)),
        ("2023-2024", moment(2023, 1, 1), moment(2025, 1, 1)),
    ],
)
def test_hyphens_of_offsets_and_of_ranges_are_told_apart(value: str, low: float | None, high: float | None) -> None:
    (key,) = search(f"AcquisitionDateTime={value}").query.keys
    assert isinstance(key.matching, Range)
    assert key.matching.low == low
    assert key.matching.high == pytest.approx(high, abs=1e-3)


def test_a_lone_negative_offset_is_a_single_value() -> None:
    assert keys("AcquisitionDateTime=20240501-0500") == {"0008002A": SingleValue("20240501-0500")}


def test_the_requests_zone_applies_to_date_times_without_one_and_is_no_key() -> None:
    request = search("TimezoneOffsetFromUTC=%2B0200&AcquisitionDateTime=20240501&00189074=20240501-0100")
    assert [key.matching for key in request.query.keys] == [
        SingleValue("20240501+0200"),
        SingleValue("20240501-0100"),
    ]
    assert request.warnings == ()


PARIS = Zones(7200, 0)


@pytest.mark.parametrize(
    ("asked", "combined", "times"),
    [
        ("StudyDate=20240501-20240502&StudyTime=1000-1200", 1, 0),
        ("StudyDate=20240501&StudyTime=1000-1200", 1, 0),
        ("StudyDate=20240501&StudyTime=1000", 1, 0),
        ("00080022=20240501-&00080032=1000-", 1, 0),
        ("StudyTime=1000-1200", 0, 1),
        ("AcquisitionTime=100000", 0, 1),
        ("AcquisitionTime=1000-", 0, 1),
        ("StudyDate=20240501", 0, 0),
    ],
)
def test_times_are_in_the_zone_that_the_request_tells(asked: str, combined: int, times: int) -> None:
    request = search(f"{asked}&TimezoneOffsetFromUTC=%2B0200")
    assert [pair.zones for pair in request.query.combined] == [PARIS] * combined
    in_zone = [key.matching for key in request.query.keys if isinstance(key.matching, InZone)]
    assert [matching.zones for matching in in_zone] == [PARIS] * times
    assert request.warnings == ()
    as_written = search(asked).query
    assert not any(isinstance(key.matching, InZone) for key in as_written.keys)
    assert all(pair.zones is None for pair in as_written.combined)


@pytest.mark.parametrize(
    "asked",
    ["StudyDate=20240501-20240502&StudyTime=1000", "RequestAttributesSequence.ScheduledProcedureStepStartTime=1000"],
)
def test_where_the_zone_is_not_applied_a_warning_says_so(asked: str) -> None:
    (warning,) = search(f"{asked}&TimezoneOffsetFromUTC=-0500").warnings
    assert "TimezoneOffsetFromUTC was not applied" in warning


def test_the_archives_zone_is_that_of_what_tells_none() -> None:
    limits = SearchLimits(timezone="-0500")
    request = search("AcquisitionDateTime=20240501&StudyTime=10&TimezoneOffsetFromUTC=%2B0200", limits)
    assert [key.matching for key in request.query.keys] == [
        SingleValue("20240501+0200"),
        InZone(pytest.approx(36_000), pytest.approx(36_000), Zones(7200, -18_000)),
    ]
    assert [key.matching for key in search("AcquisitionDateTime=20240501", limits).query.keys] == [
        SingleValue("20240501-0500")
    ]


def test_date_and_time_ranges_are_one_interval() -> None:
    query = search("StudyDate=20200105-20200107&StudyTime=1000-1800").query
    (pair,) = query.combined
    assert pair.low == day(2020, 1, 5) + 36_000
    assert pair.high == pytest.approx(day(2020, 1, 7) + 64_860, abs=1e-3)
    assert {str(key.path): key.matching for key in query.keys} == {"00080020": Universal(), "00080030": Universal()}


@pytest.mark.parametrize(
    ("query_string", "low", "high"),
    [
        ("StudyDate=20200105-&StudyTime=1000-", day(2020, 1, 5) + 36_000, None),
        ("StudyDate=-20200107&StudyTime=-180000.5", None, day(2020, 1, 7) + 64_800.5),
        ("StudyDate=20200105-20200107&StudyTime=22-10", day(2020, 1, 5) + 79_200, day(2020, 1, 7) + 39_600),
        ("StudyDate=20200105-20200107&StudyTime=1000-", day(2020, 1, 5) + 36_000, day(2020, 1, 8)),
        ("00400244=20200105-20200107&00400245=-12", day(2020, 1, 5), day(2020, 1, 7) + 46_800),
    ],
)
def test_open_sides_stay_open_in_the_interval(query_string: str, low: float | None, high: float | None) -> None:
    (pair,) = search(query_string).query.combined
    assert pair.low == low
    assert pair.high == (None if high is None else pytest.approx(high, abs=1e-3))


@pytest.mark.parametrize(
    "query_string",
    [
        "StudyDate=20200105-&StudyTime=1000-1800",
        "StudyDate=20200105&StudyTime=1000-1800",
        "StudyDate=20200105-20200107&StudyTime=1000",
    ],
)
def test_what_makes_no_interval_is_matched_each_for_itself(query_string: str) -> None:
    query = search(query_string).query
    assert not query.combined
    assert len(query.keys) == 2


@given(
    st.datetimes(datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2100-01-01")),
    st.integers(0, 10**6),
    st.integers(-(10**6), 2 * 10**6),
)
def test_the_interval_holds_what_lies_between(low: datetime, length: int, offset: int) -> None:
    low = low.replace(microsecond=0)
    high = low + timedelta(seconds=length)
    at = low + timedelta(seconds=offset)
    query = search(f"StudyDate={low:%Y%m%d}-{high:%Y%m%d}&StudyTime={low:%H%M%S}-{high:%H%M%S}").query
    instance = {0x00080020: Element("DA", b"", (f"{at:%Y%m%d}",)), 0x00080030: Element("TM", b"", (f"{at:%H%M%S}",))}
    assert matches(instance, query) is (low <= at <= high)


@pytest.mark.parametrize(
    ("query_string", "parameter"),
    [
        ("limit=-1", "limit"),
        ("limit=abc", "limit"),
        ("limit=", "limit"),
        ("limit=1e3", "limit"),
        ("limit=0x10", "limit"),
        ("limit=100000000000000000000", "limit"),
        ("limit=2147483648", "limit"),
        ("limit=%2B1", "limit"),
        ("limit=+1", "limit"),
        ("limit=1&limit=1", "limit"),
        ("limit=%D9%A1", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999", "offset"),
        ("fuzzymatching=yes", "fuzzymatching"),
        ("fuzzymatching=True", "fuzzymatching"),
        ("emptyvaluematching=", "emptyvaluematching"),
        ("multiplevaluematching=1", "multiplevaluematching"),
        ("charset=iso-8859-1", "charset"),
        ("includefield=", "includefield"),
        ("includefield=a,,b", "includefield"),
        ("PatientID=a&PatientID=a", "PatientID"),
        ("PatientID=a&00100020=b", "attribute given twice"),
        ("StudyInstanceUID=Smith", "StudyInstanceUID"),
        ("StudyInstanceUID=1.2*", "StudyInstanceUID"),
        ("StudyInstanceUID=1.2,,1.3", "StudyInstanceUID"),
        ("StudyInstanceUID=" + ",".join(f"1.{n}" for n in range(1001)), "StudyInstanceUID"),
        ("StudyDate=20240230", "StudyDate"),
        ("StudyDate=2024-05-01", "StudyDate"),
        ("StudyDate=-", "StudyDate"),
        ("StudyDate=20240502-20240501", "StudyDate"),
        ("StudyDate=" + "-" * 5000, "StudyDate"),
        ("StudyDate=2024*", "StudyDate"),
        ("StudyDate=yesterday", "StudyDate"),
        ("StudyTime=2500", "StudyTime"),
        ("StudyTime=12-11", "00080030"),
        ("StudyDate=20240501-20240501&StudyTime=12-11", "00080020"),
        ("AcquisitionDateTime=20241301", "AcquisitionDateTime"),
        ("SeriesNumber=five", "SeriesNumber"),
        ("Rows=5*", "Rows"),
        ("FrameIncrementPointer=Rows", "FrameIncrementPointer"),
        ("RequestAttributesSequence=x", "RequestAttributesSequence"),
        ("PatientName.PatientID=x", "attribute path"),
        (".".join(["00400275"] * 200) + "=x", "attribute path"),
        ("00291002=x", "00291002"),
        ("TimezoneOffsetFromUTC=CET", "TimezoneOffsetFromUTC"),
        ("PatientName=" + "a*" * 9, "PatientName"),
        ("PatientName=%00", "PatientName"),
        ("PatientName=%zz", "PatientName"),
        ("PatientName=%4", "PatientName"),
        ("PatientName=%", "PatientName"),
        ("PatientName=%FF", "PatientName"),
        ("PatientName=%C0%AF", "PatientName"),
        ("PatientName=%ED%A0%80", "PatientName"),
        ("%FF=x", "parameter name"),
        ("Smith%20John=x&Smith%20John=x", "a parameter"),
        ("PatientID=" + "x" * 17_000, "query string"),
        ("&".join(f"a{n}=1" for n in range(201)), "query string"),
        ("includefield=" + ",".join(["PatientID"] * 501), "includefield"),
        ("&".join(["includefield=PatientID"] * 150 + ["includefield=" + "a," * 400 + "b"]), "includefield"),
    ],
)
def test_a_bad_parameter_is_refused_by_name_and_without_its_value(query_string: str, parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        search(query_string)
    message = str(caught.value)
    assert parameter in message
    assert "Smith" not in message
    assert len(message) < 400


def test_an_error_of_a_key_is_a_match_error() -> None:
    with pytest.raises(InvalidMatchError):
        search("StudyDate=x")


@pytest.mark.parametrize(
    ("query_string", "warnings"),
    [
        ("PatientFoo=1", ["The parameter PatientFoo is not supported and has been ignored."]),
        ("%0d%0aX-Evil:1=1", ["A parameter is not supported and has been ignored."]),
        ("TransferSyntaxUID=1.2", ["The parameter TransferSyntaxUID is not supported and has been ignored."]),
        ("00080000=1", ["The parameter 00080000 is not supported and has been ignored."]),
        ("PixelData=abc", ["The parameter PixelData is not supported and has been ignored."]),
        ("includefield=Foo,00291002", ["The field Foo is not supported and has been ignored.",
                                       "The field 00291002 is not supported and has been ignored."]),
        ("fuzzymatching=false&accept=a/b&charset=UTF-8", []),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_ignored_with_a_warning(query_string: str, warnings: list[str]) -> None:
    request = search(query_string)
    assert list(request.warnings) == warnings
    assert not request.query.keys


@pytest.mark.parametrize(
    ("query_string", "words"),
    [
        ("PatientName=M%C3%BCller%5EHans", (("muller",), ("hans",))),
        ("PatientName=Mueller*", (("mueller", "muller"),)),
        ("PatientName=roe*+an*", (("roe",), ("an",))),
        ("RequestAttributesSequence.RequestingPhysician=O%27Brien%3D", (("o",), ("brien",))),
    ],
)
def test_each_word_of_a_fuzzy_name_is_a_beginning(query_string: str, words: tuple[tuple[str, ...], ...]) -> None:
    request = search(f"{query_string}&fuzzymatching=true")
    assert [key.matching for key in request.query.keys] == [Fuzzy(words)]
    [warning] = request.warnings
    assert warning.startswith("Fuzzy matching of person names has been performed")


@pytest.mark.parametrize("value", ["*roe*", "R?e", "R*e", "%3F", "--", "'"])
def test_a_fuzzy_name_with_inner_wild_cards_or_without_letters_is_literal_and_says_so(value: str) -> None:
    request = search(f"fuzzymatching=true&PatientName={value}")
    assert request.query.keys == search(f"PatientName={value}").query.keys
    [warning] = request.warnings
    assert warning.startswith("Only literal matching has been performed")


def test_a_private_attribute_is_left_to_those_who_know_whether_it_is_a_name() -> None:
    request = search("fuzzymatching=true&00190010=PHANTOM_01&00191010=roe")
    assert [key.matching for key in request.query.keys] == [SingleValue("roe")]
    assert request.query.fuzzy
    assert len(request.warnings) == 1


def test_what_is_no_person_name_stays_literal_when_names_are_fuzzy() -> None:
    request = search("fuzzymatching=true&PatientID=M%C3%BC&PatientName=*")
    assert [key.matching for key in request.query.keys] == [SingleValue("Mü"), Universal()]
    assert request.warnings == ()


def test_too_many_words_of_a_fuzzy_name_are_refused_by_the_name_of_the_parameter() -> None:
    words = [f"w{number}" for number in range(KEY_WORDS + 1)]
    assert search(f"fuzzymatching=true&PatientName={'^'.join(words[1:])}").query.keys
    with pytest.raises(InvalidMatchError, match="PatientName") as refusal:
        search(f"fuzzymatching=true&PatientName={'^'.join(words)}")
    assert "w1" not in str(refusal.value)


@pytest.mark.parametrize("value", ["x" * 4000, "%EF%B7%BA" * 1300, "a%20" * 1300])
def test_a_fuzzy_name_of_kilobytes_is_refused_before_it_is_folded(value: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(InvalidMatchError, match="1024 characters"):
        search(f"fuzzymatching=true&PatientName={value}")
    assert time.perf_counter() - begun < 0.5


@pytest.mark.parametrize("asked", ["ImageComments=*artefact*", "ImageComments=" + "x" * 1025])
def test_a_search_that_may_miss_long_texts_says_so(asked: str) -> None:
    (warning,) = search(asked).warnings
    assert "512 characters" in warning
    assert search("ImageComments=artefact&SeriesDescription=*a*&DerivationDescription=*").warnings == ()


def test_warnings_are_bounded() -> None:
    warnings = search("&".join(f"Foo{n}=1" for n in range(150))).warnings
    assert len(warnings) == 11
    assert warnings[-1] == "Further parameters or fields are not supported and have been ignored."


@pytest.mark.parametrize("name", ["PatientFoo", "TransferSyntaxUID", "PixelData"])
def test_an_archive_can_refuse_what_it_does_not_support_by_name(name: str) -> None:
    strict = SearchLimits(refuse_unsupported=True)
    with pytest.raises(InvalidParameterError, match=name):
        search(f"PatientID=1&{name}=Smith", strict)
    assert search("includefield=Foo", strict).warnings


@pytest.mark.parametrize(
    "name",
    [
        "PatientID",
        "StudyDate",
        "SeriesNumber",
        "RequestAttributesSequence",
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "00290010=ACME&00291001",
        "PixelData",
        "TimezoneOffsetFromUTC",
        "StudyInstanceUID",
    ],
)
def test_two_quotation_marks_ask_for_no_value_when_the_switch_is_on(name: str) -> None:
    (key,) = search(f"{name}=%22%22&emptyvaluematching=true").query.keys
    assert key.matching == Empty()


def test_two_quotation_marks_are_a_text_when_the_switch_is_off() -> None:
    assert keys("PatientID=%22%22&emptyvaluematching=false") == {"00100020": SingleValue('""')}
    with pytest.raises(InvalidMatchError):
        search("StudyDate=%22%22")


def test_several_values_must_all_match_when_the_switch_is_on() -> None:
    query = search("ModalitiesInStudy=CT%5CPT%5CCT&multiplevaluematching=true").query
    assert [key.matching for key in query.keys] == [SingleValue("CT"), SingleValue("PT")]
    query = search("OperatorsName=Doe%5CRoe^Jane&multiplevaluematching=true").query
    assert [key.matching for key in query.keys] == [SingleValue("Doe"), SingleValue("Roe^Jane")]
    assert isinstance(keys("StudyInstanceUID=1.2%5C1.3&multiplevaluematching=true")["0020000D"], UidList)


@pytest.mark.parametrize(
    "query_string",
    [
        "ModalitiesInStudy=CT%5CP*&multiplevaluematching=true",
        "ModalitiesInStudy=CT%5C&multiplevaluematching=true",
        "ModalitiesInStudy=" + "%5C".join(f"A{n}" for n in range(33)) + "&multiplevaluematching=true",
    ],
)
def test_several_values_that_cannot_be_matched_are_refused_by_name(query_string: str) -> None:
    with pytest.raises(InvalidMatchError, match="ModalitiesInStudy"):
        search(query_string)
    with pytest.raises(InvalidMatchError, match="PatientID"):
        # Its value multiplicity is 1.
        search("PatientID=a%5Cb&multiplevaluematching=true")


def test_the_creator_beside_a_private_attribute_is_its_own() -> None:
    beside = "00091001=a&00090010=TOP&00081140.00091001=b&00081140.00090010=ITEM"
    assert [str(key.path) for key in search(beside).query.keys] == [
        str(search("00091001=a&00090010=TOP").query.keys[0].path),
        "00081140." + str(search("00091001=a&00090010=ITEM").query.keys[0].path),
    ]
    shared = search("00081140.00091001=b&00090010=TOP").query.keys
    assert [str(key.path) for key in shared] == [
        "00081140." + str(search("00091001=a&00090010=TOP").query.keys[0].path)
    ]


@pytest.mark.parametrize("switch", ["", "&multiplevaluematching=false"])
def test_without_the_switch_several_values_are_one_that_nothing_has(switch: str) -> None:
    request = search(f"ModalitiesInStudy=CT%5CPT{switch}")
    assert [key.matching for key in request.query.keys] == [SingleValue("CT\\PT")]
    (warning,) = request.warnings
    assert "multiplevaluematching=true" in warning


@pytest.mark.parametrize(
    ("level", "field", "is_left_out"),
    [
        (Level.STUDY, "PatientAge", False),
        (Level.STUDY, "Modality", True),
        (Level.STUDY, "InstanceAvailability", False),
        (Level.SERIES, "Modality", False),
        (Level.SERIES, "PatientName", False),
        (Level.SERIES, "Rows", True),
        (Level.SERIES, "00091001&00090010=ACME", True),
        (Level.INSTANCE, "00091001&00090010=ACME", False),
        (Level.INSTANCE, "Rows", False),
    ],
)
def test_fields_that_answers_of_the_level_never_hold_are_said_to_be_left_out(
    level: Level, field: str, is_left_out: bool
) -> None:
    request = parse_search(split_query(f"includefield={field}".encode()), level)
    assert [("left out" in warning) for warning in request.warnings] == [True] * is_left_out


def test_the_page_is_read_and_cut_to_the_largest_allowed() -> None:
    query = search("limit=101&offset=202").query
    assert (query.limit, query.offset) == (101, 202)
    assert search("limit=99999").query.limit == 5000
    assert search("limit=0").query.limit == 0
    assert search("").query.limit == 1000


def test_fields_are_collected_from_all_their_forms() -> None:
    query = search(
        "includefield=00081030%2C00080060,PatientID&includefield=RequestAttributesSequence.ScheduledProcedureStepID"
        "&includefield=00081030&includefield=00091001&00090010=ACME"
    ).query
    assert [str(path) for path in query.include] == [
        "00081030",
        "00080060",
        "00100020",
        "00400275.00400009",
        '0009"ACME"01',
    ]
    assert not query.include_all
    assert search("includefield=all").query.include_all


def test_the_creator_of_a_returned_private_field_is_no_condition() -> None:
    assert search("includefield=00091001&00090010=ACME").query.keys == ()


def test_the_resource_gives_level_and_scope() -> None:
    request = parse_search(
        [("accept", "application/dicom+json")],
        Level.INSTANCE,
        study_instance_uid="1",
        series_instance_uid="2",
        relational=True,
    )
    assert request.accept == "application/dicom+json"
    query = request.query
    assert (query.level, query.study_instance_uid, query.series_instance_uid) == (Level.INSTANCE, "1", "2")
    assert query.relational


def test_the_study_list_of_a_viewer_is_understood() -> None:
    request = search(
        "limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030"
        "&PatientName=*doe*&ModalitiesInStudy=CT&StudyDate=20240101-20241231"
    )
    assert len(request.query.keys) == 3
    assert len(request.query.include) == 4
    about_name, about_fields = request.warnings
    assert "literal" in about_name
    # Modality is one of the series.
    assert "left out" in about_fields


@given(st.text(), st.text())
def test_any_decoded_pair_is_a_search_or_a_named_refusal(name: str, value: str) -> None:
    try:
        request = parse_search([(name, value)], Level.STUDY)
    except InvalidParameterError:
        return
    assert all(isinstance(key, Key) for key in request.query.keys)


@given(
    st.sampled_from(
        [
            "PatientName",
            "PatientID",
            "StudyDate",
            "StudyTime",
            "AcquisitionDateTime",
            "SeriesNumber",
            "PatientAge",
            "Rows",
        ]
    ),
    st.text("0123456789-+.*?:= ", max_size=30),
)
def test_any_value_of_a_known_attribute_can_be_matched_or_is_refused(keyword: str, value: str) -> None:
    try:
        request = parse_search([(keyword, value)], Level.STUDY)
    except InvalidMatchError:
        return
    assert matches({}, request.query) in (True, False)


@given(st.binary(max_size=100))
def test_any_bytes_are_split_or_refused(query_string: bytes) -> None:
    try:
        pairs = split_query(query_string)
    except InvalidParameterError:
        return
    for name, value in pairs:
        assert "\0" not in name + value
        (name + value).encode("utf-8")


@pytest.mark.parametrize(
    "pairs",
    [
        [("PatientName", "a=b=c=d")],
        [("PatientName", "a=b=c=d\\e"), ("multiplevaluematching", "true")],
        [("filter", "PatientName = 'a=b=c=d'")],
        [("filter", "PatientName IN ('a', 'a=b=c=d')")],
    ],
)
def test_a_name_with_more_component_groups_than_there_are_is_refused(pairs: list[tuple[str, str]]):
    with pytest.raises(InvalidMatchError, match="PatientName"):
        parse_search(pairs, Level.STUDY)
    assert parse_search([("PatientName", "=a==b=c==")], Level.STUDY).query.keys


@pytest.mark.parametrize(("name", "blank"), [("multiplevaluematching", "\\"), ("fuzzymatching", " ")])
def test_values_and_words_are_bounded_in_all(name: str, blank: str):
    names = ("OperatorsName", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy")
    pairs = [(each, blank.join(f"v{number}" for number in range(12))) for each in names]
    limits = SearchLimits(keys=30)
    parse_search([*pairs[:2], (name, "true")], Level.STUDY, limits=limits)
    with pytest.raises(InvalidParameterError, match="at most 30"):
        parse_search([*pairs, (name, "true")], Level.STUDY, limits=limits)
