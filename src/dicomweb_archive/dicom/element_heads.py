"""First bytes of an element: what tag and value representation they say, and how to go on (PS3.5 7.1)."""

from enum import IntEnum
from typing import Literal, NamedTuple

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.json_model import BIG_ENDIAN_DECODERS, LITTLE_ENDIAN_DECODERS, Decoder
from dicomweb_archive.dicom.values import LONG_VRS, SHORT_VRS
from dicomweb_archive.errors import InvalidInstanceError

# Distinct private elements are without bound; the look-up is not.
_MOST_HEADS = 65_536


class Special(IntEnum):
    """Elements that need more than the decoding of their value."""

    NOTHING = 0
    FORBIDDEN = 1
    DELIMITER = 2
    GROUP_LENGTH = 3
    CHARACTER_SET = 4
    SEQUENCE = 5
    UNKNOWN = 6
    AMBIGUOUS = 7
    PIXELS = 8
    OFFSET_TABLE = 9
    PADDING = 10
    STRANGE_VR = 11


class Head(NamedTuple):
    """What the first eight bytes of an element say.

    Attributes:
        tag: the tag.
        extent: bytes of the whole element, as far as eight bytes tell; 0 when the length lies behind them.
        vr: as encoded; for Implicit VR, and UN of a public tag, the dictionary's entry (may be ambiguous).
        length_at: where the 32-bit length lies, counted from the element; 0 for a 16-bit length at 6.
        special: other than 0 when the element is not simply decoded.
        decode: decoder of its value.
    """

    tag: int
    extent: int
    special: int
    vr: str
    length_at: int
    decode: Decoder


_AT_TAG = {
    tags.SPECIFIC_CHARACTER_SET: Special.CHARACTER_SET,
    tags.PIXEL_DATA: Special.PIXELS,
    tags.FLOAT_PIXEL_DATA: Special.PIXELS,
    tags.DOUBLE_FLOAT_PIXEL_DATA: Special.PIXELS,
    tags.EXTENDED_OFFSET_TABLE: Special.OFFSET_TABLE,
    tags.EXTENDED_OFFSET_TABLE_LENGTHS: Special.OFFSET_TABLE,
    tags.DATA_SET_TRAILING_PADDING: Special.PADDING,
}


def _special(tag: int, vr: str) -> Special:
    group = tag >> 16
    if group == 0xFFFE:
        return Special.DELIMITER
    if group in (0, 2):
        # Command and file meta elements never belong to a data set (PS3.5 7.1, PS3.10 7.1).
        return Special.FORBIDDEN
    if tag & 0xFFFF == 0:
        return Special.GROUP_LENGTH
    found = _AT_TAG.get(tag)
    if found is not None:
        return found
    if vr == "SQ":
        return Special.SEQUENCE
    return Special.AMBIGUOUS if len(vr) > 2 else Special.NOTHING


def _head(tag: int, vr: str, length_at: int, special: int, decode: Decoder) -> Head:
    # The extent follows when the length is read.
    return Head(tag, 0, special, vr, length_at, decode)


def _explicit_head(tag: int, vr_bytes: bytes, reserved: bytes, decoders: dict[str, Decoder]) -> Head:
    vr = vr_bytes.decode("latin_1")
    if tag >> 16 == 0xFFFE:
        return _head(tag, "", 4, Special.DELIMITER, decoders["UN"])
    if vr in SHORT_VRS:
        return _head(tag, vr, 0, _special(tag, vr), decoders[vr])
    if vr == "UN":
        return _unknown_head(tag, decoders)
    if vr in LONG_VRS:
        return _head(tag, vr, 8, _special(tag, vr), decoders.get(vr, decoders["UN"]))
    if not (vr_bytes.isalpha() and vr_bytes.isupper()):
        raise InvalidInstanceError("expected a value representation; the encoding is not the one declared")
    # A VR of the future has 32 bits of length (PS3.5 7.1.2); a slip of the pen, bytes where zeros should be.
    special = _special(tag, "UN") or Special.STRANGE_VR
    return _head(tag, "UN", 8 if reserved == b"\0\0" else 0, special, decoders["UN"])


def _unknown_head(tag: int, decoders: dict[str, Decoder]) -> Head:
    # A known element that passed through a system not knowing it (PS3.5 6.2.2 Note 2, CP-246).
    entry = tags.dictionary_entry(tag) or "UN"
    decode = decoders.get(entry, decoders["UN"])
    return _head(tag, entry, 8, _special(tag, "UN") or Special.UNKNOWN, decode)


def _implicit_head(tag: int, decoders: dict[str, Decoder]) -> Head:
    vr = tags.dictionary_entry(tag) or "UN"
    special = _special(tag, vr)
    if vr == "UN" and not special:
        special = Special.UNKNOWN
    return _head(tag, vr, 4, special, decoders.get(vr, decoders["UN"]))


class Heads:
    """Look-up from the first eight bytes of an element to its head, for one encoding.

    Eight bytes are tag, VR and a length of 16 bits, or tag and a length of 32 bits, so that one look-up
    replaces the reading of numbers; elements of a kind have few lengths.

    Attributes:
        known: heads by those bytes.
    """

    def __init__(self, *, explicit: bool, big_endian: bool) -> None:
        self.known: dict[bytes, Head] = {}
        self._explicit = explicit
        self._big_endian = big_endian
        self._order: Literal["little", "big"] = "big" if big_endian else "little"
        self._decoders = BIG_ENDIAN_DECODERS if big_endian else LITTLE_ENDIAN_DECODERS

    def read(self, data: bytes, pos: int) -> Head:
        """Read the head at `pos`, where at least eight bytes are.

        Raises:
            InvalidInstanceError: there is no value representation where one must be.
        """
        first, second, third, fourth = data[pos : pos + 4]
        if self._big_endian:
            tag = first << 24 | second << 16 | third << 8 | fourth
        else:
            tag = second << 24 | first << 16 | fourth << 8 | third
        if self._explicit:
            reserved = data[pos + 6 : pos + 8]
            head = _explicit_head(tag, data[pos + 4 : pos + 6], reserved, self._decoders)
        else:
            head = _implicit_head(tag, self._decoders)
        if head.length_at == 0:
            head = head._replace(extent=8 + int.from_bytes(data[pos + 6 : pos + 8], self._order))
        elif head.length_at == 4:
            head = head._replace(extent=8 + int.from_bytes(data[pos + 4 : pos + 8], self._order))
        if len(self.known) >= _MOST_HEADS:
            self.known.clear()
        self.known[data[pos : pos + 8]] = head
        return head


EXPLICIT_LITTLE = Heads(explicit=True, big_endian=False)
EXPLICIT_BIG = Heads(explicit=True, big_endian=True)
IMPLICIT_LITTLE = Heads(explicit=False, big_endian=False)
