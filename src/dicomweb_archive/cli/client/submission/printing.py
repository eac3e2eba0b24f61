"""What `submit` says at its end, for people and for programs."""

from collections.abc import Iterator

from dicomweb_archive.cli.client.curation.printing import announced_words, finding_words
from dicomweb_archive.cli.client.json_api import Document
from dicomweb_archive.cli.client.submission.running import SubmitReport
from dicomweb_archive.cli.client.terminal import printable

_COMPARED = ("agrees", "expected", "there", "missing", "unexpected", "differing")
_NEXT = {
    "open": "it is open still, and takes more",
    "sealed": "its checks have not begun yet",
    "checking": "its checks go on",
    "failed_checks": "its checks have found what keeps it from being reviewed",
    "in_review": "it waits for a curator",
    "changes_requested": "a curator asks for changes; its trail says which",
}


def report_record(report: SubmitReport) -> Document:
    """Give what the run has come to for programs: the last line of `--json`."""
    submission, manifest, findings = report.submission, report.manifest, report.findings
    return {
        **report.files.summary(),
        "good": report.is_good,
        "submitted_earlier": report.was_through,
        "submission": submission and {name: submission[name] for name in ("name", "url", "state", "revision")},
        "manifest": manifest and {name: manifest[name] for name in _COMPARED},
        "findings": findings and findings["counts"],
    }


def report_lines(report: SubmitReport) -> Iterator[str]:
    """Give what the run has come to for people."""
    submission = report.submission
    if submission is not None and report.was_through:
        yield "The same files were submitted before, so nothing was sent; --new submits them once more."
    else:
        yield from report.files.lines()
    if submission is None:
        yield "No submission was opened."
        return
    yield f"submission {submission['name']} is {submission['state']}: {submission['url']}"
    if report.manifest is not None:
        yield f"announced: {announced_words(report.manifest)}"
    if report.findings is not None:
        yield f"findings: {finding_words(report.findings)}"
        for found in report.findings["findings"]:
            if found["severity"] == "block":
                yield printable(f"  {found['check']}: {found['message']} ({found['instances']:,} instances)")
    if words := _NEXT.get(submission["state"]):
        yield words[0].upper() + words[1:] + "."
    if submission["state"] in ("open", *_REOPENED):
        yield f"`submit … --submission {submission['name']}` sends more to it, and takes away nothing."


_REOPENED = ("failed_checks", "changes_requested")
