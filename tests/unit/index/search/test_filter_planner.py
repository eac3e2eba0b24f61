"""Plans of filters: what becomes a key, what a row tells, what is left for instances, and what prunes it."""

import math

import pytest
from tests.searching import key, search_statement

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.matching_keys import Key, Range, WildCard
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.query_filter import with_vrs
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.search.planning.filter_plan import (
    AllOf,
    AnyOf,
    FilterPlan,
    Opposite,
    PruneAll,
    PruneAny,
    PruneLeaf,
    PruneRow,
    Row,
    SomeItem,
    ValueLeaf,
)
from dicomweb_archive.index.search.planning.filter_planner import plan_with_filter, with_keys
from dicomweb_archive.index.search.planning.filter_prunes import with_prune
from dicomweb_archive.index.search.planning.key_prunes import Finding
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice, Shape, Statistics, choose_shape, driven_by_terms
from dicomweb_archive.index.search.sql.statements import Part
from dicomweb_archive.wire.filter_expression import parse_filter

STEP, PROCEDURE = "RequestAttributesSequence.ScheduledProcedureStepID", "RequestAttributesSequence.RequestedProcedureID"


def query(text: str, *keys: Key, level: Level = Level.STUDY) -> SearchQuery:
    return SearchQuery(level, keys, filter=parse_filter(text, depth=16), limit=10)


def planned(text: str, *keys: Key) -> FilterPlan:
    found = plan_with_filter(query(text, *keys)).filter
    assert found is not None
    return found


def finding(segments: int) -> Finding:
    return Finding(1, (segments,), True, 1, segments, 0)


KEYS = {
    "KVP = 120": key("KVP", "120"),
    "SeriesDescription LIKE 'a_c%'": key("SeriesDescription", WildCard("a?c*")),
    "KVP BETWEEN 1 AND 2": key("KVP", Range(1.0, 2.0)),
    "KVP < 2": key("KVP", Range(None, math.nextafter(2.0, 0.0))),
    "KVP >= 2": key("KVP", Range(2.0, None)),
    "StudyDate <= DATE('0001-01-02')": key("StudyDate", Range(None, 172_800.0)),
    f"{STEP} = 'S1'": key(STEP, "S1"),
}


@pytest.mark.parametrize(("text", "expected"), KEYS.items(), ids=KEYS.keys())
def test_conditions_that_keys_can_say_become_keys(text: str, expected: Key) -> None:
    found = with_keys(query(f"{text} AND NOT Modality = 'CT'"))
    assert found.keys == (expected,)
    assert found.filter == parse_filter("NOT Modality = 'CT'", depth=16)
    assert with_keys(query(text)).filter is None


@pytest.mark.parametrize(
    "text",
    [
        "KVP IS NULL",
        "NOT KVP = 1",
        "KVP = 1 OR KVP = 2",
        "KVP IN (1, 2)",
        "SeriesDescription LIKE '100*%'",
        "CASEI(SeriesDescription) LIKE 'a'",
        "SeriesDescription > 'a'",
        "SeriesNumber > 1",
        "SOPInstanceUID LIKE '1.2%'",
        f"{STEP} = 'S1' AND {PROCEDURE} = 'R1'",
    ],
)
def test_what_keys_cannot_say_stays_in_the_filter(text: str) -> None:
    found = with_keys(query(text))
    assert found.keys == ()
    assert found.filter == parse_filter(text, depth=16)


def test_items_of_a_filter_and_of_keys_are_not_the_same() -> None:
    own = key(PROCEDURE, "R1")
    found = with_keys(query(f"{STEP} = 'S1'", own))
    assert found.keys == (own,)
    assert found.filter is not None


