"""Decoding of compressed frames to native little endian pixels (PS3.5 8.2, A.4); runs in worker processes.

Colours: what comes out is what the same instance holds when it is retrieved as Explicit VR Little Endian. JPEG
and JPEG 2000 images in a YBR colour space become RGB with the colour of each pixel together, as common toolkits
do; the metadata of the stored instance keep the stored Photometric Interpretation. Whoever wants the stored
colours asks for the stored transfer syntax.
"""

import zlib
from struct import Struct
from typing import Any

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging import jpeg_decoder, openjpeg_decoder
from dicomweb_archive.imaging.codestreams import codestream_size
from dicomweb_archive.imaging.pixel_format import PixelFormat, check_pixel_format

DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
"""Deflated Image Frame Compression (PS3.5 A.4.13): each frame is a deflate stream of native pixels."""

_RLE = "1.2.840.10008.1.2.5"
_RLE_HEAD = Struct("<16I")
_JPEG = "1.2.840.10008.1.2.4"
DECODABLE_SYNTAXES = frozenset(
    {_RLE, DEFLATED_IMAGE_FRAME}
    | {f"{_JPEG}.{process}" for process in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)}
    | jpeg_decoder.SYNTAXES
)
"""Compressed transfer syntaxes for which there is a codec here."""

JPEG_WITH_LOSS = frozenset(f"{_JPEG}.{process}" for process in (50, 51, 53, 55))
"""The processes of JPEG whose colours are decoded to RGB by everybody, since nothing of them is exact."""

openjpeg_decoder.register()


def decode_frame(
    frame: bytes, transfer_syntax_uid: str, pixels: PixelFormat, *, as_rgb: bool = True
) -> tuple[bytes, str]:
    """Decode the joined fragments of one frame.

    Args:
        frame: the codestream.
        transfer_syntax_uid: its transfer syntax.
        pixels: its layout.
        as_rgb: colours that a codec leaves in a YBR colour space become RGB.

    Returns:
        The pixels, little endian, colour-by-pixel, in samples of Bits Allocated, and their Photometric
        Interpretation.

    Raises:
        UndecodableError: the attributes or the codestream do not describe a frame, or nothing here can read it.
    """
    check_pixel_format(pixels)
    if transfer_syntax_uid == DEFLATED_IMAGE_FRAME:
        return _inflate(frame, pixels), pixels.photometric_interpretation
    if transfer_syntax_uid == _RLE and pixels.bits_allocated == 1:
        return _unpack_single_bits(frame, pixels), pixels.photometric_interpretation
    try:
        if jpeg_decoder.is_wanted(transfer_syntax_uid, pixels):
            array, colour = jpeg_decoder.decode(frame, transfer_syntax_uid, pixels)
        else:
            array, colour = _decode_by_pydicom(frame, transfer_syntax_uid, pixels, as_rgb=as_rgb)
    except UndecodableError:
        raise
    except MemoryError:
        message = "a frame needs more memory to decode than a decoding process may use"
        raise UndecodableError(message) from None
    # pydicom and the codecs raise whatever fits them; their texts may hold values, so they stay here.
    except Exception as error:  # noqa: BLE001
        message = f"a frame of the stored pixel data cannot be decoded ({type(error).__name__})"
        raise UndecodableError(message) from None
    return _native(array, pixels), colour


def _decode_by_pydicom(
    frame: bytes, transfer_syntax_uid: str, pixels: PixelFormat, *, as_rgb: bool
) -> "tuple[np.ndarray[Any, Any], str]":
    size = codestream_size(frame)
    # A codec makes room for whatever a codestream claims; with another number of pixels it is refused in any case.
    if size is not None and size[0] * size[1] != pixels.rows * pixels.columns:
        message = "a frame of the stored pixel data cannot be decoded: it has another size than Rows and Columns say"
        raise UndecodableError(message)
    encapsulated = encapsulate([frame], has_bot=False)
    options = _options(pixels) | {"as_rgb": as_rgb}
    array, described = get_decoder(transfer_syntax_uid).as_array(encapsulated, index=0, **options)
    return array, str(described["photometric_interpretation"])


def _unpack_single_bits(frame: bytes, pixels: PixelFormat) -> bytes:
    """Decode RLE of single bits, packed as in native pixel data and for which pydicom has no decoder (PS3.5 G.2)."""
    size = pixels.decoded_frame_bytes
    native = b""
    if len(frame) > _RLE_HEAD.size and _RLE_HEAD.unpack_from(frame)[:2] == (1, _RLE_HEAD.size):
        native = bytes(imagecodecs.packbits_decode(frame[_RLE_HEAD.size :]))
    if not size <= len(native) <= size + 1:
        message = "a frame of single bits does not hold what Rows and Columns say"
        raise UndecodableError(message)
    return native[:size]


def _inflate(frame: bytes, pixels: PixelFormat) -> bytes:
    size = pixels.decoded_frame_bytes
    try:
        native = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(frame, size + 1)
    except zlib.error:
        native = b""
    # One byte of padding makes the length of a frame even.
    if not size <= len(native) <= size + size % 2:
        message = "a deflated frame does not hold what Rows, Columns and Samples per Pixel say"
        raise UndecodableError(message)
    return native[:size]


def _options(pixels: PixelFormat) -> dict[str, Any]:
    options: dict[str, Any] = pixels._asdict()
    options["number_of_frames"] = 1
    options["pixel_keyword"] = "PixelData"
    if pixels.samples_per_pixel == 1:
        del options["planar_configuration"]
    return options


def _native(array: "np.ndarray[Any, Any]", pixels: PixelFormat) -> bytes:
    if pixels.bits_allocated == 1:
        return np.packbits(array.reshape(-1) != 0, bitorder="little").tobytes()
    kind = "i" if pixels.pixel_representation else "u"
    # Some codecs hand back narrower or wider samples than Bits Allocated says.
    exact = array.astype(np.dtype(f"<{kind}{pixels.bits_allocated // 8}"), copy=False)
    if exact.size * exact.itemsize != pixels.decoded_frame_bytes:
        message = "a frame decodes to another size than Rows, Columns and Samples per Pixel say"
        raise UndecodableError(message)
    return exact.tobytes()
