"""Segments: common and columns, facts, splits, and the way back."""

import zlib
from dataclasses import replace

import orjson
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.factories import ct_series, encapsulated, identified, image, part10
from tests.stored import in_pack, segment_of, sharing_base

from dicomweb_archive.dicom.instance import BulkValue, Element, PixelData
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.index.segments.building import (
    FACTS_LIMIT,
    VARYING_LIMIT,
    StoredInstance,
    build_segment,
    build_segments,
)
from dicomweb_archive.index.segments.document import decode_document
from dicomweb_archive.index.segments.locations import decode_kind, decode_locations, encode_locations, layouts_of
from dicomweb_archive.index.segments.restored import restore_instances

SECRET = bytes(range(16))


def item(**values: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def rechecks(stored: list[StoredInstance]) -> tuple[dict[str, list[object]], dict[str, list[object]]]:
    content = build_segment(stored, SECRET)
    return orjson.loads(content.common), orjson.loads(content.columns)


def test_equal_attributes_are_common_and_others_are_columns_by_position():
    common, columns = rechecks(segment_of(ct_series(3)))
    assert common["00100010"] == ["doe^jane"]
    assert common["00281050"] == [40.0]
    assert common['0019"PHANTOM_01"23'] == [0.0]
    assert columns["00200013"] == [[1.0], [2.0], [3.0]]
    assert columns["00200032"] == [[0.0, 0.0, 5.0], [0.0, 0.0, 10.0], [0.0, 0.0, 15.0]]
    assert columns['0019"PHANTOM_01"02'] == [[709.0], [710.0], [711.0]]
    assert not common.keys() & columns.keys()


def test_unique_keys_are_not_rechecked_and_of_pixels_only_that_they_are_there():
    content = build_segment(segment_of(ct_series(3)), SECRET)
    for tag in ("00080018", "0020000D", "0020000E"):
        assert tag not in content.common
        assert tag not in content.columns
        assert tag not in content.terms.paths
    assert orjson.loads(content.common)["7FE00010"] == [None]
    assert "7FE00010" not in content.terms.paths


def test_long_sequences_are_kept_apart_whether_they_vary_or_not():
    files = []
    for number in (1, 2):
        dataset = identified(instance=number)
        dataset.RequestAttributesSequence = Sequence([item(ScheduledProcedureStepID="S1") for _ in range(2000)])
        dataset.ReferencedImageSequence = Sequence(
            [item(CodeValue=f"{number}") for _ in range(2000 if number == 1 else 1)]
        )
        files.append(part10(dataset))
    content = build_segment(segment_of(files), SECRET)
    large = orjson.loads(content.large or "")
    assert large["00400275"]["shared"][0] == {"00400009": ["S1"]}
    assert [len(items) for items in large["00081140"]["varying"]] == [2000, 1]
    for step in large:
        assert step not in content.common
        assert step not in content.columns
    assert build_segment(segment_of(ct_series(2)), SECRET).large is None


def test_an_attribute_that_some_lack_is_null_there():
    files = ct_series(3)
    bare = image(instance=4)
    del bare.SliceLocation
    bare.KVP = None
    _, columns = rechecks(segment_of([*files, part10(bare)]))
    assert columns["00201041"] == [[5.0], [10.0], [15.0], None]
    assert columns["00180060"] == [[120.0], [120.0], [120.0], []]


def test_values_that_are_written_differently_and_mean_the_same_are_common():
    files = [part10(image(instance=n, SliceThickness=text)) for n, text in ((1, "5"), (2, "5.0"), (3, "5.00"))]
    common, columns = rechecks(segment_of(files))
    assert common["00180050"] == [5.0]
    assert "00180050" not in columns


def test_creators_that_vary_give_each_instance_its_own_path():
    files = []
    for number, creator in ((1, "ACME"), (2, "OTHER"), (3, "ACME")):
        dataset = identified(instance=number)
        dataset.private_block(0x0029, creator, create=True).add_new(0x01, "LO", f"v{number % 2}")
        files.append(part10(dataset))
    common, columns = rechecks(segment_of(files))
    assert columns['0029"ACME"01'] == [["v1"], None, ["v1"]]
    assert columns['0029"OTHER"01'] == [None, ["v0"], None]
    assert columns["00290010"] == [["ACME"], ["OTHER"], ["ACME"]]
    assert not any('"' in step for step in common)


def test_terms_cover_the_values_of_every_instance():
    content = build_segment(segment_of(ct_series(3)), SECRET)
    rows = {(row.path, row.text) for row in content.terms.dictionary}
    assert {
        ("00200013", "1"),
        ("00200013", "3"),
        ('0019"PHANTOM_01"02', "711"),
        ("00081032.00080100", "24725-4"),
    } <= rows


def test_many_varying_values_become_a_zone():
    content = build_segment(segment_of(ct_series(40)), SECRET)
    zones = {zone.path: (zone.low, zone.high) for zone in content.terms.zones}
    assert zones["00200013"] == (1.0, 40.0)


def test_instances_that_disagree_about_their_study_are_split_so_that_votes_count():
    files = [part10(image(instance=n, PatientName=name)) for n, name in ((1, "A"), (2, "B"), (3, "A"))]
    contents = build_segments(segment_of(files), SECRET)
    assert [len(content.instances) for content in contents] == [2, 1]
    assert contents[0].study_facts != contents[1].study_facts
    assert contents[0].series_facts == contents[1].series_facts
    assert b'"Alphabetic":"B"' in contents[1].study_attributes


def test_votes_about_the_study_count_instances_also_where_each_says_something_else_of_its_series():
    names = {number: "A" if number <= FACTS_LIMIT else "B" for number in range(1, 2 * FACTS_LIMIT + 2)}
    described = [image(instance=n, PatientName=name, SeriesDescription=f"D{n}") for n, name in names.items()]
    contents = build_segments(segment_of(map(part10, described)), SECRET)
    assert [len(content.instances) for content in contents] == [FACTS_LIMIT, FACTS_LIMIT + 1]
    assert b'"Alphabetic":"B"' in contents[1].study_attributes
    assert b'"D1"' in contents[0].series_attributes


def test_instances_that_all_disagree_stay_together_and_the_first_of_most_speaks():
    files = [part10(image(instance=n, StudyDescription=f"D{n // 2}")) for n in range(1, 2 * FACTS_LIMIT + 4)]
    (content,) = build_segments(segment_of(files), SECRET)
    assert len(content.instances) == len(files)
    assert b'"D1"' in content.study_attributes


def test_a_segment_is_cut_where_what_varies_becomes_too_much():
    comments = ["x" * (VARYING_LIMIT // 3) + str(number) for number in range(4)]
    scanned = sharing_base(scan(data) for data in ct_series(4))
    heavy = []
    for instance, comment in zip(scanned, comments, strict=True):
        text = Element("LT", b'{"vr":"LT","Value":["%b"]}' % comment.encode(), (comment,))
        heavy.append(replace(instance, delta={**instance.delta, 0x00204000: text}))
    contents = build_segments(in_pack(heavy), SECRET)
    assert [len(content.instances) for content in contents] == [2, 2]


def test_locations_come_back_as_scanned():
    files = [*ct_series(1), encapsulated([b"ab", b"cdef"]), encapsulated([b"ab", b"cd"], extended=True)]
    scanned = [scan(data) for data in files]
    content = build_segment(in_pack(sharing_base(scanned)), SECRET)
    assert decode_locations(content.locations) == layouts_of(scanned)


def test_locations_of_one_entry_an_instance_are_read():
    first = {"ts": "1.2", "sc": "1.3", "px": None, "bulk": [["7FE00010", "OW", 9, 4]], "neutral": False, "im": None}
    second = {**first, "px": [0x7FE00010, "OW", 100, 8, True, [[108, 4]], [0], []]}
    layouts = decode_locations(zlib.compress(orjson.dumps([first, first, second])))
    assert layouts[0] is layouts[1]
    assert layouts[0].bulk == (BulkValue("7FE00010", "OW", 9, 4),)
    assert layouts[2].pixel_data == PixelData(0x7FE00010, "OW", 100, 8, True, ((108, 4),), (0,))
    assert decode_locations(encode_locations(layouts)) == layouts


def restored(stored: list[StoredInstance], character_set: list[str] | None = None) -> list[StoredInstance]:
    """Build a segment, and read its instances back from its rows."""
    content = build_segment(stored, SECRET)
    first = stored[0].scanned
    scanned = restore_instances(
        decode_document(content.document),
        decode_locations(content.locations),
        range(len(stored)),
        study_instance_uid=first.study_instance_uid,
        series_instance_uid=first.series_instance_uid,
        sop_instance_uids={n: each.scanned.sop_instance_uid for n, each in enumerate(stored)},
        byte_lengths={n: each.byte_length for n, each in enumerate(stored)},
        character_sets=[character_set] * len(stored),
    )
    return [replace(each, scanned=back) for each, back in zip(stored, scanned, strict=True)]


def test_a_segment_built_from_its_own_rows_is_found_by_the_character_set_of_its_files():
    stored = segment_of(ct_series(2, SpecificCharacterSet="ISO_IR 100"))
    again = build_segment(restored(stored, ["ISO_IR 100"]), SECRET)
    assert again.terms == build_segment(stored, SECRET).terms


def test_a_segment_built_from_its_own_rows_is_the_same_segment():
    stored = segment_of(ct_series(5, SpecificCharacterSet="ISO_IR 192"))
    before, after = build_segment(stored, SECRET), build_segment(restored(stored), SECRET)
    assert after.terms == before.terms
    assert orjson.loads(after.common) == orjson.loads(before.common)
    assert orjson.loads(after.columns) == orjson.loads(before.columns)
    assert (after.document, after.locations) == (before.document, before.locations)
    assert (after.study_facts, after.series_facts) == (before.study_facts, before.series_facts)


def test_a_segment_is_of_one_kind_when_its_instances_can_be_had_in_the_same_forms():
    layouts = layouts_of([scan(data) for data in ct_series(3)])
    assert layouts[2].pixel_data is not None
    moved = layouts[2]._replace(pixel_data=replace(layouts[2].pixel_data, offset=7), neutralised=True)
    alike = [*layouts[:2], moved]
    for position, layout in enumerate(alike):
        assert decode_kind(encode_locations(alike), position) == layout
    assert decode_kind(encode_locations(layouts[:1]), 0) == layouts[0]
    assert layouts[2].pixel_format is not None
    others = {
        "transfer syntax": moved._replace(transfer_syntax_uid="1.2.840.10008.1.2"),
        "pixel format": moved._replace(pixel_format=layouts[2].pixel_format._replace(bits_stored=16)),
        "no pixels": moved._replace(pixel_data=None, pixel_format=None),
        "encapsulated": moved._replace(pixel_data=replace(layouts[2].pixel_data, encapsulated=True)),
    }
    for what, layout in others.items():
        assert decode_kind(encode_locations([*layouts[:2], layout]), 0) is None, what
