"""Pages: one page of what a planned search finds, and how many match behind it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final, TypeAlias

from asyncpg.exceptions import QueryCanceledError

from dicomweb_archive.dicom.query import Counting, Level
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.search.collect import Collected, collect
from dicomweb_archive.index.search.kept_figures import REVISION, KeptFigures
from dicomweb_archive.index.search.kept_statements import KeptStatements
from dicomweb_archive.index.search.milestones import Milestones
from dicomweb_archive.index.search.planning.key_prunes import Finding
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice, Shape, driven_by_terms
from dicomweb_archive.index.search.sql.keyset import label_of
from dicomweb_archive.index.search.sql.levels import TOTAL
from dicomweb_archive.index.search.sql.statements import Part, Statement

HELD_ROWS = 1000
"""Pages of studies and series up to this size are read whole; of larger ones only the ids are."""

COUNT_SECONDS = 2.0
"""Longest that counting what stands behind a page may take; then the number is said to be larger."""

DEEP_OFFSET = 20_000
"""From here on a page of all instances is sought from a milestone."""

_OF_ONE_PAGE: Final = frozenset({"page", "offset", "end", "counted"})

SortValues: TypeAlias = tuple[str | int | float, ...]
Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PreparedSearch:
    """A search whose keys have been looked up, and the shape that its statements take."""

    plan: SearchPlan
    findings: Sequence[Finding]
    choice: Choice
    count_is_cheap: bool = True

    def of_all(self) -> Choice:
        """Choose the shape for statements about everything that matches, not one page of it."""
        if self.choice.shape is Shape.ORDERED and not self.plan.selective:
            return driven_by_terms(self.plan, self.findings)
        return self.choice


@dataclass(frozen=True, slots=True)
class Hits:
    """What was found: rows with details, ids, or runs of positions by segment."""

    rows: Sequence[Row] = ()
    ids: Sequence[int] = ()
    segments: Sequence[tuple[int, Sequence[int]]] = ()
    last: SortValues | None = None
    remaining: int = 0
    capped: bool = False
    uncounted: bool = False


@dataclass(frozen=True, slots=True)
class PageSearch:
    """One search on one connection."""

    connection: Connection
    prepared: PreparedSearch
    visibility: Visibility
    statements: KeptStatements
    figures: KeptFigures
    deep: KeptFigures

    @property
    def plan(self) -> SearchPlan:
        return self.prepared.plan

    async def page(self) -> Hits:
        """Fetch a page and one row more, which tells whether the rest has to be counted."""
        try:
            if self._counts_by_the_way:
                return await self._counted_page()
        except QueryCanceledError:
            if self.plan.counting is Counting.EXACT:
                raise
            # The page itself may be found in time; a count that is not must not take it away.
            return await self._page(counting=False)
        return await self._page()

    async def _page(self, *, counting: bool = True) -> Hits:
        """Fetch a page, and count what stands behind it by itself."""
        rows = await self._rows()
        hits = self._hits(rows)
        if self.plan.limit and not self._is_full(rows):
            return hits
        if self.plan.counting is Counting.NONE:
            return replace(hits, uncounted=bool(rows) if self.plan.limit else await self._finds_any())
        counted = await self._count() if counting else None
        if counted is not None:
            remaining, capped = counted
            return replace(hits, remaining=remaining, capped=capped)
        more = self.plan.limit > 0 or await self._finds_any()
        return replace(hits, remaining=1, capped=True, uncounted=True) if more else hits

    async def _rows(self) -> Sequence[Row] | Collected:
        choice = self.prepared.choice
        if self._is_deep:
            deep = await self._deep_rows()
            if deep:
                return deep
        rows = await self._fetch(choice) if self.plan.limit else []
        if choice.shape is Shape.ORDERED and not self._is_full(rows) and await self._window_was_full(choice.window):
            rows = await self._fetch(driven_by_terms(self.plan, self.prepared.findings))
        return rows

    # --- deep pages of instances -------------------------------------------------------------------------------

    @property
    def _is_deep(self) -> bool:
        """Whether the page lies so far behind, in the instances' own order, that finding its series costs most."""
        plan = self.plan
        plain = plan.level is Level.INSTANCE and not plan.needs_segments and plan.in_own_order and not plan.resumed
        return plain and plan.offset >= DEEP_OFFSET and 0 < plan.limit <= HELD_ROWS

    async def _deep_rows(self) -> Sequence[Row]:
        """Fetch a page from the milestone before it; nothing when there is none, or something has changed since."""
        milestones = await self._milestones()
        if milestones is None:
            return []
        stretch = milestones.stretch(self.plan.offset, self.plan.limit + 1)
        near = replace(self.prepared, plan=replace(self.plan, stretch=stretch, skipping=True))
        rows = await self.connection.fetch(
            *await replace(self, prepared=near)._statement(self.prepared.choice, Part.PAGE)
        )
        return rows if rows and rows[0]["revision"] == milestones.revision else []

    async def _milestones(self) -> Milestones | None:
        statement, values = await self.statements.find(
            self.plan, self.prepared.choice, self.visibility, Part.MILESTONES
        )
        name = self._figure(statement, values)
        kept: Milestones | None = await self.deep.find(self.connection, name)
        if kept is not None and kept.reach(self.plan.offset, self.plan.limit + 1):
            return kept
        rows = await self.connection.fetch(statement.text, *values)
        if not rows or rows[0]["revision"] is None:
            return None
        series, before = [row["id"] for row in rows], [int(row["before"]) for row in rows]
        made = Milestones(rows[0]["revision"], series, before, whole=not rows[-1]["end"])
        self.deep.keep(name, made.revision, made)
        return made

    # --- page and count by one statement -----------------------------------------------------------------------

    @property
    def _counts_by_the_way(self) -> bool:
        """Whether the count is wanted and finds all that matches in a form that the page can be cut from.

        Rows of series are not read to count them, so that their page by itself is cheaper where it ends early.
        """
        plan, choice = self.plan, self.prepared.choice
        if plan.level is Level.INSTANCE or not 0 < plan.limit <= HELD_ROWS or plan.counting is Counting.NONE:
            return False
        if not (plan.keys or plan.filtered) or plan.by_sop_instance or plan.selective:
            return False
        if choice.shape is Shape.ORDERED and plan.level is Level.SERIES:
            return False
        return plan.counting is Counting.EXACT or self.prepared.count_is_cheap

    async def _counted_page(self) -> Hits:
        """Fetch a page together with the count; by itself, where that is cheaper, when the count is kept."""
        choice = self.prepared.of_all()
        statement, values = await self.statements.find(self.plan, choice, self.visibility, Part.COUNTED)
        figure = self._figure(statement, values)
        if self.prepared.choice.shape is Shape.ORDERED:
            known = await self.figures.find(self.connection, figure)
            if known is not None:
                return self._behind(await self._rows(), known)
        rows = await self._within(COUNT_SECONDS, self.connection.fetch, statement.text, values)
        if rows:
            self.figures.keep(figure, rows[0]["revision"], rows[0][TOTAL])
        return self._behind(rows, rows[0][TOTAL] if rows else 0)

    def _behind(self, rows: Sequence[Row] | Collected, total: int) -> Hits:
        hits = self._hits(rows)
        if not self._is_full(rows):
            return hits
        remaining = total - self.plan.offset - self.plan.limit
        if remaining > self.plan.count_cap and self.plan.counting is not Counting.EXACT:
            return replace(hits, remaining=self.plan.count_cap, capped=True)
        return replace(hits, remaining=max(0, remaining))

    # --- the page by itself ------------------------------------------------------------------------------------

    async def _fetch(self, choice: Choice) -> Sequence[Row] | Collected:
        if self.plan.limit > HELD_ROWS:
            found = Collected(keeps=self.plan.limit)
            await collect(found, self.connection, self.plan.level, *await self._statement(choice, self._part))
            return found
        rows: Sequence[Row] = await self.connection.fetch(*await self._statement(choice, self._part))
        return rows

    @property
    def _part(self) -> Part:
        held = self.plan.level is Level.INSTANCE or self.plan.limit <= HELD_ROWS
        return Part.PAGE if held else Part.IDS

    async def _statement(self, choice: Choice, part: Part) -> tuple[Any, ...]:
        statement, arguments = await self.statements.find(self.plan, choice, self.visibility, part)
        return (statement.text, *arguments)

    def _is_full(self, rows: Sequence[Row] | Collected) -> bool:
        return len(rows) > self.plan.limit

    async def _window_was_full(self, window: int) -> bool:
        """Whether an order driven search that came short has left candidates out."""
        if self.plan.limit == 0 or not self.plan.windowed:
            return False
        none = Choice(Shape.COLUMNS, window=window)
        candidates: int = await self.connection.fetchval(*await self._statement(none, Part.WINDOW))
        return candidates > window

    async def _finds_any(self) -> bool:
        """Whether anything matches, for a page of no rows, which does not show it."""
        one = replace(self.plan, limit=1, counting=Counting.NONE)
        hits = await replace(self, prepared=replace(self.prepared, plan=one)).page()
        return bool(hits.rows or hits.segments)

    async def _count(self) -> tuple[int, bool] | None:
        """Count what stands behind the page, exactly up to a cap; `None` where that would cost too much."""
        if self.plan.counting is Counting.BOUNDED and self.plan.limit and not self.prepared.count_is_cheap:
            return None
        choice = self.prepared.of_all()
        behind = self.plan.offset + self.plan.limit
        try:
            total = await self._count_within(COUNT_SECONDS, choice)
        except QueryCanceledError:
            if self.plan.counting is Counting.EXACT:
                raise
            # The page itself was found in time; a count that is not must not take it away.
            return None
        counted_to = behind + self.plan.count_cap + 1
        if total == counted_to and not self._sums_counters and self.plan.counting is not Counting.EXACT:
            return self.plan.count_cap, True
        return max(0, total - behind), False

    @property
    def _sums_counters(self) -> bool:
        """Whether the count is a sum over rows of studies or series, to which no cap applies."""
        plan = self.plan
        sums = plan.level is Level.INSTANCE and not plan.needs_segments
        return sums and (plan.in_own_order or not plan.resumed)

    async def _count_within(self, seconds: float, choice: Choice) -> int:
        statement, values = await self.statements.find(self.plan, choice, self.visibility, Part.COUNT)
        figure = self._figure(statement, values)
        known: int | None = await self.figures.find(self.connection, figure)
        if known is not None:
            return known
        text = f"select c.total, {REVISION} as revision from ({statement.text}) c(total)"  # noqa: S608 - no value in it
        if self.plan.keys or self.plan.filtered:
            (row,) = await self._within(seconds, self.connection.fetch, text, values)
        else:
            (row,) = await self.connection.fetch(text, *values)
        total: int = row["total"]
        if self._sums_counters or total < statement.value_of("counted", values):
            self.figures.keep(figure, row["revision"], total)
        return total

    def _figure(self, statement: Statement, values: Sequence[Any]) -> bytes:
        """Name what is kept of a search, whichever of its pages is asked for."""
        of_all = [value for name, value in zip(statement.names, values, strict=True) if name not in _OF_ONE_PAGE]
        return self.figures.name(statement.text, of_all)

    async def _within(
        self, seconds: float, fetch: Callable[..., Awaitable[Any]], text: str, values: Sequence[Any]
    ) -> Any:
        """Run a statement that goes through all that matches."""
        settings = "set local enable_seqscan = off"
        if self.plan.counting is not Counting.EXACT:
            # Only re-checks of many segments can take long.
            settings += f"; set local statement_timeout = {int(seconds * 1000)}"
        async with self.connection.transaction():
            # PostgreSQL takes comparing arrays of terms for cheap: it would rather do so for all segments than look up
            # terms that half of them have, and take five times as long.
            await self.connection.execute(settings)
            return await fetch(text, *values)

    def _hits(self, rows: Sequence[Row] | Collected) -> Hits:
        limit = self.plan.limit
        if isinstance(rows, Collected):
            last = rows.last if self._is_full(rows) else None
            rows.cut(limit)
            if self.plan.level is Level.INSTANCE:
                return Hits(segments=rows.segments(), last=self._sort_values(last))
            return Hits(ids=rows.ids, last=self._sort_values(last))
        last = rows[limit - 1] if limit and self._is_full(rows) else None
        rows = rows[:limit]
        if self.plan.level is not Level.INSTANCE:
            return Hits(rows=rows, last=self._sort_values(last))
        grouped = groupby(rows, key=lambda row: row["segment_id"])
        runs = [(segment_id, [row["position"] for row in group]) for segment_id, group in grouped]
        return Hits(segments=runs, last=self._sort_values(last))

    def _sort_values(self, row: Row | None) -> SortValues | None:
        return None if row is None else tuple(row[label_of(number)] for number in range(len(self.plan.order)))
