"""Answers: attributes cut from rows without parsing, and put together per level."""

import orjson
import pytest
from tests.searching import key, path

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.attributes import level_of
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.index.search.answers import AnswerWriter, split_object, wanted_attributes
from dicomweb_archive.index.segments.document import Document
from dicomweb_archive.index.segments.level_rows import STUDY_ROW_TAGS, level_attributes

TEXTS = {
    0x00080020: b'{"vr":"DA","Value":["20240131"]}',
    0x00081032: b'{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["},\\"00080102\\":{"]},"00080102":{"vr":"SH"}}]}',
    0x00100010: b'{"vr":"PN","Value":[{"Alphabetic":"Doe^Jane"}]}',
    0x00101030: b'{"vr":"DS","Value":[70.50]}',
}


def test_a_row_is_cut_into_its_attributes_whatever_is_inside():
    text = level_attributes(TEXTS, STUDY_ROW_TAGS)
    assert dict(split_object(text)) == {b"%08X" % tag: value for tag, value in TEXTS.items()}
    assert orjson.loads(text).keys() == {f"{tag:08X}" for tag in TEXTS}
    assert split_object(b"{}") == []


def test_lower_levels_are_never_answered():
    wanted = wanted_attributes(
        SearchQuery(Level.STUDY, (key("KVP", "1"), key("Modality", "CT")), include=(path("Rows"), path("PatientAge")))
    )
    assert b"00101010" in wanted
    assert not {b"00180060", b"00080060", b"00280010"} & wanted.tags


@pytest.mark.parametrize(
    ("query", "levels"),
    [
        (SearchQuery(Level.SERIES, relational=True), {Level.STUDY, Level.SERIES}),
        (SearchQuery(Level.INSTANCE, relational=True), {Level.STUDY, Level.SERIES, Level.INSTANCE}),
        (SearchQuery(Level.INSTANCE, relational=True, study_instance_uid="1"), {Level.SERIES, Level.INSTANCE}),
        (SearchQuery(Level.INSTANCE), {Level.INSTANCE}),
    ],
    ids=["all series", "all instances", "instances of a study", "instances of a series"],
)
def test_relational_answers_add_the_levels_above(query: SearchQuery, levels: set[Level]):
    # The URL is that of the answer's own resource.
    required = wanted_attributes(query).required.keys() - {b"00081190"}
    assert {level_of(int(tag, 16)) for tag in required} == levels


SEGMENT = {
    "study_instance_uid": "1", "series_instance_uid": "1.2", "instance_count": 2, "modalities": ["MR", "CT"],
    "sop_classes": [], "series_count": 1, "study_instance_count": 2, "series_instance_count": 2,
}  # fmt: skip
DOCUMENT = Document(
    (
        (b"00080018", [b'{"vr":"UI","Value":["1.2.1"]}', b'{"vr":"UI","Value":["1.2.2"]}']),
        (b"00200013", [b'{"vr":"IS","Value":[1]}', b""]),
        (b"00290010", b'{"vr":"LO","Value":["ACME"]}'),
        (b"00290011", b'{"vr":"LO","Value":["OTHER"]}'),
        (b"00291001", b'{"vr":"LO","Value":["a"]}'),
        (b"00291101", b'{"vr":"LO","Value":["b"]}'),
        (b"7FE00010", b'{"vr":"OW","BulkDataURI":"\x1a7FE00010"}'),
    )
)


def instances(query: SearchQuery, *positions: int) -> list[dict[str, object]]:
    writer = AnswerWriter(query, "http://a/dicom-web")
    return [orjson.loads(text) for text in writer.instances(SEGMENT, DOCUMENT, positions)]


def test_instances_are_written_for_the_positions_asked_for():
    (row,) = instances(SearchQuery(Level.INSTANCE), 1)
    assert row["00080018"]["Value"] == ["1.2.2"]
    assert row["00200013"] == {"vr": "IS"}
    assert row["00081190"]["Value"] == ["http://a/dicom-web/studies/1/series/1.2/instances/1.2.2"]
    assert list(row) == sorted(row)


def test_bulk_values_are_answered_by_url_when_everything_is_asked_for():
    rows = instances(SearchQuery(Level.INSTANCE, include_all=True), 0, 1)
    assert [row["7FE00010"]["BulkDataURI"] for row in rows] == [
        f"http://a/dicom-web/studies/1/series/1.2/instances/1.2.{n}/bulkdata/7FE00010" for n in (1, 2)
    ]
    assert rows[0]["00080061"]["Value"] == ["CT", "MR"]
    assert rows[0]["00080062"] == {"vr": "UI"}


def test_a_private_attribute_is_found_in_the_block_of_its_creator():
    private = AttributePath((PathStep(0x00290001, "OTHER"),), "UN")
    (row,) = instances(SearchQuery(Level.INSTANCE, include=(private,)), 0)
    assert row["00291101"]["Value"] == ["b"]
    assert row["00290011"]["Value"] == ["OTHER"]
    assert not {"00291001", "00290010"} & row.keys()
