"""Search results as a table, CSV or Parquet, streamed while the rows are read."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.dicom.query import SearchQuery
from dicomweb_archive.dicom.result_columns import ResultColumn, result_columns
from dicomweb_archive.errors import InvalidParameterError, NotAcceptableError
from dicomweb_archive.web.representations import accept_header, collected_or_streamed
from dicomweb_archive.wire.csv_table import CsvTable
from dicomweb_archive.wire.media_types import CSV, PARQUET, Offer, parse_accept
from dicomweb_archive.wire.parquet_table import HOW_TO_INSTALL, ParquetTable, parquet_is_available

_BATCH_ROWS = 500
_BATCH_BYTES = 1024 * 1024
_ENDINGS = {CSV: "csv", PARQUET: "parquet"}


class Table(Protocol):
    """Writes a table piece by piece."""

    def head(self) -> bytes:
        """Write what stands in front of the rows."""

    def rows(self, rows: Sequence[bytes]) -> bytes:
        """Write rows that come as DICOM JSON objects."""

    def tail(self) -> bytes:
        """Write what stands behind them."""


def negotiate_table(request: Request, offers: Sequence[Offer], *, parameter: str | None) -> Offer:
    """Choose a representation among offers of which Parquet may be one that cannot be made here.

    Raises:
        NotAcceptableError: none is acceptable; where it is Parquet that was wanted, says how to get it.
    """
    acceptable = parse_accept(accept_header(request), parameter)
    if parquet_is_available():
        return acceptable.select(offers)
    made = [offer for offer in offers if offer.type != PARQUET]
    try:
        return acceptable.select(made)
    except NotAcceptableError as error:
        if not acceptable.rank(offers):
            raise
        raise NotAcceptableError(HOW_TO_INSTALL, available=error.available) from None


def columns_for(query: SearchQuery) -> tuple[ResultColumn, ...]:
    """List the columns of a search as a table.

    Raises:
        InvalidParameterError: `includefield=all`, which has no fixed columns.
    """
    if query.include_all:
        raise InvalidParameterError("includefield", accepted="names of attributes; a table has no columns for `all`")
    return result_columns(query)


async def answer_table(
    rows: AsyncIterator[bytes], columns: Sequence[ResultColumn], offer: Offer, *, name: str
) -> Response:
    """Answer with the rows of a search as a table, to be saved under `name`."""
    table = await asyncio.to_thread(_table, offer, columns)
    ending = _ENDINGS[offer.type]
    media_type = f"{CSV}; charset=utf-8; header=present" if offer.type == CSV else offer.type
    named = {"content-disposition": f'attachment; filename="{name}.{ending}"'}
    return await collected_or_streamed(table_pieces(rows, table), media_type=media_type, headers=named)


async def table_pieces(rows: AsyncIterator[bytes], table: Table) -> AsyncIterator[bytes]:
    """Write a table batch by batch; what costs time is done in a thread, and no row waits for long."""
    yield table.head()
    batch: list[bytes] = []
    size = 0
    async for row in rows:
        batch.append(row)
        size += len(row)
        if len(batch) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            if piece := await asyncio.to_thread(table.rows, batch):
                yield piece
            batch, size = [], 0
    yield await asyncio.to_thread(table.rows, batch)
    yield await asyncio.to_thread(table.tail)


def _table(offer: Offer, columns: Sequence[ResultColumn]) -> Table:
    return CsvTable(columns) if offer.type == CSV else ParquetTable(columns)
