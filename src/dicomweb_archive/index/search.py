"""Search: runs a plan and hands out finished DICOM JSON objects (PS3.18 10.6)."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeAlias

from asyncpg.exceptions import QueryCanceledError

from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.query_filter import conditions, with_vrs
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.engine import Connection, Database
from dicomweb_archive.index.moved import find_moved
from dicomweb_archive.index.search_answers import AnswerWriter
from dicomweb_archive.index.search_collect import Collected, collect
from dicomweb_archive.index.search_filter_planner import plan_with_filter
from dicomweb_archive.index.search_filter_prunes import with_prune
from dicomweb_archive.index.search_plan import SearchPlan
from dicomweb_archive.index.search_planner import with_known_vrs
from dicomweb_archive.index.search_shape import (
    WINDOW,
    Choice,
    Finding,
    Shape,
    Statistics,
    choose_shape,
    driven_by_terms,
)
from dicomweb_archive.index.search_sql import COUNT_CAP, Part, details_statement, search_statement
from dicomweb_archive.index.search_terms import TermFinder
from dicomweb_archive.index.segment_document import Document, decode_document

CACHE_BYTES = 32 * 1024 * 1024

HELD_ROWS = 1000
"""Pages of studies and series up to this size are read whole; of larger ones only the ids are."""

COUNT_SECONDS = 2.0
"""Longest that counting what stands behind a page may take; then the number is said to be larger."""

_BATCH_ROWS = 500
_BATCH_SEGMENTS = 32
_YIELD_EVERY = 100

# Reads what answers about instances are made of; documents that are cached ($2) stay where they are.
READ_SEGMENTS = """
select p.id as segment_id, p.instance_count, t.study_instance_uid, s.series_instance_uid, t.modalities,
  t.sop_classes, t.series_count, t.instance_count as study_instance_count,
  s.instance_count as series_instance_count, case when p.id = any($2::int8[]) then null else d.document end as document
from segment p join study t on t.id = p.study_id join series s on s.id = p.series_id
join segment_data d on d.segment_id = p.id
where p.id = any($1::int8[])
"""

Row: TypeAlias = Mapping[str, Any]
Chooser: TypeAlias = Callable[[SearchPlan, Sequence[Finding], Statistics], Choice]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of an answer.

    Attributes:
        rows: DICOM JSON objects, each finished; to be read once.
        remaining: how many more match behind this page.
        capped: there are more than `remaining`; counting them all would cost too much.
    """

    rows: AsyncIterator[bytes]
    remaining: int
    capped: bool = False


@dataclass(frozen=True, slots=True)
class PreparedSearch:
    """A search whose keys have been looked up, and the shape that its statements take."""

    plan: SearchPlan
    findings: Sequence[Finding]
    choice: Choice

    def of_all(self) -> Choice:
        """Choose the shape for statements about everything that matches, not one page of it."""
        if self.choice.shape is Shape.ORDERED and not self.plan.selective:
            return driven_by_terms(self.plan, self.findings)
        return self.choice


@dataclass(frozen=True, slots=True)
class _Hits:
    """What was found: rows with details, ids, or positions by segment."""

    rows: Sequence[Row] = ()
    ids: Sequence[int] = ()
    segments: Sequence[tuple[int, Sequence[int]]] = ()
    remaining: int = 0
    capped: bool = False


