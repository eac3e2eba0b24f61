"""What checks look at in a space, and what they find where files are large, moved or gone."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.factories import ct_series, encapsulated
from tests.stored import sharing_base

from dicomweb_archive.checks.catalogue import PUBLIC_RELEASE
from dicomweb_archive.checks.rules import NO_RULES
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.curation.examined import ExaminedContent
from dicomweb_archive.index.curation.findings import FindingIndex
from dicomweb_archive.index.curation.manifests import ManifestIndex
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.services.checks import files as file_checks
from dicomweb_archive.services.checks.examiner import Examiner
from dicomweb_archive.services.checks.files import FileReader
from dicomweb_archive.services.checks.iod import IodValidator, remarks_of
from dicomweb_archive.services.packing import Packing
from dicomweb_archive.storage.filesystem import FolderStore

_DCIODVFY = """#!/bin/sh
echo 'Error - Missing attribute Type 2 Required Element=<PatientSex> Module=<Patient>' >&2
echo 'Error - Missing attribute Type 2 Required Element=<PatientSex> Module=<Patient>' >&2
echo 'Warning - </PatientName(0010,0010)> - value dubious <Doe^Jane>' >&2
echo CTImage >&2
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderStore]:
    opened = await FolderStore.open_folder(tmp_path / "objects")
    yield opened
    await opened.close()


async def keep(database: Database, store: FolderStore, *series: list[bytes]) -> None:
    packing = Packing(store, pack_bytes=2**30, pack_instances=1000)
    for number, files in enumerate(series):
        shared = sharing_base(scan(data) for data in files)
        await packing.append((str(number), ""), list(zip(shared, files, strict=True)))
    await Register(database).register(await packing.finish(), actor="tester")


async def nothing(_: int) -> None:
    pass


Told = list[tuple[str, str, int]]


async def examined(
    database: Database, store: FolderStore, *, iod: IodValidator | None = None,
    progress: Callable[[int], Awaitable[None]] = nothing,
) -> Told:  # fmt: skip
    content = ExaminedContent(database)
    examiner = Examiner(content, FileReader(content, store, iod), ManifestIndex(database))
    begun = await FindingIndex(database).begin(ARCHIVE_SPACE)
    found = await examiner.examine(
        ARCHIVE_SPACE, PUBLIC_RELEASE, NO_RULES, begun=begun, read_files=True, progress=progress
    )
    return [(each.check, each.message, each.instances) for each in found.findings]


async def test_parts_are_what_was_scanned(database: Database, store: FolderStore) -> None:
    files = ct_series(3, study=911)
    await keep(database, store, files, [encapsulated([b"\xff\xd8\xff\xd9"], study=911, series=2)])
    parts = [part async for part in ExaminedContent(database).parts(ARCHIVE_SPACE)]
    assert [len(part.files) for part in parts] == [3, 1]
    for position, data in enumerate(files):
        scanned = scan(data)
        assert parts[0].files[position].sop_instance_uid == scanned.sop_instance_uid
        assert parts[0].files[position].pixel_data == scanned.pixel_data
        own = {tag: parts[0].at(tag, position) for tag in parts[0].elements}
        read = {tag: element.values for tag, element in own.items() if element is not None and element.vr != "SQ"}
        expected = {tag: e.values for tag, e in scanned.attributes().items() if e.vr != "SQ" and not e.is_bulk}
        # JSON says that all text is UTF-8 (PS3.18 F.2), whatever the file does.
        assert {tag: values for tag, values in read.items() if tag != 0x00080005} == {
            tag: values for tag, values in expected.items() if tag != 0x00080005
        } | {tag: () for tag in read if tag not in expected and tag != 0x00080005}


async def test_large_files_are_looked_at_as_small_ones_are(
    database: Database, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(database, store, ct_series(2, study=912), ct_series(1, study=912, series=2))
    told = []

    async def note(done: int) -> None:
        told.append(done)

    held = await examined(database, store, progress=note)
    assert ("duplicate_pixels", "another instance has the same pixel data", 1) in held
    assert told[-1] == 6
    monkeypatch.setattr(file_checks, "_HELD_BYTES", 16)
    assert await examined(database, store) == held


async def test_a_file_that_is_gone_is_told(database: Database, store: FolderStore, tmp_path: Path) -> None:
    await keep(database, store, ct_series(2, study=913))
    for path in (tmp_path / "objects").rglob("*.zip"):
        path.unlink()
    assert ("parses", "the stored file is missing or can no longer be read", 2) in await examined(database, store)


async def test_dciodvfy_is_asked_of_one_instance_of_each_series_and_its_values_stay_out(
    database: Database, store: FolderStore, tmp_path: Path
) -> None:
    program = tmp_path / "dciodvfy"
    program.write_text(_DCIODVFY)
    program.chmod(0o700)
    await keep(database, store, ct_series(2, study=914), ct_series(1, study=914, series=2))
    told = [each for each in await examined(database, store, iod=IodValidator(str(program))) if each[0] == "iod"]
    assert told == [
        ("iod", "dciodvfy finds an error of the IOD", 1),
        ("iod", "dciodvfy warns of something unusual for the IOD", 1),
    ] * 2  # fmt: skip


def test_what_dciodvfy_prints_is_read_without_its_values() -> None:
    remarks = remarks_of(
        "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study ID\n"
        "Warning - Value dubious for this VR - (0x0010,0x0010) PN Patient's Name  PN [1] = <DOE> - Retired form\n"
        "CTImage\n"
        "Error - Missing attribute Type 2 Required Element=<PatientSex> Module=<Patient>\n"
        "(0x0099,0x1001)  ?  - Warning - Unrecognized tag or bad value\n"
        "Error - Unrecognized enumerated value = <DOE> for value 1 of attribute <Modality>\n"
    )
    assert [(remark.severity.value, remark.path) for remark in remarks] == [
        ("warn", "00080060"),
        ("warn", "00100040"),
        ("info", "00100010"),
        ("info", "00991001"),
    ]
    assert not any("DOE" in remark.message + remark.path for remark in remarks)
