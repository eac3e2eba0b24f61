"""`store`: send files, folders and ZIP archives to a DICOMweb server."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from dicomweb_archive.cli.client.answers import FileOutcome
from dicomweb_archive.cli.client.connection import RetryPolicy, Server, ServerUnreachableError
from dicomweb_archive.cli.client.options import ExitCode, server_of, server_options
from dicomweb_archive.cli.client.progress import RunProgress
from dicomweb_archive.cli.client.report import SENT, StoreReport, outcome_record
from dicomweb_archive.cli.client.resume import Acknowledged, StateFileError, default_state_folder
from dicomweb_archive.cli.client.sending import Sender, SendLimits
from dicomweb_archive.cli.client.sources import Archives, count_sources, iter_sources
from dicomweb_archive.cli.client.terminal import json_text, say

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoreRun:
    """What one `store` sends where; `each` hears of every file."""

    server: Server
    limits: SendLimits
    all_files: bool
    state_folder: Path | None
    retry: RetryPolicy
    each: Callable[[FileOutcome], None]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@server_options("--to")
@click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at once.")
@click.option("--batch-mib", type=click.IntRange(1), default=128, show_default=True, help="Size of a request in MiB.")
@click.option("--batch-files", type=click.IntRange(1), default=500, show_default=True, help="Most files in a request.")
@click.option("--all-files", is_flag=True, help="Send also what does not begin like a DICOM file.")
@click.option("--no-resume", is_flag=True, help="Send everything, whatever earlier runs have sent.")
@click.option("--retries", type=click.IntRange(0), default=5, show_default=True, help="Tries after the first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file and a summary, a line each.")
@click.option("--state-folder", type=click.Path(file_okay=False, path_type=Path), hidden=True)
def store(
    paths: tuple[Path, ...],
    root: str,
    key: str | None,
    headers: tuple[tuple[str, str], ...],
    timeout_seconds: float,
    jobs: int,
    batch_mib: int,
    batch_files: int,
    all_files: bool,
    no_resume: bool,
    retries: int,
    as_json: bool,
    state_folder: Path | None,
) -> None:
    """Store the DICOM files at PATHS: files, folders and ZIP archives.

    A run that was interrupted goes on where it stopped when it is started again.

    Exit status: 0 all is in the archive, 1 some files were refused or not readable, 2 wrong usage,
    3 the server cannot be reached or does not let us in.
    """
    run = StoreRun(
        server=server_of(root, key, headers, timeout_seconds),
        limits=SendLimits(batch_mib * _MIB, batch_files, jobs),
        all_files=all_files,
        state_folder=None if no_resume else state_folder or default_state_folder(),
        retry=RetryPolicy(attempts=retries + 1),
        each=_print_record if as_json else _ignore,
    )
    finish_store(paths, run, as_json=as_json)


def finish_store(paths: Iterable[Path], run: StoreRun, *, as_json: bool) -> None:
    """Run a store to its end, print the summary, and leave with the exit status that fits."""
    report = StoreReport()
    status = ExitCode.FINE
    try:
        asyncio.run(store_paths(list(paths), run, report))
    except ServerUnreachableError as error:
        say(f"Stopped: {run.server.root}: {error}", err=True)
        status = ExitCode.UNREACHABLE
    except StateFileError as error:
        say(f"Stopped: {error}", err=True)
        status = ExitCode.INCOMPLETE
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command goes on from here.", err=True)
        status = ExitCode.INTERRUPTED
    say(json_text(report.summary()) if as_json else "\n".join(report.lines()))
    if status is ExitCode.FINE and report.has_trouble:
        status = ExitCode.INCOMPLETE
    if status is not ExitCode.FINE:
        raise SystemExit(status)


async def store_paths(paths: list[Path], run: StoreRun, report: StoreReport) -> None:
    """Store everything below `paths`, adding each outcome to `report`.

    Raises:
        ServerUnreachableError: what is acknowledged so far is in the report and in the state file.
    """
    archives = Archives()
    memory = Acknowledged(None)
    if run.state_folder is not None:
        memory = await asyncio.to_thread(Acknowledged.for_server, run.state_folder, run.server.root)
    with RunProgress("Storing") as progress:

        def hear(outcome: FileOutcome) -> None:
            report.add(outcome)
            run.each(outcome)
            progress.file_done()
            if outcome.outcome not in SENT:
                progress.advance(outcome.source.size_bytes)

        sender = Sender(run.server, archives, memory, hear, progress.advance, run.limits, run.retry)
        counting = asyncio.create_task(_count(paths, progress))
        try:
            await sender.run(iter_sources(paths, archives, all_files=run.all_files))
        finally:
            counting.cancel()
            archives.close()


async def _count(paths: list[Path], progress: RunProgress) -> None:
    files, size = await asyncio.to_thread(count_sources, paths)
    progress.expect(files, size)


def _print_record(outcome: FileOutcome) -> None:
    say(json_text(outcome_record(outcome)))


def _ignore(_outcome: FileOutcome) -> None:
    return
