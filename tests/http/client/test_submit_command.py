"""`submit` against the archive itself, over connections that break at the worst moment."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from httpx import ASGITransport
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.client.fake_server import impatient
from tests.http.conftest import StartArchive
from tests.submitted import add_collection

from dicomweb_archive.cli.client.answers import Outcome
from dicomweb_archive.cli.client.connection import Server, ServerUnreachableError, UnexpectedAnswerError
from dicomweb_archive.cli.client.curation.work import Patience
from dicomweb_archive.cli.client.sending import SendLimits
from dicomweb_archive.cli.client.submission import announcing
from dicomweb_archive.cli.client.submission.desk import Wanted
from dicomweb_archive.cli.client.submission.printing import report_lines, report_record
from dicomweb_archive.cli.client.submission.running import SubmitReport, SubmitRun, submit_paths
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included


class Unreliable(httpx.AsyncBaseTransport):
    """Brings requests to the archive; loses some answers on the way back, and some connections for good.

    Attributes:
        losing: method and end of path of requests whose answers are lost, once each.
        stores: how many stores get through before nothing does any more.
    """

    def __init__(self, archive: Archive, losing: Sequence[str] = (), stores: int | None = None) -> None:
        self._inner = ASGITransport(archive.app)
        self.losing = list(losing)
        self.stores = stores
        self.seen: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        named = f"{request.method} {request.url.path.rpartition('/')[2]}"
        self.seen[named] += 1
        if self.stores is not None and self.seen["POST studies"] > self.stores:
            raise httpx.ConnectError("nobody is there", request=request)
        response = await self._inner.handle_async_request(request)
        if named in self.losing:
            self.losing.remove(named)
            await response.aclose()
            raise httpx.ReadError("reset by peer", request=request)
        return response


def run_of(archive: Archive, transport: Unreliable | None = None, files: int = 2, **wanted: object) -> SubmitRun:
    server = Server("http://archive.example/dicom-web", transport=transport or Unreliable(archive))
    return SubmitRun(
        server=server,
        wanted=replace(Wanted("default", title="Knees"), **wanted),
        limits=SendLimits(batch_files=files, jobs=1),
        retry=impatient(3),
        each=lambda _outcome: None,
        patience=Patience(60),
    )


async def submit(folder: Path, run: SubmitRun) -> SubmitReport:
    report = SubmitReport()
    await submit_paths([folder], run, report)
    return report


async def names(archive: Archive) -> list[str]:
    return [each["name"] for each in (await archive.client.get("/submissions")).json()["submissions"]]


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    # What is sealed is checked, which a command waits for.
    async with start_archive(job_slots=1) as archive:
        yield archive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, data in enumerate(ct_series(4, study=971), start=1):
        (folder / f"{number}.dcm").write_bytes(data)
    return folder


async def test_answers_that_are_lost_are_asked_for_and_nothing_is_done_twice(archive: Archive, folder: Path) -> None:
    lost = ["POST submissions", "PUT manifest", "POST studies", "GET manifest", "POST seal"]
    transport = Unreliable(archive, lost)
    report = await submit(folder, run_of(archive, transport))
    assert transport.losing == []
    assert (report.is_good, report.submission and report.submission["state"]) == (True, "in_review")
    assert len(await names(archive)) == 1
    events = (await archive.client.get(f"/submissions/{(await names(archive))[0]}/events")).json()["events"]
    kinds = Counter(event["kind"] for event in events)
    assert (kinds["submission_opened"], kinds["submission_manifest_set"]) == (1, 1), kinds


async def test_a_run_that_broke_off_is_gone_on_with_by_what_the_archive_has(archive: Archive, folder: Path) -> None:
    begun = SubmitReport()
    with pytest.raises(ServerUnreachableError):
        await submit_paths([folder], run_of(archive, Unreliable(archive, stores=1)), begun)
    assert begun.submission is not None
    assert "No submission" not in "\n".join(report_lines(begun))
    transport = Unreliable(archive)
    report = await submit(folder, run_of(archive, transport))
    assert report.submission is not None
    assert (report.is_good, report.submission["name"]) == (True, begun.submission["name"])
    assert report.files.counts == {Outcome.ACKNOWLEDGED_EARLIER: 2, Outcome.STORED: 2}
    assert transport.seen["POST studies"] == 1

    again = await submit(folder, run_of(archive))
    assert (again.was_through, again.submission and again.submission["name"]) == (True, report.submission["name"])
    assert "submitted before" in next(report_lines(again))
    assert report_record(again)["good"] is True
    # Other bytes, and the same once more when that is wanted, are other submissions.
    (folder / "1.dcm").unlink()
    other = await submit(folder, run_of(archive))
    anew = await submit(folder, run_of(archive, anew=True))
    assert len({each.submission and each.submission["name"] for each in (report, other, anew)}) == 3


async def test_who_may_not_submit_hears_so_before_anything_is_read(archive: Archive, tmp_path: Path) -> None:
    for accession in ("LUNG-000001", "KNEE-000001"):
        await add_collection(archive, accession)
    await archive.client.patch("/collections/KNEE-000001", json={"closed": True}, headers={"if-match": "*"})
    roles = with_included([Role.SUBMITTER])
    archive.let_in(
        Principal("reader", PrincipalKind.KEY_HOLDER, frozenset({Role.READER})),
        Principal("other", PrincipalKind.KEY_HOLDER, roles, frozenset({1})),
        Principal("knees", PrincipalKind.KEY_HOLDER, roles),
    )
    missing = tmp_path / "is read by nobody"
    for key, accession, said in (
        ("reader", "LUNG-000001", "role submitter"),
        ("other", "LUNG-000001", "role submitter"),
        ("knees", "KNEE-000001", "closed"),
        ("knees", "NONE-000001", "collection"),
    ):
        run = run_of(archive, collection=accession)
        with pytest.raises(UnexpectedAnswerError, match=said):
            await submit(missing, replace(run, server=replace(run.server, key=key)))


async def test_what_is_not_whole_stays_open_and_what_is_settled_takes_nothing(
    archive: Archive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "5.dcm").write_bytes((folder / "4.dcm").read_bytes()[:-20])
    (folder / "6.dcm").write_bytes((folder / "4.dcm").read_bytes())
    report = await submit(folder, run_of(archive))
    assert report.submission is not None
    # Of 4.dcm and 5.dcm, which say that they are the same instance, the archive has judged the second.
    assert report.files.counts == {Outcome.STORED: 4, Outcome.REFUSED: 1, Outcome.SKIPPED: 1}
    assert (report.is_good, report.submission["state"]) == (False, "open")
    name = str(report.submission["name"])
    assert f"--submission {name}" in "\n".join(report_lines(report))

    (folder / "5.dcm").unlink()
    # With more than can be named the totals are announced, and what is there is found by a search.
    monkeypatch.setattr(announcing, "MOST_INSTANCES", 3)
    left = await submit(folder, replace(run_of(archive, name=name, collection=None), seals=False))
    assert (left.is_good, left.submission and left.submission["state"]) == (True, "open")
    assert left.files.counts[Outcome.ACKNOWLEDGED_EARLIER] == 4
    done = await submit(folder, run_of(archive, name=name, collection=None))
    assert (done.is_good, done.submission and done.submission["state"]) == (True, "in_review")
    with pytest.raises(UnexpectedAnswerError, match="in_review"):
        await submit(folder, run_of(archive, name=name, collection=None))

    empty = folder.parent / "empty"
    empty.mkdir()
    nothing = await submit(empty, run_of(archive))
    assert (nothing.is_good, await names(archive)) == (False, [name])