class SearchIndex:
    """Searches the index. Documents of segments never change and are kept decoded, within bounds."""

    def __init__(self, database: Database, *, cache_bytes: int = CACHE_BYTES, choose: Chooser = choose_shape) -> None:
        self._database = database
        self._choose = choose
        self._terms = TermFinder(database)
        self._documents = _Documents(cache_bytes)

    async def search(self, query: SearchQuery, visibility: Visibility, *, service_root: str) -> SearchPage:
        """Find one page of what matches and is visible, in a total order that stays the same between requests.

        Studies come newest first, series by study and series number, instances by segment and position.

        Raises:
            InvalidMatchError: a wild card for an attribute that has none.
            QueryTooExpensiveError: the search ran into its time limit.
            DatabaseUnavailableError: trying again later may help.
        """
        async with self._database.search_connection() as connection:
            hits = await self._find(connection, query, visibility)
        writer = AnswerWriter(query, service_root)
        return SearchPage(self._write(query.level, writer, hits), hits.remaining, hits.capped)

    # --- finding ---------------------------------------------------------------------------------------------

    async def _find(self, connection: Connection, query: SearchQuery, visibility: Visibility) -> _Hits:
        prepared = await self.prepare(connection, query)
        if prepared is None:
            return _Hits()
        return await _Search(connection, prepared, visibility).page()

    async def prepare(self, connection: Connection, query: SearchQuery) -> PreparedSearch | None:
        """Plan a search and look its keys up; `None` when nothing can match.

        Raises:
            InvalidMatchError: a wild card for an attribute that has none.
        """
        plan = plan_with_filter(await self._with_known_vrs(connection, query))
        if plan.impossible:
            return None
        if plan.filter is not None and plan.filter.rest is not None:
            filtered = with_prune(plan, await self._terms.find_each(connection, plan.filter.keys))
            if filtered is None:
                return None
            plan = filtered
        findings: Sequence[Finding] | None = ()
        if plan.keys:
            findings = await self._terms.find(connection, plan.keys)
        if findings is None:
            return None
        statistics = await self._terms.statistics(connection)
        return PreparedSearch(plan, findings, self._choose(plan, findings, statistics.sizes))

    async def _with_known_vrs(self, connection: Connection, query: SearchQuery) -> SearchQuery:
        """Give attributes of unknown VR (private ones) the VR with which the archive holds them."""
        asked = [key.path for key in query.keys]
        if query.filter is not None:
            asked += [condition.path for condition in conditions(query.filter)]
        unknown = [str(path) for path in asked if path.vr == "UN"]
        if not unknown:
            return query
        vrs = await self._terms.known_vrs(connection, unknown)
        expression = None if query.filter is None else with_vrs(query.filter, vrs)
        return replace(query, keys=with_known_vrs(query.keys, vrs, fuzzy=query.fuzzy), filter=expression)

    # --- writing ---------------------------------------------------------------------------------------------

    async def _write(self, level: Level, writer: AnswerWriter, hits: _Hits) -> AsyncIterator[bytes]:
        if level is Level.INSTANCE:
            async for text in self._instances(writer, hits.segments):
                yield text
            return
        write = writer.study if level is Level.STUDY else writer.series
        async for rows in self._batches(level, hits):
            for number, row in enumerate(rows, 1):
                yield write(row)
                if number % _YIELD_EVERY == 0:
                    # A page of thousands must not hold everybody else up.
                    await asyncio.sleep(0)

    async def _batches(self, level: Level, hits: _Hits) -> AsyncIterator[Sequence[Row]]:
        if hits.rows:
            yield hits.rows
        for first in range(0, len(hits.ids), _BATCH_ROWS):
            text, arguments = details_statement(level, hits.ids[first : first + _BATCH_ROWS])
            async with self._database.search_connection() as connection:
                rows = await connection.fetch(text, *arguments)
            yield rows

    async def _instances(
        self, writer: AnswerWriter, segments: Sequence[tuple[int, Sequence[int]]]
    ) -> AsyncIterator[bytes]:
        for first in range(0, len(segments), _BATCH_SEGMENTS):
            batch = dict(segments[first : first + _BATCH_SEGMENTS])
            cached = self._documents.find(batch)
            async with self._database.search_connection() as connection:
                rows = await connection.fetch(READ_SEGMENTS, list(batch), list(cached))
                by_id = {row["segment_id"]: row for row in rows}
                if len(by_id) < len(batch):
                    await self._follow(connection, batch, by_id)
            # A segment deleted since it was found is left out.
            for segment_id in (segment_id for segment_id in batch if segment_id in by_id):
                row = by_id[segment_id]
                document = cached.get(segment_id) or self._documents.add(row["segment_id"], row["document"])
                for text in writer.instances(row, document, batch[segment_id]):
                    yield text
                await asyncio.sleep(0)

    async def _follow(self, connection: Connection, batch: dict[int, Sequence[int]], by_id: dict[int, Row]) -> None:
        """Add the rows of segments that were merged since they were found, with positions as they are now."""
        moved = await find_moved(connection, batch.keys() - by_id.keys())
        rows = await connection.fetch(READ_SEGMENTS, [each.segment_id for each in moved.values()], [])
        found = {row["segment_id"]: row for row in rows}
        for segment_id, (new_id, shift) in moved.items():
            if new_id in found:
                by_id[segment_id] = found[new_id]
                batch[segment_id] = [position + shift for position in batch[segment_id]]


