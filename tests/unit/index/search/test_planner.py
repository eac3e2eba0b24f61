"""Search plan: which part of the index answers which key."""

from math import inf

import pytest
from tests.searching import key, path

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.matching_keys import (
    DateTimeRange,
    Fuzzy,
    Key,
    Matching,
    Range,
    SingleValue,
    UidList,
    Universal,
    WildCard,
)
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.errors import InvalidMatchError
from dicomweb_archive.index.search.planning.conditions import (
    ColumnTest,
    IndexKey,
    ItemTest,
    Kind,
    MomentTest,
    ValueTest,
)
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.planner import like_pattern, plan_search, with_known_vrs


def plan_of(*keys: Key, combined: tuple[DateTimeRange, ...] = ()) -> SearchPlan:
    return plan_search(SearchQuery(Level.STUDY, keys, combined))


COLUMNS = {
    "a text": ("PatientID", SingleValue(" P1 "), ColumnTest("patient_id", Kind.EQUALS, "P1"), "P1"),
    "a text pattern": ("AccessionNumber", WildCard("A_*?"), ColumnTest("accession_number", Kind.LIKE, ""), r"A\_%_"),
    "a date": ("StudyDate", SingleValue("00010101"), ColumnTest("study_date", Kind.EQUALS, 0), 86400.0),
    "a date range": ("StudyDate", Range(5.0, None), ColumnTest("study_date", Kind.BETWEEN, 0), (5.0, inf)),
    "a range of all that has a date": (
        "StudyDate",
        Range(None, 9.0),
        ColumnTest("study_date", Kind.BETWEEN, 0),
        (0.0, 9.0),
    ),
    "a name": ("PatientName", SingleValue("Doe^J_"), ColumnTest("patient_name", Kind.NAME, ""), r"doe^j\_"),
    "a name pattern": (
        "PatientName",
        WildCard("Dö*"),
        ColumnTest("patient_name", Kind.NAME, "", open_end=True),
        "do%",
    ),
    "a word of a fuzzy name": (
        "PatientName",
        Fuzzy((("mueller", "muller"),)),
        ColumnTest("patient_name_words", Kind.FUZZY, []),
        ["% mueller%", "% muller%"],
    ),
    "UIDs": (
        "StudyInstanceUID",
        UidList(("1.2", "1.3")),
        ColumnTest("study_instance_uid", Kind.ANY_OF, []),
        ["1.2", "1.3"],
    ),
    "a modality of the study": (
        "ModalitiesInStudy",
        SingleValue("CT"),
        ColumnTest("modalities", Kind.HOLDS, []),
        ["CT"],
    ),
    "modalities by pattern": (
        "ModalitiesInStudy",
        WildCard("C?"),
        ColumnTest("modalities", Kind.HOLDS_LIKE, ""),
        "C_",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "matching", "form", "value"), COLUMNS.values(), ids=COLUMNS.keys())
def test_hot_study_keys_match_columns(name: str, matching: Matching, form: ColumnTest, value: object):
    plan = plan_of(key(name, matching))
    assert plan.study == (form,)
    assert plan.study[0].value == value
    assert plan.keys == plan.tests == plan.series == ()


def test_series_keys_match_the_series_row():
    plan = plan_of(key("Modality", "CT"), key("SeriesNumber", "07"))
    assert [(test.column, test.value) for test in plan.series] == [("modality", "CT"), ("series_number", 7.0)]


def test_the_path_of_the_resource_is_a_condition():
    query = SearchQuery(Level.INSTANCE, study_instance_uid="1.2", series_instance_uid="1.2.3")
    plan = plan_search(query)
    assert [(test.column, test.value) for test in plan.study + plan.series] == [
        ("study_instance_uid", "1.2"),
        ("series_instance_uid", "1.2.3"),
    ]
    assert plan.selective


def test_sop_instance_uids_of_several_keys_meet():
    plan = plan_of(key("SOPInstanceUID", UidList(("1", "2"))), key("SOPInstanceUID", "2"))
    assert plan.sop_instance_uids == ("2",)
    assert plan_of(key("SOPInstanceUID", "1"), key("SOPInstanceUID", "2")).impossible


def test_other_keys_go_to_the_terms_in_their_normal_form():
    plan = plan_of(key("KVP", "120.0"), key("OperatorsName", "Ä^B=C"), key("SeriesDescription", WildCard("a%*")))
    assert [(k.path, k.kind, k.texts, k.numbers, k.pattern) for k in plan.keys] == [
        ("00180060", Kind.EQUALS, ("120",), (120.0,), ""),
        ("00081070", Kind.EQUALS, ("a^b", "c"), (None, None), ""),
        ("0008103E", Kind.LIKE, (), (), "a\\%%"),
    ]
    assert [test.step for test in plan.tests if isinstance(test, ValueTest)] == ["00180060", "00081070", "0008103E"]


