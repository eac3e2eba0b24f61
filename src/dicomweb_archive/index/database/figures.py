"""Figures for operators: the server, how large its tables are, and what happened last.

Counts of rows are the statistics collector's: on the spot, never a scan, and a little behind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from dicomweb_archive.index.database.engine import Database

# Says which server this is and how much its database takes.
FIND_SERVER = """
select current_setting('server_version') as version, pg_database_size(current_database()) as size_bytes,
  pg_postmaster_start_time() as started_at
"""

# Measures each table with its indexes and what is stored out of line.
MEASURE_TABLES = """
select s.relname::text as name, greatest(s.n_live_tup, 0)::int8 as rows,
  pg_table_size(s.relid) as table_bytes, pg_indexes_size(s.relid) as index_bytes
from pg_stat_user_tables s where s.schemaname = current_schema()
order by pg_total_relation_size(s.relid) desc
"""

# Sums up the packs; there is one for each series of a store request.
SUM_PACKS = "select count(*)::int8 as packs, coalesce(sum(size_bytes), 0)::int8 as size_bytes from pack"

# Lists what happened last.
FIND_EVENTS = "select kind, at, actor, study_instance_uid, detail from event order by id desc limit $1"


@dataclass(frozen=True, slots=True)
class TableFigures:
    """One table: about how many rows, and the room that it takes with and without its indexes."""

    name: str
    rows: int
    table_bytes: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """The database server and the tables of the archive, the largest first."""

    version: str
    size_bytes: int
    started_at: datetime
    tables: Sequence[TableFigures]

    def rows(self, table: str) -> int:
        """Return about how many rows a table has."""
        return next((found.rows for found in self.tables if found.name == table), 0)


@dataclass(frozen=True, slots=True)
class PackFigures:
    """How many packs there are, and their bytes together."""

    packs: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PastEvent:
    """Something that happened."""

    kind: str
    at: datetime
    actor: str
    study_instance_uid: str | None
    detail: Mapping[str, Any]


class FiguresIndex:
    """Measures the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def server(self) -> ServerFigures:
        """Measure the database; some ten milliseconds, whatever is in it.

        Raises:
            DatabaseUnavailableError: it does not answer.
        """
        async with self._database.connection() as connection:
            server = await connection.fetchrow(FIND_SERVER)
            tables = await connection.fetch(MEASURE_TABLES)
        return ServerFigures(**server, tables=[TableFigures(**table) for table in tables])

    async def packs(self) -> PackFigures:
        """Sum up the packs, at the cost of reading the rows of all of them."""
        async with self._database.search_connection() as connection:
            row = await connection.fetchrow(SUM_PACKS)
        return PackFigures(**row)

    async def events(self, limit: int) -> Sequence[PastEvent]:
        """Return what happened last, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_EVENTS, limit)
        return [PastEvent(**{**row, "detail": orjson.loads(row["detail"])}) for row in rows]
