"""Levels and returned attributes agree with the tables of PS3.18 10.6."""

import pytest

from dicomweb_archive.dicom import attributes
from dicomweb_archive.dicom.query import Level
from dicomweb_archive.dicom.tags import tag_of


@pytest.mark.parametrize(
    ("keyword", "level"),
    [
        ("PatientName", Level.STUDY),
        ("StudyDescription", Level.STUDY),
        ("ModalitiesInStudy", Level.STUDY),
        ("Modality", Level.SERIES),
        ("Manufacturer", Level.SERIES),
        ("NumberOfSeriesRelatedInstances", Level.SERIES),
        ("SOPClassUID", Level.INSTANCE),
        ("Rows", Level.INSTANCE),
        ("SpecificCharacterSet", Level.INSTANCE),
    ],
)
def test_an_attribute_belongs_to_the_level_of_its_module(keyword: str, level: Level) -> None:
    tag = tag_of(keyword)
    assert tag is not None
    assert attributes.level_of(tag) is level


def test_private_attributes_are_instance_level() -> None:
    assert attributes.level_of(0x00291010) is Level.INSTANCE


def test_only_the_timezone_is_kept_at_two_levels() -> None:
    assert not attributes.PATIENT_LEVEL & (attributes.STUDY_LEVEL | attributes.SERIES_LEVEL)
    assert {attributes.TIMEZONE_OFFSET} == attributes.STUDY_LEVEL & attributes.SERIES_LEVEL


def test_computed_attributes_are_never_taken_from_data_sets() -> None:
    kept = attributes.PATIENT_LEVEL | attributes.STUDY_LEVEL | attributes.SERIES_LEVEL
    assert not attributes.COMPUTED & kept


@pytest.mark.parametrize(
    ("table", "length", "unique"),
    [
        (attributes.STUDY_RETURN, 16, 0x0020000D),
        (attributes.SERIES_RETURN, 10, 0x0020000E),
        (attributes.INSTANCE_RETURN, 10, 0x00080018),
    ],
    ids=["study", "series", "instance"],
)
def test_return_tables_are_ascending_with_one_unique_key(
    table: tuple[attributes.ReturnAttribute, ...], length: int, unique: int
) -> None:
    assert len(table) == length
    assert list(table) == sorted(table)
    assert [tag for tag, kind in table if kind == "U"] == [unique]
