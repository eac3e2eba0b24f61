"""From a folder to what is published and away again, as it is typed: `submit` and `curate`."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.factories import ROOT, ct_series, identified, part10
from tests.interop.conftest import RunCommand
from tests.running_server import RunningServer

STUDY = f"{ROOT}.961"


def _folder(folder: Path, count: int = 3, study: int = 961) -> Path:
    folder.mkdir()
    for number, data in enumerate(ct_series(count, study=study), start=1):
        (folder / f"{number}.dcm").write_bytes(data)
    (folder / "notes.txt").write_text("no image")
    return folder


def _last(output: str) -> dict[str, Any]:
    return dict(json.loads(output.splitlines()[-1]))


def test_a_folder_is_submitted_approved_published_and_purged(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    at, to = ("--at", running_server.root), ("--to", running_server.root)
    folder, sums = _folder(tmp_path / "in"), tmp_path / "sums"
    words = ("submit", folder, *to, "--collection", "default", "--title", "Knees", "--json")
    done = run_command(*words, "--checksums", sums)
    assert done.exit_code == 0, done.output
    report = _last(done.stdout)
    name = report["submission"]["name"]
    assert (report["good"], report["submission"]["state"]) == (True, "in_review")
    assert (report["manifest"]["agrees"], report["manifest"]["there"]) == (True, 3)
    assert (report["summary"]["stored"], report["summary"]["skipped"]) == (3, 1)
    digests = [hashlib.sha256((folder / f"{number}.dcm").read_bytes()).hexdigest() for number in (1, 2, 3)]
    assert [line.split()[0] for line in sums.read_text().splitlines()] == digests

    again = run_command(*words)
    assert (again.exit_code, _last(again.stdout)["submitted_earlier"]) == (0, True)
    assert _last(again.stdout)["submission"]["name"] == name

    listed = run_command("curate", "list", *at, "--text", "knees", "--state", "in_review", "--names")
    assert listed.stdout == f"{name}\n"
    assert name in run_command("curate", "list", *at, "--text", "knees").stdout
    shown = run_command("curate", "show", name, *at)
    assert "3 instances, all as announced" in shown.stdout
    listed = run_command("curate", "inventory", name, *at, "--text", "Modality", "--undecided")
    assert ("CT" in listed.stdout, "content" in listed.stderr) == (True, True), listed.output
    values = json.loads(run_command("curate", "inventory", name, "Modality", "--json", *at).stdout)
    assert [each["value"] for each in values["attributes"][0]["values"]] == ["CT"]
    approve = ("curate", "approve-values", name, *at)
    once = run_command(*approve, "modality", "--value", "CT", "--content", values["content"], "--json")
    assert _last(once.stdout.replace("\n", " "))["values"] == 1, once.output
    assert run_command(*approve, "Modality", "--revoke").stdout.startswith(f"{name}: 1 values no longer approved")
    assert run_command(*approve, "--all").stdout.endswith("0 attributes are undecided\n")
    assert "undecided" not in run_command("curate", "inventory", name, *at, "--undecided").stdout
    assert [run_command(*approve, *said).exit_code for said in (("Nonsense",), (), ("--all", "Modality"))] == [1, 2, 2]
    refused = run_command("curate", "approve", name, *at, "--revision", "1")
    assert (refused.exit_code, name in refused.stderr) == (1, True)
    assert run_command("curate", "comment", name, "Looks\nfine", *at).exit_code == 0
    assert run_command("curate", "approve", name, *at).stdout == f"{name}: approved\n"
    foreseen = run_command("curate", "publish", name, "--dry-run", "--json", *at)
    assert [each["published"] for each in json.loads(foreseen.stdout)["studies"]] == [3], foreseen.output
    both = run_command("curate", "publish", "nobody", name, *at)
    assert (both.exit_code, f"{name}: published" in both.stdout, "nobody" in both.stderr) == (1, True, True), (
        both.output
    )
    trail = run_command("curate", "trail", name, *at).stdout
    assert "    Looks\n    fine\n" in trail
    assert run_command("search", f"StudyInstanceUID={STUDY}", "--from", running_server.root).stdout.count(STUDY) == 1

    withdrawn = run_command("curate", "withdraw", STUDY, "--reason", "quality", *at)
    assert (withdrawn.exit_code, "3 instances withdrawn" in withdrawn.stdout) == (0, True), withdrawn.output
    unsure = run_command("curate", "purge", STUDY, "--reason", "other", *at)
    assert unsure.exit_code == 1
    purged = run_command("curate", "purge", STUDY, "--reason", "other", "--yes", *at)
    assert purged.stdout.startswith("3 instances purged"), purged.output


def test_what_keeps_a_submission_back_is_told_waived_and_mended(
    running_server: RunningServer, run_command: RunCommand, tmp_path: Path
) -> None:
    at, to = ("--at", running_server.root), ("--to", running_server.root)
    folder = _folder(tmp_path / "in", study=962)
    twice = identified(study=962, series=1, instance=1, PatientID="changed")
    (folder / "z.dcm").write_bytes(part10(twice))
    done = run_command("submit", folder, *to, "--collection", "default", "--title", "Twice")
    assert done.exit_code == 1
    # The other bytes are kept for a curator to see, and nobody is told that all is well.
    assert "1 refused" in done.stdout
    assert "is open" in done.stdout
    (name,) = run_command("curate", "list", *at, "--text", "twice", "--names").stdout.split()
    (folder / "z.dcm").unlink()
    mended = run_command("submit", folder, *to, "--submission", name, "--json")
    report = _last(mended.stdout)
    assert report["submission"] == {**report["submission"], "name": name, "state": "failed_checks"}, mended.output
    assert (mended.exit_code, report["summary"]["acknowledged_earlier"]) == (1, 3)

    found = run_command("curate", "findings", name, *at, "--severity", "block", "--open", "--json")
    findings = json.loads(found.stdout)["findings"]
    assert findings
    assert str(findings[0]["check"]) in run_command("curate", "findings", name, *at).stdout
    ids = [str(each["id"]) for each in findings]
    assert run_command("curate", "waive", name, *ids, *at).exit_code == 2
    waived = run_command("curate", "waive", name, *ids, "--reason", "seen", *at)
    assert (waived.exit_code, waived.stdout) == (0, f"{len(ids)} waived\n")
    both = json.loads(run_command("curate", "conflicts", name, "--undecided", "--json", *at).stdout)["conflicts"]
    compared = run_command("curate", "conflicts", name, both[0]["id"], *at)
    assert "PatientID" in compared.stdout
    assert run_command("curate", "decide", name, "keep", *at).exit_code == 2
    decided = run_command("curate", "decide", name, "keep", "--all", "--comment", "The first is right", *at)
    assert (decided.exit_code, "decided 1" in decided.stdout) == (0, True), decided.output
    assert run_command("curate", "review", name, *at).stdout == f"{name}: in_review\n"
    rules = tmp_path / "rules.json"
    rules.write_text('{"rules": [{"attribute": "StationName", "action": "set", "value": "CT1"}]}')
    tried = run_command("curate", "edit", name, rules, *at)
    assert (tried.exit_code, "CT1" in tried.stdout, "3 of 3 instances" in tried.stderr) == (0, True, True), tried.output
    applied = run_command("curate", "edit", name, rules, "--apply", "Named anew", *at)
    assert (applied.exit_code, f"{name}: succeeded" in applied.stdout) == (0, True), applied.output
    (done,) = json.loads(run_command("curate", "edits", name, "--json", *at).stdout)
    assert (done["instances"], "Named anew" in run_command("curate", "edits", name, *at).stdout) == (3, True)
    undone = run_command("curate", "undo-edit", name, done["id"], "--reason", "It was right", *at)
    assert (undone.exit_code, f"{name}: succeeded" in undone.stdout) == (0, True), undone.output
    assert run_command("curate", "reject", name, *at).exit_code == 2
    rejected = run_command("curate", "reject", name, "--reason", "duplicate", "--comment", "Twice", "--json", *at)
    assert _last(rejected.stdout)["state"] == "rejected"
