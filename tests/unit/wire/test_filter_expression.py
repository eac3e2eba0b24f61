"""Filters of both languages become conditions on attributes; what does not fit is refused by name."""

from datetime import UTC, date, datetime

import orjson
import pytest
from tests.searching import path

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.query_filter import (
    And,
    Between,
    Comparison,
    Expression,
    IsNull,
    Like,
    Not,
    OneOf,
    Operator,
    Or,
)
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError
from dicomweb_archive.wire.filter_expression import parse_filter
from dicomweb_archive.wire.filter_text import parse_filter_text

CT = Comparison(path("Modality"), Operator.EQUAL, "CT")
PRIVATE = AttributePath((PathStep(0x00290010, "ACME 1.1"),), "UN")

READ: dict[str, Expression] = {
    "Modality = 'CT'": CT,
    "\"00080060\" = 'CT'": CT,
    "'CT' = Modality": CT,
    "Modality <> 'CT'": Not(CT),
    "5 < KVP": Comparison(path("KVP"), Operator.GREATER, 5),
    "NOT KVP IS NULL OR Modality = 'CT'": Or((Not(IsNull(path("KVP"))), CT)),
    "Modality IN ('CT', 'MR')": OneOf(path("Modality"), ("CT", "MR")),
    "KVP NOT BETWEEN 1 AND 2.5": Not(Between(path("KVP"), 1, 2.5)),
    "CASEI(Modality) = CASEI('c_')": Like(path("Modality"), r"c\_", any_case=True),
    "CASEI(Modality) IN ('a', 'b')": Or(
        (Like(path("Modality"), "a", any_case=True), Like(path("Modality"), "b", any_case=True))
    ),
    "CASEI(Modality) LIKE 'c_'": Like(path("Modality"), "c_", any_case=True),
    "PatientName = 'a=b'": And(
        (Comparison(path("PatientName"), Operator.EQUAL, "a"), Comparison(path("PatientName"), Operator.EQUAL, "b"))
    ),
    "StudyDate >= DATE('2020-01-05')": Comparison(path("StudyDate"), Operator.AT_LEAST, date(2020, 1, 5)),
    "AcquisitionDateTime < TIMESTAMP('2020-01-05T10:00:00.5Z')": Comparison(
        path("AcquisitionDateTime"), Operator.LESS, datetime(2020, 1, 5, 10, 0, 0, 500_000, tzinfo=UTC)
    ),
    "RequestAttributesSequence.RequestedProcedureID IS NULL": IsNull(
        path("RequestAttributesSequence.RequestedProcedureID")
    ),
    '"00400275.00401001" IS NULL': IsNull(path("RequestAttributesSequence.RequestedProcedureID")),
    r'"00291010@ACME 1\.1" = 1': Comparison(PRIVATE, Operator.EQUAL, 1),
    r'"0029ff10@ACME 1\.1" = 1': Comparison(PRIVATE, Operator.EQUAL, 1),
    r'"00291010@ACME 1\.1.00100020" IS NULL': IsNull(
        AttributePath((*PRIVATE.steps, PathStep(0x00100020)), "LO")
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expression"), READ.items(), ids=READ.keys())
def test_a_filter_becomes_conditions(text: str, expression: Expression) -> None:
    assert parse_filter(text, depth=16) == expression
    json = orjson.dumps(parse_filter_text(text)).decode()
    assert parse_filter(json, "cql2-json", depth=16) == expression


REFUSED: dict[str, str] = {
    "KVP = 'tall'": "KVP cannot .* a number",
    "KVP LIKE '1%'": "KVP cannot .* not LIKE",
    "StudyDate > 20200105": "StudyDate cannot .* DATE",
    "StudyDate > DATE('2020-02-31')": "a DATE in filter",
    "AcquisitionDateTime > TIMESTAMP('2020-01-05')": "a TIMESTAMP in filter",
    "PatientID = 7": "PatientID cannot .* text",
    "PatientID = ''": "PatientID cannot .*IS NULL",
    "PatientID LIKE 7": "PatientID cannot .* text",
    "PatientID LIKE 'a\\'": "cannot be read",
    "PatientID LIKE 'a\\ '": "PatientID cannot .* backslash",
    "PixelData IS NULL": "PixelData cannot",
    "RequestAttributesSequence = 'x'": "RequestAttributesSequence cannot .*IS NULL",
    "Nonsense = 1": "the attribute Nonsense in filter",
    '"Doe, John" = 1': "an attribute in filter",
    "PatientID.PatientName = 'x'": "the attribute PatientID.PatientName in filter",
    '"00291010" = 1': "00291010 cannot .*CREATOR",
    '"00100020@ACME" = 1': "00100020 cannot .*CREATOR",
    '"00020010" = 1': "the attribute 00020010",
    '"PatientID." = 1': "the attribute PatientID. in filter",
    "PatientID = PatientName": "a comparison of two attributes",
    "00080060 = 'CT'": "tags stand in double quotes",
    "CASEI(PatientID) < 'x'": "CASEI with",
    "PatientID = CASEI('x')": "CASEI around a value alone",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message) as refused:
        parse_filter(text, depth=16)
    assert "tall" not in str(refused.value)
    assert "Doe" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        '{"op":"and"}',
        '{"op":"and","args":[]}',
        '{"op":"not","args":[1,2]}',
        '{"op":"=","args":[1]}',
        '{"op":"in","args":[{"property":"KVP"},1]}',
        '{"op":"in","args":[{"property":"KVP"},[]]}',
        '{"op":"=","args":[1,2]}',
        '{"op":"=","args":[{"property":7},2]}',
        '{"op":"=","args":[{"property":"KVP"},null]}',
        "true",
        '{"op":"=","args":[{"property":"PatientID"},"a\\u0000b"]}',
        '{"op":"=","args":[{"property":"PatientID"},"\\ud800"]}',
        '{"op":"like","args":[{"property":"PatientID"},"\\u0000"]}',
        '{"op":"s_intersects","args":[{"property":"KVP"},{}]}',
        '{"op":"=","args":[{"op":"casei","args":[]},"x"]}',
        '{"op":"=","args":[{"op":"+","args":[1,2]},"x"]}',
        '{"op":"=","args":[{"property":"KVP"},{"interval":["..",".."]}]}',
        '{"op":"=","args":[{"property":"KVP"},true]}',
    ],
)
def test_json_that_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        parse_filter(text, "cql2-json", depth=16)


