"""Statements of the three levels: how studies, series and instances are selected, ordered and paged."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, FromClause, and_, bindparam, exists, func, literal_column, select, true

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index import tables
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.search_columns import column_test
from dicomweb_archive.index.search_filter_plan import Row
from dicomweb_archive.index.search_filter_segments import segment_search
from dicomweb_archive.index.search_filter_tests import FilterWriter
from dicomweb_archive.index.search_plan import SearchPlan
from dicomweb_archive.index.search_positions import Expression
from dicomweb_archive.index.search_segments import BARRIER, ONE, Condition, Query
from dicomweb_archive.index.search_shape import WINDOW, Choice, Shape


class LevelWriter(ABC):
    """Writes the statements of one level; aliases: t study, s series, p segment, d its data, i instance."""

    def __init__(self, plan: SearchPlan, choice: Choice, visibility: Visibility) -> None:
        self.plan = plan
        self.choice = choice
        self.visibility = visibility
        self.t = tables.study.alias("t")
        self.s = tables.series.alias("s")
        self.segments = segment_search(plan, choice)
        self.p = self.segments.segment

    @abstractmethod
    def page(self) -> Query:
        """The rows of one page."""

    @abstractmethod
    def ids(self, *, paged: bool) -> Query:
        """The ids of what matches, of one page in order or of all in any order."""

    @abstractmethod
    def window(self, size: int) -> FromClause:
        """The first candidates in the order of the answer, before index keys."""

    def count(self) -> Query:
        """Count what matches, up to a cap."""
        return select(func.count()).select_from(self.ids(paged=False).limit(_parameter("counted")).subquery("c"))

    @property
    def needs_segments(self) -> bool:
        """Whether rows of studies and series alone cannot answer."""
        return self.plan.needs_segments

    @property
    def driven_by_terms(self) -> bool:
        """Whether the statement begins with the index of terms or instances, not with the order of the answer."""
        return self.choice.shape is Shape.TERMS or self.plan.by_sop_instance

    def studies(self) -> Condition:
        """Visible studies that pass the tests on study columns."""
        tests = (column_test(f"study_{n}", test, self.t) for n, test in enumerate(self.plan.study))
        return and_(self.visibility.clause(self.t), *tests, *self._of_filter(Row.STUDY, self.t))

    def series(self) -> list[Condition]:
        """The tests on series columns."""
        tests = [column_test(f"series_{n}", test, self.s) for n, test in enumerate(self.plan.series)]
        return tests + self._of_filter(Row.SERIES, self.s)

    def _of_filter(self, kind: Row, row: FromClause) -> list[Condition]:
        """What the filter asks of the row alone."""
        found = self.plan.filter
        asked = None if found is None else found.study if kind is Row.STUDY else found.series
        return [] if asked is None else [FilterWriter({kind: row}).is_true(asked)]

    def paginate(self, query: Query, *, paged: bool) -> Query:
        """Cut one page out of the query, if asked to."""
        return query.limit(_parameter("page")).offset(_parameter("offset")) if paged else query


class _StudyWriter(LevelWriter):
    """Studies, the newest first."""

    def page(self) -> Query:
        page = self.ids(paged=True).subquery("page")
        return _study_details(page, [page.c.study_date.desc(), page.c.id.desc()])

    def window(self, size: int) -> FromClause:
        t = self.t
        query = select(t.c.id, t.c.study_date).where(self.studies())
        return query.order_by(*_newest_first(t)).limit(literal_column(str(size))).subquery("w")

    def ids(self, *, paged: bool) -> Query:
        origin: FromClause = self.t
        study: FromClause = self.t
        conditions = [self.studies()]
        if self.driven_by_terms:
            hit = self._hits()
            origin = hit.join(self.t, self.t.c.id == hit.c.id)
        elif self.choice.shape is Shape.ORDERED:
            study = origin = self.window(WINDOW) if paged else self.window_of_all()
            conditions = [self._holds_segment(study)]
        elif self.plan.needs_series:
            below = select(ONE).where(self.s.c.study_id == self.t.c.id, *self.series())
            conditions.append(exists(below))
        query = select(study.c.id, study.c.study_date).select_from(origin).where(*conditions)
        return self.paginate(query.order_by(*_newest_first(study)) if paged else query, paged=paged)

    def window_of_all(self) -> FromClause:
        return select(self.t.c.id, self.t.c.study_date).where(self.studies()).subquery("w")

    def _hits(self) -> FromClause:
        query = self._with_series(self.segments.select(self.p.c.study_id.label("id")))
        return query.distinct().cte("hit").prefix_with("MATERIALIZED")

    def _holds_segment(self, study: FromClause) -> Condition:
        query = self._with_series(self.segments.select(ONE)).where(self.p.c.study_id == study.c.id)
        return exists(query.correlate(study).offset(BARRIER))

    def _with_series(self, query: Query) -> Query:
        if not self.plan.needs_series:
            return query
        return query.join(self.s, self.s.c.id == self.p.c.series_id).where(*self.series())


class _SeriesWriter(LevelWriter):
    """Series, of the newest study first, within a study by series number."""

    def page(self) -> Query:
        page = self.ids(paged=True).subquery("page")
        return _series_details(page, _series_order(page.c.study_date, page.c.study_id, page))

    def window(self, size: int) -> FromClause:
        t = self.t
        query = select(t.c.id, t.c.study_date).where(self.studies())
        return query.order_by(*_newest_first(t)).limit(literal_column(str(size))).subquery("w")

    def ids(self, *, paged: bool) -> Query:
        if self.driven_by_terms or self.plan.by_series:
            study, series, origin, conditions = self._joined()
        else:
            study, series, origin = self._lateral(ordered=paged)
            conditions = []
        columns = [series.c.id, study.c.study_date, study.c.id.label("study_id"), series.c.series_number]
        query = select(*columns).select_from(origin).where(*conditions)
        order = _series_order(study.c.study_date, study.c.id, series)
        return self.paginate(query.order_by(*order) if paged else query, paged=paged)

    def _joined(self) -> tuple[FromClause, FromClause, FromClause, list[Condition]]:
        """Series first, by their UID or from the terms, then their studies."""
        s, t = self.s, self.t
        origin: FromClause = s.join(t, t.c.id == s.c.study_id)
        conditions = [self.studies(), *self.series()]
        if self.driven_by_terms:
            query = self.segments.select(self.p.c.series_id.label("id")).distinct()
            hit = query.cte("hit").prefix_with("MATERIALIZED")
            origin = hit.join(s, s.c.id == hit.c.id).join(t, t.c.id == s.c.study_id)
        elif self.needs_segments:
            conditions.append(self._holds_segment(s))
        return t, s, origin, conditions

    def _lateral(self, *, ordered: bool) -> tuple[FromClause, FromClause, FromClause]:
        """Study after study, so that a page stops early; a plain join would sort all series (spike: 47 ms)."""
        t, s = self.t, self.s
        study: FromClause
        if ordered and self.needs_segments:
            study = self.window(WINDOW)
        else:
            chosen = select(t.c.id, t.c.study_date).where(self.studies())
            study = chosen.order_by(*_newest_first(t)).offset(BARRIER).subquery("w")
        conditions = [s.c.study_id == study.c.id, *self.series()]
        if self.needs_segments:
            conditions.append(self._holds_segment(s))
        below = select(s.c.id, s.c.series_number).where(*conditions).correlate(study)
        series = below.offset(BARRIER).lateral("e")
        return study, series, study.join(series, true())

    def _holds_segment(self, series: FromClause) -> Condition:
        query = self.segments.select(ONE).where(self.p.c.series_id == series.c.id)
        return exists(query.correlate(series).offset(BARRIER))


class _InstanceWriter(LevelWriter):
    """Instances, by segment and position."""

    def page(self) -> Query:
        return self.ids(paged=True)

    def ids(self, *, paged: bool) -> Query:
        if not self.needs_segments:
            return self._whole_segments(paged=paged)
        if self.driven_by_terms or not paged:
            query = self._visible(
                self.segments.select(self.p.c.id.label("segment_id"), self._position(), instances=True)
            )
        else:
            window = self.window(WINDOW)
            segments = segment_search(self.plan, self.choice, window)
            position = segments.position.label("position")
            query = segments.select(window.c.id.label("segment_id"), position, instances=True)
        order: list[Expression] = [literal_column("segment_id"), literal_column("position")]
        return self.paginate(query.order_by(*order) if paged else query, paged=paged)

    def window(self, size: int) -> FromClause:
        p = self.p
        query = self._visible(select(p.c.id, p.c.study_id, p.c.series_id, p.c.instance_count, p.c.terms).select_from(p))
        return query.order_by(p.c.id).limit(literal_column(str(size))).subquery("p")

    def count(self) -> Query:
        if self.needs_segments:
            return super().count()
        # The counters of study and series rows are kept with every store.
        if not self.plan.needs_series:
            return select(func.coalesce(func.sum(self.t.c.instance_count), BARRIER)).where(self.studies())
        joined = self.s.join(self.t, self.t.c.id == self.s.c.study_id)
        total = func.coalesce(func.sum(self.s.c.instance_count), BARRIER)
        return select(total).select_from(joined).where(self.studies(), *self.series())

    def _whole_segments(self, *, paged: bool) -> Query:
        """Segments by running number of instances: a deep page costs a sum over segments, not over instances."""
        p = self.p
        upto = func.sum(p.c.instance_count).over(order_by=p.c.id, rows=(None, 0)).label("upto")
        numbered = self._visible(select(p.c.id.label("segment_id"), p.c.instance_count, upto).select_from(p))
        # Each segment holds at least one instance, so no more segments than that are needed.
        n = numbered.order_by(p.c.id).limit(_parameter("end")).subquery("n")
        before = n.c.upto - n.c.instance_count
        query = select(n.c.segment_id, n.c.instance_count, n.c.upto)
        return query.where(n.c.upto > _parameter("offset"), before < _parameter("end")).order_by(n.c.segment_id)

    def _position(self) -> Expression:
        return self.segments.position.label("position")

    def _visible(self, query: Query) -> Query:
        query = query.join(self.t, self.t.c.id == self.p.c.study_id).where(self.studies())
        if not self.plan.needs_series:
            return query
        return query.join(self.s, self.s.c.id == self.p.c.series_id).where(*self.series())


WRITERS: Mapping[Level, type[LevelWriter]] = {
    Level.STUDY: _StudyWriter,
    Level.SERIES: _SeriesWriter,
    Level.INSTANCE: _InstanceWriter,
}


def _study_columns(study: FromClause) -> list[Expression]:
    c = study.c
    return [
        c.study_instance_uid,
        c.modalities,
        c.sop_classes,
        c.series_count,
        c.instance_count.label("study_instance_count"),
        c.attributes.label("study_attributes"),
    ]


def _study_details(page: FromClause, order: Sequence[Expression]) -> Query:
    t = tables.study.alias("r")
    joined = page.join(t, t.c.id == page.c.id)
    return select(t.c.id.label("study_id"), *_study_columns(t)).select_from(joined).order_by(*order)


def _series_details(page: FromClause, order: Sequence[Expression]) -> Query:
    t, s = tables.study.alias("r"), tables.series.alias("q")
    joined = page.join(s, s.c.id == page.c.id).join(t, t.c.id == s.c.study_id)
    own = [
        s.c.id.label("series_id"),
        s.c.series_instance_uid,
        s.c.instance_count.label("series_instance_count"),
        s.c.attributes.label("series_attributes"),
    ]
    return select(*own, t.c.id.label("study_id"), *_study_columns(t)).select_from(joined).order_by(*order)


DETAILS = {Level.STUDY: _study_details, Level.SERIES: _series_details}


def _parameter(name: str) -> Expression:
    return bindparam(name, type_=BigInteger)


def _newest_first(study: FromClause) -> list[Expression]:
    return [study.c.study_date.desc(), study.c.id.desc()]


def _series_order(study_date: Expression, study_id: Expression, series: FromClause) -> list[Expression]:
    number = series.c.series_number.asc().nulls_last()
    return [study_date.desc(), study_id.desc(), number, series.c.id.asc()]
