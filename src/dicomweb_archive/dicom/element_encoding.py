"""Elements in Explicit VR Little Endian, made of their values' bytes (PS3.5 7.1.2)."""

from struct import Struct

from dicomweb_archive.dicom.values import LONG_VRS

UNDEFINED_LENGTH = 0xFFFFFFFF

_SHORT = Struct("<HH2sH")
_LONG = Struct("<HH2sHI")
_ITEM = Struct("<HHI")


def encode(tag: int, vr: str, value: bytes) -> bytes:
    """Encode an element of defined length; a value too long for its VR's length field becomes UN (PS3.5 6.2.2)."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    return element_head(tag, vr, len(value)) + value


def element_head(tag: int, vr: str, length: int) -> bytes:
    """Encode what stands before a value; one too long for its VR's length field becomes UN (PS3.5 6.2.2)."""
    if vr not in LONG_VRS:
        if length <= 0xFFFF:
            return _SHORT.pack(tag >> 16, tag & 0xFFFF, vr.encode(), length)
        vr = "UN"
    return _LONG.pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0, length)


def encode_item(body: bytes) -> bytes:
    """Encode one item of a sequence."""
    return _ITEM.pack(0xFFFE, 0xE000, len(body)) + body


def item_head(length: int) -> bytes:
    """Encode what stands before an item of a sequence, or a fragment of encapsulated data (PS3.5 7.5, A.4)."""
    return _ITEM.pack(0xFFFE, 0xE000, length)


SEQUENCE_END = _ITEM.pack(0xFFFE, 0xE0DD, 0)
"""The delimiter of a sequence, or of encapsulated data, of undefined length."""


def encode_encapsulated(tag: int, value: bytes, vr: str = "OB") -> bytes:
    """Encode an element of fragments, which are in their items already, with its delimiter (PS3.5 A.4)."""
    return element_head(tag, vr, UNDEFINED_LENGTH) + value + SEQUENCE_END
