"""CSV (RFC 4180): UTF-8, a line of headings, CRLF, quotes where they are needed.

Whoever opens such a file in a spreadsheet runs what looks like a formula, and anybody may have sent the image that
a text comes from. So an apostrophe goes before a text that begins like one; plain numbers are left as they are.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from dicomweb_archive.dicom.result_columns import ResultColumn, cell_text, column_values

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?(?:\\[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)*")


def guard_formula(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula."""
    if text.startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def csv_lines(lines: Iterable[Iterable[str]]) -> bytes:
    """Write lines of cells."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([guard_formula(cell) for cell in cells] for cells in lines)
    return text.getvalue().encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class CsvTable:
    """Writes rows of a search as CSV."""

    columns: Sequence[ResultColumn]

    def head(self) -> bytes:
        """Write the headings."""
        return csv_lines([[column.heading for column in self.columns]])

    def rows(self, rows: Sequence[bytes]) -> bytes:
        """Write rows that come as DICOM JSON objects."""
        return csv_lines(
            [cell_text(column_values(row, column)) for column in self.columns] for row in map(orjson.loads, rows)
        )

    def tail(self) -> bytes:
        """Write what stands at the end: nothing."""
        return b""
