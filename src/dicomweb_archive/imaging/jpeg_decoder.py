"""Decoding of what pydicom has no decoder for: JPEG of 12 bits, retired JPEG processes, and JPEG XL (PS3.5 8.2)."""

from typing import Any, Final

import imagecodecs
import numpy.typing as npt

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.codestreams import codestream_size
from dicomweb_archive.imaging.pixel_format import PixelFormat

_JPEG = "1.2.840.10008.1.2.4"
_JPEG_EXTENDED = f"{_JPEG}.51"
_LOSSLESS: Final = frozenset((f"{_JPEG}.57", f"{_JPEG}.70"))
_RETIRED: Final = frozenset((f"{_JPEG}.53", f"{_JPEG}.55"))
_JPEG_XL: Final = frozenset((f"{_JPEG}.110", f"{_JPEG}.111", f"{_JPEG}.112"))
SYNTAXES: Final = _RETIRED | _JPEG_XL
"""Transfer syntaxes that are decoded nowhere else: JPEG processes 6 and 8, 10 and 12, and JPEG XL."""

_BYTE = 8


def is_wanted(transfer_syntax_uid: str, pixels: PixelFormat) -> bool:
    """Whether frames of a transfer syntax are decoded here, by what their attributes say."""
    if transfer_syntax_uid in _LOSSLESS:
        # pydicom's decoder of these ends its process when samples have less than 8 bits.
        return pixels.bits_stored < _BYTE
    return transfer_syntax_uid in SYNTAXES or (transfer_syntax_uid == _JPEG_EXTENDED and pixels.bits_stored > _BYTE)


def decode(frame: bytes, transfer_syntax_uid: str, pixels: PixelFormat) -> tuple[npt.NDArray[Any], str]:
    """Decode one codestream; colours become RGB.

    Raises:
        UndecodableError: it describes another frame than the attributes do.
        Exception: whatever the codec raises.
    """
    is_colour = pixels.samples_per_pixel > 1
    if transfer_syntax_uid in _JPEG_XL:
        # Sizes are told late in JPEG XL: the memory of the process bounds them.
        array = imagecodecs.jpegxl_decode(frame, numthreads=1)
    else:
        # Looked at before room is made for as many pixels as a codestream claims to have.
        if codestream_size(frame) != (pixels.rows, pixels.columns):
            raise _another_size()
        array = _decode_jpeg(frame, pixels)
    wanted = (pixels.rows, pixels.columns, pixels.samples_per_pixel)[: 3 if is_colour else 2]
    if array.shape != wanted:
        raise _another_size()
    return _signed(array, pixels), "RGB" if is_colour else pixels.photometric_interpretation


def _decode_jpeg(frame: bytes, pixels: PixelFormat) -> npt.NDArray[Any]:
    if pixels.samples_per_pixel == 1:
        return imagecodecs.jpeg8_decode(frame)
    kinds = imagecodecs.JPEG8.CS
    stored = kinds.RGB if pixels.photometric_interpretation == "RGB" else kinds.YCbCr
    return imagecodecs.jpeg8_decode(frame, colorspace=stored, outcolorspace=kinds.RGB)


def _signed(array: npt.NDArray[Any], pixels: PixelFormat) -> npt.NDArray[Any]:
    if not pixels.pixel_representation:
        return array
    # These codestreams know no sign: the highest of Bits Stored is it.
    width = array.dtype.itemsize * _BYTE
    unused = max(width - pixels.bits_stored, 0)
    return (array << unused).view(f"i{array.dtype.itemsize}") >> unused


def _another_size() -> UndecodableError:
    return UndecodableError("a frame is not the JPEG image that Rows, Columns and Samples per Pixel describe")
