"""Values of facets as DICOM writes them."""

import pytest
from tests.searching import path

from dicomweb_archive.dicom.facets import FacetField, facet_value


@pytest.mark.parametrize(
    ("keyword", "number", "written"),
    [
        ("StudyTime", 0.0, "000000"),
        ("StudyTime", 36_930.25, "101530.25"),
        ("StudyTime", 86_399.0, "235959"),
        ("StudyTime", 86_400.0, "235960"),
        ("StudyTime", 86_400.5, "235960.5"),
        ("StudyDate", 738_916 * 86_400.0, "20240131"),
        ("AcquisitionDateTime", 738_916 * 86_400.0 + 86_399, "20240131235959"),
    ],
)
def test_moments_are_written_as_dicom_does_leap_seconds_too(keyword: str, number: float, written: str):
    field = FacetField(path(keyword), keyword)
    assert facet_value(field, field.path.vr, number, None, 1).value == written
