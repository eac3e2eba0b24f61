"""Compressed images and videos that are sent beside their metadata: what they are, and what they say of themselves.

Only heads are read; nothing is decoded (PS3.18 10.5.1.4, Table 10.5.2-1).
"""

from collections.abc import Iterable
from typing import Final

from dicomweb_archive.dicom.model_encoding import EncodedDataSet
from dicomweb_archive.dicom.status import (
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    TRANSFER_SYNTAX_NOT_SUPPORTED,
)
from dicomweb_archive.errors import InvalidInstanceError
from dicomweb_archive.imaging.image_heads import SentImage, read_jpeg_2000_head, read_jpeg_head

OCTETS: Final = "application/octet-stream"
_LITTLE_ENDIAN: Final = frozenset({"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
_STANDARD_SYNTAX: Final = "1.2.840.10008.1.2."
_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
_JPEG_TYPES: Final = frozenset({"image/jpeg", "image/jpg", "image/jls"})
_JPEG_2000_TYPES: Final = frozenset({"image/jp2", "image/jpx", "image/j2c", "image/jph", "image/jphc"})
_RLE: Final = "image/dicom-rle"
_RLE_SYNTAX: Final = "1.2.840.10008.1.2.5"

# Media type -> its transfer syntax when none is named, and how the others of the kind begin (Table 8.7.3-5).
_VIDEO_TYPES: Final = {
    "video/mpeg": ("1.2.840.10008.1.2.4.100", ("100", "101")),
    "video/mpeg2": ("1.2.840.10008.1.2.4.100", ("100", "101")),
    "video/mp4": ("1.2.840.10008.1.2.4.102", ("102", "103", "104", "105", "106", "107", "108")),
    "video/h265": ("1.2.840.10008.1.2.4.107", ("107", "108")),
}

DECODED_TYPES: Final = frozenset({"image/png", "image/gif"})
"""What no transfer syntax has: it is stored as native pixels."""

SINGLE_FRAME_TYPES: Final = frozenset({*_JPEG_TYPES, *_JPEG_2000_TYPES, _RLE, "image/png"})
"""Media types that hold one frame, so that an image of several has as many parts."""

_ROWS, _COLUMNS, _SAMPLES, _COLOURS, _FRAMES = 0x00280010, 0x00280011, 0x00280002, 0x00280004, 0x00280008
_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION, _PLANAR = 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280006
_NATIVE_COLOURS: Final = {1: ("MONOCHROME1", "MONOCHROME2"), 3: ("RGB",)}
_LOSSY, _RATIO, _METHOD = 0x00282110, 0x00282112, 0x00282114

DESCRIPTION_TAGS: Final = frozenset(
    {
        *(_ROWS, _COLUMNS, _SAMPLES, _COLOURS, _FRAMES),
        *(_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION, _PLANAR),
        *(_LOSSY, _RATIO, _METHOD),
    }
)
"""Attributes of the metadata that are compared with an image, or put in from it."""


def is_compressed(media_type: str, syntax: str) -> bool:
    """Tell whether a part holds a compressed image or a video, by its media type or transfer syntax.

    Raises:
        InvalidInstanceError: it is said to be big endian, which bulk data never are.
    """
    if media_type in SINGLE_FRAME_TYPES or media_type in DECODED_TYPES or media_type in _VIDEO_TYPES:
        return True
    if syntax == _BIG_ENDIAN or media_type not in ("", OCTETS):
        reason = "pixel data are of a media type or in an encoding that the archive does not take"
        raise InvalidInstanceError(reason, failure=TRANSFER_SYNTAX_NOT_SUPPORTED)
    return syntax not in _LITTLE_ENDIAN


def describe_sent_image(media_type: str, syntax: str, head: bytes, length: int) -> SentImage:
    """Return what an image or a video is.

    Args:
        syntax: the transfer syntax that is named, if one is.
        head: its first bytes, a MiB at most.
        length: of all of it.

    Raises:
        InvalidInstanceError: it is not of its media type, or of none that the archive keeps.
    """
    if media_type in _JPEG_TYPES:
        return read_jpeg_head(head, length)
    if media_type in _JPEG_2000_TYPES:
        return read_jpeg_2000_head(head, length)
    if media_type in _VIDEO_TYPES:
        default, family = _VIDEO_TYPES[media_type]
        if syntax and syntax.removeprefix(f"{_STANDARD_SYNTAX}4.").split(".")[0] not in family:
            raise _wrong_syntax()
        return SentImage(syntax or default, (0, length))
    if media_type == _RLE:
        return SentImage(_RLE_SYNTAX, (0, length))
    if head.startswith(b"\xff\xd8"):
        return read_jpeg_head(head, length)
    if not syntax.startswith(_STANDARD_SYNTAX):
        raise _wrong_syntax()
    return SentImage(syntax, (0, length))


def fill_description(data: EncodedDataSet, image: SentImage, *, sent_bytes: int, frames: int) -> None:
    """Put the Image Pixel Description Macro into metadata that leave it out (PS3.18 Table 10.5.2-1).

    Raises:
        InvalidInstanceError: the metadata describe another image, or leave out what the image does not say.
    """
    if image.rows == 0:
        if any(tag not in data.texts for tag in (_ROWS, _COLUMNS)):
            reason = "Rows and Columns are missing, and the pixel data do not say them"
            raise InvalidInstanceError(reason, failure=DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
        return
    _compare(data, ((_ROWS, image.rows), (_COLUMNS, image.columns), (_SAMPLES, image.samples)))
    for tag, number in _numbers(image):
        if not data.text_of(tag):
            data.put(tag, "US", number.to_bytes(2, "little"))
    if not data.text_of(_COLOURS):
        data.put(_COLOURS, "CS", image.photometric_interpretation.encode())
    if image.method and not data.text_of(_LOSSY):
        native = image.rows * image.columns * image.samples * ((image.bits + 7) // 8) * frames
        data.put(_LOSSY, "CS", b"01")
        data.put(_METHOD, "CS", image.method.encode())
        data.put(_RATIO, "DS", f"{native / max(sent_bytes, 1):.2f}".encode())


def fill_native_description(data: EncodedDataSet, image: SentImage, *, frames: int) -> None:
    """Put the Image Pixel Description Macro of native pixels into metadata that leave it out.

    Raises:
        InvalidInstanceError: the metadata describe pixels of another form.
    """
    _compare(data, [(_ALLOCATED, image.bits), (_PLANAR, 0), (_FRAMES, frames)])
    if data.text_of(_COLOURS) and data.text_of(_COLOURS).strip() not in _NATIVE_COLOURS[image.samples]:
        reason = "Photometric Interpretation is not that of the image"
        raise InvalidInstanceError(reason, failure=DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
    if frames > 1 and not data.text_of(_FRAMES):
        data.put(_FRAMES, "IS", str(frames).encode())
    fill_description(data, image, sent_bytes=0, frames=frames)


def _compare(data: EncodedDataSet, said: Iterable[tuple[int, int]]) -> None:
    if any(data.texts.get(tag, "").strip() not in ("", str(number)) for tag, number in said):
        reason = "Rows, Columns or other attributes of the pixels are not those of the image"
        raise InvalidInstanceError(reason, failure=DATA_SET_DOES_NOT_MATCH_SOP_CLASS)


def _numbers(image: SentImage) -> list[tuple[int, int]]:
    numbers = [
        (_SAMPLES, image.samples),
        (_ROWS, image.rows),
        (_COLUMNS, image.columns),
        (_ALLOCATED, 8 if image.bits <= 8 else 16),
        (_STORED, image.bits),
        (_HIGH_BIT, image.bits - 1),
        (_REPRESENTATION, int(image.is_signed)),
    ]
    return [*numbers, (_PLANAR, 0)] if image.samples > 1 else numbers


def _wrong_syntax() -> InvalidInstanceError:
    reason = "the transfer syntax is not one of the media type"
    return InvalidInstanceError(reason, failure=TRANSFER_SYNTAX_NOT_SUPPORTED)
