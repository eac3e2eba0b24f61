"""Encapsulated frames: which fragments belong to each, by every kind of table and by none."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


@st.composite
def encapsulations(draw: st.DrawFn) -> tuple[PixelData, int]:
    """Fragments as they lie one behind the other, and tables that may say anything of them."""
    offset = 100
    fragments = []
    for length in draw(st.lists(st.integers(0, 40), max_size=8)):
        fragments.append((offset, length))
        offset += 8 + length
    near = st.sampled_from([start - 100 for start, _ in fragments] or [0]) | st.integers(-1, 2**64 - 1)
    basic = tuple(draw(st.lists(near, max_size=8)))
    extended = tuple((start, draw(st.integers(0, 2**64 - 1))) for start in draw(st.lists(near, max_size=8)))
    pixels = PixelData(
        0x7FE00010, "OB", 84, offset, encapsulated=True, fragments=tuple(fragments),
        basic_offset_table=basic, extended_offset_table=extended,
    )  # fmt: skip
    return pixels, draw(st.integers(1, 9) | st.just(2**31 - 1))


@settings(max_examples=60)
@given(encapsulations())
def test_whatever_tables_say_each_fragment_is_of_one_frame_or_none_is(made: tuple[PixelData, int]) -> None:
    pixels, count = made
    try:
        bounds = fragment_bounds(pixels, count)
    except UndecodableError:
        return
    assert (bounds[0], bounds[-1], len(bounds)) == (0, len(pixels.fragments), count + 1)
    assert count == 1 or all(later > earlier for earlier, later in pairwise(bounds))


@pytest.mark.parametrize("size", [0, 7, 8, 16, 24, 1000])
@pytest.mark.parametrize("value", [b"\xff", b"\0", b"\x01"])
def test_a_lying_extended_table_gives_no_wrong_frame(size: int, value: bytes) -> None:
    sound = encapsulated(FRAMES, extended=True)
    (start, length), (lengths, _) = (
        (sound.index(struct.pack("<HH2sH", 0x7FE0, element, b"OV", 0)) + 12, 32) for element in (1, 2)
    )
    table = (value * size).ljust(size + size % 2, value)
    head = struct.pack("<HH2sHI", 0x7FE0, 1, b"OV", 0, len(table))
    lying = sound[: start - 12] + head + table + sound[start + length :]
    assert lengths > start
    # One fragment a frame leaves no doubt, and of fewer frames than fragments nothing is known.
    assert frames_of(lying, [1, 4]) == [FRAMES[0], FRAMES[3]]
    with pytest.raises(UndecodableError):
        frames_of(lying, [1], count=3)


def test_pydicoms_frames_are_found() -> None:
    data = bundled("SC_rgb_rle_2frame.dcm")
    dataset = read(data)
    assert dataset.file_meta.TransferSyntaxUID == RLELossless
    assert frames_of(data, [1, 2], count=2) == list(generate_frames(dataset.PixelData, number_of_frames=2))