@dataclass(frozen=True, slots=True)
class _Search:
    """One search on one connection."""

    connection: Connection
    prepared: PreparedSearch
    visibility: Visibility

    @property
    def plan(self) -> SearchPlan:
        return self.prepared.plan

    async def page(self) -> _Hits:
        """Fetch a page and one row more, which tells whether the rest has to be counted."""
        choice = self.prepared.choice
        rows = await self._fetch(choice) if self.plan.limit else []
        if choice.shape is Shape.ORDERED and not self._is_full(rows) and await self._window_was_full():
            choice = driven_by_terms(self.plan, self.prepared.findings)
            rows = await self._fetch(choice)
        hits = self._hits(rows)
        if self.plan.limit and not self._is_full(rows):
            return hits
        remaining, capped = await self._count()
        return replace(hits, remaining=remaining, capped=capped)

    async def _fetch(self, choice: Choice) -> Sequence[Row] | Collected:
        if self.plan.limit > HELD_ROWS and not self._by_whole_segments:
            return await collect(self.connection, self.plan.level, *self._statement(choice, self._part))
        rows: Sequence[Row] = await self.connection.fetch(*self._statement(choice, self._part))
        return rows

    @property
    def _part(self) -> Part:
        held = self.plan.level is Level.INSTANCE or self.plan.limit <= HELD_ROWS
        return Part.PAGE if held else Part.IDS

    @property
    def _by_whole_segments(self) -> bool:
        return self.plan.level is Level.INSTANCE and not self.plan.needs_segments

    def _statement(self, choice: Choice, part: Part) -> tuple[Any, ...]:
        text, arguments = search_statement(self.plan, choice, self.visibility, part)
        return (text, *arguments)

    def _is_full(self, rows: Sequence[Row] | Collected) -> bool:
        if self._by_whole_segments and not isinstance(rows, Collected):
            return bool(rows) and rows[-1]["upto"] > self.plan.offset + self.plan.limit
        return len(rows) > self.plan.limit

    async def _window_was_full(self) -> bool:
        """Whether an order driven search that came short has left candidates out."""
        if self.plan.limit == 0:
            return False
        none = Choice(Shape.COLUMNS)
        candidates: int = await self.connection.fetchval(*self._statement(none, Part.WINDOW))
        return candidates > WINDOW

    async def _count(self) -> tuple[int, bool]:
        """Count what stands behind the page, exactly up to a cap."""
        choice = self.prepared.of_all()
        behind = self.plan.offset + self.plan.limit
        try:
            total = await self._count_within(COUNT_SECONDS, choice)
        except QueryCanceledError:
            # The page itself was found in time; a count that is not must not take it away.
            return 1, True
        counted_to = behind + COUNT_CAP + 1
        if total == counted_to and not self._by_whole_segments:
            return COUNT_CAP, True
        return max(0, total - behind), False

    async def _count_within(self, seconds: float, choice: Choice) -> int:
        total: int
        if not self.plan.keys and not self.plan.filtered:
            total = await self.connection.fetchval(*self._statement(choice, Part.COUNT))
            return total
        # Only re-checks of many segments can take long.
        async with self.connection.transaction():
            await self.connection.execute(f"set local statement_timeout = {int(seconds * 1000)}")
            total = await self.connection.fetchval(*self._statement(choice, Part.COUNT))
        return total

    def _hits(self, rows: Sequence[Row] | Collected) -> _Hits:
        if isinstance(rows, Collected):
            rows.cut(self.plan.limit)
            if self.plan.level is Level.INSTANCE:
                return _Hits(segments=rows.segments())
            return _Hits(ids=rows.ids)
        if self._by_whole_segments:
            return _Hits(segments=list(self._positions(rows)))
        rows = rows[: self.plan.limit]
        if self.plan.level is Level.INSTANCE:
            grouped = groupby(rows, key=lambda row: row["segment_id"])
            return _Hits(segments=[(id_, [row["position"] for row in group]) for id_, group in grouped])
        if self._part is Part.IDS:
            return _Hits(ids=[row["id"] for row in rows])
        return _Hits(rows=rows)

    def _positions(self, rows: Sequence[Row]) -> Iterator[tuple[int, Sequence[int]]]:
        """Cut whole segments to the page."""
        for row in rows:
            before = row["upto"] - row["instance_count"]
            first = max(0, self.plan.offset - before)
            end = min(row["instance_count"], self.plan.offset + self.plan.limit - before)
            if first < end:
                yield row["segment_id"], range(first, end)


class _Documents:
    """Decoded documents of segments, least recently used out first."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._size = 0
        self._kept: OrderedDict[int, tuple[Document, int]] = OrderedDict()

    def find(self, ids: Mapping[int, object]) -> dict[int, Document]:
        """Return those of these segments that are kept."""
        found = {id_: self._kept[id_][0] for id_ in ids if id_ in self._kept}
        for id_ in found:
            self._kept.move_to_end(id_)
        return found

    def add(self, segment_id: int, compressed: bytes) -> Document:
        """Decode a document and keep it."""
        document = decode_document(compressed)
        size = sum(
            len(content) if isinstance(content, bytes) else sum(map(len, content)) + 40 * len(content)
            for _, content in document.lines
        )
        if size <= self._capacity_bytes and segment_id not in self._kept:
            self._kept[segment_id] = document, size
            self._size += size
        while self._size > self._capacity_bytes:
            self._size -= self._kept.popitem(last=False)[1][1]
        return document
