"""Display elements: the few attributes of an instance that turn stored values into what is seen.

Of an image's header a picture needs a dozen elements, and pydicom takes a millisecond for all the others. So the
header is walked as bytes and those elements are cut out: as a small data set of their own, whose bytes say at once
whether a neighbouring slice is to be shown in the same way.
"""

import io
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pydicom import Dataset, dcmread
from pydicom.filereader import read_dataset

from dicomweb_archive.dicom.file_meta import FileMetaReader
from dicomweb_archive.dicom.limits import DEFAULT_LIMITS
from dicomweb_archive.dicom.values import LONG_VRS, SHORT_VRS
from dicomweb_archive.errors import InvalidInstanceError

_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_PER_FRAME = 0x52009230
DISPLAY_TAGS = frozenset(
    {
        # Image Pixel, palette (PS3.3 C.7.6.3, C.7.9)
        0x00280002, 0x00280004, 0x00280006, 0x00280100, 0x00280101, 0x00280102, 0x00280103,
        0x00280120, 0x00280121,
        0x00281101, 0x00281102, 0x00281103, 0x00281199, 0x00281201, 0x00281202, 0x00281203,
        0x00281221, 0x00281222, 0x00281223,
        # Modality LUT and VOI LUT (PS3.3 C.11.1, C.11.2)
        0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281056, 0x00283000, 0x00283010,
        # Segmentation Image (PS3.3 C.8.20.2)
        0x00620001, 0x0062000E,
        # Functional groups (PS3.3 C.7.6.16)
        0x52009229, _PER_FRAME,
    }
)  # fmt: skip
"""What `imaging.grey_scale` and palettes look at."""

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_UNDEFINED = 0xFFFFFFFF
_explicit = struct.Struct("<HH2sH").unpack_from
_implicit = struct.Struct("<HHI").unpack_from
_long = struct.Struct("<I").unpack_from
_SHORT = frozenset(vr.encode() for vr in SHORT_VRS)
_LONG = frozenset(vr.encode() for vr in LONG_VRS - {"UN"})

_Head = Callable[[bytes, int], tuple[int, int, int]]


class _UnwalkableError(Exception):
    """The header is written in a way that pydicom has to make sense of."""


class DisplayElements(NamedTuple):
    """The display elements of one frame, as bytes.

    Attributes:
        data: a data set; of the per-frame functional groups it has the frame's own, as the only one.
        implicit: it is in Implicit VR, else in Explicit VR, little endian both.
    """

    data: bytes
    implicit: bool

    def parse(self) -> Dataset:
        """Read the data set."""
        return read_dataset(io.BytesIO(self.data), self.implicit, is_little_endian=True)


def display_elements(head: bytes, frame: int) -> DisplayElements | None:
    """Cut the display elements of a frame, counted from 1, out of `head`, a Part 10 file up to its pixel data.

    Returns:
        `None` when the header is in another encoding or odd; then `parse_header` reads it.
    """
    try:
        meta = FileMetaReader(DEFAULT_LIMITS).run(head)
        if meta is None or meta.transfer_syntax_uid == _EXPLICIT_VR_BIG_ENDIAN:
            return None
        implicit = meta.transfer_syntax_uid == _IMPLICIT_VR_LITTLE_ENDIAN
        data = b"".join(_cut(head, meta.end, frame, _implicit_head if implicit else _explicit_head))
    except (_UnwalkableError, InvalidInstanceError, struct.error):
        return None
    return DisplayElements(data, implicit)


def parse_header(head: bytes) -> Dataset:
    """Read `head`, a Part 10 file up to its pixel data, as a whole."""
    return dcmread(io.BytesIO(head), stop_before_pixels=True)


def _cut(head: bytes, position: int, frame: int, read: _Head) -> Iterator[bytes]:
    """Yield the display elements; the walk has to end exactly where the value of the pixel data begins."""
    previous = 0
    while True:
        tag, start, length = read(head, position)
        if tag <= previous:
            raise _UnwalkableError
        if tag in _PIXEL_TAGS:
            if start != len(head):
                raise _UnwalkableError
            return
        end = start + length if length != _UNDEFINED else _end_of_sequence(head, start, read)
        if tag == _PER_FRAME:
            yield _one_item(head, position, start, length, frame, read)
        elif tag in DISPLAY_TAGS:
            yield head[position:end]
        previous, position = tag, end


def _one_item(head: bytes, position: int, start: int, length: int, frame: int, read: _Head) -> bytes:
    """Return a sequence of one item, the one of a frame; empty when the sequence has no item for it."""
    begin = start
    end = start + length if length != _UNDEFINED else len(head)
    for _ in range(frame):
        if begin >= end:
            return b""
        tag, item, item_length = read(head, begin)
        if tag == _SEQUENCE_END:
            return b""
        if tag != _ITEM:
            raise _UnwalkableError
        first, begin = begin, _end_of_item(head, item, item_length, read)
    sequence = head[first:begin]
    return head[position : start - 4] + struct.pack("<I", len(sequence)) + sequence


def _end_of_item(head: bytes, start: int, length: int, read: _Head) -> int:
    return start + length if length != _UNDEFINED else _end_of_sequence(head, start, read)


def _end_of_sequence(head: bytes, position: int, read: _Head) -> int:
    """Return where a sequence or item of undefined length ends, whose first content lies at `position`."""
    depth = 1
    while depth:
        tag, position, length = read(head, position)
        if tag in (_ITEM_END, _SEQUENCE_END):
            depth -= 1
        elif length == _UNDEFINED:
            depth += 1
        else:
            position += length
    return position


def _explicit_head(data: bytes, position: int) -> tuple[int, int, int]:
    """Return tag, offset and length of the value of the element at `position`."""
    group, number, vr, length = _explicit(data, position)
    if vr in _SHORT:
        return group << 16 | number, position + 8, length
    if vr in _LONG:
        return group << 16 | number, position + 12, _long(data, position + 8)[0]
    if group == 0xFFFE:
        return group << 16 | number, position + 8, _long(data, position + 4)[0]
    if vr == b"UN":
        long = _long(data, position + 8)[0]
        if long != _UNDEFINED:
            return group << 16 | number, position + 12, long
    # A sequence as UN is in Implicit VR inside (PS3.5 6.2.2 Note 2), or this is no value representation at all.
    raise _UnwalkableError


def _implicit_head(data: bytes, position: int) -> tuple[int, int, int]:
    group, number, length = _implicit(data, position)
    return group << 16 | number, position + 8, length
