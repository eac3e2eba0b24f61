"""Frames: where each lies, for every way of packing them."""

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless
from tests.factories import encapsulated, image, part10

from dicomweb_archive.dicom.instance import Element, PixelData
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.frames import FrameSpan, frame_spans

FRAMES = [b"first frame ", b"second", b"the third one is longer!", b"44444444"]


def frames_of(data: bytes, numbers: list[int]) -> list[bytes]:
    found = scan(data)
    assert found.pixel_data is not None
    spans = frame_spans(found.base, found.pixel_data, numbers)
    return [b"".join(data[o : o + n] for o, n in span.pieces) for span in spans]


@pytest.mark.parametrize("fragments", [1, 2, 3])
def test_a_basic_offset_table_finds_fragmented_frames(fragments: int) -> None:
    data = encapsulated(FRAMES, fragments_per_frame=fragments)
    assert frames_of(data, [1, 2, 3, 4]) == FRAMES
    assert frames_of(data, [3]) == [FRAMES[2]]


def test_an_extended_offset_table_is_preferred() -> None:
    assert frames_of(encapsulated(FRAMES, extended=True), [4, 2]) == [FRAMES[3], FRAMES[1]]


def test_without_a_table_one_fragment_is_one_frame() -> None:
    assert frames_of(encapsulated(FRAMES, has_basic_offset_table=False), [2]) == [FRAMES[1]]


def test_without_a_table_all_fragments_are_the_only_frame() -> None:
    data = encapsulated([FRAMES[2]], fragments_per_frame=3, has_basic_offset_table=False)
    assert frames_of(data, [1]) == [FRAMES[2]]


def test_without_a_table_other_counts_of_fragments_are_undecodable() -> None:
    with pytest.raises(UndecodableError):
        frames_of(encapsulated(FRAMES, fragments_per_frame=2, has_basic_offset_table=False), [1])


@pytest.mark.parametrize("table", [(5, 9, 1, 0), (0, 0, 0, 0), (0,), (0, 4, 8, 4_000_000_000)])
def test_a_wrong_table_does_not_matter_when_fragments_are_frames(table: tuple[int, ...]) -> None:
    fragments = ((100, 4), (112, 6), (126, 2), (136, 8))
    pixels = PixelData(0x7FE00010, "OB", 84, 60, encapsulated=True, fragments=fragments, basic_offset_table=table)
    attributes = {0x00280008: Element("IS", b"", ("4",))}
    assert frame_spans(attributes, pixels, [2]) == [FrameSpan(((112, 6),))]


def test_native_frames_follow_each_other() -> None:
    data = part10(image(rows=4, columns=6, NumberOfFrames=3, PixelData=bytes(range(144))))
    assert frames_of(data, [1, 3]) == [bytes(range(48)), bytes(range(96, 144))]


def test_one_bit_frames_may_begin_inside_a_byte() -> None:
    attributes = {
        0x00280008: Element("IS", b"", ("3",)),
        0x00280010: Element("US", b"", (3,)),
        0x00280011: Element("US", b"", (5,)),
        0x00280100: Element("US", b"", (1,)),
    }
    spans = frame_spans(attributes, PixelData(0x7FE00010, "OB", 1000, 6), [1, 2, 3])
    assert spans == [
        FrameSpan(((1000, 2),), 0, 15),
        FrameSpan(((1001, 3),), 7, 15),
        FrameSpan(((1003, 3),), 6, 15),
    ]


def test_pydicoms_frames_are_found() -> None:
    path = get_testdata_file("SC_rgb_rle_2frame.dcm")
    dataset = dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == RLELossless
    with open(path, "rb") as file:  # noqa: PTH123
        data = file.read()
    assert frames_of(data, [1, 2]) == list(generate_frames(dataset.PixelData, number_of_frames=2))


IMPOSSIBLE = [
    pytest.param({0x00280010: 65535, 0x00280011: 65535}, id="far-too-few-bytes"),
    pytest.param({0x00280010: 2**31}, id="rows-beyond-16-bits"),
    pytest.param({0x00280010: 0}, id="no-rows"),
    pytest.param({0x00280010: None}, id="rows-missing"),
    pytest.param({0x00280008: str(2**31 - 1)}, id="most-frames"),
    pytest.param({0x00280008: "-5"}, id="negative-frames"),
    pytest.param({0x00280008: "0"}, id="zero-frames"),
    pytest.param({0x00280008: "many"}, id="text-frames"),
    pytest.param({0x00280008: "1" * 30_000}, id="very-long-frames"),
    pytest.param({0x00280008: "\u00b2"}, id="superscript-frames"),
    pytest.param({0x00280100: 0}, id="no-bits"),
    pytest.param({0x00280100: 12}, id="odd-bits"),
    pytest.param({0x00280002: 65535}, id="too-many-samples"),
]


@pytest.mark.parametrize("changes", IMPOSSIBLE)
def test_impossible_dimensions_are_undecodable(changes: dict[int, int | str | None]) -> None:
    values: dict[int, int | str | None] = {0x00280010: 2, 0x00280011: 4, 0x00280100: 16, **changes}
    attributes = {tag: Element("US", b"", (value,)) for tag, value in values.items()}
    with pytest.raises(UndecodableError):
        frame_spans(attributes, PixelData(0x7FE00010, "OW", 1000, 16), [1])


@pytest.mark.parametrize("number", [0, -1, 5, 10**20])
def test_a_frame_that_is_not_there_is_an_index_error(number: int) -> None:
    found = scan(encapsulated(FRAMES))
    assert found.pixel_data is not None
    with pytest.raises(IndexError):
        frame_spans(found.base, found.pixel_data, [number])
