"""Differences between two instances of one UID."""

from tests.factories import image, part10

from dicomweb_archive.dicom.differences import bulk_regions, differences
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.tags import keyword_of


def test_only_what_differs_is_named_whichever_instance_lacks_it() -> None:
    first = scan(part10(image(PatientComments="one", PatientID="A")))
    second = scan(part10(image(PatientID="B", StudyComments="two")))
    found = [(keyword_of(each.tag), each.first is None, each.second is None) for each in differences(first, second)]
    assert found == [
        ("PatientID", False, False),
        ("PatientComments", False, True),
        ("StudyComments", True, False),
    ]
    assert list(differences(first, first)) == []


def test_bulk_values_are_told_where_they_lie() -> None:
    data = [part10(image(PatientComments="x" * length)) for length in (2, 40)]
    (region,) = bulk_regions(*map(scan, data))
    for file, (offset, length) in zip(data, (region.first, region.second), strict=True):
        assert file[offset : offset + length] == image().PixelData
