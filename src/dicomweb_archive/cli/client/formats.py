"""Search results as a table, as CSV or as DICOM JSON."""

import csv
import io
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from dicomweb_archive.cli.client.searching import Row, SearchLevel
from dicomweb_archive.cli.client.terminal import json_text, printable
from dicomweb_archive.dicom.tags import keyword_of, parse_tag

_STUDY = ("PatientID", "PatientName", "StudyDate", "ModalitiesInStudy", "StudyDescription", "AccessionNumber")
_COLUMNS = {
    SearchLevel.STUDIES: (
        *_STUDY,
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "StudyInstanceUID",
    ),
    SearchLevel.SERIES: (
        "Modality",
        "SeriesNumber",
        "SeriesDescription",
        "NumberOfSeriesRelatedInstances",
        "StudyInstanceUID",
        "SeriesInstanceUID",
    ),
    SearchLevel.INSTANCES: (
        "InstanceNumber",
        "SOPClassUID",
        "Rows",
        "Columns",
        "NumberOfFrames",
        "SeriesInstanceUID",
        "SOPInstanceUID",
    ),
}
# Columns that are no required return attributes of their level (PS3.18 Tables 10.6.3-3 to 5).
_BESIDE_REQUIRED = {SearchLevel.STUDIES: ("StudyDescription",)}
_TABLE_HEADS = {
    "NumberOfStudyRelatedSeries": "Series",
    "NumberOfStudyRelatedInstances": "Instances",
    "NumberOfSeriesRelatedInstances": "Instances",
    "ModalitiesInStudy": "Modalities",
}


def columns_of(level: SearchLevel, include: Sequence[str]) -> list[tuple[str, int]]:
    """Choose the columns of a table or CSV as (heading, tag): the level's usual ones and the included ones."""
    columns = [(name, parse_tag(name)) for name in _COLUMNS[level]]
    for name in include:
        # Paths into sequences, private names and `all` have no single column.
        tag = _tag_or_none(name)
        if tag is not None and tag not in {known for _, known in columns}:
            columns.append((keyword_of(tag) or f"{tag:08X}", tag))
    return columns


def asked_for(level: SearchLevel, include: Sequence[str]) -> tuple[str, ...]:
    """Name the attributes to ask for so that every column is filled, beside those that each match has anyway."""
    return tuple(dict.fromkeys((*_BESIDE_REQUIRED.get(level, ()), *include)))


def text_of(row: Row, tag: int) -> str:
    """Show an attribute of a match on one line: several values with backslashes, names by their first group."""
    element = row.get(f"{tag:08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    return "\\".join(_value_text(value) for value in values) if isinstance(values, list) else ""


async def write_json(rows: AsyncIterator[Row]) -> int:
    """Print one JSON array, row by row."""
    count = 0
    async for row in rows:
        click.echo(("[\n" if count == 0 else ",\n") + json_text(row), nl=False)
        count += 1
    click.echo("\n]" if count else "[]")
    return count


async def write_csv(rows: AsyncIterator[Row], columns: Sequence[tuple[str, int]], path: Path | None = None) -> int:
    """Print CSV with a heading (RFC 4180), row by row, or write it to a file."""
    with nullcontext() if path is None else path.open("w", encoding="utf-8", newline="") as file:
        click.echo(_csv_line(name for name, _ in columns), nl=False, file=file)
        # Programs read what there is, people what does nothing to their terminal.
        shown = printable if file is None and sys.stdout.isatty() else str
        count = 0
        async for row in rows:
            click.echo(_csv_line(shown(text_of(row, tag)) for _, tag in columns), nl=False, file=file)
            count += 1
    return count


async def write_table(rows: AsyncIterator[Row], columns: Sequence[tuple[str, int]]) -> int:
    """Print a table; its column widths need all rows, so it suits what a person reads."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, _ in columns:
        table.add_column(_TABLE_HEADS.get(name, name), no_wrap=name.endswith("UID"), overflow="fold")
    count = 0
    async for row in rows:
        table.add_row(*(printable(text_of(row, tag)) for _, tag in columns))
        count += 1
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        # Without a terminal there is no width to fit into: nothing is to be wrapped for a pipe.
        console = Console(markup=False, highlight=False, width=10_000)
    console.print(table)
    return count


def _csv_line(texts: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(list(texts))
    return line.getvalue()


def _value_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        # A person name has groups; an item of a sequence has tags and does not fit on a line.
        groups = [value.get(group) for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return next((group for group in groups if isinstance(group, str)), "…")
    return str(value)


def _tag_or_none(name: str) -> int | None:
    try:
        return parse_tag(name)
    except ValueError:
        return None
