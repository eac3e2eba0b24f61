"""Fills a database: a sample through the register, the rest by COPY without indexes, which are built at the end."""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager

from benchmarks.search_scale.bulk import Composer
from benchmarks.search_scale.headers import (
    PROTOCOLS_PER_SCANNER,
    SCANNERS,
    Shape,
    maker_of,
    series_of_study,
    study_packs,
)
from benchmarks.search_scale.rows import ACTOR, COLUMNS, NEW_TERMS, FirstIds, RowWriter
from dicomweb_archive.index.database.engine import Connection, Database, connect
from dicomweb_archive.index.segments.terms import SegmentTerms
from dicomweb_archive.index.writing.dictionary import Dictionary
from dicomweb_archive.index.writing.register import Register

FILLED = ("study", "series", "pack", "segment", "segment_data", "zone", "instance", "event", "term")
_COUNTED = ("study", "series", "pack", "segment", "event")

FIND_CONSTRAINTS = """
select conrelid::regclass::text as table, conname as name, contype::text as kind, pg_get_constraintdef(oid) as text
from pg_constraint
where contype in ('p', 'u') and conrelid = any($1::regclass[]) or contype = 'f' and confrelid = any($1::regclass[])
"""
FIND_INDEXES = """
select tablename as table, indexname as name, indexdef as text from pg_indexes
where schemaname = 'public' and tablename = any($1) and not exists (
  select from pg_constraint where conname = indexname and conrelid = tablename::regclass)
"""
MOVE_TERMS = f"""
insert into term (hash, path_id, value, number)
select distinct on (hash) hash, path_id, value, number from {NEW_TERMS} new
where not exists (select from term known where known.hash = new.hash) order by hash
"""

Say = Callable[[str], None]


async def fill(url: str, shape: Shape, studies: int, *, sample: int, workers: int, say: Say = print) -> None:
    """Store the studies of the numbers 0 to `studies`: the first `sample` through the register.

    Args:
        workers: processes that load; 0 for none beside this one.
    """
    async with await Database.open(url) as database:
        start = time.perf_counter()
        register = Register(database)
        for number in range(min(sample, studies)):
            await register.register(study_packs(number, shape), actor=ACTOR)
        await _learn_paths(database, shape)
        say(f"{min(sample, studies)} studies through the register: {time.perf_counter() - start:.0f} s")
    if studies > sample:
        await _load(url, shape, studies, sample=sample, workers=workers, say=say)
    connection = await connect(url)
    try:
        start = time.perf_counter()
        await connection.execute("vacuum (analyze)")
        await connection.execute("checkpoint")
        say(f"vacuum and analyze: {time.perf_counter() - start:.0f} s")
    finally:
        await connection.close()


async def _learn_paths(database: Database, shape: Shape) -> None:
    """Give every path an id that the bulk may meet, by the dictionary that the register uses."""
    composer = Composer(await database.term_secret(), shape.series_length)
    first_of_maker = {maker_of(scanner): scanner for scanner in reversed(range(SCANNERS))}
    pieces = list(composer.segment(series_of_study(0, shape.series_per_study)[0], 0).pieces)
    pieces += [composer.protocol(scanner * PROTOCOLS_PER_SCANNER) for scanner in first_of_maker.values()]
    await Dictionary(database).add([SegmentTerms([], [], [], dict(piece.paths)) for piece in pieces])


