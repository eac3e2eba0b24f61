"""Where the elements of a data set begin and end, so that all but the edited ones stay byte for byte (PS3.5 7.1, 7.5).

What is walked here was scanned when it was stored, so nesting and sizes are bounded; whatever does not fit is unfit.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.dicom.element_encoding import UNDEFINED_LENGTH, element_head
from dicomweb_archive.dicom.values import SHORT_VRS

PIXEL_GROUP: Final = 0x7FE0
"""Where what is edited ends: pixel data and all behind them stay as they are."""

_DEEPEST: Final = 130
_DELIMITERS: Final = 0xFFFE


class Encoding(NamedTuple):
    """How elements are encoded (PS3.5 7.1, 7.3)."""

    is_explicit: bool = True
    is_big: bool = False

    @property
    def order(self) -> str:
        """The order of bytes, as Python's struct has it."""
        return ">" if self.is_big else "<"

    def head(self, tag: int, vr: str, length: int) -> bytes:
        """Encode what stands before a value."""
        group, number = tag >> 16, tag & 0xFFFF
        if not self.is_explicit or group == _DELIMITERS:
            return struct.pack(f"{self.order}HHI", group, number, length)
        if not self.is_big:
            return element_head(tag, vr, length)
        if vr in SHORT_VRS and length <= 0xFFFF:
            return struct.pack(">HH2sH", group, number, vr.encode(), length)
        return struct.pack(">HH2sHI", group, number, vr.encode(), 0, length)

    def with_length(self, head: bytes, length: int) -> bytes:
        """Return the head of a sequence or item with another length, which is the last of it."""
        return head[:-4] + struct.pack(f"{self.order}I", length)


# The content of UN of undefined length, and of known sequences that were sent as UN (PS3.5 6.2.2 Note 2, CP-246).
UNKNOWN_CONTENT: Final = Encoding(is_explicit=False)


class RawElement(NamedTuple):
    """An element among its bytes.

    Attributes:
        vr: as encoded; of the dictionary where none is.
        start, value_at, stop: where it, its value, and what follows it begin.
        is_undefined: its length is, so that its value ends with a delimiter of eight bytes.
    """

    tag: int
    vr: str
    start: int
    value_at: int
    stop: int
    is_undefined: bool

    @property
    def value_stop(self) -> int:
        """Where the value ends."""
        return self.stop - 8 if self.is_undefined else self.stop


def walk_elements(data: bytes, start: int, stop: int, encoding: Encoding, depth: int = 0) -> Iterator[RawElement]:
    """Yield the elements of a data set or item, up to its end or its delimiter.

    Raises:
        UnfitForEditError: lengths do not fit into each other.
    """
    pos = start
    while pos < stop:
        tag, vr, value_at, length = _read_head(data, pos, encoding)
        if tag >> 16 == _DELIMITERS:
            return
        if length == UNDEFINED_LENGTH:
            within = UNKNOWN_CONTENT if vr == "UN" else encoding
            end = _skip_items(data, value_at, stop, within, depth + 1, are_sets=vr in ("SQ", "UN"))
        else:
            end = value_at + length
        if end > stop:
            raise UnfitForEditError(Unfit.STRUCTURE)
        yield RawElement(tag, vr, pos, value_at, end, length == UNDEFINED_LENGTH)
        pos = end


def editable_stop(data: bytes, start: int, encoding: Encoding) -> int:
    """Return where a data set's elements before its pixel data end; nothing behind these needs to be there.

    Raises:
        UnfitForEditError: lengths do not fit into each other.
    """
    pos = start
    while pos < len(data):
        tag, *_ = _read_head(data, pos, encoding)
        if tag >> 16 >= PIXEL_GROUP:
            break
        pos = next(walk_elements(data, pos, len(data), encoding)).stop
    return pos


def walk_items(data: bytes, element: RawElement, encoding: Encoding) -> Iterator[RawElement]:
    """Yield the items of a sequence, as elements of tag FFFE,E000.

    Raises:
        UnfitForEditError: lengths do not fit into each other.
    """
    pos = element.value_at
    while pos < element.value_stop:
        tag, _, value_at, length = _read_head(data, pos, encoding)
        if tag != tags.ITEM:
            raise UnfitForEditError(Unfit.STRUCTURE)
        end = value_at + length
        if length == UNDEFINED_LENGTH:
            end = _skip_set(data, value_at, element.value_stop, encoding, 0)
        if end > element.value_stop:
            raise UnfitForEditError(Unfit.STRUCTURE)
        yield RawElement(tag, "", pos, value_at, end, length == UNDEFINED_LENGTH)
        pos = end


def _skip_items(data: bytes, pos: int, stop: int, encoding: Encoding, depth: int, *, are_sets: bool) -> int:
    """Return where a value of undefined length ends, behind its delimiter."""
    if depth > _DEEPEST:
        raise UnfitForEditError(Unfit.STRUCTURE)
    while pos < stop:
        tag, _, value_at, length = _read_head(data, pos, encoding)
        if tag == tags.SEQUENCE_DELIMITATION:
            return value_at
        if tag != tags.ITEM:
            break
        is_open = length == UNDEFINED_LENGTH
        if is_open and not are_sets:
            break
        pos = _skip_set(data, value_at, stop, encoding, depth + 1) if is_open else value_at + length
    raise UnfitForEditError(Unfit.STRUCTURE)


def _skip_set(data: bytes, pos: int, stop: int, encoding: Encoding, depth: int) -> int:
    """Return where an item of undefined length ends, behind its delimiter."""
    for element in walk_elements(data, pos, stop, encoding, depth):
        pos = element.stop
    tag, _, end, _ = _read_head(data, pos, encoding)
    if tag != tags.ITEM_DELIMITATION:
        raise UnfitForEditError(Unfit.STRUCTURE)
    return end


def _read_head(data: bytes, pos: int, encoding: Encoding) -> tuple[int, str, int, int]:
    """Return tag, VR, where the value begins, and its length."""
    try:
        group, number = struct.unpack_from(f"{encoding.order}HH", data, pos)
        tag = group << 16 | number
        if not encoding.is_explicit or group == _DELIMITERS:
            (length,) = struct.unpack_from(f"{encoding.order}I", data, pos + 4)
            return tag, tags.dictionary_entry(tag) or "UN", pos + 8, length
        vr = data[pos + 4 : pos + 6].decode("latin_1")
        if vr in SHORT_VRS:
            (length,) = struct.unpack_from(f"{encoding.order}H", data, pos + 6)
            return tag, vr, pos + 8, length
        if not (vr.isalpha() and vr.isupper()) or data[pos + 6 : pos + 8] != b"\0\0":
            raise UnfitForEditError(Unfit.STRUCTURE)
        (length,) = struct.unpack_from(f"{encoding.order}I", data, pos + 8)
    except struct.error:
        raise UnfitForEditError(Unfit.STRUCTURE) from None
    return tag, vr, pos + 12, length
