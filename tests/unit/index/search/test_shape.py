"""Choice of the SQL shape from counts."""

from dataclasses import replace

import pytest
from tests.searching import key

from dicomweb_archive.dicom.matching_keys import Key, WildCard
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.index.search.planning.filter_plan import FilterPlan
from dicomweb_archive.index.search.planning.filter_prunes import with_prune
from dicomweb_archive.index.search.planning.key_prunes import Finding, KeyPrune, Prune
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.planner import plan_search
from dicomweb_archive.index.search.planning.shape import (
    Choice,
    Shape,
    Statistics,
    choose_shape,
    count_is_cheap,
    driven_by_terms,
)
from dicomweb_archive.index.search.planning.text_plan import Place, SoughtPhrase
from dicomweb_archive.index.search.terms import RANGE_LIMIT, TermStatistics, finding_of_range

LARGE = Statistics(studies=16_700, segments=50_100)
MAKER = key("Manufacturer", "Acme")
KVP = key("KVP", "120")
PROTOCOL = key("ProtocolName", WildCard("*head*"))
NESTED = key("RequestAttributesSequence.ScheduledProcedureStepID", WildCard("*1*"))


def plan_of(*keys: Key, limit: int = 100, offset: int = 0) -> SearchPlan:
    return plan_search(SearchQuery(Level.STUDY, keys, limit=limit, offset=offset))


def finding(segments: int, *, terms: int = 1, listed: bool = True, zones: int = 0) -> Finding:
    return Finding(1, (7,) if listed else (), listed, terms, segments, zones)


def test_without_index_keys_the_columns_answer():
    assert choose_shape(plan_of(key("PatientID", "1")), (), LARGE) == Choice(Shape.COLUMNS)


def test_a_rare_value_drives():
    choice = choose_shape(plan_of(MAKER), [finding(20)], LARGE)
    assert choice == Choice(Shape.TERMS, (KeyPrune(Prune.ALL_TERMS, False),), 0)


def test_a_common_value_is_met_soon_in_the_order():
    assert choose_shape(plan_of(MAKER), [finding(30_000)], LARGE).shape is Shape.ORDERED


def test_a_deep_page_of_a_common_value_is_driven_by_the_terms():
    assert choose_shape(plan_of(MAKER, offset=20_000), [finding(30_000)], LARGE).shape is Shape.TERMS


def test_one_study_is_asked_directly_whatever_the_terms_are():
    plan = plan_of(key("StudyInstanceUID", "1.2"), MAKER)
    assert choose_shape(plan, [finding(20)], LARGE).shape is Shape.ORDERED


def test_the_rarest_key_drives_the_others():
    choice = driven_by_terms(plan_of(MAKER, KVP), [finding(40_000), finding(30)])
    assert choice.driver == 1


def test_many_terms_are_looked_up_one_by_one_and_a_few_at_once():
    plan = plan_of(PROTOCOL)
    many = driven_by_terms(plan, [finding(500, terms=400, listed=False)])
    few = driven_by_terms(plan, [finding(500, terms=4)])
    assert (many.prunes[0].kind, few.prunes[0].kind) == (Prune.DICTIONARY, Prune.ANY_TERM)


def test_terms_settle_a_lone_key_but_neither_zones_nor_an_unpruned_pattern_do():
    plan = plan_of(PROTOCOL)
    listed = driven_by_terms(plan, [finding(5)])
    zoned = driven_by_terms(plan, [finding(5, zones=1)])
    unpruned = Choice(Shape.ORDERED, (KeyPrune(Prune.DICTIONARY, False),))
    assert listed.settles(plan.tests[0], plan)
    assert not zoned.settles(plan.tests[0], plan)
    assert not unpruned.settles(plan.tests[0], plan)


def test_two_keys_below_one_sequence_are_never_settled_by_terms():
    plan = plan_of(
        key("RequestAttributesSequence.ScheduledProcedureStepID", "1"),
        key("RequestAttributesSequence.RequestedProcedureID", "1"),
    )
    assert not driven_by_terms(plan, [finding(5), finding(5)]).settles(plan.tests[0], plan)


def test_a_long_set_below_a_sequence_is_never_left_to_the_columns():
    # Long sequences are not in the columns, so only the terms can tell.
    common = finding(40_000, terms=900, listed=False)
    assert choose_shape(plan_of(NESTED), [common], LARGE).shape is Shape.TERMS


def test_a_set_that_is_no_list_is_met_in_the_order_where_few_segments_have_to_be_opened():
    common, seldom = (finding(segments, terms=200, listed=False) for segments in (40_000, 8_000))
    assert choose_shape(plan_of(PROTOCOL), [common], LARGE).shape is Shape.ORDERED
    # Each study that does not match has all its segments opened.
    assert choose_shape(plan_of(PROTOCOL), [seldom], LARGE).shape is Shape.TERMS


