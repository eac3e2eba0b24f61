"""Storing against a server that fails in many ways."""

import zipfile
from collections import Counter
from pathlib import Path

import pytest
from tests.factories import identified, part10
from tests.http.client.fake_server import (
    FakeServer,
    Fault,
    Waits,
    broken_connection,
    fine,
    impatient,
    refused_connection,
    server,
    status,
)

from dicomweb_archive.cli.client.answers import FileOutcome, Outcome
from dicomweb_archive.cli.client.connection import ServerUnreachableError
from dicomweb_archive.cli.client.report import StoreReport
from dicomweb_archive.cli.client.sending import SendLimits
from dicomweb_archive.cli.client.store import StoreRun, store_paths


class Run:
    """A store of a folder into a fake server."""

    def __init__(self, folder: Path, fake: FakeServer) -> None:
        self.folder = folder
        self.fake = fake
        self.outcomes: dict[str, FileOutcome] = {}
        self.waits = Waits()

    async def store(
        self, *faults: Fault, attempts: int = 3, resume: bool = False, files: int = 100, jobs: int = 2
    ) -> Counter[Outcome]:
        self.outcomes.clear()
        report = StoreReport()
        run = StoreRun(
            server=server(self.fake, *faults),
            limits=SendLimits(batch_files=files, jobs=jobs),
            all_files=False,
            state_folder=self.folder.parent / "state" if resume else None,
            retry=impatient(attempts, self.waits),
            each=lambda outcome: self.outcomes.__setitem__(Path(outcome.source.name).name, outcome),
        )
        await store_paths([self.folder], run, report)
        return report.counts


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"{number}.dcm").write_bytes(part10(identified(instance=number)))
    return Run(folder, FakeServer())


async def test_everything_arrives_as_it_is(run: Run) -> None:
    assert await run.store() == {Outcome.STORED: 5}
    assert sorted(run.fake.kept.values()) == sorted(path.read_bytes() for path in run.folder.iterdir())
    assert len(run.fake.stores) == 1


async def test_batches_are_cut_by_number_of_files(run: Run) -> None:
    await run.store(files=2)
    assert sorted(map(len, run.fake.stores)) == [1, 2, 2]


@pytest.mark.parametrize("code", [429, 502, 503, 504])
async def test_an_overloaded_server_is_asked_again(run: Run, code: int) -> None:
    assert await run.store(status(code), status(code)) == {Outcome.STORED: 5}
    assert len(run.waits.seconds) == 2


async def test_the_wait_that_the_server_asks_for_is_kept(run: Run) -> None:
    await run.store(status(503, **{"Retry-After": "7"}))
    assert run.waits.seconds == [7]


async def test_waits_grow_and_differ(run: Run) -> None:
    await run.store(*[broken_connection] * 5, attempts=6)
    assert len(set(run.waits.seconds)) == 5
    assert run.waits.seconds[4] > run.waits.seconds[0]


async def test_a_broken_connection_is_no_loss(run: Run) -> None:
    assert await run.store(broken_connection) == {Outcome.STORED: 5}
    assert len(run.fake.kept) == 5


async def test_a_server_that_is_not_there_ends_the_run(run: Run) -> None:
    with pytest.raises(ServerUnreachableError, match="does not answer"):
        await run.store(*[refused_connection] * 3)


@pytest.mark.parametrize(("code", "words"), [(401, "let us in"), (403, "let us in"), (404, "URL"), (507, "room")])
async def test_what_no_retry_can_mend_ends_the_run_at_once(run: Run, code: int, words: str) -> None:
    with pytest.raises(ServerUnreachableError, match=words):
        await run.store(status(code), jobs=1)
    assert run.waits.seconds == []


async def test_refused_instances_do_not_keep_the_others_back(run: Run) -> None:
    uid = identified(instance=2).SOPInstanceUID
    run.fake.refuse[uid] = 0x0122
    assert await run.store() == {Outcome.STORED: 4, Outcome.REFUSED: 1}
    assert run.outcomes["2.dcm"].reason == "SOP class not supported (0122)"
    assert run.outcomes["2.dcm"].code == 0x0122


async def test_a_request_refused_as_a_whole_is_sent_file_by_file(run: Run) -> None:
    assert await run.store(status(400), jobs=1) == {Outcome.STORED: 5}
    assert [len(uids) for uids in run.fake.stores] == [1] * 5


async def test_a_server_that_says_nothing_is_believed(run: Run) -> None:
    run.fake.mute = True
    assert await run.store() == {Outcome.STORED: 5}


async def test_other_bytes_under_a_known_uid_come_later_and_are_refused(run: Run) -> None:
    (run.folder / "9.dcm").write_bytes(part10(identified(instance=1, StudyID="other")))
    assert await run.store(jobs=4) == {Outcome.STORED: 5, Outcome.REFUSED: 1}
    assert run.outcomes["9.dcm"].code == 0xA902
    assert len(run.fake.stores) == 2


async def test_what_is_not_dicom_is_skipped_and_said(run: Run) -> None:
    (run.folder / "notes.txt").write_text("hello")
    assert await run.store() == {Outcome.STORED: 5, Outcome.SKIPPED: 1}
    assert "not DICOM" in run.outcomes["notes.txt"].reason


async def test_an_unreadable_member_does_not_keep_the_others_back(run: Run) -> None:
    data = part10(identified(instance=7))
    path = run.folder / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("7.dcm", data)
        archive.writestr("8.dcm", part10(identified(instance=8)))
    path.write_bytes(path.read_bytes().replace(data[-40:], bytes(40), 1))
    assert await run.store() == {Outcome.STORED: 6, Outcome.UNREADABLE: 1}
    assert run.outcomes["a.zip!7.dcm"].outcome is Outcome.UNREADABLE


async def test_a_restart_sends_nothing_twice(run: Run) -> None:
    with pytest.raises(ServerUnreachableError):
        await run.store(fine, *[refused_connection] * 9, resume=True, files=2, jobs=1)
    assert len(run.fake.kept) == 2
    run.fake.stores.clear()
    assert await run.store(resume=True) == {Outcome.ACKNOWLEDGED_EARLIER: 2, Outcome.STORED: 3}
    assert [len(uids) for uids in run.fake.stores] == [3]


async def test_an_emptied_server_is_sent_everything_again(run: Run) -> None:
    await run.store(resume=True)
    run.fake.kept.clear()
    assert await run.store(resume=True) == {Outcome.STORED: 5}


async def test_refused_files_are_tried_again_by_the_next_run(run: Run) -> None:
    uid = identified(instance=2).SOPInstanceUID
    run.fake.refuse[uid] = 0xA700
    await run.store(resume=True)
    run.fake.refuse.clear()
    assert await run.store(resume=True) == {Outcome.ACKNOWLEDGED_EARLIER: 4, Outcome.STORED: 1}
