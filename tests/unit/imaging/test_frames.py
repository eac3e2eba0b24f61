"""Encapsulated frames: which fragments belong to each, by every kind of table and by none."""

import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless
from tests.factories import encapsulated
from tests.pydicom_files import bundled, read

from dicomweb_archive.dicom.instance import PixelData
from dicomweb_archive.dicom.part10 import Part10Scanner, scan
from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.frames import fragment_bounds

FRAMES = [b"first frame ", b"second", b"the third one is longer!", b"44444444"]


def frames_of(data: bytes, numbers: list[int], *, count: int = len(FRAMES)) -> list[bytes]:
    found = scan(data).pixel_data
    assert found is not None
    bounds = fragment_bounds(found, count)
    pieces = [found.fragments[bounds[number - 1] : bounds[number]] for number in numbers]
    return [b"".join(data[offset : offset + length] for offset, length in frame) for frame in pieces]


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
    assert frames_of(data, [1], count=1) == [FRAMES[2]]


@pytest.mark.parametrize("beginning", [b"\xff\xd8\xff\xe0", b"\xff\x4f\xff\x51"], ids=["JPEG", "JPEG 2000"])
def test_without_a_table_frames_begin_where_an_image_does(beginning: bytes) -> None:
    images = [beginning + frame for frame in FRAMES]
    data = encapsulated(images, fragments_per_frame=2, has_basic_offset_table=False)
    assert frames_of(data, [1, 2, 3, 4]) == images


def test_without_a_table_the_beginnings_are_found_in_any_pieces_of_the_file() -> None:
    images = [b"\xff\xd8\xff\xe0" + frame for frame in FRAMES]
    data = encapsulated(images, fragments_per_frame=3, has_basic_offset_table=False)
    whole = scan(data).pixel_data
    assert whole is not None
    assert len(whole.basic_offset_table) == len(images)
    for size in (1, 7, 64):
        scanner = Part10Scanner()
        for start in range(0, len(data), size):
            scanner.feed(data[start : start + size])
        assert scanner.finish().pixel_data == whole


def test_without_a_table_an_image_too_many_is_undecodable() -> None:
    images = [b"\xff\xd8\xff\xe0" + frame for frame in FRAMES]
    with pytest.raises(UndecodableError):
        frames_of(encapsulated(images, fragments_per_frame=2, has_basic_offset_table=False), [1], count=3)


def test_without_a_table_other_counts_of_fragments_are_undecodable() -> None:
    with pytest.raises(UndecodableError):
        frames_of(encapsulated(FRAMES, fragments_per_frame=2, has_basic_offset_table=False), [1])


@pytest.mark.parametrize("table", [(5, 9, 1, 0), (0, 0, 0, 0), (0,), (0, 4, 8, 4_000_000_000)])
def test_a_wrong_table_does_not_matter_when_fragments_are_frames(table: tuple[int, ...]) -> None:
    fragments = ((100, 4), (112, 6), (126, 2), (136, 8))
    pixels = PixelData(0x7FE00010, "OB", 84, 60, encapsulated=True, fragments=fragments, basic_offset_table=table)
    assert list(fragment_bounds(pixels, 4)) == [0, 1, 2, 3, 4]


def test_frames_of_one_fragment_are_found_without_a_look_at_a_table_of_many() -> None:
    fragments = tuple((100 + 10 * number, 2) for number in range(4))
    table = tuple(10 * number for number in range(4))
    pixels = PixelData(0x7FE00010, "OB", 84, 60, encapsulated=True, fragments=fragments, basic_offset_table=table)
    # Each frame of a slide is found anew, so a list as long as the slide were made for each.
    assert fragment_bounds(pixels, 4) == range(5)


def test_pydicoms_frames_are_found() -> None:
    data = bundled("SC_rgb_rle_2frame.dcm")
    dataset = read(data)
    assert dataset.file_meta.TransferSyntaxUID == RLELossless
    assert frames_of(data, [1, 2], count=2) == list(generate_frames(dataset.PixelData, number_of_frames=2))
