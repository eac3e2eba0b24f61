"""The data dictionary: the same as pydicom's, without pydicom."""

import subprocess
import sys

import pytest
from pydicom import datadict, uid

from dicomweb_archive.dicom import dictionary

# Public ones, those of repeating groups in any of their places, unknown ones, and private ones.
TAGS = [
    *datadict.DicomDictionary,
    *(int(mask.replace("x", digit), 16) for mask in datadict.RepeatersDictionary for digit in "02E"),
    *(0x0008FFFE, 0x60010010, 0x50010010, 0x00191002, 0xFFFFFFFF),
]


def test_each_attribute_has_the_entry_that_pydicom_has() -> None:
    for tag in TAGS:
        try:
            expected = datadict.get_entry(tag)
        except KeyError:
            expected = None
        assert dictionary.public_entry(tag) == expected, f"{tag:08X}"
    assert {name: tag for name, tag in dictionary.TAGS_BY_KEYWORD.items() if name} == {
        name: tag for name, tag in datadict.keyword_dict.items() if name
    }


@pytest.mark.parametrize("block", [0x10, 0x41])
def test_each_private_element_has_the_vr_that_pydicom_has(block: int) -> None:
    for creator, published in datadict.private_dictionaries.items():
        for name in published:
            tag = int(name.replace("xxxx", f"29{block:02X}").replace("xx", f"{block:02X}"), 16)
            try:
                expected = datadict.private_dictionary_VR(tag, creator)
            except KeyError:
                # A few names have an x where nobody looks for one.
                expected = None
            assert dictionary.private_vr(tag, creator) == expected, name
    assert dictionary.private_vr(0x00290000, "SIEMENS CSA HEADER") is None
    assert dictionary.private_vr(0x00291010, "nobody") is None


def test_well_known_uids_are_those_of_pydicom() -> None:
    assert uid.UID_dictionary == dictionary.UID_NAMES


def test_the_tables_are_read_without_pydicom_and_serve_it_afterwards() -> None:
    code = (
        "import sys; from dicomweb_archive.dicom import tags, uid_names; assert 'pydicom' not in sys.modules;"
        "import pydicom.datadict; from dicomweb_archive.dicom import dictionary;"
        "assert pydicom.datadict.DicomDictionary is dictionary._PUBLIC;"
        "print(pydicom.Dataset().to_json(), pydicom.datadict.dictionary_VR('PatientName'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{} PN\n", "")