def test_rows_of_studies_and_series_answer_what_they_can() -> None:
    found = planned("(PatientID = 'a' OR StudyID = 'b') AND NOT Modality = 'CT' AND (KVP = 1 OR PatientID IS NULL)")
    assert isinstance(found.study, AnyOf)
    assert isinstance(found.series, Opposite)
    assert isinstance(found.rest, AnyOf)
    assert found.rows == {Row.STUDY}
    assert found.sources == ("00180060",)


def test_a_row_alone_needs_no_segments() -> None:
    plan = plan_with_filter(query("PatientID = 'a' OR PatientID IS NULL"))
    assert not plan.needs_segments
    assert choose_shape(plan, (), Statistics()).shape is Shape.COLUMNS


def test_operands_below_one_sequence_are_checked_in_one_item() -> None:
    found = planned(f"{STEP} = 'S1' AND NOT {PROCEDURE} = 'R1'")
    assert isinstance(found.rest, SomeItem)
    first, second = found.rest.operands
    assert isinstance(first, ValueLeaf)
    assert first.below == '$."00400009"[*]'
    assert isinstance(second, Opposite)
    assert [entry.path for entry in found.keys] == ["00400275.00400009", "00400275.00401001"]


def test_private_steps_are_quoted_in_json_paths() -> None:
    text = r'NOT RequestAttributesSequence IS NULL AND NOT "00400275.00291010@A""C" IS NULL'
    found = planned(text)
    assert isinstance(found.rest, AllOf)
    leaf = found.rest.operands[1]
    assert isinstance(leaf, Opposite)
    assert isinstance(leaf.operand, ValueLeaf)
    assert leaf.operand.below == r'$[*]."0029\"A\"C\"10"[*]'


def pruned(text: str, *segments: int | None) -> SearchPlan | None:
    plan = plan_with_filter(query(text))
    return with_prune(plan, [None if count is None else finding(count) for count in segments])


def test_alternatives_prune_together_and_conjunctions_by_the_rarest() -> None:
    plan = pruned("KVP = 1 OR (NOT (KVP IS NULL OR NOT KVP IN (2, 3)) AND KVP IN (4))", 5, 30, 7)
    assert plan is not None
    assert plan.filter is not None
    prune = plan.filter.prune
    assert isinstance(prune, PruneAny)
    assert prune.segments == 12
    one, both = prune.operands
    assert isinstance(one, PruneLeaf)
    assert isinstance(both, PruneAll)
    assert both.segments == 7


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ("KVP IN (1, 2) OR SeriesDescription LIKE 'a*%'", True),
        ("KVP IN (1, 2) OR SeriesDescription < 'a'", False),
        ("KVP IN (1, 2) AND SeriesDescription LIKE 'a*%'", False),
        ("KVP IN (1, 2) OR KVP IS NULL OR KVP = 3", False),
        (f"{STEP} IN ('a') AND {PROCEDURE} IN ('b')", False),
    ],
)
def test_terms_settle_alternatives(text: str, settled: bool) -> None:
    plan = pruned(text, 1, 1)
    assert plan is not None
    assert plan.filter is not None
    assert plan.filter.settled is settled


def test_negations_prune_nothing() -> None:
    for text in ("KVP <> 1", "KVP IN (1, 2) OR KVP IS NULL", "NOT (KVP = 1 AND NOT KVP IS NULL)"):
        plan = pruned(text, 1, 1)
        assert plan is not None
        assert plan.filter is not None
        assert plan.filter.prune is None
        assert driven_by_terms(plan, ()) == Choice(Shape.TERMS)


@pytest.mark.parametrize(
    ("condition", "terms"),
    [("PatientID = 'a'", 1), ("StudyInstanceUID IN ('1.2', '1.3')", 2), ("SOPInstanceUID = '1.2'", 1)],
)
def test_rows_that_are_named_prune_beside_terms(condition: str, terms: int) -> None:
    plan = pruned(f"{condition} OR KVP = 1", 5)
    assert plan is not None
    assert plan.filter is not None
    prune = plan.filter.prune
    assert isinstance(prune, PruneAny)
    row, leaf = prune.operands
    assert isinstance(row, PruneRow)
    assert isinstance(leaf, PruneLeaf)
    assert prune.terms == terms + 1
    assert driven_by_terms(plan, ()) == Choice(Shape.TERMS, filter_drives=True)


