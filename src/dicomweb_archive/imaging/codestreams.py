"""Heads of codestreams: the size of the image that a decoder is going to make room for."""

from struct import Struct
from typing import Final

_JPEG = b"\xff\xd8"
_JPEG_2000 = b"\xff\x4f\xff\x51"
# Xsiz, Ysiz, XOsiz, YOsiz behind the length and capabilities of SIZ (ISO 15444-1 A.5.1).
_GRID: Final = Struct(">IIII")
_GRID_START = 8
# The start of frame (ISO 10918-1 B.2.2), of JPEG-LS too (ISO 14495-1 C.2.2).
_STARTS_OF_FRAME: Final = frozenset(
    (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
)
_MARK = 0xFF
_LENGTH_BYTES = 2


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Return rows and columns of a JPEG, JPEG-LS or JPEG 2000 image; `None` where its head does not tell."""
    if frame.startswith(_JPEG_2000) and len(frame) >= _GRID_START + _GRID.size:
        right, bottom, left, top = _GRID.unpack_from(frame, _GRID_START)
        return bottom - top, right - left
    return _start_of_frame(frame) if frame.startswith(_JPEG) else None


def _start_of_frame(frame: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(frame) and frame[position] == _MARK:
        marker = frame[position + 1]
        if marker == _MARK:
            # Markers may be preceded by fill bytes.
            position += 1
            continue
        if marker in _STARTS_OF_FRAME:
            rows = int.from_bytes(frame[position + 5 : position + 7], "big")
            return rows, int.from_bytes(frame[position + 7 : position + 9], "big")
        length = int.from_bytes(frame[position + 2 : position + 4], "big")
        position += _LENGTH_BYTES + max(length, _LENGTH_BYTES)
    return None
