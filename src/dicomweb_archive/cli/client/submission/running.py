"""One run of `submit`: read, announce, send what is not there yet, compare, seal, and hear what the checks say."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicomweb_archive.cli.client.answers import FileOutcome, Outcome
from dicomweb_archive.cli.client.checksums import LocalFilesError
from dicomweb_archive.cli.client.connection import RetryPolicy, Server
from dicomweb_archive.cli.client.curation.work import BEING_CHECKED, Curation, Patience, StillGoingOnError, path_of
from dicomweb_archive.cli.client.json_api import Document, JsonApi, open_api
from dicomweb_archive.cli.client.progress import RunProgress
from dicomweb_archive.cli.client.report import SENT, StoreReport
from dicomweb_archive.cli.client.resume import Acknowledged
from dicomweb_archive.cli.client.sending import Sender, SendLimits
from dicomweb_archive.cli.client.sources import Archives, count_sources
from dicomweb_archive.cli.client.submission.announcing import announce
from dicomweb_archive.cli.client.submission.desk import Desk, Wanted, ensure_welcome
from dicomweb_archive.cli.client.submission.scanning import Scan, checksum_lines, scan_paths

_REFUSING = frozenset({"failed_checks", "changes_requested"})
_FINDINGS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class SubmitRun:
    """What one `submit` sends where; `each` hears of every file."""

    server: Server
    wanted: Wanted
    limits: SendLimits
    retry: RetryPolicy
    each: Callable[[FileOutcome], None]
    seals: bool = True
    patience: Patience = field(default_factory=lambda: Patience(0))
    checksums: Path | None = None


@dataclass(slots=True)
class SubmitReport:
    """What a run has come to, as far as it has come.

    Attributes:
        was_through: an earlier run has submitted the same, so nothing was sent.
        manifest: how what was announced stands to what is there.
        findings: of the checks, when they were waited for; those that block are among them.
    """

    files: StoreReport = field(default_factory=lambda: StoreReport(earlier="there from an earlier run"))
    submission: Document | None = None
    was_through: bool = False
    manifest: Document | None = None
    findings: Document | None = None
    still_checking: bool = False

    @property
    def is_good(self) -> bool:
        """Whether all that was found is in the archive as it was announced, and nothing has been said against it."""
        if self.submission is None or self.submission["state"] in _REFUSING or self.files.has_trouble:
            return False
        return self.was_through or (self.manifest is not None and bool(self.manifest["agrees"]))


async def submit_paths(paths: Sequence[Path], run: SubmitRun, report: SubmitReport) -> None:
    """Submit everything below `paths`, adding what becomes of it to `report`.

    Where there is nothing that could be sent, no submission is opened.

    Raises:
        ServerUnreachableError, UnexpectedAnswerError: what has become of it so far is in the report.
        LocalFilesError: the file of checksums cannot be written.
    """
    archives = Archives()

    def hear(outcome: FileOutcome) -> None:
        report.files.add(outcome)
        run.each(outcome)

    try:
        async with open_api(run.server, run.retry) as api:
            await ensure_welcome(api, run.wanted)
        scan = await _scan(paths, archives, run, hear)
        if not scan.instances and not scan.further:
            return
        async with open_api(run.server, run.retry) as api:
            desk = Desk(api, run.wanted, announce(scan))
            report.submission = await desk.take_up()
            if report.submission["state"] == "open":
                await _send(scan, archives, desk, run, report, hear)
                await _close(desk, run, report)
            else:
                report.was_through = True
            await _hear_checks(api, run, report)
    finally:
        archives.close()


async def _scan(paths: Sequence[Path], archives: Archives, run: SubmitRun, hear: Callable[[FileOutcome], None]) -> Scan:
    with RunProgress("Reading") as progress:
        progress.expect(*await asyncio.to_thread(count_sources, paths))

        def advance(size_bytes: int) -> None:
            progress.advance(size_bytes)
            progress.file_done()

        scan = await scan_paths(paths, archives, with_sha256=run.checksums is not None, hear=hear, advance=advance)
    if run.checksums is not None:
        await asyncio.to_thread(_write_checksums, run.checksums, scan)
    return scan


def _write_checksums(path: Path, scan: Scan) -> None:
    try:
        with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(checksum_lines(scan))
    except OSError as error:
        message = f"the file of checksums cannot be written ({error.strerror})"
        raise LocalFilesError(message) from error


async def _send(
    scan: Scan,
    archives: Archives,
    desk: Desk,
    run: SubmitRun,
    report: SubmitReport,
    hear: Callable[[FileOutcome], None],
) -> None:
    """Send what the archive does not have; of what it has it was said so."""
    assert report.submission is not None
    name = report.submission["name"]
    # As we reach it, and not as it calls itself: both may differ behind a proxy.
    server = replace(run.server, root=f"{desk.api.base}{path_of(name)}/dicom-web")
    there = await desk.there(name, server)
    wanted = []
    for uid, file in scan.instances.items():
        if uid in there:
            hear(FileOutcome(file.source, Outcome.ACKNOWLEDGED_EARLIER))
        else:
            wanted.append(file.source)
    wanted += (file.source for file in scan.further)
    with RunProgress("Sending") as progress:
        progress.expect(len(wanted), sum(source.size_bytes for source in wanted))

        def told(outcome: FileOutcome) -> None:
            hear(outcome)
            progress.file_done()
            if outcome.outcome not in SENT:
                progress.advance(outcome.source.size_bytes)

        sender = Sender(server, archives, Acknowledged(None), told, progress.advance, run.limits, run.retry)
        await sender.run(wanted)


async def _close(desk: Desk, run: SubmitRun, report: SubmitReport) -> None:
    assert report.submission is not None
    name = report.submission["name"]
    report.manifest = await desk.compared(name)
    if run.seals and report.manifest["agrees"] and not report.files.has_trouble:
        report.submission = await desk.seal(name)
    else:
        report.submission = (await desk.api.get(path_of(name))).document


async def _hear_checks(api: JsonApi, run: SubmitRun, report: SubmitReport) -> None:
    assert report.submission is not None
    name = report.submission["name"]
    if report.submission["state"] == "open":
        return
    curation = Curation(api, run.patience)
    try:
        report.submission = await curation.checked(name)
    except StillGoingOnError:
        report.still_checking = True
    if report.submission["state"] not in BEING_CHECKED:
        report.findings = await curation.findings(name, _FINDINGS_SHOWN, {"waived": "false"})