def test_keys_below_one_sequence_hang_together():
    plan = plan_of(
        key("RequestAttributesSequence.ScheduledProcedureStepID", "S"),
        key("RequestAttributesSequence.RequestedProcedureCodeSequence.CodeValue", "C"),
        key("RequestAttributesSequence.RequestedProcedureCodeSequence.CodingSchemeDesignator", "D"),
    )
    code = ItemTest("00321064", (ValueTest("", 1, Kind.EQUALS), ValueTest("", 2, Kind.EQUALS)))
    assert plan.tests == (ItemTest("00400275", (ValueTest("", 0, Kind.EQUALS), code)),)


def test_a_private_step_goes_by_its_creator():
    private = AttributePath((PathStep(0x00290010, "ACME"),), "LO")
    assert plan_of(Key(private, SingleValue("x"))).keys[0].path == '0029"ACME"10'


def test_study_date_and_time_become_one_moment():
    pair = DateTimeRange(path("StudyDate"), path("StudyTime"), None, 7.0)
    assert [(test.column, test.value) for test in plan_of(combined=(pair,)).study] == [("study_moment", (0.0, 7.0))]


def test_other_combined_dates_are_pruned_by_date_and_checked_as_moments():
    names = ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime")
    plan = plan_of(combined=(DateTimeRange(*map(path, names), 500_000.0, None),))
    assert (plan.keys[0].low, plan.keys[0].high) == (500_000.0 - 172_800, inf)
    (test,) = plan.tests
    assert isinstance(test, MomentTest)
    assert (test.date_step, test.time_step, test.low, test.high) == ("00400244", "00400245", 500_000.0, inf)


@pytest.mark.parametrize(
    "impossible",
    [key("StudyDate", "not a date"), key("PatientID", "  "), key("OperatorsName", "^^"), key("SeriesNumber", "x")],
    ids=["date", "blank text", "empty name", "number"],
)
def test_a_value_that_nothing_can_equal_ends_the_search(impossible: Key):
    assert plan_of(impossible).impossible


def test_what_is_here_is_online():
    assert plan_of(key("InstanceAvailability", "ONLINE")) == plan_of()
    assert plan_of(key("InstanceAvailability", "OFFLINE")).impossible


def test_universal_matching_is_no_condition():
    assert plan_of(key("PatientID", Universal()), key("KVP", Universal())) == plan_of()


@pytest.mark.parametrize("name", ["StudyDate", "KVP", "SOPInstanceUID", "SeriesNumber"])
def test_a_wild_card_where_there_is_none_is_refused_by_name_without_the_value(name: str):
    with pytest.raises(InvalidMatchError, match=name) as caught:
        plan_of(key(name, WildCard("secret*")))
    assert "secret" not in str(caught.value)


def test_plans_that_differ_in_values_only_are_equal():
    one = plan_of(key("PatientID", "1"), key("KVP", "120"), key("SOPInstanceUID", "1.2"))
    other = plan_of(key("PatientID", "2"), key("XRayTubeCurrent", "7"), key("SOPInstanceUID", "1.3"))
    assert one == other
    assert hash(one) == hash(other)
    assert one != plan_of(key("PatientID", "1"), key("KVP", "120"))


def test_like_takes_its_own_wild_cards_literally():
    assert like_pattern("a%b_c\\d*?") == "a\\%b\\_c\\\\d%_"


def test_keys_of_unknown_vr_take_the_one_that_is_stored():
    private = AttributePath((PathStep(0x00290010, "ACME"),), "UN")
    (known,) = with_known_vrs([Key(private, SingleValue("007"))], {'0029"ACME"10': "IS"})
    assert plan_of(known).keys == (IndexKey("", Kind.EQUALS),)
    assert plan_of(known).keys[0].texts == ("7",)
    assert with_known_vrs([Key(private, SingleValue("007"))], {})[0].path.vr == "UN"


def test_each_word_of_a_fuzzy_name_is_a_key_of_its_own_in_one_item() -> None:
    at = path("RequestAttributesSequence.RequestingPhysician")
    plan = plan_search(SearchQuery(Level.STUDY, (Key(at, Fuzzy((("roe",), ("mueller", "muller")))),)))
    assert [key.spellings for key in plan.keys] == [("roe",), ("mueller", "muller")]
    assert {(key.path, key.kind) for key in plan.keys} == {(str(at), Kind.FUZZY)}
    [item] = plan.tests
    assert isinstance(item, ItemTest)
    assert item.tests == (ValueTest("", 0, Kind.FUZZY), ValueTest("", 1, Kind.FUZZY))
