"""Statements are kept by what their text depends on, without values, and composed beside the event loop."""

import asyncio
import threading
import time

import pytest
from tests.searching import key, path

from dicomweb_archive.dicom.matching_keys import DateTimeRange, Fuzzy, Key, Range, WildCard
from dicomweb_archive.dicom.query import Counting, Level, SearchQuery
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.search import kept_statements
from dicomweb_archive.index.search.kept_statements import KeptStatements
from dicomweb_archive.index.search.planning.filter_planner import plan_with_filter
from dicomweb_archive.index.search.planning.filter_prunes import with_prune
from dicomweb_archive.index.search.planning.form import form_of
from dicomweb_archive.index.search.planning.key_prunes import Finding
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice, Shape, driven_by_terms
from dicomweb_archive.index.search.sql.statements import Part, Statement, compose
from dicomweb_archive.wire.filter_expression import parse_filter

SECRET = "SECRET"
FOUND = Finding(4711, (4711,), True, 1, 4711, 1)
KEYS = (
    key("PatientName", WildCard(f"{SECRET}*")),
    key("PatientID", SECRET),
    key("SeriesDescription", WildCard(f"*{SECRET}*")),
    key("OperatorsName", Fuzzy(((SECRET,),))),
    key("SliceLocation", Range(4711.0, 4712.0)),
    key("RequestAttributesSequence.RequestedProcedureID", SECRET),
)
MOMENT = DateTimeRange(path("PerformedProcedureStepStartDate"), path("PerformedProcedureStepStartTime"), 4711.0, 4712.0)
FILTER = (
    f"PatientID = '{SECRET}' OR ProtocolName LIKE '{SECRET}%' AND NOT KVP IN (4711, 4712) OR KVP BETWEEN 4711 AND 4712"
    f" OR \"RequestAttributesSequence.ScheduledProcedureStepID\" = '{SECRET}'"
)


def searched(level: Level, *keys: Key, filter_: str | None = None) -> tuple[SearchPlan, Choice]:
    expression = None if filter_ is None else parse_filter(filter_, depth=8)
    query = SearchQuery(level, keys, (MOMENT,), filter=expression, limit=4711, offset=4711, counting=Counting.EXACT)
    plan = plan_with_filter(query)
    if plan.filter is not None:
        plan = with_prune(plan, [FOUND] * len(plan.filter.keys)) or plan
    return plan, driven_by_terms(plan, [FOUND] * len(plan.keys))


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("shape", [Shape.TERMS, Shape.ORDERED])
def test_the_form_of_a_search_holds_no_value_and_composes_the_same_text(level: Level, shape: Shape):
    plan, choice = searched(level, *KEYS, filter_=FILTER)
    choice = choice if shape is Shape.TERMS else Choice(shape, choice.prunes)
    visible = Visibility((4711,), (4711, 4712))
    forms = form_of(plan), form_of(choice), visible.form()
    assert SECRET in repr(plan)
    assert (plan, choice) == forms[:2]
    assert SECRET not in repr(forms)
    assert "4711" not in repr(forms)
    for part in Part:
        assert compose(*forms, part) == compose(plan, choice, visible, part)


async def test_one_statement_serves_all_values():
    kept = KeptStatements()
    texts = []
    for value in ("one", "two"):
        found, arguments = await kept.find(*searched(Level.STUDY, key("Manufacturer", value)), Visibility(), Part.PAGE)
        texts.append(found)
        assert arguments
    assert texts[0] is texts[1]


async def test_those_who_ask_at_once_wait_for_one_composition():
    kept = KeptStatements()
    plan, choice = searched(Level.STUDY, *KEYS)
    asked = [asyncio.create_task(kept.find(plan, choice, Visibility(), Part.PAGE)) for _ in range(3)]
    await asyncio.sleep(0)
    # One that goes does not take the statement of the others along.
    asked[0].cancel()
    second, third = await asked[1], await asked[2]
    assert second[0] is third[0]
    assert asked[0].cancelled()


async def test_what_nobody_waits_for_any_more_leaves_the_line(monkeypatch: pytest.MonkeyPatch):
    begun, go_on, composed = threading.Event(), threading.Event(), []

    def slowly(plan: SearchPlan, choice: Choice, visibility: Visibility, part: Part) -> Statement:
        composed.append(plan.level)
        begun.set()
        go_on.wait(10)
        return compose(plan, choice, visibility, part)

    monkeypatch.setattr(kept_statements, "compose", slowly)
    kept = KeptStatements()
    asked = {level: asyncio.create_task(kept.find(*searched(level, *KEYS), Visibility(), Part.PAGE)) for level in Level}
    first, second, third = Level
    await asyncio.to_thread(begun.wait, 10)
    for level in (first, second):
        asked[level].cancel()
    await asyncio.wait([asked[first], asked[second]])
    # Who asks for it right then is served all the same, and what had begun is kept.
    again = asyncio.create_task(kept.find(*searched(second, *KEYS), Visibility(), Part.PAGE))
    await asyncio.sleep(0)
    go_on.set()
    await asked[third]
    await again
    await kept.find(*searched(first, *KEYS), Visibility(), Part.PAGE)
    assert composed == [first, third, second]


async def test_the_least_recently_used_statement_goes_when_there_is_no_room():
    plan, choice = searched(Level.STUDY, *KEYS)
    first, _ = await KeptStatements().find(plan, choice, Visibility(), Part.PAGE)
    kept = KeptStatements(3 * len(first.text))
    found = [(await kept.find(plan, choice, Visibility(), Part.PAGE))[0] for _ in range(2)]
    assert found[0] is found[1]
    for level in (Level.SERIES, Level.INSTANCE):
        await kept.find(*searched(level, *KEYS), Visibility(), Part.PAGE)
    again, _ = await kept.find(plan, choice, Visibility(), Part.PAGE)
    assert again == found[0]
    assert again is not found[0]


async def test_other_requests_go_on_while_a_long_statement_is_composed():
    wide = " OR ".join(f"KVP = {number} AND NOT SliceLocation = {number}" for number in range(50))
    plan, choice = searched(Level.STUDY, filter_=wide)
    composing = asyncio.create_task(KeptStatements().find(plan, choice, Visibility(), Part.PAGE))
    longest, before = 0.0, time.monotonic()
    turns = 0
    while not composing.done():
        await asyncio.sleep(0.001)
        now = time.monotonic()
        longest, before, turns = max(longest, now - before), now, turns + 1
    statement, _ = await composing
    assert len(statement.text) > 10_000
    assert turns > 2, f"stopped for {longest:.3f} s"
