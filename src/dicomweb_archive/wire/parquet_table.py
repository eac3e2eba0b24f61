"""Apache Parquet: search results as typed columns, in row groups of bounded size.

What does not fit its column (a date that is none, two values where the dictionary has one) is null there and goes,
as JSON text by heading, into the last column `unfit`: nothing is lost, and the types hold for every file.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final

import orjson

from dicomweb_archive.dicom.result_columns import ResultColumn, cell_text, column_values

GROUP_ROWS: Final = 10_000
GROUP_BYTES: Final = 16 * 1024 * 1024
"""A row group ends at so many rows, or at so much JSON that they come from."""

UNFIT: Final = "unfit"

HOW_TO_INSTALL: Final = "Parquet needs pyarrow beside the server: pip install 'dicomweb-archive[parquet]'"


def parquet_is_available() -> bool:
    """Tell whether the optional library is installed."""
    return find_spec("pyarrow") is not None


def _date(value: Any) -> date | None:
    text = str(value).strip()
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _whole(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if fits else None


def _decimal(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e308 else None


_Read = Callable[[Any], Any]
_FORMS: Final[Mapping[str, tuple[str, _Read]]] = MappingProxyType(
    {
        "DA": ("date32", _date),
        **dict.fromkeys(("IS", "SL", "SS", "SV", "UL", "US", "UV"), ("int64", _whole)),
        **dict.fromkeys(("DS", "FD", "FL"), ("float64", _decimal)),
    }
)
"""Type and reader of the value representations that are no text. TM and DT stay text: their precision varies."""

_TEXT: Final[tuple[str, _Read]] = ("string", str)


class ParquetTable:
    """Writes rows of a search as one Parquet file, piece by piece; its calls block and belong into a thread."""

    def __init__(self, columns: Sequence[ResultColumn], *, group_rows: int = GROUP_ROWS) -> None:
        import pyarrow
        from pyarrow import parquet

        self._arrow = pyarrow
        self._columns = columns
        self._group_rows = group_rows
        self._forms = [_FORMS.get(column.path.vr, _TEXT) for column in columns]
        self._sink = _Sink()
        self._schema = pyarrow.schema([*map(self._field, columns), pyarrow.field(UNFIT, pyarrow.string())])
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def head(self) -> bytes:
        """Write the magic bytes."""
        return self._written()

    def rows(self, rows: Sequence[bytes]) -> bytes:
        """Take in rows that come as DICOM JSON objects; gives bytes when a row group is complete."""
        self._waiting += rows
        self._waiting_bytes += sum(map(len, rows))
        if len(self._waiting) >= self._group_rows or self._waiting_bytes >= GROUP_BYTES:
            self._write_group()
        return self._written()

    def tail(self) -> bytes:
        """Write the last row group and the footer."""
        if self._waiting:
            self._write_group()
        self._writer.close()
        return self._written()

    def _field(self, column: ResultColumn) -> Any:
        arrow = self._arrow
        kind = getattr(arrow, _FORMS.get(column.path.vr, _TEXT)[0])()
        about = {"path": str(column.path), "vr": column.path.vr}
        return arrow.field(column.heading, kind if column.single else arrow.list_(kind), metadata=about)

    def _write_group(self) -> None:
        rows = [orjson.loads(row) for row in self._waiting]
        self._waiting.clear()
        self._waiting_bytes = 0
        unfit: list[dict[str, str]] = [{} for _ in rows]
        cells = [
            [_cell(row, column, read, left) for row, left in zip(rows, unfit, strict=True)]
            for column, (_, read) in zip(self._columns, self._forms, strict=True)
        ]
        cells.append([orjson.dumps(left).decode() if left else None for left in unfit])
        arrays = [self._arrow.array(cell, kind) for cell, kind in zip(cells, self._schema.types, strict=True)]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema), row_group_size=GROUP_ROWS)

    def _written(self) -> bytes:
        return self._sink.take()


class _Sink(io.RawIOBase):
    """Where the writer writes: it never goes back, so what was written can be handed out at once."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        """Hand out what has been written since."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _cell(row: Mapping[str, Any], column: ResultColumn, read: _Read, unfit: dict[str, str]) -> Any:
    """Bring what a row has in a column into the column's type; what does not fit goes to `unfit`."""
    values = column_values(row, column)
    if not values:
        return None
    cells = [None if value is None else read(value) for value in values]
    lossless = all((cell is None) is (value is None or value == "") for cell, value in zip(cells, values, strict=True))
    if not lossless or (column.single and len(cells) > 1):
        unfit[column.heading] = cell_text(values)
        return None
    return cells[0] if column.single else cells
