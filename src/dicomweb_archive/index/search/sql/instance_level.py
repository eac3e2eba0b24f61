"""Statements of instances: how they are selected, ordered and paged."""

from collections.abc import Sequence

from sqlalchemy import FromClause, and_, func, literal_column, select, true

from dicomweb_archive.index.search.kept_figures import REVISION
from dicomweb_archive.index.search.planning.order import DEFAULT_ORDER, Source
from dicomweb_archive.index.search.planning.shape import Shape
from dicomweb_archive.index.search.sql import aliases
from dicomweb_archive.index.search.sql.filter_segments import segment_search
from dicomweb_archive.index.search.sql.keyset import in_order, numbered, segment_values, sort_values
from dicomweb_archive.index.search.sql.levels import LevelWriter, parameter
from dicomweb_archive.index.search.sql.positions import Expression
from dicomweb_archive.index.search.sql.segments import BARRIER, Condition, Query, SegmentSearch

_SERIES_ID: Expression = literal_column("series_id")


class InstanceWriter(LevelWriter):
    """Instances, by series and UID or as asked for; rows are segment and position.

    Aliases beside those of all levels: h the matching positions, q their segments, o their rows.
    """

    def page(self, *, counted: bool = False) -> Query:
        return self.ids(paged=True)

    def ids(self, *, paged: bool) -> Query:
        if not paged and not self.plan.resumed:
            return self._hits()
        if not self.plan.in_own_order:
            return self._sorted(paged=paged)
        return self._in_own_order(paged=paged) if self.needs_segments else self._whole_series(paged=paged)

    def window(self, size: int) -> FromClause:
        p = self.p
        columns = [p.c.id, p.c.study_id, p.c.series_id, p.c.instance_count, p.c.terms, p.c.varying]
        query = self._visible(select(*columns).select_from(p))
        query = query.where(*self._from_last_series(p.c.series_id))
        return query.order_by(p.c.series_id).limit(literal_column(str(size))).subquery("p")

    def count(self) -> Query:
        if self.needs_segments or (self.plan.resumed and not self.plan.in_own_order):
            return super().count()
        # The counters of study and series rows are kept with every store.
        if self.plan.resumed:
            return self._count_behind()
        if not self.plan.needs_series:
            return select(func.coalesce(func.sum(self.t.c.instance_count), BARRIER)).where(self.studies())
        return select(self._sum_of_series())

    # --- matching positions --------------------------------------------------------------------------------

    def _hits(self) -> Query:
        """Segment, series and position of what matches, in any order."""
        p = self.p
        columns = [p.c.series_id, p.c.id.label("segment_id"), self.segments.position.label("position")]
        return self._visible(self.segments.select(*columns, instances=True))

    def _first_hits(self) -> Query:
        """The same of the first candidates in the order of the answer."""
        window = self.window(self.choice.window)
        return self._hits_in(window, segment_search(self.plan, self.choice, window))

    def _hits_in_order(self) -> Query:
        """The same of what terms and zones leave over, in the order of the answer: opened until a page is full."""
        p = self.p
        columns = [p.c.id, p.c.study_id, p.c.series_id, p.c.instance_count, p.c.varying]
        found = self._visible(self.segments.candidates(*columns)).where(*self._from_last_series(p.c.series_id))
        # Else PostgreSQL may follow the order of the answer instead of the terms, past every segment there is.
        ordered = select(found.offset(BARRIER).subquery("g")).order_by(_SERIES_ID).offset(BARRIER).subquery("p")
        return self._hits_in(ordered, SegmentSearch(self.plan, self.choice, ordered, pruned=True))

    def _hits_in(self, segment: FromClause, segments: SegmentSearch) -> Query:
        columns = [segment.c.series_id, segment.c.id.label("segment_id"), segments.position.label("position")]
        return segments.select(*columns, instances=True)

    def _visible(self, query: Query) -> Query:
        query = query.join(self.t, self.t.c.id == self.p.c.study_id).where(self.studies())
        if not self.plan.needs_series:
            return query
        return query.join(self.s, self.s.c.id == self.p.c.series_id).where(*self.series())

    def _from_last_series(self, series_id: Expression) -> list[Condition]:
        return self.behind_last(DEFAULT_ORDER[self.plan.level][:1], [series_id], or_at=True)

    # --- by series and UID ---------------------------------------------------------------------------------

    def _in_own_order(self, *, paged: bool) -> Query:
        """Whole series of hits until they are enough, so that only their rows are opened for the UIDs."""
        if self.choice.shape is Shape.ORDERED and paged and not self.driven_by_terms:
            hits = self._first_hits()
        elif paged and not self.plan.by_sop_instance and not self.plan.filtered:
            hits = self._hits_in_order()
        else:
            found = self._hits().where(*self._from_last_series(self.p.c.series_id))
            # As there.
            hits = select(found.offset(BARRIER).subquery("g"))
        if paged:
            enough = parameter("end") + self._size_of_last_series()
            hits = hits.order_by(_SERIES_ID).fetch(enough, with_ties=True)
        h, o = hits.subquery("h"), aliases.ROW_OF_INSTANCE
        origin = h.join(o, and_(o.c.segment_id == h.c.segment_id, o.c.position == h.c.position))
        return self._by_uid(h.c.series_id, o, origin, parameter("offset"), paged=paged)

    def _whole_series(self, *, paged: bool) -> Query:
        """Series by running number of instances: a deep page costs a sum over series, not over instances."""
        s = self.s
        running: Expression = func.sum(s.c.instance_count).over(order_by=s.c.id, rows=(None, 0))
        upto = (running + parameter("passed") if self.plan.skipping else running).label("upto")
        origin = s.join(self.t, self.t.c.id == s.c.study_id)
        numbered = select(s.c.id, s.c.instance_count, upto).select_from(origin)
        numbered = numbered.where(self.studies(), *self.series(), *self._from_last_series(s.c.id))
        if self.plan.skipping:
            numbered = numbered.where(s.c.id >= parameter("first_series"), s.c.id < parameter("end_series"))
        end = parameter("end") + self._size_of_last_series()
        # Each series holds at least one instance, so no more series than that are needed.
        n = numbered.order_by(s.c.id).limit(end).subquery("n")
        before = (n.c.upto - n.c.instance_count).label("before")
        cut = select(n.c.id, before).where(n.c.upto > parameter("offset"), before < end)
        c = cut.cte("c").prefix_with("MATERIALIZED")
        q, o = aliases.ITS_SEGMENT, aliases.ROW_OF_INSTANCE
        # OFFSET 0: one series after the other. PostgreSQL, which takes them for thousands, would read all segments.
        held = select(q.c.id).where(q.c.series_id == c.c.id).correlate(c).offset(BARRIER).lateral("q")
        rows = c.join(held, true()).join(o, o.c.segment_id == held.c.id)
        skipped = select(func.coalesce(func.min(c.c.before), BARRIER)).scalar_subquery()
        return self._by_uid(c.c.id, o, rows, parameter("offset") - skipped, paged=paged)

    def _by_uid(
        self, series_id: Expression, instance: FromClause, origin: FromClause, offset: Expression, *, paged: bool
    ) -> Query:
        keys, values = self.plan.order, [series_id, instance.c.sop_instance_uid]
        columns = [instance.c.segment_id, instance.c.position, *numbered(values)]
        query = select(*columns).select_from(origin).where(*self.behind_last(keys, values))
        if not paged:
            return query
        if self.plan.skipping:
            query = query.add_columns(literal_column(REVISION).label("revision"))
        return query.order_by(*in_order(keys, values)).limit(parameter("page")).offset(offset)

    def _size_of_last_series(self) -> Expression:
        """How many instances of the series, in which the page before has ended, may have to be passed over."""
        if not self.plan.resumed:
            return BARRIER
        s = aliases.LAST_SERIES
        size = select(func.coalesce(func.max(s.c.instance_count), BARRIER)).where(s.c.id == _last_series())
        return size.scalar_subquery()

    def _count_behind(self) -> Query:
        """Sum up the series behind the last one, and count what is left of that."""
        keys = self.plan.order
        i, p = aliases.ROW_OF_INSTANCE, self.p
        rest = select(func.count()).select_from(i.join(p, p.c.id == i.c.segment_id))
        rest = self._visible(rest).where(*self.behind_last(keys, [p.c.series_id, i.c.sop_instance_uid]))
        rest = rest.where(p.c.series_id == _last_series())
        return select(self._sum_of_series(*self.behind_last(keys[:1], [self.s.c.id])) + rest.scalar_subquery())

    def _sum_of_series(self, *conditions: Condition) -> Expression:
        joined = self.s.join(self.t, self.t.c.id == self.s.c.study_id)
        total = select(func.coalesce(func.sum(self.s.c.instance_count), BARRIER)).select_from(joined)
        return total.where(self.studies(), *self.series(), *conditions).scalar_subquery()

    # --- in another order ----------------------------------------------------------------------------------

    def _sorted(self, *, paged: bool) -> Query:
        """All that matches, sorted; made for the instances of a study or series."""
        keys, o, q = self.plan.order, aliases.ROW_OF_INSTANCE, aliases.ITS_SEGMENT
        origin, conditions = self._rows(o, q)
        rows: dict[Source, FromClause] = {Source.STUDY: self.t, Source.SERIES: self.s, Source.INSTANCE: o}
        if any(key.source is Source.SEGMENT for key in keys):
            y = segment_values(keys, aliases.SORTED_DATA, q)
            origin, rows[Source.SEGMENT] = origin.join(y, true()), y
        values = sort_values(keys, rows)
        query = select(o.c.segment_id, o.c.position, *numbered(values)).select_from(origin)
        query = query.where(*conditions, *self.behind_last(keys, values))
        return self.paginate(query.order_by(*in_order(keys, values)) if paged else query, paged=paged)

    def _rows(self, o: FromClause, q: FromClause) -> tuple[FromClause, Sequence[Condition]]:
        """Rows of instances with those of segment, series and study."""
        if self.needs_segments:
            h = self._hits().subquery("h")
            origin = h.join(o, and_(o.c.segment_id == h.c.segment_id, o.c.position == h.c.position))
            origin = origin.join(q, q.c.id == h.c.segment_id)
            conditions: list[Condition] = []
        else:
            origin = q.join(o, o.c.segment_id == q.c.id)
            conditions = [self.studies(), *self.series()]
        origin = origin.join(self.s, self.s.c.id == q.c.series_id)
        return origin.join(self.t, self.t.c.id == q.c.study_id), conditions


def _last_series() -> Expression:
    return parameter("after_0")
