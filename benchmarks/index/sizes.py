"""Bytes of index an instance by table, as the length of series grows, and after single-instance stores are merged."""

from collections.abc import Callable, Sequence

from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Database, connect
from dicomweb_archive.index.database.migrate import upgrade
from dicomweb_archive.index.upkeep.merging import SegmentMerger
from dicomweb_archive.index.writing.register import PackRecord, Register

LENGTHS = (1, 10, 50, 200, 500)
MERGED = "200 x 1"
AIM = 600

_LEAST = 2
_SIZES = """
select c.relname::text, pg_total_relation_size(c.oid) from pg_class c
where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
"""

NewSeries = Callable[[int], PackRecord]


async def _sizes(database: Database) -> dict[str, int]:
    async with database.connection() as connection:
        await connection.execute("vacuum analyze")
        return dict(await connection.fetch(_SIZES))


async def _store(database: Database, new_series: NewSeries, length: int, instances: int) -> None:
    register = Register(database)
    left = instances // length
    while left > 0:
        count = min(left, max(1, 500 // length))
        await register.register([new_series(length) for _ in range(count)], actor="benchmark")
        left -= count


async def _store_singly(database: Database, new_series: NewSeries, length: int, instances: int) -> None:
    """Store series an instance at a time, and merge now and then as the archive does by itself."""
    register = Register(database)
    merger = SegmentMerger(database, quiet_seconds=0, cold_seconds=0)
    for number in range(instances // length):
        pack = new_series(length)
        singles = [PackRecord(f"{pack.object_key}.{n}", 1000, [[s]]) for n, s in enumerate(pack.segments[0])]
        await register.register(singles, actor="benchmark")
        if number % 5 == 4:
            await merger.merge()
            async with database.connection() as connection:
                await connection.execute("vacuum")
    await merger.merge()
    async with database.connection() as connection:
        # What the parts have left free is filled by the next rows; this is what it comes to then.
        await connection.execute("truncate segment_moved")
        await connection.execute("vacuum full")


async def _measured(postgres: EmbeddedPostgres, new_series: NewSeries, column: str, instances: int) -> dict[str, float]:
    """Fill a database of its own; return what each table has grown by an instance."""
    name = f"sizes_{column.replace(' ', '')}"
    connection = await connect(postgres.url)
    await connection.execute(f"create database {name}")
    await connection.close()
    url = postgres.url.replace("@/postgres?", f"@/{name}?")
    await upgrade(url)
    async with await Database.open(url, point_connections=1, search_connections=1) as database:
        before = await _sizes(database)
        if column == MERGED:
            await _store_singly(database, new_series, 200, instances)
        else:
            await _store(database, new_series, int(column), instances)
        after = await _sizes(database)
    return {table: (size - before[table]) / instances for table, size in after.items()}


async def print_curve(postgres: EmbeddedPostgres, new_series: NewSeries, instances: int) -> None:
    """Measure every length with about so many instances and print the table."""
    columns = [*map(str, LENGTHS), MERGED]
    # Small segments cost most of the time and settle soon.
    counts = [instances if column not in ("1", "10") else instances // 5 for column in columns]
    grown = [await _measured(postgres, new_series, c, n) for c, n in zip(columns, counts, strict=True)]
    tables = sorted(grown[0], key=lambda table: -grown[LENGTHS.index(200)][table])
    print(f"bytes an instance by table, in series of so many ({MERGED}: stored singly, then merged); aim at 200: {AIM}")
    _print_row("", columns)
    for table in tables:
        if any(each[table] >= _LEAST for each in grown):
            _print_row(table, [f"{each[table]:,.0f}" for each in grown])
    _print_row("total", [f"{sum(each.values()):,.0f}" for each in grown])


def _print_row(name: str, cells: Sequence[str]) -> None:
    print(f"  {name:16}" + "".join(f"{cell:>9}" for cell in cells))