@pytest.mark.parametrize(
    "condition", ["Modality = 'CT'", "PatientID LIKE 'a%'", "NOT PatientID = 'a'", "StudyDate > DATE('2020-01-01')"]
)
def test_rows_that_may_be_many_prune_nothing(condition: str) -> None:
    plan = pruned(f"{condition} OR KVP = 1", 5)
    assert plan is not None
    assert plan.filter is not None
    assert plan.filter.prune is None


def test_what_no_segment_holds_ends_the_search() -> None:
    assert pruned("KVP IN (1, 2)", None) is None
    assert pruned("KVP = 1 OR KVP = 2", None, None) is None
    plan = pruned("KVP = 1 OR KVP = 2", None, 3)
    assert plan is not None
    assert plan.filter is not None
    assert isinstance(plan.filter.prune, PruneLeaf)


def test_the_shape_follows_what_the_filter_finds() -> None:
    many = Statistics(studies=100_000, segments=1_000_000)
    rare, common = pruned("KVP IN (1, 2)", 3), pruned("KVP IN (1, 2)", 900_000)
    assert rare is not None
    assert common is not None
    assert choose_shape(rare, (), many) == Choice(Shape.TERMS, filter_drives=True)
    assert choose_shape(common, (), many).shape is Shape.ORDERED


def test_the_rarer_of_keys_and_filter_drives() -> None:
    plan = plan_with_filter(query("KVP IN (1, 2)", key("Manufacturer", "x")))
    plan = with_prune(plan, [finding(50)]) or plan
    assert driven_by_terms(plan, [finding(10)]).driver == 0
    assert driven_by_terms(plan, [finding(100)]).filter_drives


def test_values_are_never_in_the_text_of_a_statement() -> None:
    texts = set()
    for value in ("abc", "xyz'; drop table study; --"):
        escaped = value.replace("'", "''")
        text = f"CASEI(PatientID) = '{escaped}' OR NOT SeriesDescription LIKE '{escaped}%' OR {STEP} IN ('{escaped}')"
        plan = pruned(text, 1, 1)
        assert plan is not None
        statement, _ = search_statement(plan, driven_by_terms(plan, ()), Visibility(), Part.PAGE)
        assert value not in statement
        texts.add(statement)
    assert len(texts) == 1


def test_a_value_is_checked_when_the_index_knows_the_vr() -> None:
    private = AttributePath((PathStep(0x00290010, "ACME"),), "DS")
    expression = parse_filter("\"00291010@ACME\" = 'high' OR KVP = 1", depth=16)
    assert with_keys(SearchQuery(Level.STUDY, filter=expression)).filter == expression
    known = with_vrs(expression, {str(private): "DS"})
    with pytest.raises(InvalidMatchError, match="00290010"):
        plan_with_filter(SearchQuery(Level.STUDY, filter=known))


def nots_of_items(depth: int, below: str = "") -> str:
    path = f"{below}ContentSequence."
    inner = nots_of_items(depth - 1, path) if depth else f"{path}CodeMeaning = 'b'"
    return f"NOT ({path}CodeValue = 'a' AND {inner})"


def test_items_within_items_under_not_are_bounded_because_each_doubles_the_statement() -> None:
    plan_with_filter(query(nots_of_items(6)))
    with pytest.raises(InvalidParameterError, match="filter"):
        plan_with_filter(query(nots_of_items(14)))


def test_many_conditions_on_items_are_not_what_is_bounded() -> None:
    nots = (f"NOT ({STEP} = '{number}' AND {PROCEDURE} = 'x')" for number in range(50))
    plan_with_filter(query(" OR ".join(nots)))
