"""Filters: which conditions hold together in one item, and what a filter says of one instance."""

from datetime import UTC, date, datetime

import pytest
from tests.searching import path

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.filter_matching import evaluate
from dicomweb_archive.dicom.filter_values import comparable, like_text
from dicomweb_archive.dicom.instance import Attributes, Element
from dicomweb_archive.dicom.query_filter import (
    And,
    Between,
    Comparison,
    Expression,
    InItem,
    IsNull,
    Like,
    Not,
    OneOf,
    Operator,
    Or,
    conjuncts,
    joined,
    with_vrs,
)
from dicomweb_archive.errors import InvalidMatchError

STEP, PROCEDURE = "RequestAttributesSequence.ScheduledProcedureStepID", "RequestAttributesSequence.RequestedProcedureID"


def equal(name: str, value: str | float) -> Comparison:
    return Comparison(path(name), Operator.EQUAL, value)


def text(vr: str, *values: str | float) -> Element:
    return Element(vr, b"", values)


def items(*of: Attributes) -> Element:
    return Element("SQ", b"", of)


INSTANCE: Attributes = {
    0x00080060: text("CS", "CT"),
    0x00080008: text("CS", "ORIGINAL", "PRIMARY"),
    0x00080020: text("DA", "20200105"),
    0x00100010: text("PN", "Müller^Jörg=山田"),
    0x00180060: text("DS", "120.0"),
    0x0008103E: text("LO"),
    0x00400275: items(
        {0x00400009: text("SH", "S1"), 0x00401001: text("SH", "R1")},
        {0x00400009: text("SH", "S2")},
    ),
}

ACQUIRED = path("AcquisitionDateTime")


def test_a_date_time_without_an_offset_is_utc_and_one_with_an_offset_is_the_same_instant() -> None:
    instant = comparable(ACQUIRED, "20200105091500")
    assert comparable(ACQUIRED, "20200105101500+0100") == instant
    assert comparable(ACQUIRED, datetime.fromisoformat("2020-01-05T10:15:00+01:00")) == instant
    assert comparable(ACQUIRED, date(2020, 1, 5)) == comparable(ACQUIRED, "20200105000000+0000")


TOLD: dict[str, tuple[Expression, bool | None]] = {
    "equal": (equal("Modality", "CT"), True),
    "another": (equal("Modality", "MR"), False),
    "absent": (equal("Manufacturer", "x"), None),
    "empty": (equal("SeriesDescription", "x"), None),
    "not of absent": (Not(equal("Manufacturer", "x")), None),
    "not of another": (Not(equal("Modality", "MR")), True),
    "null when absent": (IsNull(path("Manufacturer")), True),
    "null when empty": (IsNull(path("SeriesDescription")), True),
    "not null": (Not(IsNull(path("Modality"))), True),
    "any of several values": (equal("ImageType", "PRIMARY"), True),
    "none of several values": (Not(equal("ImageType", "PRIMARY")), False),
    "one value between": (Between(path("ImageType"), "OA", "OZ"), True),
    "number": (equal("KVP", 120), True),
    "number as text": (Comparison(path("KVP"), Operator.LESS, "120.5"), True),
    "number list": (OneOf(path("KVP"), (100, 120)), True),
    "date": (Comparison(path("StudyDate"), Operator.AT_LEAST, date(2020, 1, 5)), True),
    "date as text": (Comparison(path("StudyDate"), Operator.GREATER, "20200105"), False),
    "name group": (equal("PatientName", "muller^jorg"), True),
    "pattern": (Like(path("PatientName"), "MULLER^%"), True),
    "case counts": (Like(path("ImageType"), "prim%"), False),
    "any case": (Like(path("ImageType"), "prim_ry", any_case=True), True),
    "escaped": (Like(path("ImageType"), r"P\%"), False),
    "true and unknown": (And((equal("Modality", "CT"), equal("Manufacturer", "x"))), None),
    "false and unknown": (And((equal("Modality", "MR"), equal("Manufacturer", "x"))), False),
    "true or unknown": (Or((equal("Modality", "CT"), equal("Manufacturer", "x"))), True),
    "false or unknown": (Or((equal("Modality", "MR"), equal("Manufacturer", "x"))), None),
    "one item": (And((equal(STEP, "S1"), equal(PROCEDURE, "R1"))), True),
    "two items": (And((equal(STEP, "S2"), equal(PROCEDURE, "R1"))), False),
    "no item": (And((equal(STEP, "S2"), equal(PROCEDURE, "R2"))), False),
    "an item without": (And((equal(STEP, "S2"), IsNull(path(PROCEDURE)))), True),
    "not in one item": (Not(And((equal(STEP, "S2"), equal(PROCEDURE, "R1")))), True),
    "alternatives in one item": (And((equal(STEP, "S2"), Or((equal(PROCEDURE, "R1"), equal(PROCEDURE, "R2"))))), False),
    "in any item": (equal(STEP, "S2"), True),
    "in no item": (Not(equal(STEP, "S1")), False),
    "null in no item": (IsNull(path(PROCEDURE)), False),
    "items": (Not(IsNull(path("RequestAttributesSequence"))), True),
    "no items": (IsNull(path("ReferencedImageSequence")), True),
}


