"""Elements as bytes: what the raw walk compares and how far each of them reaches (PS3.5 7.1)."""

import struct
from typing import NamedTuple

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.character_sets import CharacterSet
from dicomweb_archive.dicom.element_heads import EXPLICIT_LITTLE, Head, Special
from dicomweb_archive.dicom.file_meta import PREFIX_END
from dicomweb_archive.dicom.instance import BulkValue, Element, PixelData
from dicomweb_archive.dicom.levels import UNDEFINED_LENGTH

_u16 = struct.Struct("<H").unpack_from
_u32 = struct.Struct("<I").unpack_from


class Slot(NamedTuple):
    """One top-level element of the first instance.

    Attributes:
        is_plain: of short VR and nothing special, so that bytes and decoder are all it takes.
        key: its first six bytes, tag and VR.
        raw: all its bytes; empty for pixel data and bulk values, which are never compared.
        refers_above: a value longer than this is a bulk value.
        bulk: its bulk values, their offsets counted from the element.
    """

    tag: int
    key: bytes
    head: Head
    raw: bytes
    refers_above: int
    bulk: tuple[BulkValue, ...]
    is_plain: bool = False


class Step(NamedTuple):
    """A run of elements compared as one block, or (block empty) one slot that differed before."""

    block: bytes
    bulk: tuple[BulkValue, ...]
    slot: Slot | None


class Unwalkable(Exception):  # noqa: N818 - never leaves the walk, and is no error of the instance
    """The full scan must decide."""


class Walk:
    """One instance being walked: where it stands and what differed so far; the decoders' context."""

    __slots__ = ("bulk", "changed", "charset", "delta", "meta_uid", "parsed", "pixel_data", "pos", "remarks", "tag")

    def __init__(self, charset: CharacterSet, meta_uid: str) -> None:
        self.charset = charset
        self.meta_uid = meta_uid
        self.pos = PREFIX_END
        self.delta: dict[int, Element | None] = {}
        self.changed: set[int] = set()
        self.bulk: list[BulkValue] = []
        self.pixel_data: PixelData | None = None
        self.remarks: set[tuple[int, str]] = set()
        self.tag = 0
        # What the full parser was given so far: elements, and what takes as long as they do.
        self.parsed = 0

    def remark(self, code: str) -> None:
        """Note an oddity of the element being decoded, which is `tag`."""
        self.remarks.add((self.tag, code))


def meta_text(value: bytes) -> str:
    """Return a value of the File Meta Information as text, without its padding."""
    return value.rstrip(b"\0 ").decode("latin_1")


def shapes_others(tag: int) -> bool:
    """Tell whether other elements are read by this one, or an instance without it is another kind of thing."""
    return (
        tag >> 16 in (0, 2, 0xFFFE)
        or tag == tags.SPECIFIC_CHARACTER_SET
        or tags.is_private_creator(tag)
        or tag in (tags.FLOAT_PIXEL_DATA, tags.DOUBLE_FLOAT_PIXEL_DATA, tags.PIXEL_DATA)
    )


def head_at(data: bytes, pos: int) -> Head:
    """Return the head of the element at `pos`, in Explicit VR Little Endian."""
    if pos + 8 > len(data):
        raise Unwalkable
    return EXPLICIT_LITTLE.known.get(data[pos : pos + 8]) or EXPLICIT_LITTLE.read(data, pos)


def extent_at(data: bytes, pos: int, head: Head) -> tuple[int, int]:
    """Return where the value of the element at `pos` begins, and where the element ends."""
    if not head.length_at:
        return pos + 8, pos + 8 + _u16(data, pos + 6)[0]
    start = pos + head.length_at + 4
    length = _u32(data, start - 4)[0]
    if length != UNDEFINED_LENGTH:
        return start, start + length
    if head.special == Special.PIXELS:
        return start, start
    if head.special != Special.SEQUENCE:
        raise Unwalkable
    return start, _skip_sequence(data, start)


def _skip_sequence(data: bytes, pos: int) -> int:
    """Return where a sequence of undefined length ends, whose first item lies at `pos` (PS3.5 7.5)."""
    # True: inside a sequence, items follow; False: inside an item of undefined length, elements follow.
    levels = [True]
    while levels:
        head = head_at(data, pos)
        length = _u32(data, pos + head.length_at)[0] if head.length_at else _u16(data, pos + 6)[0]
        start = pos + (head.length_at + 4 if head.length_at else 8)
        tag = head.tag
        if levels[-1] and tag == tags.ITEM:
            if length == UNDEFINED_LENGTH:
                levels.append(False)
                length = 0
        elif tag in (tags.SEQUENCE_DELIMITATION, tags.ITEM_DELIMITATION):
            if levels.pop() != (tag == tags.SEQUENCE_DELIMITATION) or length:
                raise Unwalkable
        elif levels[-1]:
            raise Unwalkable
        elif length == UNDEFINED_LENGTH and head.length_at:
            if head.special != Special.SEQUENCE:
                raise Unwalkable
            levels.append(True)
            length = 0
        pos = start + length
    return pos
