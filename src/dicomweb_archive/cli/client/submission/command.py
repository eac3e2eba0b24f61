"""`submit`: send a folder as one submission to an archive like this one."""

import asyncio
from pathlib import Path
from typing import Any

import click

from dicomweb_archive.cli.client.answers import FileOutcome
from dicomweb_archive.cli.client.checksums import LocalFilesError
from dicomweb_archive.cli.client.connection import RetryPolicy, ServerUnreachableError, UnexpectedAnswerError
from dicomweb_archive.cli.client.curation.options import wait_option
from dicomweb_archive.cli.client.curation.work import Patience
from dicomweb_archive.cli.client.json_api import take_server
from dicomweb_archive.cli.client.options import ExitCode, server_options
from dicomweb_archive.cli.client.report import outcome_record
from dicomweb_archive.cli.client.sending import SendLimits
from dicomweb_archive.cli.client.submission.desk import Wanted
from dicomweb_archive.cli.client.submission.printing import report_lines, report_record
from dicomweb_archive.cli.client.submission.running import SubmitReport, SubmitRun, submit_paths
from dicomweb_archive.cli.client.terminal import json_text, say

_MIB = 1024 * 1024


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--collection", metavar="ACCESSION", help="Collection that it is for, e.g. COL-000123 or default.")
@click.option("--title", default="", help="What it is, for who looks at it.")
@click.option("--contact", default="", help="Who can be asked about it.")
@click.option("--site", default="", help="Where it comes from.")
@click.option("--submission", "name", metavar="NAME", help="Go on with this one, reopened if need be.")
@click.option("--new", "anew", is_flag=True, help="Open a new one, whatever earlier runs have done.")
@click.option("--no-seal", is_flag=True, help="Leave it open in the end, so that more can follow.")
@wait_option
@click.option("--checksums", type=click.Path(dir_okay=False, path_type=Path), help="Write SHA-256 sums to this file.")
@server_options("--to")
@click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at once.")
@click.option("--batch-mib", type=click.IntRange(1), default=128, show_default=True, help="Size of a request in MiB.")
@click.option("--batch-files", type=click.IntRange(1), default=500, show_default=True, help="Most files in a request.")
@click.option("--retries", type=click.IntRange(0), default=5, show_default=True, help="Tries after the first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file and a summary, a line each.")
def submit(paths: tuple[Path, ...], as_json: bool, **given: Any) -> None:
    """Submit the DICOM files at PATHS as one submission: files, folders and ZIP archives.

    They are read and announced before they are sent, so that the archive knows what is missing. A run that was
    interrupted goes on where it stopped when it is started again, from wherever the same files are.

    Exit status: 0 all is in the archive as announced, 1 files were refused or not readable, something is missing, or
    the checks say no, 2 wrong usage, 3 the server cannot be reached or does not let us in, 130 interrupted.
    """
    if (given["collection"] is None) is (given["name"] is None):
        raise click.UsageError("say --collection for a new submission, or --submission for one that is there")
    report = SubmitReport()
    status = _run(paths, _planned(given, as_json=as_json), report)
    say(json_text(report_record(report)) if as_json else "\n".join(report_lines(report)))
    if status is ExitCode.FINE and not report.is_good:
        status = ExitCode.INCOMPLETE
    if status is not ExitCode.FINE:
        raise SystemExit(status)


def _planned(given: dict[str, Any], *, as_json: bool) -> SubmitRun:
    fields = ("collection", "title", "contact", "site", "name", "anew")
    return SubmitRun(
        server=take_server(given),
        wanted=Wanted(**{name: given[name] for name in fields}),
        limits=SendLimits(given["batch_mib"] * _MIB, given["batch_files"], given["jobs"]),
        retry=RetryPolicy(attempts=given["retries"] + 1),
        each=_print_record if as_json else _ignore,
        seals=not given["no_seal"],
        patience=Patience(given["wait_seconds"]),
        checksums=given["checksums"],
    )


def _run(paths: tuple[Path, ...], run: SubmitRun, report: SubmitReport) -> ExitCode:
    try:
        asyncio.run(submit_paths(paths, run, report))
    except ServerUnreachableError as error:
        say(f"Stopped: {run.server.root}: {error}", err=True)
        return ExitCode.UNREACHABLE
    except UnexpectedAnswerError as error:
        say(f"Stopped: {run.server.root}: {error}", err=True)
        return ExitCode.INCOMPLETE
    except LocalFilesError as error:
        say(f"Stopped: {error}", err=True)
        return ExitCode.INCOMPLETE
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command goes on from here.", err=True)
        return ExitCode.INTERRUPTED
    return ExitCode.FINE


def _print_record(outcome: FileOutcome) -> None:
    say(json_text(outcome_record(outcome)))


def _ignore(_outcome: FileOutcome) -> None:
    return
