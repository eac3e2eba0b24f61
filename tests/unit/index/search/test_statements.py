"""Search statements: their text never holds a value, and every shape is composed."""

import itertools

import pytest
from tests.searching import key, path, search_statement

from dicomweb_archive.dicom.matching_keys import DateTimeRange, Key, Range, UidList, WildCard
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.search.planning.key_prunes import Finding
from dicomweb_archive.index.search.planning.planner import plan_search
from dicomweb_archive.index.search.planning.shape import Choice, Shape, driven_by_terms
from dicomweb_archive.index.search.sql.statements import Part

SECRET = "SECRET"
KEYS = (
    key("PatientName", WildCard(f"{SECRET}*")),
    key("PatientID", SECRET),
    key("ModalitiesInStudy", WildCard(f"{SECRET}?")),
    key("Modality", SECRET),
    key("Manufacturer", SECRET),
    key("SeriesDescription", WildCard(f"*{SECRET}*")),
    key("SliceLocation", Range(4711.0, 4712.0)),
    key("RequestAttributesSequence.ScheduledProcedureStepID", SECRET),
    key("RequestAttributesSequence.RequestedProcedureID", SECRET),
    key("ReferencedImageSequence.ReferencedSOPInstanceUID", UidList(("1.4711", "1.4712"))),
)
MOMENT = DateTimeRange(path("PerformedProcedureStepStartDate"), path("PerformedProcedureStepStartTime"), 4711.0, 4712.0)


def finding(kind: str) -> Finding:
    return Finding(4711, (4711,), kind != "many", 1, 10, int(kind == "zones"))


KINDS = ("few", "many", "zones")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [Shape.TERMS, Shape.ORDERED])
@pytest.mark.parametrize("level", list(Level))
def test_no_value_gets_into_the_text(level: Level, shape: Shape, kind: str):
    # All keys at once, and pairs of which each kind has others.
    pairs = itertools.islice(itertools.combinations(KEYS, 2), 11 * KINDS.index(kind), None, 11 * len(KINDS))
    for keys in (KEYS, *pairs):
        plan = plan_search(SearchQuery(level, keys, (MOMENT,), limit=4711, offset=4711))
        by_terms = driven_by_terms(plan, [finding(kind)] * len(plan.keys))
        choice = by_terms if shape is Shape.TERMS else Choice(shape, by_terms.prunes)
        for part in Part:
            text, arguments = search_statement(plan, choice, Visibility((4711,), (4711, 4712)), part)
            assert SECRET not in text
            assert "4711" not in text
            assert f"${len(arguments)}" in text
            assert f"${len(arguments) + 1}" not in text


def statement(level: Level, *keys: Key, shape: Shape = Shape.TERMS, part: Part = Part.PAGE) -> str:
    plan = plan_search(SearchQuery(level, keys))
    by_terms = driven_by_terms(plan, [finding("few")] * len(plan.keys))
    choice = by_terms if shape is Shape.TERMS or not plan.keys else Choice(shape, by_terms.prunes)
    return search_statement(plan, choice, Visibility(), part)[0]


@pytest.mark.parametrize("part", list(Part))
@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("keys", [(), KEYS[4:5], KEYS[:2]], ids=["no key", "terms", "columns"])
def test_every_statement_carries_the_visibility(level: Level, part: Part, keys: tuple[Key, ...]):
    text = statement(level, *keys, part=part)
    assert "space_id = $" in text
    assert "embargo_until" in text


def test_a_lone_settled_key_opens_no_columns():
    assert "segment_data" not in statement(Level.STUDY, KEYS[4])
    assert "segment_data" in statement(Level.INSTANCE, KEYS[4])


def test_two_keys_are_checked_by_position_only_where_both_vary():
    text = statement(Level.STUDY, KEYS[4], key("KVP", "120"))
    assert "CASE WHEN" in text
    assert "generate_series" in text


def test_order_driven_studies_are_looked_at_up_to_the_window():
    text = statement(Level.STUDY, KEYS[4], shape=Shape.ORDERED)
    assert "LIMIT 5000" in text
    assert "OFFSET 0" in text


def test_a_page_of_whole_instances_opens_rows_of_its_own_series_only():
    text = statement(Level.INSTANCE)
    assert "sum(s.instance_count) OVER" in text
    assert "JOIN instance AS o ON o.segment_id = q.id" in text


def test_one_text_serves_all_values_and_collections():
    one = statement(Level.STUDY, key("PatientID", "1"))
    assert one == statement(Level.STUDY, key("PatientID", "2"))
    plan = plan_search(SearchQuery(Level.STUDY))
    texts = {
        search_statement(plan, Choice(Shape.COLUMNS), Visibility(collections=ids), Part.PAGE)[0]
        for ids in ((), (1, 2), (1, 2, 3))
    }
    assert len(texts) == 1