async def _load(url: str, shape: Shape, studies: int, *, sample: int, workers: int, say: Say) -> None:
    async with await Database.open(url) as database:
        secret = await database.term_secret()
    connection = await connect(url, statement_timeout="0")
    try:
        start = time.perf_counter()
        async with _without_indexes(connection, url, workers, say):
            await connection.execute(
                f"create unlogged table {NEW_TERMS} (hash int8, path_id int4, value text, number float8)"
            )
            ids = await _first_ids(connection, sample)
            size = max(1, min(400, 60_000 // (shape.series_length * shape.series_per_study)))
            tasks = [(ids, number, min(number + size, studies)) for number in range(sample, studies, size)]
            await _run_tasks(tasks, url, shape, secret, workers)
            await connection.execute(MOVE_TERMS)
            await connection.execute(f"drop table {NEW_TERMS}")
            await _set_sequences(connection)
            say(f"{studies - sample} studies by COPY: {time.perf_counter() - start:.0f} s")
    finally:
        await connection.close()


async def _run_tasks(
    tasks: Sequence[tuple[FirstIds, int, int]], url: str, shape: Shape, secret: bytes, workers: int
) -> None:
    if not workers:
        _begin(url, shape, secret)
        for ids, first, end in tasks:
            await _copy_studies(ids, range(first, end))
        return
    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (url, shape, secret)) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, _load_studies, *task) for task in tasks))


async def _first_ids(connection: Connection, number: int) -> FirstIds:
    first = {table: await connection.fetchval(f"select coalesce(max(id), 0) + 1 from {table}") for table in _COUNTED}
    return FirstIds(number, **first)


async def _set_sequences(connection: Connection) -> None:
    for table in _COUNTED:
        await connection.execute(
            f"select setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 1)) from {table}"
        )


# --- in the processes that load ------------------------------------------------------------------------------

_state: dict[str, object] = {}


def _begin(url: str, shape: Shape, secret: bytes) -> None:
    _state["url"], _state["writer"] = url, RowWriter(Composer(secret, shape.series_length), shape, {})


def _load_studies(ids: FirstIds, first: int, end: int) -> None:
    asyncio.run(_copy_studies(ids, range(first, end)))


async def _copy_studies(ids: FirstIds, numbers: Sequence[int]) -> None:
    writer, url = _state["writer"], _state["url"]
    assert isinstance(writer, RowWriter)
    assert isinstance(url, str)
    connection = await connect(url, statement_timeout="0")
    try:
        if not writer.path_ids:
            writer.path_ids = dict(await connection.fetch("select path, id from path"))
        for table, rows in writer.write(numbers, ids).items():
            await connection.copy_records_to_table(table, records=rows, columns=COLUMNS[table])
    finally:
        await connection.close()


# --- indexes -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _without_indexes(connection: Connection, url: str, workers: int, say: Say) -> AsyncIterator[None]:
    """Take constraints and indexes of the filled tables away, and build them again from their own definitions."""
    constraints = await connection.fetch(FIND_CONSTRAINTS, list(FILLED))
    indexes = await connection.fetch(FIND_INDEXES, list(FILLED))
    for row in sorted(constraints, key=lambda row: row["kind"] != "f"):
        await connection.execute(f"alter table {row['table']} drop constraint {row['name']}")
    for row in indexes:
        await connection.execute(f"drop index {row['name']}")
    for table in FILLED:
        await connection.execute(f"alter table {table} set (autovacuum_enabled = off)")
    yield
    start = time.perf_counter()
    own = [f"alter table {r['table']} add constraint {r['name']} {r['text']}" for r in constraints if r["kind"] != "f"]
    foreign = [
        f"alter table {r['table']} add constraint {r['name']} {r['text']}" for r in constraints if r["kind"] == "f"
    ]
    await _run_beside(url, [*_largest_first(own), *(row["text"] for row in indexes)], workers or 1)
    await _run_beside(url, foreign, 1)
    for table in FILLED:
        await connection.execute(f"alter table {table} reset (autovacuum_enabled)")
    say(f"indexes: {time.perf_counter() - start:.0f} s")


def _largest_first(statements: list[str]) -> list[str]:
    return sorted(statements, key=lambda text: not text.startswith("alter table instance "))


async def _run_beside(url: str, statements: list[str], workers: int) -> None:
    waiting = list(reversed(statements))

    async def run() -> None:
        connection = await connect(url, statement_timeout="0", maintenance_work_mem="1GB")
        try:
            while waiting:
                await connection.execute(waiting.pop())
        finally:
            await connection.close()

    await asyncio.gather(*(run() for _ in range(workers)))
