"""The glance at a file's first bytes."""

import io

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from tests.pydicom_files import bundled

from dicomweb_archive.cli.client.heads import HEAD_BYTES, read_head


def _part10(transfer_syntax: str, *, sop_class: str = "1.2.840.10008.5.1.4.1.1.7") -> bytes:
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.ImageType = ["ORIGINAL", "PRIMARY"]
    data_set.SOPClassUID, data_set.SOPInstanceUID = sop_class, "1.2.3.4.5"
    data_set.PatientName = "Doe^Jane"
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = transfer_syntax
    data_set.file_meta.MediaStorageSOPClassUID = sop_class
    stream = io.BytesIO()
    data_set.save_as(stream, enforce_file_format=True)
    # The file meta's UID, the first one, differs on purpose: the server's answer names the data set's.
    return stream.getvalue().replace(b"1.2.3.4.5\0", b"1.2.3.9\0\0\0", 1)


@pytest.mark.parametrize(
    "transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=str
)
def test_the_uid_of_the_data_set_wins(transfer_syntax: str) -> None:
    head = read_head(_part10(transfer_syntax)[:HEAD_BYTES])
    assert head.sop_instance_uid == "1.2.3.4.5"
    assert head.problem is None


def test_a_deflated_data_set_is_known_by_its_file_meta_information() -> None:
    assert read_head(_part10(DeflatedExplicitVRLittleEndian)).sop_instance_uid == "1.2.3.9"


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "image_dfl.dcm"])
def test_real_files_are_instances(name: str) -> None:
    head = read_head(bundled(name)[:HEAD_BYTES])
    assert head.problem is None
    assert head.sop_instance_uid


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"MZ" + bytes(200), "not DICOM"),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", "no preamble"),
        (b"\x00\x08\x00\x05CS\x00\x0aISO_IR 100", "no preamble"),
        (_part10(ExplicitVRLittleEndian, sop_class="1.2.840.10008.1.3.10"), "DICOMDIR"),
    ],
    ids=["empty", "program", "bare data set", "bare big endian data set", "directory of a medium"],
)
def test_what_is_no_instance_is_named(data: bytes, words: str) -> None:
    assert words in (read_head(data).problem or "")


def test_any_cut_is_survived() -> None:
    data = _part10(ExplicitVRLittleEndian)
    for end in range(len(data)):
        read_head(data[:end])
