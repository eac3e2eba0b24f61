"""Times kinds of searches at several numbers of clients."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from benchmarks.search_scale.kinds import KINDS, Archive
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.errors import ArchiveError, DatabaseUnavailableError, QueryTooExpensiveError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.search_parameters import parse_search

SERVICE_ROOT = "http://127.0.0.1:8000/dicom-web"
_LEVELS = {"studies": Level.STUDY, "series": Level.SERIES, "instances": Level.INSTANCE}
_WARM_UP = 10


class Refusal(StrEnum):
    """Why a search has no answer; the others go on."""

    TOO_EXPENSIVE = "too expensive"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Timing:
    """Searches of one kind by so many clients at once, in milliseconds.

    Attributes:
        cpu: processor time a search, of this process and of the database; a busy machine changes it little.
        counted: whether the number behind the page was asked for too, as it is unless a client says otherwise.
        rows, remaining: the most of one answer, and behind one.
        too_expensive: searches that ran into their time limit.
        refused: searches that waited in vain for a connection, as more clients than connections may.
    """

    kind: str
    clients: int
    searches: int
    p50: float
    p95: float
    p99: float
    cpu: float
    rows: int
    remaining: int
    too_expensive: int = 0
    refused: int = 0
    counted: bool = True

    def as_json(self) -> dict[str, object]:
        """Return the fields by name, rounded to microseconds."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


class Searcher:
    """Answers a client's URLs as the service does, from query string to finished rows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._index = SearchIndex(database)

    async def processor_seconds(self) -> float:
        """Return the processor time that this process and the servers of its connections have taken."""
        async with self._database.connection() as connection:
            rows = await connection.fetch("select pid from pg_stat_activity where backend_type = 'client backend'")
        return time.process_time() + sum(_processor_seconds(row["pid"]) for row in rows)

    def supports(self, url: str) -> bool:
        """Whether this release understands every parameter."""
        try:
            return not _parse(url)[1]
        except ArchiveError:
            return False

    async def search(self, url: str) -> tuple[int, int]:
        """Run one search, counting anew what was counted before; returns its rows and how many are behind them."""
        query, _ = _parse(url)
        self._index.figures.clear()
        page = await self._index.search(query, Visibility(), service_root=SERVICE_ROOT)
        return len([row async for row in page.rows]), page.remaining


def _processor_seconds(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0]) / 1e9
    except OSError:
        # Not on this system.
        return 0.0


def _parse(url: str) -> tuple[SearchQuery, tuple[str, ...]]:
    path, _, query_string = url.partition("?")
    members = path.strip("/").split("/")
    level = _LEVELS[members[-1]]
    scope = dict(zip(members[:-1:2], members[1::2], strict=False))
    relational = level is not Level.STUDY and "studies" not in scope
    request = parse_search(
        split_query(query_string.encode()),
        level,
        study_instance_uid=scope.get("studies"),
        series_instance_uid=scope.get("series"),
        relational=relational,
    )
    return request.query, request.warnings


async def measure(
    url: str, archive: Archive, *, kinds: Sequence[str], clients: Iterable[int], searches: int, seconds: float
) -> list[Timing]:
    """Time all kinds that this release has, printing a line each; one client asks for pages without counts too."""
    timings = []
    async with await Database.open(url) as database:
        searcher = Searcher(database)
        for kind in kinds:
            urls = KINDS[kind](archive)
            if not searcher.supports(urls[0]):
                print(f"  {kind:28} not there yet")
                continue
            for number in clients:
                timing = await time_kind(searcher, kind, urls, clients=number, searches=searches, seconds=seconds)
                timings.append(timing)
                show(timing)
                if number == 1 and timing.remaining and "count=" not in urls[0]:
                    pages = [f"{url}&count=none" for url in urls]
                    alone = await time_kind(searcher, kind, pages, clients=1, searches=searches, seconds=seconds)
                    timings.append(replace(alone, counted=False))
                    show(timings[-1])
    return timings


async def time_kind(
    searcher: Searcher, kind: str, urls: Sequence[str], *, clients: int, searches: int, seconds: float
) -> Timing:
    """Let the clients search in turn, until there are enough searches or time is up."""
    for url in urls[:_WARM_UP]:
        # The first compose and prepare the statement.
        await _quietly(searcher, url)
    taken: list[float] = []
    answers: list[tuple[int, int] | Refusal] = []
    waiting = iter(range(max(searches, 3 * clients)))
    before = await searcher.processor_seconds()
    begin = time.perf_counter()

    async def client() -> None:
        for number in waiting:
            start = time.perf_counter()
            answers.append(await _quietly(searcher, urls[number % len(urls)]))
            taken.append((time.perf_counter() - start) * 1000)
            if time.perf_counter() - begin > seconds and len(taken) >= 2 * clients:
                return

    await asyncio.gather(*(client() for _ in range(clients)))
    after = await searcher.processor_seconds()
    found = [answer for answer in answers if isinstance(answer, tuple)]
    return Timing(
        kind=kind,
        clients=clients,
        searches=len(taken),
        p50=percentile(taken, 50),
        p95=percentile(taken, 95),
        p99=percentile(taken, 99),
        cpu=(after - before) * 1000 / len(taken),
        rows=max((rows for rows, _ in found), default=0),
        remaining=max((remaining for _, remaining in found), default=0),
        too_expensive=answers.count(Refusal.TOO_EXPENSIVE),
        refused=answers.count(Refusal.UNAVAILABLE),
    )


async def _quietly(searcher: Searcher, url: str) -> tuple[int, int] | Refusal:
    try:
        return await searcher.search(url)
    except QueryTooExpensiveError:
        return Refusal.TOO_EXPENSIVE
    except DatabaseUnavailableError:
        return Refusal.UNAVAILABLE


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def show(timing: Timing) -> None:
    """Print one line."""
    expensive = f"  {timing.too_expensive} ran out of time" if timing.too_expensive else ""
    refused = f"  {timing.refused} refused" if timing.refused else ""
    behind = f"+{timing.remaining}" if timing.counted else "alone"
    print(
        f"  {timing.kind:28} {timing.clients:3} clients  p50 {timing.p50:8.2f}  p95 {timing.p95:8.2f}"
        f"  p99 {timing.p99:8.2f} ms  cpu {timing.cpu:7.2f}"
        f"  {timing.rows:5} rows {behind}{expensive}{refused}",
        flush=True,
    )
