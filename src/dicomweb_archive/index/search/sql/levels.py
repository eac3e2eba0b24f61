"""Statements of studies and series: how they are selected, ordered and paged."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sqlalchemy import FromClause, and_, bindparam, exists, func, literal_column, or_, select, true

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.search.kept_figures import REVISION
from dicomweb_archive.index.search.planning.filter_plan import Row
from dicomweb_archive.index.search.planning.order import SortKey, Source
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice, Shape
from dicomweb_archive.index.search.sql import aliases
from dicomweb_archive.index.search.sql.columns import column_test
from dicomweb_archive.index.search.sql.filter_segments import segment_search
from dicomweb_archive.index.search.sql.filter_tests import FilterWriter
from dicomweb_archive.index.search.sql.keyset import behind, in_order, labelled, numbered, sort_values
from dicomweb_archive.index.search.sql.positions import Expression
from dicomweb_archive.index.search.sql.segments import BARRIER, ONE, Condition, Query
from dicomweb_archive.index.search.sql.sql_types import LONG

MILESTONE_SERIES = 512
"""How many series lie between two milestones."""

TOTAL = "total"
"""How many match in all, in the rows of a counted page."""


class LevelWriter(ABC):
    """Writes the statements of one level; aliases: t study, s series, p segment, d its data, i instance.

    Rows carry their sort values (`k0`, `k1`...), so that the next page can begin behind the last of them.
    """

    def __init__(self, plan: SearchPlan, choice: Choice, visibility: Visibility) -> None:
        self.plan = plan
        self.choice = choice
        self.visibility = visibility
        self.t = aliases.STUDY
        self.s = aliases.SERIES
        self.segments = segment_search(plan, choice)
        self.p = self.segments.segment

    @abstractmethod
    def page(self, *, counted: bool = False) -> Query:
        """The rows of one page; `counted`, those of studies and series say how many match in all."""

    @abstractmethod
    def ids(self, *, paged: bool) -> Query:
        """The ids of what matches, of one page in order or of all in any order."""

    @abstractmethod
    def window(self, size: int) -> FromClause:
        """The first candidates in the order of the answer, before index keys."""

    def count(self) -> Query:
        """Count what matches, up to a cap."""
        return counted(self.ids(paged=False))

    def milestones(self) -> Query:
        """Every so many series by id, with the number of the instances before it, as far as two such pages may reach.

        Each series holds at least one instance. The last one says whether it is the `end` because there may be more.
        """
        s, end = self.s, parameter("end") * literal_column("2")
        before = func.sum(s.c.instance_count).over(order_by=s.c.id, rows=(None, 0)) - s.c.instance_count
        number = func.row_number().over(order_by=s.c.id)
        origin = s.join(self.t, self.t.c.id == s.c.study_id)
        found = select(s.c.id, before.label("before"), number.label("number")).select_from(origin)
        n = found.where(self.studies(), *self.series()).order_by(s.c.id).limit(end).subquery("n")
        first, last = n.c.number % literal_column(str(MILESTONE_SERIES)) == ONE, n.c.number == end
        columns = [n.c.id, n.c.before, last.label("end"), literal_column(REVISION).label("revision")]
        return select(*columns).where(or_(first, last)).order_by(n.c.id)

    def _counted(self, page: Query, *, counted: bool) -> Query:
        """Add how many match in all, for a page that has to find them all anyway."""
        if not counted:
            return page
        return page.add_columns(func.count().over().label(TOTAL))

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

    def behind_last(self, keys: Sequence[SortKey], values: Sequence[Expression], **at: bool) -> list[Condition]:
        """What lies behind the page before, where there was one."""
        return [behind(keys, values, **at)] if self.plan.resumed else []

    def paginate(self, query: Query, *, paged: bool) -> Query:
        """Cut one page out of the query, if asked to."""
        return query.limit(parameter("page")).offset(parameter("offset")) if paged else query

    def study_window(self, keys: Sequence[SortKey], size: int | None, *, at_last: bool) -> FromClause:
        """Studies with their sort values, in order: the first `size`, or all; none of the pages before.

        Args:
            at_last: the page before may have ended within a study, which then belongs to this one too.
        """
        values = sort_values(keys, {Source.STUDY: self.t})
        conditions = [self.studies(), *self.behind_last(keys, values, or_at=at_last)]
        query = select(self.t.c.id, *numbered(values)).where(*conditions).order_by(*in_order(keys, values))
        return (query.offset(BARRIER) if size is None else query.limit(literal_column(str(size)))).subquery("w")


class StudyWriter(LevelWriter):
    """Studies, the newest first or as asked for; all sort values are those of the study."""

    def page(self, *, counted: bool = False) -> Query:
        page = self._counted(self.ids(paged=True), counted=counted).subquery("page")
        return study_details(page, in_order(self.plan.order, labelled(self.plan.order, page)), self.plan.order)

    def window(self, size: int) -> FromClause:
        return self.study_window(self.plan.order, size, at_last=False)

    def ids(self, *, paged: bool) -> Query:
        keys = self.plan.order
        if self.choice.shape is Shape.ORDERED and not self.driven_by_terms:
            study = self.window(self.choice.window) if paged else self._all_studies()
            values = labelled(keys, study)
            query = select(study.c.id, *values).where(self._holds_segment(study))
        else:
            values = sort_values(keys, {Source.STUDY: self.t})
            query = self._from_rows(values)
        return self.paginate(query.order_by(*in_order(keys, values)) if paged else query, paged=paged)

    def _from_rows(self, values: Sequence[Expression]) -> Query:
        origin: FromClause = self.t
        conditions = [self.studies(), *self.behind_last(self.plan.order, values)]
        if self.driven_by_terms:
            hit = self._hits()
            origin = hit.join(self.t, self.t.c.id == hit.c.id)
        elif self.plan.needs_series:
            below = select(ONE).where(self.s.c.study_id == self.t.c.id, *self.series())
            conditions.append(exists(below))
        return select(self.t.c.id, *numbered(values)).select_from(origin).where(*conditions)

    def _all_studies(self) -> FromClause:
        values = sort_values(self.plan.order, {Source.STUDY: self.t})
        conditions = [self.studies(), *self.behind_last(self.plan.order, values)]
        return select(self.t.c.id, *numbered(values)).where(*conditions).subquery("w")

    def _hits(self) -> FromClause:
        # OFFSET 0: by way of the index on studies they would come sorted, and be looked at one by one.
        found = self._with_series(self.segments.select(self.p.c.study_id.label("id"))).offset(BARRIER).subquery("f")
        return select(found.c.id).distinct().cte("hit").prefix_with("MATERIALIZED")

    def _holds_segment(self, study: FromClause) -> Condition:
        query = self._with_series(self.segments.select(ONE)).where(self.p.c.study_id == study.c.id)
        return exists(query.correlate(study).offset(BARRIER))

    def _with_series(self, query: Query) -> Query:
        if not self.plan.needs_series:
            return query
        return query.join(self.s, self.s.c.id == self.p.c.series_id).where(*self.series())


class SeriesWriter(LevelWriter):
    """Series, of the newest study first, within a study by series number, or as asked for."""

    def page(self, *, counted: bool = False) -> Query:
        page = self._counted(self.ids(paged=True), counted=counted).subquery("page")
        return series_details(page, in_order(self.plan.order, labelled(self.plan.order, page)), self.plan.order)

    def window(self, size: int) -> FromClause:
        return self.study_window(self.plan.order[: self.plan.by_study], size, at_last=True)

    def ids(self, *, paged: bool) -> Query:
        keys = self.plan.order
        if self.driven_by_terms or self.plan.by_series or not self.plan.windowed:
            origin, conditions = self._joined()
            rows = {Source.STUDY: self.t, Source.SERIES: self.s}
            series: FromClause = self.s
            values = sort_values(keys, rows)
        else:
            study, series = self._study_by_study(ordered=paged)
            origin, conditions = study.join(series, true()), []
            values = labelled(keys[: self.plan.by_study], study)
            values += labelled(keys[self.plan.by_study :], series, first=self.plan.by_study)
        conditions += self.behind_last(keys, values)
        query = select(series.c.id, *numbered(values)).select_from(origin).where(*conditions)
        return self.paginate(query.order_by(*in_order(keys, values)) if paged else query, paged=paged)

    def count(self) -> Query:
        if not self.driven_by_terms or self.plan.needs_series or self.plan.resumed:
            return super().count()
        # Segments know the study of their series: no row of a series needs to be read to count it.
        found = self.segments.select(self.p.c.series_id.label("id"), self.p.c.study_id).distinct()
        hit = found.cte("hit").prefix_with("MATERIALIZED")
        seen = hit.join(self.t, self.t.c.id == hit.c.study_id)
        return counted(select(hit.c.id).select_from(seen).where(self.studies()))

    def _joined(self) -> tuple[FromClause, list[Condition]]:
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
        return origin, conditions

    def _study_by_study(self, *, ordered: bool) -> tuple[FromClause, FromClause]:
        """Study after study, so that a page stops early; a plain join would sort all series (spike: 47 ms)."""
        s, by_study = self.s, self.plan.by_study
        if ordered and self.needs_segments:
            study = self.window(self.choice.window)
        else:
            study = self.study_window(self.plan.order[:by_study], None, at_last=True)
        conditions = [s.c.study_id == study.c.id, *self.series()]
        if self.needs_segments:
            conditions.append(self._holds_segment(s))
        values = sort_values(self.plan.order[by_study:], {Source.SERIES: s}, first=by_study)
        below = select(s.c.id, *numbered(values, first=by_study)).where(*conditions).correlate(study)
        return study, below.offset(BARRIER).lateral("e")

    def _holds_segment(self, series: FromClause) -> Condition:
        query = self.segments.select(ONE).where(self.p.c.series_id == series.c.id)
        return exists(query.correlate(series).offset(BARRIER))


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


def study_details(page: FromClause, order: Sequence[Expression], keys: Sequence[SortKey] = ()) -> Query:
    """Read the rows of studies whose ids, and sort values, are those of `page`."""
    t = aliases.PAGE_STUDY
    joined = page.join(t, t.c.id == page.c.id)
    columns = [t.c.id.label("study_id"), *_study_columns(t), *labelled(keys, page)]
    return select(*columns, *_told_of_all(page)).select_from(joined).order_by(*order)


def series_details(page: FromClause, order: Sequence[Expression], keys: Sequence[SortKey] = ()) -> Query:
    """Read the rows of series whose ids, and sort values, are those of `page`."""
    t, s = aliases.PAGE_STUDY, aliases.PAGE_SERIES
    joined = page.join(s, s.c.id == page.c.id).join(t, t.c.id == s.c.study_id)
    own = [
        s.c.id.label("series_id"),
        s.c.series_instance_uid,
        s.c.instance_count.label("series_instance_count"),
        s.c.attributes.label("series_attributes"),
    ]
    columns = [*own, t.c.id.label("study_id"), *_study_columns(t), *labelled(keys, page)]
    return select(*columns, *_told_of_all(page)).select_from(joined).order_by(*order)


def _told_of_all(page: FromClause) -> list[Expression]:
    """What a counted page says of all that matches, and of which revision."""
    return [page.c[TOTAL], literal_column(REVISION).label("revision")] if TOTAL in page.c else []


DETAILS = {Level.STUDY: study_details, Level.SERIES: series_details}


def counted(query: Query) -> Query:
    """Count the rows of a query up to the cap."""
    return select(func.count()).select_from(query.limit(parameter("counted")).subquery("c"))


def parameter(name: str) -> Expression:
    """A whole number that the statement is given."""
    return bindparam(name, type_=LONG)
