"""What is announced of a folder: as much as the archive takes."""

from pathlib import Path

import pytest

from dicomweb_archive.cli.client.sources import Source
from dicomweb_archive.cli.client.submission import announcing
from dicomweb_archive.cli.client.submission.announcing import announce, fingerprint_of
from dicomweb_archive.cli.client.submission.scanning import Scan, ScannedFile, checksum_lines


def scanned(name: str, uid: str | None, digest: str) -> ScannedFile:
    return ScannedFile(Source(name, Path(name), 10, 0, sop_instance_uid=uid), digest, sha256="ab" * 32)


@pytest.fixture
def scan() -> Scan:
    scan = Scan()
    for number in range(3):
        assert scan.add(scanned(f"{number}.dcm", f"1.2.{number}", str(number) * 64))
    return scan


def test_the_first_file_of_an_instance_is_announced_and_others_are_left_to_the_archive(scan: Scan) -> None:
    assert not scan.add(scanned("same.dcm", "1.2.0", "0" * 64))
    assert scan.add(scanned("other.dcm", "1.2.0", "f" * 64))
    assert scan.add(scanned("unsound.dcm", "no UID", "e" * 64))
    body = announce(scan).body
    assert body["totals"] == {"instances": 3, "size_bytes": 30}
    assert body["instances"][0] == {"sop_instance_uid": "1.2.0", "digest": "0" * 64}
    assert [file.source.name for file in scan.further] == ["other.dcm", "unsound.dcm"]
    assert len(list(scan.files())) == 5


def test_as_much_is_announced_as_the_archive_takes(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = announce(scan)
    monkeypatch.setattr(announcing, "LARGEST_BODY", 200)
    names = announce(scan)
    assert names.body["instances"] == [{"sop_instance_uid": f"1.2.{number}"} for number in range(3)]
    monkeypatch.setattr(announcing, "MOST_INSTANCES", 2)
    totals = announce(scan)
    assert (totals.body["instances"], totals.names_instances) == ([], False)
    assert len({each.fingerprint for each in (whole, names, totals)}) == 3
    assert fingerprint_of({"1.10": "", "1.2": "a"}) == fingerprint_of({"1.2": "a", "1.10": ""})


def test_checksums_are_of_files_that_can_be_found_again(scan: Scan) -> None:
    scan.add(scanned("a\nb.dcm", "1.3", "3" * 64))
    assert list(checksum_lines(scan)) == [f"{'ab' * 32}  {number}.dcm\n" for number in range(3)]