@pytest.mark.parametrize(
    ("values", "varying", "segments"),
    [
        pytest.param({1: 50_100}, 0, 3_000, id="a value for each segment"),
        pytest.param({1: 6_000}, 0, 25_050, id="common values"),
        pytest.param({1: 2_000}, 0, 50_100, id="more than there were"),
        pytest.param({}, 0, 50_000, id="unknown"),
        pytest.param({1: 50_100}, 10_000, 50_000, id="an attribute that often varies"),
    ],
)
def test_a_long_range_has_the_segments_of_its_share_of_the_values(values: dict[int, int], varying: int, segments: int):
    statistics = TermStatistics(LARGE, values=values)
    found = replace(finding(50_000, terms=1_001, listed=False), varying=varying)
    assert finding_of_range(found, 3_000, statistics).segments == segments
    assert finding_of_range(found, RANGE_LIMIT, statistics) == found


def test_a_sop_instance_goes_before_all_terms():
    plan = plan_of(key("SOPInstanceUID", "1.2"), MAKER)
    choice = choose_shape(plan, [finding(20)], LARGE)
    assert (choice.shape, choice.driver) == (Shape.TERMS, None)


def test_instances_are_counted_when_few_segments_have_to_be_opened():
    def is_cheap(*found: Finding) -> bool:
        keys = (MAKER, KVP)[: len(found)]
        return count_is_cheap(plan_search(SearchQuery(Level.INSTANCE, keys, limit=25)), found, LARGE)

    assert is_cheap(finding(5_000))
    assert not is_cheap(replace(finding(5_000), varying=40_000))
    assert is_cheap(replace(finding(200), varying=40_000))
    assert is_cheap(finding(100), replace(finding(5_000), varying=40_000))
    assert not is_cheap(finding(0, zones=900))


def test_instances_of_a_zone_are_opened_until_the_page_is_full():
    plan = plan_search(SearchQuery(Level.INSTANCE, (key("SliceLocation", "-105"),), limit=100))
    assert choose_shape(plan, [finding(0, zones=800)], LARGE).shape is Shape.TERMS


def test_what_stands_behind_a_page_is_counted_when_few_segments_hold_it():
    assert count_is_cheap(plan_of(MAKER), [finding(30_000)], LARGE)
    assert not count_is_cheap(plan_of(MAKER), [finding(30_000, zones=1000)], LARGE)
    assert count_is_cheap(plan_of(MAKER, KVP), [finding(1_000), finding(30_000)], LARGE)
    assert count_is_cheap(
        plan_of(key("StudyInstanceUID", "1.2"), MAKER, KVP), [finding(40_000), finding(40_000)], LARGE
    )


def test_what_has_a_word_is_counted_when_few_segments_have_to_be_looked_at():
    def is_cheap(segments: int, *, level: Level = Level.STUDY, few: bool = False) -> bool:
        places = (Place(1, "0008103E", 7, "$[*]"),)
        sought = SoughtPhrase("chest", few=few, places=places, first_zone=1, terms=9, segments=segments)
        plan = replace(plan_search(SearchQuery(level, limit=100)), filter=FilterPlan(phrases=(sought,)))
        pruned = with_prune(plan, ())
        assert pruned is not None
        return count_is_cheap(pruned, (), LARGE)

    assert is_cheap(1_000)
    assert not is_cheap(30_000)
    # Terms prove that studies and series have it, but not which of their instances.
    assert is_cheap(30_000, few=True)
    assert not is_cheap(30_000, few=True, level=Level.INSTANCE)


def test_values_that_seldom_meet_are_driven_by_the_terms_though_each_is_common():
    part = key("BodyPartExamined", "HEAD")
    for segments in (3_500, 5_800):
        findings = [finding(segments), finding(32_000), finding(6_000)]
        assert choose_shape(plan_of(MAKER, KVP, part), findings, LARGE).shape is Shape.TERMS
    # Where they meet often, the newest studies have them.
    findings = [finding(30_000), finding(32_000), finding(20_000)]
    assert choose_shape(plan_of(MAKER, KVP, part), findings, LARGE).shape is Shape.ORDERED


def test_what_terms_do_not_prove_of_seldom_values_is_met_in_the_order():
    findings = [finding(3_500), finding(32_000), finding(6_000, zones=100)]
    assert choose_shape(plan_of(MAKER, KVP, key("SliceLocation", "1")), findings, LARGE).shape is Shape.ORDERED
