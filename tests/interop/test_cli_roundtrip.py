"""What a user types against a real server: store, search, download, and the same bytes again."""

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from tests.factories import identified, part10, pixels
from tests.interop.conftest import RunCommand
from tests.pydicom_files import bundled_path
from tests.running_server import RunningServer

from dicomweb_archive.cli.client.phantom import iter_demo


def _write_series(folder: Path, study: int, count: int = 5, **overrides: Any) -> list[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(1, count + 1):
        data_set = identified(study=study, instance=number, **overrides)
        data_set.Rows = data_set.Columns = 64
        data_set.BitsAllocated = data_set.BitsStored = 16
        data_set.HighBit, data_set.PixelRepresentation, data_set.SamplesPerPixel = 15, 0, 1
        data_set.PhotometricInterpretation = "MONOCHROME2"
        data_set.PixelData = pixels(64, 64, seed=number)
        files.append(part10(data_set))
        (folder / f"{number}.dcm").write_bytes(files[-1])
    return files


def _digests(files: list[bytes]) -> set[str]:
    return {hashlib.sha256(data).hexdigest() for data in files}


def _downloaded(folder: Path) -> set[str]:
    return _digests([path.read_bytes() for path in folder.rglob("*.dcm")])


def _summary(output: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(output.splitlines()[-1])["summary"]
    return summary


def test_a_folder_and_a_zip_come_back_byte_for_byte(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    files = _write_series(tmp_path / "in" / "a", 101)
    more = _write_series(tmp_path / "zipped", 102)
    with zipfile.ZipFile(tmp_path / "in" / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "zipped").iterdir()):
            archive.write(path, path.name)
    stored = run_command("store", tmp_path / "in", "--to", running_server.root)
    assert stored.exit_code == 0, stored.output
    assert "10 stored" in stored.stdout
    uids = [f"1.2.826.0.1.3680043.10.1463.{study}" for study in (101, 102)]
    fetched = run_command("download", *uids, "--to", tmp_path / "out", "--from", running_server.root)
    assert fetched.exit_code == 0, fetched.output
    assert _downloaded(tmp_path / "out") == _digests(files + more)
    manifests = list((tmp_path / "out").rglob("SHA256SUMS"))
    assert len(manifests) == 2
    again = run_command("download", *uids, "--to", tmp_path / "out", "--from", running_server.root, "--json")
    assert again.exit_code == 0
    assert _summary(again.stdout)["kept"] == 10


def test_storing_again_is_told_apart_from_storing(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    _write_series(tmp_path / "in", 103)
    first = run_command("store", tmp_path / "in", "--to", running_server.root, "--json")
    assert _summary(first.stdout)["stored"] == 5
    resumed = run_command("store", tmp_path / "in", "--to", running_server.root, "--json")
    assert resumed.exit_code == 0
    assert _summary(resumed.stdout)["acknowledged_earlier"] == 5
    sent = run_command("store", tmp_path / "in", "--to", running_server.root, "--json", "--no-resume")
    assert sent.exit_code == 0
    assert _summary(sent.stdout)["already_there"] == 5


def test_a_conflict_and_a_broken_file_are_refused_with_their_reasons(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    _write_series(tmp_path / "in", 104, count=2)
    assert run_command("store", tmp_path / "in", "--to", running_server.root).exit_code == 0
    other = identified(study=104, instance=1, StudyDescription="other bytes")
    (tmp_path / "in" / "1.dcm").write_bytes(part10(other))
    (tmp_path / "in" / "3.dcm").write_bytes(part10(identified(study=104, instance=3))[:-30])
    (tmp_path / "in" / "notes.txt").write_text("not DICOM")
    result = run_command("store", tmp_path / "in", "--to", running_server.root, "--json")
    assert result.exit_code == 1, result.output
    records = {Path(record["path"]).name: record for record in map(json.loads, result.stdout.splitlines()[:-1])}
    assert records["1.dcm"]["outcome"] == records["3.dcm"]["outcome"] == "refused"
    assert records["1.dcm"]["failure_reason"] == 0xA902
    assert records["2.dcm"]["outcome"] == "acknowledged_earlier"
    assert records["notes.txt"]["outcome"] == "skipped"
    told = run_command("store", tmp_path / "in", "--to", running_server.root)
    assert "SOP Instance UID is stored with other content; kept for review (A902): 1" in told.stdout


def test_search_prints_tables_csv_and_json_at_three_levels(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    named = {"PatientName": "Müller^Änne", "SpecificCharacterSet": "ISO_IR 192", "StudyDescription": "Knie"}
    _write_series(tmp_path / "in", 105, **named)
    assert run_command("store", tmp_path / "in", "--to", running_server.root).exit_code == 0
    table = run_command("search", "PatientName=M*ller^*", "StudyID=105", "--from", running_server.root)
    assert table.exit_code == 0, table.output
    assert "Müller^Änne" in table.stdout
    assert "Knie" in table.stdout
    as_csv = run_command(
        "search", "--level", "series", "PatientID=P00105", "--format", "csv", "--from", running_server.root
    )
    (row,) = csv.DictReader(io.StringIO(as_csv.stdout))
    assert row["NumberOfSeriesRelatedInstances"] == "5"
    study = f"StudyInstanceUID={identified(study=105).StudyInstanceUID}"
    words = ("search", "--level", "instances", study, "--format", "json", "--all", "--from", running_server.root)
    rows = json.loads(run_command(*words).stdout)
    assert {found["00200013"]["Value"][0] for found in rows} == {1, 2, 3, 4, 5}
    limited = run_command("search", "--level", "instances", study, "--limit", "2", "--from", running_server.root)
    assert "2 shown" in limited.stderr
    nothing = run_command("search", "PatientID=nobody", "--format", "json", "--from", running_server.root)
    assert nothing.exit_code == 0
    assert json.loads(nothing.stdout) == []


def test_search_saves_the_tables_of_the_server_and_tags_lists_what_there_is(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    _write_series(tmp_path / "in", 108, BodyPartExamined="KNEE")
    assert run_command("store", tmp_path / "in", "--to", running_server.root).exit_code == 0
    words = ("search", "--level", "instances", "PatientID=P00108", "--from", running_server.root, "--format")
    saved = run_command(*words, "parquet", "--output", tmp_path / "cohort.parquet", "--limit", "3")
    assert saved.exit_code == 0, saved.output
    assert "2 additional results" in saved.stderr
    assert parquet.read_table(tmp_path / "cohort.parquet").num_rows == 3
    assert run_command(*words, "csv", "--output", tmp_path / "cohort.csv", "--all").exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "cohort.csv").read_text("utf-8"))))
    assert {row["PatientName"] for row in rows} == {"Doe^Jane"}
    assert len(rows) == 5
    assert run_command(*words, "parquet").exit_code == 2
    listed = run_command("tags", "bodypart", "--format", "csv", "--from", running_server.root)
    assert [row["path"] for row in csv.DictReader(io.StringIO(listed.stdout))] == ["00180015"]
    assert run_command("tags", "--study", "1.2.3", "--from", running_server.root).exit_code == 1


def test_the_demo_can_be_found_and_its_segmentation_downloaded(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    words = ("demo", "--seed", "roundtrip", "--slices", "8", "--to", running_server.root)
    assert run_command(*words).exit_code == 0
    assert run_command(*words).exit_code == 0
    made = {instance.sop_instance_uid: instance for instance in iter_demo("roundtrip", ct_slices=8)}
    (name,) = {uid for uid, instance in made.items() if instance.name.startswith("seg/")}
    words = ("download", f"SOPInstanceUID={name}", "--to", tmp_path / "out", "--from", running_server.root)
    assert run_command(*words).exit_code == 0
    assert _downloaded(tmp_path / "out") == _digests([made[name].data])


def test_files_of_every_kind_come_back_byte_for_byte(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    names = ["CT_small.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "JPEG2000.dcm", "rtplan.dcm", "reportsi.dcm"]
    paths = [str(bundled_path(name)) for name in names]
    result = run_command("store", *paths, "--to", running_server.root, "--json")
    records = [json.loads(line) for line in result.stdout.splitlines()[:-1]]
    assert {record["outcome"] for record in records} == {"stored"}, result.output
    targets = ["/".join(record["retrieve_url"].split("/")[-5::2]) for record in records]
    assert run_command("download", *targets, "--to", tmp_path / "out", "--from", running_server.root).exit_code == 0
    assert _downloaded(tmp_path / "out") == _digests([Path(path).read_bytes() for path in paths])


def test_a_killed_store_goes_on_where_it_stopped(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    files = _write_series(tmp_path / "in", 106, count=40)
    words = ["store", str(tmp_path / "in"), "--to", running_server.root, "--json", "--jobs", "1"]
    words += ["--batch-files", "1"]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONUNBUFFERED": "1"}
    # A pipe that holds a few lines: the command cannot be done before it is killed, however slowly they are read.
    command = [sys.executable, "-m", "dicomweb_archive", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, bufsize=0, pipesize=4096) as process:
        assert process.stdout is not None
        for _ in range(10):
            assert b'"stored"' in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    summary = _summary(run_command(*words).stdout)
    assert 10 <= summary["acknowledged_earlier"] < 40
    assert summary["already_there"] <= 1
    assert summary["acknowledged_earlier"] + summary["already_there"] + summary["stored"] == 40
    study = identified(study=106).StudyInstanceUID
    assert run_command("download", study, "--to", tmp_path / "out", "--from", running_server.root).exit_code == 0
    assert _downloaded(tmp_path / "out") == _digests(files)


@pytest.mark.parametrize("command", ["store", "search", "download"])
def test_a_server_that_is_not_there_gives_exit_status_3(run_command: RunCommand, tmp_path: Path, command: str) -> None:
    (tmp_path / "1.dcm").write_bytes(part10(identified()))
    nowhere = "http://127.0.0.1:9/dicom-web"
    words = {
        "store": (tmp_path / "1.dcm", "--to", nowhere, "--retries", "0"),
        "search": ("--from", nowhere),
        "download": ("1.2.3", "--to", tmp_path / "out", "--from", nowhere, "--retries", "0"),
    }
    result = run_command(command, *words[command])
    assert result.exit_code == 3
    assert "does not answer" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("store", "no/such/file"),
        ("store", ".", "--to", "ftp://x"),
        ("search", "PatientName"),
        ("search", "--header", "nocolon"),
        ("download", "not-a-uid", "--to", "x"),
        ("download", "1.2.3"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_gives_exit_status_2(run_command: RunCommand, words: tuple[str, ...]) -> None:
    assert run_command(*words).exit_code == 2


def test_nothing_to_download_gives_exit_status_1(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    words = ("download", "PatientID=nobody", "--to", tmp_path / "out", "--from", running_server.root)
    result = run_command(*words)
    assert result.exit_code == 1
    assert "Nothing matches" in result.stdout
