"""GIF animation: pictures of frames, each a GIF of its own, put one behind the other (GIF89a).

Nothing is encoded anew, so that an animation of any length is made with one frame in memory.
"""

import struct
from collections.abc import Iterator

from pydicom import Dataset

TRAILER = b";"
"""What an animation ends with."""

_DEFAULT_MILLISECONDS = 100.0
# Browsers slow down what is faster than this.
_LEAST_HUNDREDTHS, _MOST_HUNDREDTHS = 2, 1000
_HEAD_BYTES = 13
_TABLE_FLAG = 0x80
_FOREVER = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


def frame_milliseconds(header: Dataset) -> float:
    """Return how long each frame of an instance is to be seen (PS3.3 C.7.6.5)."""
    for keyword, of_rate in (("FrameTime", False), ("CineRate", True), ("RecommendedDisplayFrameRate", True)):
        try:
            value = float(header.get(keyword) or 0)
        # Whatever else stands there.
        except (TypeError, ValueError):
            continue
        if 0 < value < 1e6:
            return 1000 / value if of_rate else value
    return _DEFAULT_MILLISECONDS


def animation_head(gif: bytes) -> bytes:
    """Begin an animation of pictures of the size of this one; it starts anew when it has ended."""
    width, height = struct.unpack_from("<HH", gif, 6)
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0) + _FOREVER


def animation_frame(gif: bytes, milliseconds: float) -> bytes:
    """Turn a GIF of one picture into a frame that brings its own colours."""
    flags = gif[10]
    table = gif[_HEAD_BYTES : _image_begin(gif)] if flags & _TABLE_FLAG else b""
    delay = min(max(round(milliseconds / 10), _LEAST_HUNDREDTHS), _MOST_HUNDREDTHS)
    return b"".join((struct.pack("<4sHBB", b"!\xf9\x04\x04", delay, 0, 0), *_images(gif, table, flags & 7)))


def _image_begin(gif: bytes) -> int:
    """Return where the global colours end."""
    return _HEAD_BYTES + (3 << (gif[10] & 7) + 1 if gif[10] & _TABLE_FLAG else 0)


def _images(gif: bytes, table: bytes, table_size: int) -> Iterator[bytes]:
    """Yield the picture with its colours before it; extensions are left out."""
    position = _image_begin(gif)
    while gif[position] != TRAILER[0]:
        if gif[position] == ord("!"):
            position = _end_of_blocks(gif, position + 2)
            continue
        place, flags = gif[position : position + 9], gif[position + 9]
        begin = position + 10
        if flags & _TABLE_FLAG:
            colours = gif[begin : begin + (3 << (flags & 7) + 1)]
            begin += len(colours)
        else:
            colours, flags = table, flags & ~7 | _TABLE_FLAG | table_size
        # Behind the colours stands the size of the codes, then come the blocks.
        end = _end_of_blocks(gif, begin + 1)
        yield place + bytes([flags]) + colours + gif[begin:end]
        position = end


def _end_of_blocks(gif: bytes, position: int) -> int:
    while gif[position]:
        position += gif[position] + 1
    return position + 1
