"""Segments of a filtered search: keys and filter must hold for one and the same instance."""

from dataclasses import replace
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    FromClause,
    and_,
    bindparam,
    case,
    exists,
    func,
    select,
    true,
)

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.search.planning.filter_plan import FilterPlan, Node, PrunePhrase, Row
from dicomweb_archive.index.search.planning.filter_plan import Prune as FilterPrune
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice
from dicomweb_archive.index.search.sql import aliases
from dicomweb_archive.index.search.sql.filter_prunes import (
    is_told_by_row,
    prune_condition,
    prune_parameters,
    prune_source,
    source_is_whole,
)
from dicomweb_archive.index.search.sql.filter_tests import FilterWriter, filter_parameters
from dicomweb_archive.index.search.sql.phrases import PhraseSources, phrase_parameters
from dicomweb_archive.index.search.sql.positions import (
    Expression,
    marks_of_tests,
    may_vary,
    passes,
    positions_to_try,
    recheck_source,
    some_varies,
    values_of_step,
)
from dicomweb_archive.index.search.sql.segments import BARRIER, ONE, Condition, Query, SegmentSearch
from dicomweb_archive.index.search.sql.sql_types import JSON, TEXT
from dicomweb_archive.index.segments.terms import step_mark


def segment_search(plan: SearchPlan, choice: Choice, segment: FromClause | None = None) -> SegmentSearch:
    """Return what composes the part of a search that concerns segments, with the filter when there is one."""
    kind = FilteredSegmentSearch if plan.filtered else SegmentSearch
    if segment is not None:
        return kind(plan, choice, segment)
    search = kind(plan, choice)
    # Segments that terms have found need not be looked up again where study and series are all that is asked of them.
    source = None if plan.level is Level.INSTANCE else search.settled_source()
    return search if source is None else replace(search, segment=source.subquery("p"), sourced=True)


