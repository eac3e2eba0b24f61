"""What `curate` prints for people."""

from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.filesize import decimal

from dicomweb_archive.cli.client.json_api import Document
from dicomweb_archive.cli.client.table_printing import print_table
from dicomweb_archive.cli.client.terminal import printable, say

_QUEUE = ("name", "state", "collection", "site", "title", "opened by", "studies", "instances", "size", "changed")
_FINDINGS = ("id", "severity", "check", "instances", "waived by", "level", "uid", "path", "message")


def print_queue(page: Document) -> None:
    """Print submissions as a table, and how many there are in each state."""
    print_table(_QUEUE, (_row(each) for each in page["submissions"]))
    counts = ", ".join(f"{count:,} {state}" for state, count in page["counts"].items() if count)
    say(f"{len(page['submissions']):,} of {page['total']:,} shown; {counts or 'nothing waits'}", err=True)


def print_submission(submission: Document, findings: Document, manifest: Document | None) -> None:
    """Print what is known of a submission, line by line."""
    held = submission["held"]
    lines = {
        "name": submission["name"],
        "state": f"{submission['state']}, revision {submission['revision']}",
        "collection": submission["collection"],
        "title": submission["title"],
        "contact": submission["contact"],
        "site": submission["site"],
        "opened": f"{_minute(submission['created_at'])} by {submission['opened_by']}",
        "changed": _minute(submission["changed_at"]),
        "holds": f"{_amount(held)} in {held['studies']:,} studies, {held['series']:,} series",
        "announced": "nothing" if manifest is None else announced_words(manifest),
        "findings": finding_words(findings),
        "may be done": ", ".join(submission["actions"]) or "nothing",
        "DICOMweb": submission["dicomweb"],
    }
    for name, value in lines.items():
        if value:
            click.echo(f"{name + ':':13} {printable(value)}")


def print_findings(page: Document) -> None:
    """Print findings as a table, those that block first."""
    print_table(_FINDINGS, (_finding(each) for each in page["findings"]))
    click.echo(f"{len(page['findings']):,} of {page['total']:,} shown", err=True)


def trail_lines(events: Sequence[Document]) -> Iterator[str]:
    """Write each event of a trail in a line, with what was said below it."""
    for event in events:
        detail = " ".join(f"{name}={value}" for name, value in event["detail"].items())
        study = event["study_instance_uid"] or ""
        yield printable("  ".join(filter(None, (_minute(event["at"]), event["actor"], event["kind"], study, detail))))
        yield from (f"    {printable(line)}" for line in event["comment"].splitlines())


def announced_words(manifest: Document) -> str:
    """Say how what was announced stands to what is there."""
    if manifest["agrees"]:
        return f"{manifest['expected']:,} instances, all as announced"
    counts = ((manifest[name], name) for name in ("there", "missing", "unexpected", "differing"))
    return "not as announced: " + ", ".join(f"{count:,} {name}" for count, name in counts if count)


def finding_words(findings: Document) -> str:
    """Say how many findings of each severity count."""
    counted = ((count["open"], severity) for severity, count in findings["counts"].items())
    return ", ".join(f"{count:,} {severity}" for count, severity in counted if count) or "none that counts"


def _row(submission: Document) -> Sequence[Any]:
    held = submission["held"]
    described = (submission[name] for name in ("name", "state", "collection", "site", "title", "opened_by"))
    size = decimal(held["size_bytes"])
    return (*described, held["studies"], held["instances"], size, _minute(submission["changed_at"]))


def _finding(found: Document) -> Sequence[Any]:
    uid = found["sop_instance_uid"] or found["series_instance_uid"] or found["study_instance_uid"]
    waived_by = (found["waiver"] or {}).get("by")
    first = (found["id"], found["severity"], found["check"], found["instances"], waived_by)
    return (*first, found["level"], uid, found["path"], found["message"])


def _amount(held: Document) -> str:
    return f"{held['instances']:,} instances ({decimal(held['size_bytes'])})"


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
