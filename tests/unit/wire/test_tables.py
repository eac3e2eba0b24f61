"""Tables of search results: CSV and Parquet, read back by the libraries that people use."""

import csv
import io
from collections.abc import Sequence
from datetime import date
from typing import Any

import orjson
import pyarrow
import pytest
from pyarrow import parquet

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.result_columns import ResultColumn, result_columns
from dicomweb_archive.dicom.tags import tag_of, vr_of
from dicomweb_archive.wire.csv_table import CsvTable, guard_formula
from dicomweb_archive.wire.parquet_table import ParquetTable


def columns_of(*keywords: str) -> tuple[ResultColumn, ...]:
    tags = [tag_of(keyword) or 0 for keyword in keywords]
    include = tuple(AttributePath((PathStep(tag),), vr_of(tag) or "UN") for tag in tags)
    found = {column.heading: column for column in result_columns(SearchQuery(Level.INSTANCE, include=include))}
    return tuple(found[keyword] for keyword in keywords)


def row_of(**values: Any) -> bytes:
    elements = {}
    for keyword, value in values.items():
        tag = tag_of(keyword) or 0
        elements[f"{tag:08X}"] = {"vr": vr_of(tag), "Value": value if isinstance(value, list) else [value]}
    return orjson.dumps(elements)


def written(table: CsvTable | ParquetTable, rows: Sequence[bytes]) -> bytes:
    return b"".join([table.head(), *(table.rows([row]) for row in rows), table.tail()])


def test_csv_survives_quotes_line_ends_and_other_scripts() -> None:
    columns = columns_of("PatientName", "ImageType", "Rows", "StudyDescription")
    texts = ['a "b", c', "zwei\r\nZeilen", "山田^太郎"]
    rows = [
        row_of(PatientName=[{"Alphabetic": text}], ImageType=["ORIGINAL", "AXIAL"], Rows=512, StudyDescription=text)
        for text in texts
    ]
    data = written(CsvTable(columns), rows)
    assert data.startswith(b"PatientName,ImageType,Rows,StudyDescription\r\n")
    found = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert [row["StudyDescription"] for row in found] == texts
    assert [row["PatientName"] for row in found] == texts
    assert found[0]["ImageType"] == "ORIGINAL\\AXIAL"
    assert found[0]["Rows"] == "512"


@pytest.mark.parametrize("text", ["=1+1", "+SUM(A1)", "-2+3", "@cmd", "\tx", "=", "-", "\rx"])
def test_what_a_spreadsheet_would_run_is_guarded(text: str) -> None:
    assert guard_formula(text) == "'" + text


@pytest.mark.parametrize("text", ["-5", "+0100", "-1.5e-3", "-1\\-2.5", "Doe^Jane", "", "5-3"])
def test_numbers_and_plain_texts_are_left_as_they_are(text: str) -> None:
    assert guard_formula(text) == text


def test_parquet_has_types_and_says_what_did_not_fit() -> None:
    columns = columns_of("StudyDate", "Rows", "SliceThickness", "PixelSpacing", "ImageType", "PatientID")
    rows = [
        row_of(StudyDate="20240131", Rows=512, SliceThickness=2.5, PixelSpacing=[0.5, 1], ImageType=["A", "B"]),
        row_of(StudyDate="20240231", Rows=512.5, SliceThickness=[1, 2], PatientID="P1"),
        row_of(StudyDate=[], PixelSpacing=[None, 1]),
    ]
    data = written(ParquetTable(columns), rows)
    table = parquet.read_table(io.BytesIO(data))
    assert [str(kind) for kind in table.schema.types] == [
        "date32[day]",
        "int64",
        "double",
        "list<element: double>",
        "list<element: string>",
        "string",
        "string",
    ]
    assert table.schema.field("StudyDate").metadata == {b"path": b"00080020", b"vr": b"DA"}
    first, second, third = table.to_pylist()
    assert (first["StudyDate"], first["Rows"], first["SliceThickness"]) == (date(2024, 1, 31), 512, 2.5)
    assert (first["PixelSpacing"], first["ImageType"], first["unfit"]) == ([0.5, 1.0], ["A", "B"], None)
    assert (second["StudyDate"], second["Rows"], second["SliceThickness"]) == (None, None, None)
    assert orjson.loads(second["unfit"]) == {"StudyDate": "20240231", "Rows": "512.5", "SliceThickness": "1\\2"}
    assert third["PixelSpacing"] == [None, 1.0]
    assert third["StudyDate"] is third["unfit"] is None


def test_parquet_comes_in_row_groups_as_the_rows_do() -> None:
    table = ParquetTable(columns_of("PatientID"), group_rows=10)
    pieces = [table.head(), *(table.rows([row_of(PatientID=f"P{number}")]) for number in range(25)), table.tail()]
    assert pieces[0] == b"PAR1"
    assert [number for number, piece in enumerate(pieces[1:26]) if piece] == [9, 19]
    file = parquet.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert file.num_row_groups == 3
    assert file.read().column("PatientID").to_pylist() == [f"P{number}" for number in range(25)]


def test_no_row_at_all_is_a_file_with_a_schema() -> None:
    table = parquet.read_table(io.BytesIO(written(ParquetTable(columns_of("Rows")), [])))
    assert table.num_rows == 0
    assert table.schema.field("Rows").type == pyarrow.int64()
