"""Search results as CSV and Parquet through the door."""

import csv
import io
import sys

import pytest
from pyarrow import parquet
from tests.factories import ROOT as UID
from tests.factories import ct_series, mr_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive

PARQUET = {"accept": "application/vnd.apache.parquet"}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_results_are_a_table_of_every_match_at_every_level(start_archive: StartArchive) -> None:
    async with start_archive(export_rows_max=4, search_default_limit=2) as archive:
        await archive.store(*ct_series(3), *mr_series(2, study=2, PatientName="=Roe^Richard"))
        await _check_csv(archive)
        await _check_parquet(archive)
        ordered = await archive.get("/instances?accept=text/csv&orderby=-InstanceNumber,Modality&limit=3")
        assert [row["InstanceNumber"] for row in rows_of(ordered.text)] == ["3", "2", "2"]
        refused = await archive.get("/studies?includefield=all", headers={"accept": "text/csv"})
        assert refused.status_code == 400
        assert "includefield" in refused.json()["detail"]


async def _check_csv(archive: Archive) -> None:
    studies = await archive.get("/studies?includefield=StudyDescription", headers={"accept": "text/csv"})
    assert studies.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert studies.headers["content-disposition"] == 'attachment; filename="study.csv"'
    rows = rows_of(studies.text)
    assert {row["StudyInstanceUID"] for row in rows} == {f"{UID}.1", f"{UID}.2"}
    assert {row["PatientName"] for row in rows} == {"Doe^Jane", "'=Roe^Richard"}
    assert {row["StudyDescription"] for row in rows} == {"HEAD^ROUTINE"}
    asked = f"/instances?accept=text/csv&00190010=PHANTOM_01&00191002=709&StudyInstanceUID={UID}.1"
    (row,) = rows_of((await archive.get(asked)).text)
    assert row['0019"PHANTOM_01"02'] == "709"
    cut = await archive.get("/instances?accept=text/csv")
    assert len(rows_of(cut.text)) == 4
    assert "There are 1 additional results" in cut.headers["warning"]
    assert len((await archive.get("/instances")).json()) == 2


async def _check_parquet(archive: Archive) -> None:
    answer = await archive.get("/series?Modality=MR&includefield=SeriesDate", headers=PARQUET)
    assert answer.headers["content-type"] == PARQUET["accept"]
    (row,) = parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    assert (row["Modality"], row["NumberOfSeriesRelatedInstances"]) == ("MR", 2)
    assert str(row["StudyDate"]) == "2024-01-31"


async def test_parquet_that_cannot_be_made_is_406_and_says_how_it_can(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = await archive.get("/studies", headers=PARQUET)
    assert answer.status_code == 406
    assert "dicomweb-archive[parquet]" in answer.json()["detail"]
    either = await archive.get("/studies", headers={"accept": PARQUET["accept"] + ", text/csv;q=0.5"})
    assert either.headers["content-type"].startswith("text/csv")
    neither = await archive.get("/studies", headers={"accept": "image/png"})
    assert "pip" not in neither.json()["detail"]
