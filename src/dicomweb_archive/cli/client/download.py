"""`download`: fetch studies, series or instances into a folder, with checksums."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from dicomweb_archive.cli.client.checksums import LocalFilesError
from dicomweb_archive.cli.client.connection import RetryPolicy, Server, ServerUnreachableError, UnexpectedAnswerError
from dicomweb_archive.cli.client.fetching import Fetcher
from dicomweb_archive.cli.client.options import ExitCode, server_of, server_options
from dicomweb_archive.cli.client.progress import RunProgress
from dicomweb_archive.cli.client.receiving import Fetched, FetchOutcome
from dicomweb_archive.cli.client.searching import SearchLevel
from dicomweb_archive.cli.client.targets import DownloadQuery, Target, parse_query
from dicomweb_archive.cli.client.terminal import json_text, say

_WORDS = {
    FetchOutcome.FETCHED: "fetched",
    FetchOutcome.KEPT: "already there and unchanged",
    FetchOutcome.CHANGED: "changed on disk since they were downloaded, kept (--replace fetches them again)",
    FetchOutcome.DIFFERS: "on disk with other bytes than the server's, kept (--replace overwrites them)",
    FetchOutcome.MISSING: "listed by the server but not delivered",
    FetchOutcome.FAILED: "not fetched",
}
_GOOD = (FetchOutcome.FETCHED, FetchOutcome.KEPT)


@dataclass(slots=True)
class DownloadReport:
    """Counts of a download."""

    as_json: bool
    folder: Path
    counts: Counter[FetchOutcome] = field(default_factory=Counter)
    fetched_bytes: int = 0
    complaints: int = 0

    def complain(self, line: str) -> None:
        """Say what could not be listed or fetched."""
        self.complaints += 1
        say(line, err=True)

    def add(self, target: Target, fetched: Fetched) -> None:
        """Count one instance, and print its line for programs."""
        self.counts[fetched.outcome] += 1
        if fetched.outcome is FetchOutcome.FETCHED:
            self.fetched_bytes += fetched.size_bytes
        if self.as_json:
            path = self.folder / target.study_instance_uid / fetched.name
            record: dict[str, Any] = {"path": str(path), "outcome": fetched.outcome.value}
            record["sop_instance_uid"] = fetched.sop_instance_uid
            if fetched.sha256:
                record["sha256"] = fetched.sha256
            say(json_text(record))

    @property
    def is_complete(self) -> bool:
        """Whether something matched and all of it is on disk as the server has it."""
        bad = sum(count for outcome, count in self.counts.items() if outcome not in _GOOD)
        return bool(self.counts) and not bad and not self.complaints

    def print_summary(self) -> None:
        """Print the counts for people or programs."""
        if self.as_json:
            counts = {outcome.value: self.counts[outcome] for outcome in FetchOutcome}
            click.echo(json_text({"summary": {**counts, "fetched_bytes": self.fetched_bytes}}))
            return
        if not self.counts:
            click.echo("Nothing matches.")
        for outcome, words in _WORDS.items():
            if self.counts[outcome]:
                size = f" ({decimal(self.fetched_bytes)})" if outcome is FetchOutcome.FETCHED else ""
                click.echo(f"{self.counts[outcome]:,} {words}{size}")


@click.command()
@click.argument("query", nargs=-1, required=True, metavar="QUERY...")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for STUDY/SERIES/INSTANCE.dcm and a SHA256SUMS in each study.",
)
@server_options("--from")
@click.option("--level", type=click.Choice([level.value for level in SearchLevel]), help="What QUERY finds.")
@click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Series at once.")
@click.option("--no-verify", is_flag=True, help="Trust files that are there without reading them again.")
@click.option("--replace", is_flag=True, help="Overwrite files whose bytes differ from the server's.")
@click.option("--retries", type=click.IntRange(0), default=5, show_default=True, help="Tries after the first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an instance and a summary, a line each.")
def download(
    query: tuple[str, ...],
    folder: Path,
    root: str,
    key: str | None,
    headers: tuple[tuple[str, str], ...],
    timeout_seconds: float,
    level: str | None,
    jobs: int,
    no_verify: bool,
    replace: bool,
    retries: int,
    as_json: bool,
) -> None:
    """Download what QUERY means: KEY=VALUE as in `search`, or STUDY_UID[/SERIES_UID[/INSTANCE_UID]].

    Bytes come as stored, without transcoding. What is on disk and agrees with its checksum is kept, so an
    interrupted download goes on when it is started again.

    Exit status: 0 all is on disk, 1 something is missing, differs, or nothing matched, 2 wrong usage,
    3 the server cannot be reached or does not let us in.
    """
    server = server_of(root, key, headers, timeout_seconds)
    report = DownloadReport(as_json, folder)
    options = {"jobs": jobs, "verify": not no_verify, "replace": replace, "retry": RetryPolicy(retries + 1)}
    status = ExitCode.FINE
    try:
        asyncio.run(_run(server, folder, parse_query(query, level), report, options))
    except (UnexpectedAnswerError, LocalFilesError) as error:
        say(f"{server.root}: {error}", err=True)
        status = ExitCode.INCOMPLETE
    except ServerUnreachableError as error:
        say(f"Stopped: {server.root}: {error}", err=True)
        status = ExitCode.UNREACHABLE
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command goes on from here.", err=True)
        status = ExitCode.INTERRUPTED
    report.print_summary()
    if status is ExitCode.FINE and not report.is_complete:
        status = ExitCode.INCOMPLETE
    if status is not ExitCode.FINE:
        raise SystemExit(status)


async def _run(
    server: Server, folder: Path, query: DownloadQuery, report: DownloadReport, options: dict[str, Any]
) -> None:
    files = 0
    with RunProgress("Downloading") as progress:

        def expect(count: int) -> None:
            nonlocal files
            files += count
            progress.expect(files)

        def hear(target: Target, fetched: Fetched) -> None:
            report.add(target, fetched)
            progress.file_done()

        fetcher = Fetcher(server, folder, hear, expect, progress.advance, report.complain, **options)
        await fetcher.run(query)
