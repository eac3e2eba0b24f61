"""Downloading from a server that fails in many ways."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.factories import identified, part10
from tests.http.client.fake_server import (
    SERIES,
    STUDY,
    FakeServer,
    Fault,
    broken_connection,
    fine,
    impatient,
    server,
    status,
)

from dicomweb_archive.cli.client.checksums import MANIFEST_NAME, LocalFilesError, Manifest
from dicomweb_archive.cli.client.connection import ServerUnreachableError
from dicomweb_archive.cli.client.fetching import Fetcher
from dicomweb_archive.cli.client.receiving import Fetched, FetchOutcome
from dicomweb_archive.cli.client.targets import Target, parse_query

FETCHED, KEPT = FetchOutcome.FETCHED, FetchOutcome.KEPT


@dataclass
class Download:
    """A download from a fake server into a folder."""

    folder: Path
    fake: FakeServer

    def __post_init__(self) -> None:
        self.complaints: list[str] = []

    async def fetch(
        self, *faults: Fault, query: str = STUDY, replace: bool = False, verify: bool = True
    ) -> Counter[FetchOutcome]:
        counts: Counter[FetchOutcome] = Counter()

        def hear(_target: Target, fetched: Fetched) -> None:
            counts[fetched.outcome] += 1

        fetcher = Fetcher(
            server(self.fake, *faults),
            self.folder,
            hear,
            expected=lambda _count: None,
            received=lambda _size: None,
            complain=self.complaints.append,
            jobs=2,
            verify=verify,
            replace=replace,
            retry=impatient(),
        )
        await fetcher.run(parse_query([query], None))
        return counts

    @property
    def series(self) -> Path:
        return self.folder / STUDY / SERIES

    def files(self) -> dict[str, bytes]:
        return {path.name.removesuffix(".dcm"): path.read_bytes() for path in self.series.iterdir()}


@pytest.fixture
def download(tmp_path: Path) -> Download:
    fake = FakeServer()
    for number in range(1, 25):
        data_set = identified(instance=number, PatientComments="x" * 5000)
        fake.kept[data_set.SOPInstanceUID] = part10(data_set)
    return Download(tmp_path / "out", fake)


async def test_files_are_what_the_server_has(download: Download) -> None:
    assert await download.fetch() == {FETCHED: 24}
    assert download.files() == download.fake.kept


async def test_the_manifest_is_one_that_sha256sum_reads(download: Download) -> None:
    await download.fetch()
    lines = (download.folder / STUDY / MANIFEST_NAME).read_text().splitlines()
    expected = {f"{hashlib.sha256(data).hexdigest()}  {SERIES}/{uid}.dcm" for uid, data in download.fake.kept.items()}
    assert set(lines) == expected
    assert len(lines) == 24


async def test_a_second_download_keeps_everything_and_fetches_nothing(download: Download) -> None:
    await download.fetch()
    download.fake.requests.clear()
    assert await download.fetch() == {KEPT: 24}
    assert not [path for path in download.fake.requests if path.endswith(SERIES)]


async def test_an_answer_cut_short_is_continued(download: Download) -> None:
    download.fake.damage = lambda body: body[: len(body) // 2]
    with pytest.raises(ServerUnreachableError, match="cut short"):
        await download.fetch()
    there = download.files()
    assert 0 < len(there) < 24
    assert not [name for name in there if name.endswith(".part")]
    download.fake.damage = bytes
    counts = await download.fetch()
    assert counts == {KEPT: len(there), FETCHED: 24 - len(there)}
    assert download.files() == download.fake.kept


async def test_a_broken_connection_and_an_overload_are_no_loss(download: Download) -> None:
    assert await download.fetch(fine, broken_connection, status(503)) == {FETCHED: 24}


async def test_few_missing_instances_are_fetched_one_by_one(download: Download) -> None:
    await download.fetch()
    lost = next(iter(download.fake.kept))
    (download.series / f"{lost}.dcm").unlink()
    download.fake.requests.clear()
    assert await download.fetch() == {KEPT: 23, FETCHED: 1}
    assert download.fake.requests[-1].endswith(f"/instances/{lost}")
    assert not [path for path in download.fake.requests if path.endswith(SERIES)]


async def test_a_file_changed_on_disk_is_kept_unless_it_may_be_replaced(download: Download) -> None:
    await download.fetch()
    path = download.series / f"{next(iter(download.fake.kept))}.dcm"
    path.write_bytes(b"edited")
    assert await download.fetch() == {KEPT: 23, FetchOutcome.CHANGED: 1}
    assert path.read_bytes() == b"edited"
    assert await download.fetch(verify=False) == {KEPT: 24}
    assert await download.fetch(replace=True) == {KEPT: 23, FETCHED: 1}
    assert download.files() == download.fake.kept


async def test_a_strange_file_under_the_same_name_is_kept_and_said(download: Download) -> None:
    first, second = list(download.fake.kept)[:2]
    download.series.mkdir(parents=True)
    (download.series / f"{first}.dcm").write_bytes(b"strange")
    (download.series / f"{second}.dcm").write_bytes(download.fake.kept[second])
    assert await download.fetch() == {FETCHED: 22, FetchOutcome.DIFFERS: 1, KEPT: 1}
    assert (download.series / f"{first}.dcm").read_bytes() == b"strange"


async def test_what_the_server_lists_but_does_not_send_is_missing(download: Download) -> None:
    uids = list(download.fake.kept)
    kept = download.fake.kept

    def forget(_request: object) -> None:
        del kept[uids[0]]

    counts = await download.fetch(fine, fine, forget)
    assert counts == {FETCHED: 23, FetchOutcome.MISSING: 1}


async def test_a_server_that_does_not_know_the_asterisk_is_asked_without(download: Download) -> None:
    download.fake.asterisk = False
    assert await download.fetch() == {FETCHED: 24}


async def test_something_else_than_dicom_is_not_kept(download: Download) -> None:
    download.fake.kept = {"1.2.9": b"<html>" + bytes(200)}
    assert await download.fetch() == {FetchOutcome.FAILED: 1}
    assert "something else" in download.complaints[0]
    assert list(download.series.iterdir()) == []


async def test_a_refused_retrieval_is_said(download: Download) -> None:
    assert await download.fetch(fine, fine, status(500)) == {FetchOutcome.FAILED: 24}
    assert "500" in download.complaints[0]


async def test_a_series_that_cannot_be_listed_is_fetched_whole(download: Download) -> None:
    assert await download.fetch(fine, status(500)) == {FETCHED: 24}
    assert "unlisted" in download.complaints[0]


async def test_a_single_instance_can_be_named(download: Download) -> None:
    uid = next(iter(download.fake.kept))
    assert await download.fetch(query=f"{STUDY}/{SERIES}/{uid}") == {FETCHED: 1}
    assert list(download.files()) == [uid]


async def test_a_search_names_series(download: Download) -> None:
    assert await download.fetch(query="PatientID=P1") == {FETCHED: 24}


async def test_nothing_found_is_nothing(download: Download) -> None:
    download.fake.kept.clear()
    assert await download.fetch() == {}


async def test_a_folder_that_cannot_be_written_is_said(download: Download) -> None:
    download.folder.write_text("a file where the folder should be")
    with pytest.raises(LocalFilesError):
        await download.fetch()


def test_a_manifest_line_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    Manifest(tmp_path).add("a.dcm", "0" * 64)
    path = tmp_path / MANIFEST_NAME
    path.write_text(path.read_text() + "1" * 20)
    Manifest.read(tmp_path).add("b.dcm", "2" * 64)
    assert Manifest.read(tmp_path).digests == {"a.dcm": "0" * 64, "b.dcm": "2" * 64}
