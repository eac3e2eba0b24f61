"""The summary of a store run."""

from pathlib import Path

from dicomweb_archive.cli.client.answers import FileOutcome, Outcome
from dicomweb_archive.cli.client.report import StoreReport, outcome_record
from dicomweb_archive.cli.client.sources import Source


def _outcome(outcome: Outcome, reason: str = "", name: str = "a.dcm") -> FileOutcome:
    return FileOutcome(Source(name, Path(name), 1000, 0), outcome, reason)


def test_reasons_are_grouped_with_their_files() -> None:
    report = StoreReport()
    report.add(_outcome(Outcome.STORED))
    for number in range(30):
        report.add(_outcome(Outcome.REFUSED, "cut short (C001)", f"{number}.dcm"))
    report.add(_outcome(Outcome.SKIPPED, "empty", "e"))
    lines = list(report.lines())
    assert lines[0] == "1 stored (1.0 kB)"
    assert lines[1:4] == ["30 refused", "  cut short (C001): 30", "    0.dcm"]
    assert "    … and 10 more (--json lists all)" in lines
    assert lines[-1].startswith("31.0 kB sent in ")
    assert report.has_trouble


def test_skipped_files_are_no_trouble() -> None:
    report = StoreReport()
    report.add(_outcome(Outcome.SKIPPED, "not DICOM"))
    report.add(_outcome(Outcome.ALREADY_THERE))
    assert not report.has_trouble
    assert report.summary()["summary"]["already_there"] == 1


def test_a_name_cannot_speak_to_the_terminal() -> None:
    report = StoreReport()
    report.add(_outcome(Outcome.REFUSED, "no", "x.zip!\x1b[2Jname\udcff.dcm"))
    text = "\n".join(report.lines())
    assert "\x1b" not in text
    text.encode()


def test_a_record_has_no_empty_fields() -> None:
    assert outcome_record(_outcome(Outcome.STORED)) == {"path": "a.dcm", "outcome": "stored"}