@pytest.mark.parametrize(("expression", "told"), TOLD.values(), ids=TOLD.keys())
def test_a_filter_says_of_an_instance(expression: Expression, told: bool | None) -> None:
    assert evaluate(INSTANCE, expression) is told


def test_a_sequence_that_is_absent_counts_as_one_empty_item() -> None:
    both = And((IsNull(path(STEP)), IsNull(path(PROCEDURE))))
    assert evaluate({}, both) is True
    assert evaluate({}, And((IsNull(path(STEP)), equal(PROCEDURE, "R1")))) is None


def test_operands_of_nested_ands_are_joined_by_sequence() -> None:
    expression = And((equal("Modality", "CT"), And((equal(STEP, "S1"), Not(equal(PROCEDURE, "R1"))))))
    alone, in_item = joined(conjuncts(expression))
    assert alone == equal("Modality", "CT")
    assert in_item == InItem(
        PathStep(0x00400275), (equal("ScheduledProcedureStepID", "S1"), Not(equal("RequestedProcedureID", "R1")))
    )


def test_a_private_attribute_takes_the_known_vr() -> None:
    private = AttributePath((PathStep(0x00290010, "ACME"),), "UN")
    known = with_vrs(Not(IsNull(private)), {str(private): "DS"})
    assert known == Not(IsNull(AttributePath(private.steps, "DS")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KVP", "high"),
        ("KVP", date(2020, 1, 5)),
        ("StudyDate", 20200105),
        ("StudyDate", "2020-01-05"),
        ("StudyDate", datetime(2020, 1, 5, tzinfo=UTC)),
        ("StudyTime", date(2020, 1, 5)),
        ("PatientID", 7),
        ("PatientID", ""),
        ("PatientName", "A=B"),
        ("PixelData", "x"),
        ("RequestAttributesSequence", "x"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_without_being_told(name: str, value: str | int | date) -> None:
    with pytest.raises(InvalidMatchError) as refused:
        comparable(path(name), value)
    assert str(refused.value).startswith(name)
    assert "20200105" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "pattern"), [("KVP", "1%"), ("StudyDate", "2020%"), ("PatientID", "a\\"), ("PatientID", "%" * 9)]
)
def test_a_pattern_that_does_not_fit_is_refused(name: str, pattern: str) -> None:
    with pytest.raises(InvalidMatchError, match=name):
        like_text(path(name), pattern)


def test_date_times_are_instants() -> None:
    moment = datetime(2020, 1, 5, 9, 15, tzinfo=UTC)
    wanted = comparable(path("AcquisitionDateTime"), moment)
    assert wanted == comparable(path("AcquisitionDateTime"), "20200105101500+0100")
    assert comparable(path("AcquisitionDateTime"), date(2020, 1, 5)).number < wanted.number