class FilteredSegmentSearch(SegmentSearch):
    """Composes it for a filter; aliases: ft study, fs series, fi instance, fd data, y what is taken out of them."""

    __slots__ = ()

    @property
    def _filter(self) -> FilterPlan:
        found = self.plan.filter
        assert found is not None
        return found

    def _prunes(self) -> list[Condition]:
        prune = self._filter.prune
        if prune is None or (self._is_filter_source(prune) and source_is_whole(prune)):
            return super()._prunes()
        told = prune_condition(prune, self._filter, self.segment)
        return super()._prunes() + ([] if told is None else [told])

    def _driver_source(self) -> Query | CompoundSelect[Any] | None:
        prune = self._filter.prune
        if self.choice.filter_drives and prune is not None:
            return prune_source(prune, self._filter) if self._is_filter_source(prune) else None
        return super()._driver_source()

    def _is_filter_source(self, prune: FilterPrune) -> bool:
        """Whether the filter drives the search from a source of its own; terms of lists are found in place."""
        return self.choice.filter_drives and not is_told_by_row(prune)

    def _rechecked(self, origin: FromClause, *, instances: bool) -> tuple[FromClause, list[Condition]]:
        rest = self._filter.rest
        if self._is_proved() and not (self.plan.tests or instances or self.plan.by_sop_instance):
            return origin, []
        rows: dict[Row, FromClause] = {}
        if Row.STUDY in self._filter.rows:
            rows[Row.STUDY] = study = aliases.FILTER_STUDY
            origin = origin.join(study, study.c.id == self.segment.c.study_id)
        if Row.SERIES in self._filter.rows:
            rows[Row.SERIES] = series = aliases.FILTER_SERIES
            origin = origin.join(series, series.c.id == self.segment.c.series_id)
        if rest is not None and not self._filter.by_position:
            told = FilterWriter(rows).is_true(rest)
            origin, conditions = super()._rechecked(origin, instances=instances)
            return origin, [told, *conditions]
        return self._by_position(origin, rows, instances=instances)

    def _is_proved(self) -> bool:
        """Whether what terms find is proved to hold an instance that passes."""
        if self._filter.settled or not (self.choice.filter_drives and isinstance(self._filter.prune, PrunePhrase)):
            return self._filter.settled
        return self._filter.rest is None and not self._filter.phrases[0].zoned

    def _by_position(
        self, origin: FromClause, rows: dict[Row, FromClause], *, instances: bool
    ) -> tuple[FromClause, list[Condition]]:
        """Go over the positions; what is looked at is taken out of the segment's columns once."""
        conditions: list[Condition] = []
        if self.plan.tests:
            origin, source = self._with_values_of_tests(origin)
            conditions.append(passes(self.plan, self.choice, source, self.position))
        if self._filter.rest is not None:
            origin, passed = self._passing_rest(origin, rows, self._filter.rest)
            conditions.append(passed)
        phrases = PhraseSources(self._filter.phrases, alone=not (conditions or instances or self.plan.by_sop_instance))
        origin, some = phrases.joined(origin), phrases.somewhere()
        conditions += phrases.at(self.position)
        if self.plan.by_sop_instance:
            return origin, some + conditions
        if instances:
            return self._with_instance(origin.join(self._positions(), true()), rows), some + conditions
        positions = self._with_instance(self._tried_positions(), rows)
        passing = exists(select(ONE).select_from(positions).where(*conditions))
        # CASE keeps the order: positions are looked at only where it is not proved.
        return origin, [*some, case((phrases.is_proved(), true()), else_=passing) if phrases.alone else passing]

    def _passing_rest(
        self, origin: FromClause, rows: dict[Row, FromClause], rest: Node
    ) -> tuple[FromClause, Condition]:
        values: tuple[Expression, ...] = ()
        if self._filter.source_count:
            taken = self._taken_out()
            origin = origin.join(taken, true())
            values = tuple(self._value(taken, number) for number in range(self._filter.source_count))
        if Row.INSTANCE in self._filter.rows:
            rows[Row.INSTANCE] = self.instance if self.plan.by_sop_instance else aliases.FILTER_INSTANCE
        return origin, FilterWriter(rows, values).is_true(rest)

    def _with_values_of_tests(self, origin: FromClause) -> tuple[FromClause, FromClause]:
        if not all(self.choice.settles(test, self.plan) for test in self.plan.tests):
            source = recheck_source(self.plan, self.data, self.segment)
            return origin.join(source, true()), source
        # Without values that vary, a test that the terms have proved passes everywhere.
        needed = some_varies(self.segment, marks_of_tests(self.plan))
        source = recheck_source(self.plan, self.data, self.segment, needed=needed)
        return origin.outerjoin(source, true()), source

    def _tried_positions(self) -> FromClause:
        if Row.INSTANCE in self._filter.rows or self._filter.phrases:
            return self._positions()
        own = [f"filter_mark_{number}" for number in range(self._filter.source_count)]
        return positions_to_try(self.segment, marks_of_tests(self.plan) + own)

    def _with_instance(self, origin: FromClause, rows: dict[Row, FromClause]) -> FromClause:
        """Join the instance at each position when the filter looks at its row."""
        instance = rows.get(Row.INSTANCE)
        if instance is None:
            return origin
        own = and_(instance.c.segment_id == self.segment.c.id, instance.c.position == self.position)
        return origin.join(instance, own)

    def _taken_out(self) -> FromClause:
        data = aliases.FILTER_DATA
        extracted = []
        for number in range(self._filter.source_count):
            step = bindparam(f"filter_source_{number}", type_=TEXT)
            may_be_large = number in self._filter.large_sources
            varies = may_vary(self.segment, f"filter_mark_{number}")
            varying, shared = values_of_step(data, step, may_be_large=may_be_large, varies=varies)
            extracted += [varying.label(f"varying_{number}"), shared.label(f"shared_{number}")]
        # As with keys, OFFSET 0 keeps PostgreSQL from taking them out at every position anew.
        own = select(*extracted).where(data.c.segment_id == self.segment.c.id).correlate(self.segment)
        return own.offset(BARRIER).lateral("y")

    def _value(self, taken: FromClause, number: int) -> Expression:
        varying = taken.c[f"varying_{number}"]
        return func.coalesce(_member(varying, self.position), taken.c[f"shared_{number}"], type_=JSON)


def _member(container: Expression, key: Expression) -> Expression:
    return container.op("->", return_type=JSON)(key)


def plan_parameters(plan: SearchPlan) -> dict[str, Any]:
    """Return the values for all parameters of a plan's filter."""
    found = plan.filter
    if found is None:
        return {}
    values = prune_parameters(found) | phrase_parameters(found.phrases)
    for node in (found.study, found.series, found.rest):
        if node is not None:
            values |= filter_parameters(node)
    values |= {f"filter_source_{number}": step for number, step in enumerate(found.sources)}
    return values | {f"filter_mark_{number}": step_mark(step) for number, step in enumerate(found.sources)}
