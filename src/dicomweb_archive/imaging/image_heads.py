"""Heads of JPEG, JPEG-LS and JPEG 2000 images: transfer syntax and description, nothing decoded."""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from dicomweb_archive.dicom.status import CANNOT_UNDERSTAND, TRANSFER_SYNTAX_NOT_SUPPORTED
from dicomweb_archive.errors import InvalidInstanceError

_JPEG: Final = "1.2.840.10008.1.2.4"
_LONGEST_SIDE: Final = 0xFFFF

# Start of frame -> transfer syntax (ISO 10918-1 Table B.1): baseline, extended, full progression.
_LOSSY_FRAMES: Final = {0xC0: f"{_JPEG}.50", 0xC1: f"{_JPEG}.51", 0xC2: f"{_JPEG}.55"}
_LOSSLESS_FRAME: Final = 0xC3
_JPEG_LS_FRAME: Final = 0xF7
_START_OF_SCAN: Final = 0xDA
_ADOBE: Final = 0xEE
_JFIF: Final = 0xE0
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})

_JP2_SIGNATURE: Final = bytes.fromhex("0000000c6a502020")
_CODESTREAM: Final = b"\xff\x4f\xff\x51"
# Lsiz, Rsiz, Xsiz, Ysiz, XOsiz, YOsiz, the same of tiles, Csiz (ISO 15444-1 A.5.1).
_SIZ: Final = Struct(">HHIIIIIIIIH")
_CAPABILITIES, _CODING_STYLE, _START_OF_TILE = 0x50, 0x52, 0x90


@dataclass(frozen=True, slots=True)
class SentImage:
    """What is known of a compressed image or video.

    Attributes:
        extent: where in the part the codestream lies; a file format around it is left out (PS3.5 A.4.4).
        rows: 0 when the head does not say, as in videos; then nothing else is known either.
        method: of lossy compression (PS3.3 C.7.6.1.1.5.1), empty for lossless.
    """

    transfer_syntax_uid: str
    extent: tuple[int, int]
    rows: int = 0
    columns: int = 0
    samples: int = 1
    bits: int = 8
    is_signed: bool = False
    photometric_interpretation: str = ""
    method: str = ""


def read_jpeg_head(head: bytes, length: int) -> SentImage:
    """Read the head of a JPEG or JPEG-LS image.

    Raises:
        InvalidInstanceError: it is none, or of a kind that DICOM does not have.
    """
    if not head.startswith(b"\xff\xd8"):
        raise _refusal("the part is no JPEG image")
    adobe: int | None = None
    jfif = False
    frame: tuple[int, bytes] | None = None
    for marker, segment in _segments(head):
        if marker == _ADOBE and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11]
        elif marker == _JFIF and segment.startswith(b"JFIF\0"):
            jfif = True
        elif marker in (*_LOSSY_FRAMES, _LOSSLESS_FRAME, _JPEG_LS_FRAME):
            frame = marker, segment
        elif marker == _START_OF_SCAN and frame is not None:
            return _jpeg_image(frame, segment, length, adobe=adobe, jfif=jfif)
    raise _refusal("the part is no JPEG image of a kind that DICOM has")


def read_jpeg_2000_head(head: bytes, length: int) -> SentImage:
    """Read the head of a JPEG 2000 image, High-Throughput too; of a JP2 file the codestream counts.

    Raises:
        InvalidInstanceError: it is none.
    """
    start, stop = _codestream(head, length)
    stream = head[start:stop]
    if not stream.startswith(_CODESTREAM) or len(stream) < 4 + _SIZ.size + 3:
        raise _refusal("the part is no JPEG 2000 image")
    _, _, right, bottom, left, top, *_, components = _SIZ.unpack_from(stream, 4)
    depth = stream[4 + _SIZ.size]
    found = dict(_segments(stream))
    style = found.get(_CODING_STYLE, b"")
    if len(style) < 10:
        raise _refusal("the part is no JPEG 2000 image")
    transformed, reversible = style[4] == 1, style[9] == 1
    if _CAPABILITIES in found:
        syntax = f"{_JPEG}.201" if reversible else f"{_JPEG}.203"
    else:
        syntax = f"{_JPEG}.90" if reversible else f"{_JPEG}.91"
    colour = ("YBR_RCT" if reversible else "YBR_ICT") if transformed else "RGB"
    return _checked(
        SentImage(
            syntax,
            (start, stop),
            rows=bottom - top,
            columns=right - left,
            samples=components,
            bits=(depth & 0x7F) + 1,
            is_signed=bool(depth & 0x80),
            photometric_interpretation="MONOCHROME2" if components == 1 else colour,
            method="" if reversible else "ISO_15444_1",
        )
    )


