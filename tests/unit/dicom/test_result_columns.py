"""Columns of search results: which there are, and what a row has in them."""

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.matching_keys import Key, Universal
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.result_columns import ResultColumn, cell_text, column_values, result_columns

CODE = AttributePath((PathStep(0x00321064), PathStep(0x00080100)), "SH")
PRIVATE = AttributePath((PathStep(0x00190002, "PHANTOM_01"),), "UN")
ROW = {
    "00080061": {"vr": "CS", "Value": ["CT", "PT"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane", "Phonetic": "ドウ"}]},
    "00190010": {"vr": "LO", "Value": ["OTHER"]},
    "00190011": {"vr": "LO", "Value": ["PHANTOM_01 "]},
    "00191002": {"vr": "SL", "Value": [1]},
    "00191102": {"vr": "SL", "Value": [709]},
    "00282000": {"vr": "OB", "BulkDataURI": "http://archive.example/bulk"},
    "00321064": {
        "vr": "SQ",
        "Value": [{"00080100": {"vr": "SH", "Value": ["A"]}}, {}, {"00080100": {"vr": "SH", "Value": ["B"]}}],
    },
}


def headings(query: SearchQuery) -> list[str]:
    return [column.heading for column in result_columns(query)]


def text(path: AttributePath) -> str:
    return cell_text(column_values(ROW, ResultColumn(path, "", single=False)))


def plain(tag: int, vr: str) -> AttributePath:
    return AttributePath((PathStep(tag),), vr)


def test_columns_are_those_of_the_level_then_what_was_asked_for_each_once() -> None:
    asked = Key(plain(0x00100020, "LO"), Universal()), Key(CODE, Universal())
    found = headings(SearchQuery(Level.STUDY, keys=asked, include=(PRIVATE, CODE)))
    assert found[0] == "StudyDate"
    assert found[-2:] == ["RequestedProcedureCodeSequence.CodeValue", '0019"PHANTOM_01"02']
    assert len(set(found)) == len(found)


def test_lower_levels_name_the_ones_above_by_uid_and_relational_ones_in_full() -> None:
    assert headings(SearchQuery(Level.INSTANCE))[:2] == ["StudyInstanceUID", "SeriesInstanceUID"]
    assert "PatientName" in headings(SearchQuery(Level.INSTANCE, relational=True))
    below = headings(SearchQuery(Level.INSTANCE, relational=True, study_instance_uid="1.2"))
    assert "PatientName" not in below
    assert {"Modality", "StudyInstanceUID"} <= set(below)


def test_values_come_from_every_item_and_every_block_of_a_creator() -> None:
    assert text(CODE) == "A\\B"
    assert text(PRIVATE) == "709"
    assert text(plain(0x00080061, "CS")) == "CT\\PT"
    assert text(plain(0x00100010, "PN")) == "Doe^Jane==ドウ"
    assert text(plain(0x00282000, "OB")) == "http://archive.example/bulk"
    assert text(plain(0x00321064, "SQ")).startswith('{"00080100":')
    assert text(plain(0x00100020, "LO")) == ""
