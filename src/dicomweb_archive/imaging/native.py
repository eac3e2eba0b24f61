"""Native pixel data and bulk values: byte order, and frames that begin within a byte (PS3.5 7.3, 8.1.1)."""

import numpy as np

from dicomweb_archive.dicom.instance import PixelData
from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.pixel_format import PixelFormat, check_pixel_format

Buffer = bytes | bytearray | memoryview

_WORD_BYTES = {
    "OW": 2, "US": 2, "SS": 2, "AT": 2,
    "OL": 4, "OF": 4, "UL": 4, "SL": 4, "FL": 4,
    "OD": 8, "OV": 8, "FD": 8, "SV": 8, "UV": 8,
}  # fmt: skip


def word_bytes(vr: str) -> int:
    """Size of the words whose byte order a big endian file turns round; 1 for text and bytes (PS3.5 7.3)."""
    return _WORD_BYTES.get(vr, 1)


def swap_words(data: Buffer, width: int) -> bytes:
    """Turn round the bytes of each word; bytes left over at the end of a value of odd length stay."""
    if width == 1:
        return bytes(data)
    whole = len(data) - len(data) % width
    view = memoryview(data)
    return np.frombuffer(view[:whole], dtype=f">u{width}").astype(f"<u{width}").tobytes() + bytes(view[whole:])


def shift_bits(data: Buffer, first_bit: int, bits: int) -> bytes:
    """Return `bits` single-bit pixels from `first_bit` of `data` on, packed from the first byte's lowest bit."""
    unpacked = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    return np.packbits(unpacked[first_bit : first_bit + bits], bitorder="little").tobytes()


def native_frame_range(stored: PixelData, pixels: PixelFormat, number: int) -> tuple[int, int]:
    """Find native frame `number`, from 1: offset in the file and length of the bytes that hold it.

    They begin and end on a word boundary, so that a big endian file's words are whole: see `cut_native_frame`.

    Raises:
        UndecodableError: the attributes are absurd, or the pixel data end before the frame does.
    """
    check_pixel_format(pixels)
    first = (number - 1) * pixels.frame_bits
    width = pixel_word_bytes(stored.vr, pixels)
    begin = first // 8 // width * width
    end = (first + pixels.frame_bits + 7) // 8
    if end > stored.length:
        message = "the stored pixel data are shorter than Rows, Columns and Number of Frames say"
        raise UndecodableError(message)
    return stored.offset + begin, min(-(-end // width) * width, stored.length) - begin


def cut_native_frame(data: Buffer, vr: str, pixels: PixelFormat, number: int, *, big_endian: bool) -> bytes:
    """Make frame `number` of what `native_frame_range` found: little endian, beginning on its first byte."""
    width = pixel_word_bytes(vr, pixels)
    words = swap_words(data, width) if big_endian else data
    first = (number - 1) * pixels.frame_bits
    skipped = first - first // 8 // width * width * 8
    if skipped % 8 or pixels.frame_bits % 8:
        return shift_bits(words, skipped, pixels.frame_bits)
    return bytes(words[skipped // 8 : (skipped + pixels.frame_bits) // 8])


def frame_is_plain(pixels: PixelFormat, number: int, *, big_endian: bool) -> bool:
    """Whether the stored bytes of a native frame are what is to be sent, without a change."""
    return not big_endian and (number - 1) * pixels.frame_bits % 8 == 0 and pixels.frame_bits % 8 == 0


def pixel_word_bytes(vr: str, pixels: PixelFormat) -> int:
    """Size of the words of native pixel data: a sample's, or two bytes for bytes packed in OW."""
    return max(word_bytes(vr), pixels.bits_allocated // 8)