def _jpeg_image(frame: tuple[int, bytes], scan: bytes, length: int, *, adobe: int | None, jfif: bool) -> SentImage:
    marker, segment = frame
    if len(segment) < 6 or not segment[5] or len(segment) < 6 + 3 * segment[5] or len(scan) < 4:
        raise _refusal("the part is no JPEG image")
    samples = segment[5]
    # Behind the components: the predictor of lossless JPEG, the bound of loss of JPEG-LS.
    parameter = scan[1 + 2 * scan[0]] if len(scan) > 1 + 2 * scan[0] else 0
    if marker == _LOSSLESS_FRAME:
        syntax, method = f"{_JPEG}.70" if parameter == 1 else f"{_JPEG}.57", ""
    elif marker == _JPEG_LS_FRAME:
        syntax, method = (f"{_JPEG}.81", "ISO_14495_1") if parameter else (f"{_JPEG}.80", "")
    else:
        syntax, method = _LOSSY_FRAMES[marker], "ISO_10918_1"
    return _checked(
        SentImage(
            syntax,
            (0, length),
            rows=int.from_bytes(segment[1:3], "big"),
            columns=int.from_bytes(segment[3:5], "big"),
            samples=samples,
            bits=segment[0],
            photometric_interpretation=_jpeg_colour(marker, segment, adobe=adobe, jfif=jfif),
            method=method,
        )
    )


def _jpeg_colour(marker: int, segment: bytes, *, adobe: int | None, jfif: bool) -> str:
    """Tell the colours of a JPEG image by the marks that encoders leave (ISO 10918-5, -6)."""
    if segment[5] == 1:
        return "MONOCHROME2"
    lossy = marker in _LOSSY_FRAMES
    names = bytes(segment[6 + 3 * number] for number in range(segment[5]))
    if adobe == 0 or (adobe is None and not jfif and (not lossy or names == b"RGB")):
        return "RGB"
    return "YBR_FULL_422" if lossy and segment[7] >> 4 > 1 else "YBR_FULL"


def _checked(image: SentImage) -> SentImage:
    sides_fit = 0 < image.rows <= _LONGEST_SIDE and 0 < image.columns <= _LONGEST_SIDE
    if not sides_fit or image.samples not in (1, 3) or not 1 <= image.bits <= 16:
        raise _refusal("the image is of a size, a depth or a number of components that DICOM does not have")
    return image


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each marker with its segment, up to and with the first scan or tile."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        size = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, data[position + 4 : position + 2 + size]
        if marker in (_START_OF_SCAN, _START_OF_TILE):
            return
        position += 2 + max(size, 2)


def _codestream(head: bytes, length: int) -> tuple[int, int]:
    """Return where the codestream lies, in a JP2 file inside its box (ISO 15444-1 I.4)."""
    if not head.startswith(_JP2_SIGNATURE):
        return 0, length
    position = 0
    while position + 16 <= len(head):
        size, kind = int.from_bytes(head[position : position + 4], "big"), head[position + 4 : position + 8]
        begin = position + 8
        if size == 1:
            size, begin = int.from_bytes(head[position + 8 : position + 16], "big"), position + 16
        stop = length if size == 0 else position + size
        if kind == b"jp2c" and begin < stop <= length:
            return begin, stop
        if stop <= begin:
            break
        position = stop
    raise _refusal("the part is no JPEG 2000 image")


def _refusal(reason: str) -> InvalidInstanceError:
    kind = TRANSFER_SYNTAX_NOT_SUPPORTED if "DICOM" in reason else CANNOT_UNDERSTAND
    return InvalidInstanceError(reason, failure=kind)
