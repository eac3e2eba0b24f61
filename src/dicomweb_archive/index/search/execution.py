"""Search: runs a plan and hands out finished DICOM JSON objects (PS3.18 10.6)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.query_filter import conditions, with_vrs
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.search.answers import AnswerWriter
from dicomweb_archive.index.search.documents import KeptDocuments
from dicomweb_archive.index.search.kept_figures import KeptFigures
from dicomweb_archive.index.search.kept_statements import KeptStatements
from dicomweb_archive.index.search.milestones import KEPT_MILESTONES
from dicomweb_archive.index.search.paging import Hits, PageSearch, PreparedSearch, Row, SortValues
from dicomweb_archive.index.search.phrases import find_phrases
from dicomweb_archive.index.search.planning.filter_plan import FilterPlan
from dicomweb_archive.index.search.planning.filter_planner import plan_with_filter
from dicomweb_archive.index.search.planning.filter_prunes import with_prune
from dicomweb_archive.index.search.planning.key_prunes import Finding
from dicomweb_archive.index.search.planning.plan import COUNT_CAP, SearchPlan
from dicomweb_archive.index.search.planning.planner import with_known_vrs
from dicomweb_archive.index.search.planning.shape import Choice, Statistics, choose_shape, count_is_cheap
from dicomweb_archive.index.search.sql.statements import details_statement
from dicomweb_archive.index.search.terms import TermFinder
from dicomweb_archive.index.segments.moved import find_moved

CACHE_BYTES = 32 * 1024 * 1024

_BATCH_ROWS = 500
_BATCH_SEGMENTS = 32
_BATCH_RUNS = 1000
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

Chooser: TypeAlias = Callable[[SearchPlan, Sequence[Finding], Statistics], Choice]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of an answer.

    Attributes:
        rows: DICOM JSON objects, each finished; to be read once.
        remaining: how many more match behind this page.
        capped: there are more than `remaining`, or at least so many when `uncounted`.
        uncounted: there are more, and how many nobody wanted to know or would cost too much.
        last: the sort values of the last row, when more match behind it.
    """

    rows: AsyncIterator[bytes]
    remaining: int
    capped: bool = False
    uncounted: bool = False
    last: SortValues | None = None


