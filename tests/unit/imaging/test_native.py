"""Native frames: where they lie, and what has to be changed before they are sent."""

import numpy as np
import pytest

from dicomweb_archive.dicom.instance import PixelData
from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.native import cut_native_frame, frame_is_plain, native_frame_range
from dicomweb_archive.imaging.pixel_format import PixelFormat

TAG = 0x7FE00010


def layout(
    rows: int, columns: int, bits: int, frames: int, samples: int = 1, colour: str = "MONOCHROME2"
) -> PixelFormat:
    return PixelFormat(rows, columns, samples, bits, bits, 0, colour, 0, frames)


def cut(value: bytes, vr: str, pixels: PixelFormat, number: int, *, big_endian: bool = False) -> bytes:
    stored = PixelData(TAG, vr, 1000, len(value))
    offset, length = native_frame_range(stored, pixels, number)
    return cut_native_frame(value[offset - 1000 : offset - 1000 + length], vr, pixels, number, big_endian=big_endian)


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 3), (1, 1)])
@pytest.mark.parametrize("big_endian", [False, True])
def test_each_frame_is_cut_out_in_little_endian(bits: int, rows: int, columns: int, big_endian: bool) -> None:
    pixels = layout(rows, columns, bits, 3)
    values = np.arange(3 * rows * columns, dtype=f"<u{bits // 8}").reshape(3, -1)
    value = values.tobytes() + b"\0" * (values.nbytes % 2)
    vr = "OW"
    if big_endian:
        # Bytes packed into OW words turn round in pairs, wider samples by themselves (PS3.5 8.1.1, A.3).
        value = np.frombuffer(value, f">u{max(bits // 8, 2)}").astype(f"<u{max(bits // 8, 2)}").tobytes()
    for number in (1, 2, 3):
        assert cut(value, vr, pixels, number, big_endian=big_endian) == values[number - 1].tobytes()


@pytest.mark.parametrize("big_endian", [False, True])
def test_frames_of_single_bits_begin_on_their_own_byte(big_endian: bool) -> None:
    pixels = layout(3, 5, 1, 4)
    bits = np.random.default_rng(1).integers(0, 2, (4, 15), dtype=np.uint8)
    value = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    if big_endian:
        value = np.frombuffer(value, ">u2").astype("<u2").tobytes()
    for number in range(1, 5):
        expected = np.packbits(bits[number - 1], bitorder="little").tobytes()
        assert cut(value, "OW", pixels, number, big_endian=big_endian) == expected
    assert not frame_is_plain(pixels, 1, big_endian=False)


def test_subsampled_colours_take_two_samples_a_pixel() -> None:
    pixels = layout(2, 4, 8, 2, samples=3, colour="YBR_FULL_422")
    assert cut(bytes(range(32)), "OB", pixels, 2) == bytes(range(16, 32))


def test_plain_frames_need_no_change() -> None:
    assert frame_is_plain(layout(4, 4, 16, 9), 9, big_endian=False)
    assert not frame_is_plain(layout(4, 4, 16, 9), 9, big_endian=True)
    assert frame_is_plain(layout(4, 4, 1, 9), 9, big_endian=False)


def test_pixel_data_that_end_before_the_frame_are_refused() -> None:
    with pytest.raises(UndecodableError, match="shorter"):
        cut(bytes(31), "OW", layout(4, 4, 16, 1), 1)
