"""Decoding small what is shown small: JPEG at a fraction of its transform, JPEG 2000 without its finest levels.

A short cut for pictures alone, never for pixels that are retrieved: what it cannot do as the full decoder would, but
for the resolution, it leaves to that one. Colours of JPEG take it at any size: the codec makes RGB of them at seven
times the speed of arithmetic on arrays (benchmarks/rendered).
"""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.pixels.utils import get_j2k_parameters

from dicomweb_archive.imaging.pixel_format import PixelFormat

_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{process}" for process in (90, 91, 201, 202, 203))
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_JPEG_COLOURS = frozenset({"YBR_FULL", "YBR_FULL_422"})
_JPEG_2000_COLOURS = frozenset({"RGB", "YBR_RCT", "YBR_ICT"})

Bits = npt.NDArray[np.unsignedinteger[Any]]


def decode_scaled(frame: bytes, transfer_syntax_uid: str, pixels: PixelFormat, size: tuple[int, int]) -> Bits | None:
    """Decode the joined fragments of a frame to at least `size`, width and height, and mostly less than the whole.

    Returns:
        The bits of each pixel as stored, of shape (rows, columns), or RGB of 8 bits, of shape (rows, columns, 3);
        `None` when the full decoder is to be used.
    """
    factor = min(pixels.columns // size[0], pixels.rows // size[1])
    if factor < 2 and not (transfer_syntax_uid == _JPEG_BASELINE and pixels.samples_per_pixel == 3):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if transfer_syntax_uid == _JPEG_BASELINE:
                return _jpeg(frame, pixels, size)
            if transfer_syntax_uid in _JPEG_2000:
                return _jpeg_2000(frame, pixels, factor.bit_length() - 1)
    # Whatever is odd about the codestream is for the full decoder to judge.
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    return None


def _jpeg(frame: bytes, pixels: PixelFormat, size: tuple[int, int]) -> Bits | None:
    colour = pixels.samples_per_pixel == 3 and pixels.photometric_interpretation in _JPEG_COLOURS
    grey = pixels.samples_per_pixel == 1 and pixels.photometric_interpretation in _GREY
    # RGB within JPEG is told apart by markers that may be missing.
    if not (colour or grey) or (pixels.bits_allocated, pixels.bits_stored, pixels.pixel_representation) != (8, 8, 0):
        return None
    mode = "RGB" if colour else "L"
    with Image.open(io.BytesIO(frame), formats=["JPEG"]) as image:
        if image.size != (pixels.columns, pixels.rows) or image.mode != mode:
            return None
        image.draft(mode, (min(size[0], image.width), min(size[1], image.height)))
        return np.asarray(image)


def _jpeg_2000(frame: bytes, pixels: PixelFormat, levels: int) -> Bits | None:
    described = get_j2k_parameters(frame)
    agrees = (described.get("precision"), described.get("is_signed")) == (
        pixels.bits_stored,
        bool(pixels.pixel_representation),
    )
    colour = pixels.samples_per_pixel == 3 and pixels.photometric_interpretation in _JPEG_2000_COLOURS
    grey = pixels.samples_per_pixel == 1 and pixels.photometric_interpretation in _GREY
    if not agrees or not ((grey and pixels.bits_allocated in (8, 16)) or (colour and pixels.bits_stored == 8)):
        return None
    with Image.open(io.BytesIO(frame), formats=["JPEG2000"]) as image:
        container = 8 if pixels.bits_stored <= 8 else 16
        if image.size != (pixels.columns, pixels.rows) or image.mode != ("RGB" if colour else _MODES[container]):
            return None
        image.reduce = levels  # type: ignore[assignment, method-assign]
        image.load()
        array = np.asarray(image)
    return array if colour else _as_stored(array, container, pixels)


_MODES = {8: "L", 16: "I;16"}


def _as_stored(array: Bits, container: int, pixels: PixelFormat) -> Bits:
    """Undo what Pillow does to fill its container: it scales values up, and moves signed ones above zero."""
    values = array.astype(np.int32) >> (container - pixels.bits_stored)
    if pixels.pixel_representation:
        values -= 1 << (pixels.bits_stored - 1)
    return values.astype(f"<u{pixels.bits_allocated // 8}")