class SearchIndex:
    """Searches the index. Documents of segments never change and are kept decoded, within bounds."""

    def __init__(
        self,
        database: Database,
        *,
        cache_bytes: int = CACHE_BYTES,
        count_cap: int = COUNT_CAP,
        choose: Chooser = choose_shape,
    ) -> None:
        self._database = database
        self._count_cap = count_cap
        self._choose = choose
        self._terms = TermFinder(database)
        self._documents = KeptDocuments(cache_bytes)
        self.statements = KeptStatements()
        self.figures = KeptFigures()
        self._deep = KeptFigures(KEPT_MILESTONES)

    async def search(self, query: SearchQuery, visibility: Visibility, *, service_root: str) -> SearchPage:
        """Find one page of what matches and is visible, in a total order that stays the same between requests.

        Without another order studies come newest first, series by study and series number, instances by series
        and UID.

        Raises:
            InvalidMatchError: a wild card for an attribute that has none.
            InvalidParameterError: an attribute that the answer cannot be sorted by.
            QueryTooExpensiveError: the search ran into its time limit.
            DatabaseUnavailableError: trying again later may help.
        """
        async with self._database.search_connection() as connection:
            hits = await self._find(connection, query, visibility)
        writer = AnswerWriter(query, service_root)
        rows = self._write(query.level, writer, hits)
        return SearchPage(rows, hits.remaining, hits.capped, hits.uncounted, hits.last)

    async def secret(self) -> bytes:
        """Return the archive's secret, for what must not be forged."""
        return await self._terms.secret()

    # --- finding ---------------------------------------------------------------------------------------------

    async def _find(self, connection: Connection, query: SearchQuery, visibility: Visibility) -> Hits:
        prepared = await self.prepare(connection, query, visibility)
        if prepared is None:
            return Hits()
        return await PageSearch(connection, prepared, visibility, self.statements, self.figures, self._deep).page()

    async def prepare(
        self, connection: Connection, query: SearchQuery, visibility: Visibility
    ) -> PreparedSearch | None:
        """Plan a search and look its keys up; `None` when nothing can match.

        Raises:
            InvalidMatchError: a wild card for an attribute that has none.
        """
        plan = plan_with_filter(await self._with_known_vrs(connection, query, visibility))
        plan = replace(plan, count_cap=self._count_cap)
        if plan.impossible:
            return None
        if plan.filter is not None and plan.filter.asks_instances:
            looked_up = await self._with_phrases(connection, plan, plan.filter)
            filtered = with_prune(looked_up, await self._terms.find_each(connection, plan.filter.keys))
            if filtered is None:
                return None
            plan = filtered
        findings: Sequence[Finding] | None = ()
        if plan.keys:
            findings = await self._terms.find(connection, plan.keys)
        if findings is None:
            return None
        statistics = await self._terms.statistics(connection)
        choice = self._choose(plan, findings, statistics.sizes)
        return PreparedSearch(plan, findings, choice, count_is_cheap(plan, findings, statistics.sizes))

    async def _with_phrases(self, connection: Connection, plan: SearchPlan, found: FilterPlan) -> SearchPlan:
        """Add what the dictionary knows of free text."""
        if not found.phrases:
            return plan
        phrases = await find_phrases(connection, found.phrases, await self._terms.statistics(connection))
        return replace(plan, filter=replace(found, phrases=phrases))

    async def _with_known_vrs(self, connection: Connection, query: SearchQuery, visibility: Visibility) -> SearchQuery:
        """Give attributes of unknown VR (private ones) the VR with which the archive holds them."""
        asked = [key.path for key in query.keys]
        if query.filter is not None:
            asked += [condition.path for condition in conditions(query.filter)]
        unknown = [str(path) for path in asked if path.vr == "UN"]
        if not unknown:
            return query
        vrs = await self._terms.known_vrs(connection, unknown, visibility)
        expression = None if query.filter is None else with_vrs(query.filter, vrs)
        return replace(query, keys=with_known_vrs(query.keys, vrs, fuzzy=query.fuzzy), filter=expression)

    # --- writing ---------------------------------------------------------------------------------------------

    async def _write(self, level: Level, writer: AnswerWriter, hits: Hits) -> AsyncIterator[bytes]:
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

    async def _batches(self, level: Level, hits: Hits) -> AsyncIterator[Sequence[Row]]:
        if hits.rows:
            yield hits.rows
        for first in range(0, len(hits.ids), _BATCH_ROWS):
            text, arguments = details_statement(level, hits.ids[first : first + _BATCH_ROWS])
            async with self._database.search_connection() as connection:
                rows = await connection.fetch(text, *arguments)
            yield rows

    async def _instances(
        self, writer: AnswerWriter, segments: Iterable[tuple[int, Sequence[int]]]
    ) -> AsyncIterator[bytes]:
        for batch in _batches_of_runs(segments):
            positions: dict[int, list[int]] = {}
            for segment_id, run in batch:
                positions.setdefault(segment_id, []).extend(run)
            cached = self._documents.find(positions)
            async with self._database.search_connection() as connection:
                rows = await connection.fetch(READ_SEGMENTS, list(positions), list(cached))
                by_id = {row["segment_id"]: row for row in rows}
                if len(by_id) < len(positions):
                    await self._follow(connection, positions, by_id)
            texts = {}
            for segment_id, row in by_id.items():
                document = cached.get(segment_id) or self._documents.add(row["segment_id"], row["document"])
                texts[segment_id] = writer.instances(row, document, positions[segment_id])
            for segment_id, run in batch:
                # Runs of several segments may alternate. A segment deleted since it was found is left out.
                for text in islice(texts.get(segment_id, ()), len(run)):
                    yield text
            await asyncio.sleep(0)

    async def _follow(self, connection: Connection, found: dict[int, list[int]], by_id: dict[int, Row]) -> None:
        """Add the rows of segments that were merged since they were found, with positions as they are now."""
        moved = await find_moved(connection, found.keys() - by_id.keys())
        rows = await connection.fetch(READ_SEGMENTS, [each.segment_id for each in moved.values()], [])
        merged = {row["segment_id"]: row for row in rows}
        for segment_id, (new_id, shift) in moved.items():
            if new_id in merged:
                by_id[segment_id] = merged[new_id]
                found[segment_id] = [position + shift for position in found[segment_id]]


def _batches_of_runs(segments: Iterable[tuple[int, Sequence[int]]]) -> Iterator[Sequence[tuple[int, Sequence[int]]]]:
    """Cut an answer so that the documents of few segments are held at a time."""
    batch: list[tuple[int, Sequence[int]]] = []
    ids: set[int] = set()
    for segment_id, run in segments:
        if len(batch) == _BATCH_RUNS or (len(ids) == _BATCH_SEGMENTS and segment_id not in ids):
            yield batch
            batch, ids = [], set()
        batch.append((segment_id, run))
        ids.add(segment_id)
    if batch:
        yield batch