@pytest.mark.parametrize(
    "text",
    [
        '{"op": "=", "args": [{"property": "KVP"}, 1], "op": "<>"}',
        '{"op": "=", "args": [{"property": "KVP", "property": "Rows"}, 1]}',
        '{"op": "=", "args": [{"property": "KVP"}, 1], "\\u006fp": "="}',
    ],
)
def test_a_member_given_twice_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"^filter"):
        parse_filter(text, "cql2-json", depth=16)


def test_deep_json_is_refused_before_it_is_parsed() -> None:
    for text in ("[" * 100_000, '{"op":' * 100_000, '{"op":"not","args":[' * 40 + "1" + "]}" * 40):
        with pytest.raises(InvalidParameterError, match="within each other"):
            parse_filter(text, "cql2-json", depth=16)
    brackets_in_text = orjson.dumps({"op": "=", "args": [{"property": "PatientID"}, '"[{' * 100]}).decode()
    parse_filter(brackets_in_text, "cql2-json", depth=16)


def test_conditions_and_values_are_bounded() -> None:
    parse_filter(" OR ".join(["KVP = 1"] * 100), depth=16)
    many = ",".join(map(str, range(1001)))
    likes = ",".join(f"'{number}'" for number in range(101))
    for text in (" OR ".join(["KVP = 1"] * 101), f"KVP IN ({many})", f"CASEI(PatientID) IN ({likes})"):
        with pytest.raises(InvalidParameterError, match="at most"):
            parse_filter(text, depth=16)


def test_values_of_private_attributes_are_left_to_the_index() -> None:
    parse_filter('"00291010@ACME" > 5 AND "00291011@ACME" LIKE \'x%\'', depth=16)


def test_another_language_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match=r"filter-lang cannot .* cql2-text or cql2-json"):
        parse_filter("KVP = 1", "sql", depth=16)


def test_a_refused_match_is_an_invalid_match() -> None:
    with pytest.raises(InvalidMatchError):
        parse_filter("KVP = 'tall'", depth=16)
