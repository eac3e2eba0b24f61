"""Values that people type as the bytes of a value field, in the character set and byte order of the data set."""

import struct
from typing import Final

from dicomweb_archive.dicom.character_sets import CharacterSet
from dicomweb_archive.dicom.editing.extents import Encoding
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.dicom.value_encoding import UnfitValueError, encode_values, pad
from dicomweb_archive.dicom.values import NUMBER_VRS

ENCODED_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""What Specific Character Set is about (PS3.5 6.1.2.3)."""


def encode_element(tag: int, vr: str, text: str, encoding: Encoding, charset: CharacterSet) -> bytes:
    """Encode an element with the value that a text tells.

    Raises:
        UnfitForEditError: the VR cannot hold it, or the character set.
    """
    value = pad(vr, _value(vr, text, encoding, charset))
    return encoding.head(tag, vr, len(value)) + value


def _value(vr: str, text: str, encoding: Encoding, charset: CharacterSet) -> bytes:
    if vr in NUMBER_VRS or vr == "AT":
        return _numbers(vr, text, encoding)
    if text.isascii():
        return text.encode("ascii")
    if vr not in ENCODED_VRS:
        raise UnfitForEditError(Unfit.VALUE)
    return _encoded(text, charset, name=vr == "PN")


def _numbers(vr: str, text: str, encoding: Encoding) -> bytes:
    try:
        value = encode_values(vr, [part.strip() for part in text.split("\\")] if text else [], lambda *_: None)
    except UnfitValueError:
        raise UnfitForEditError(Unfit.VALUE) from None
    if not encoding.is_big:
        return value
    # A tag is two words.
    letter, size = ("H", 2) if vr == "AT" else (NUMBER_VRS[vr][1], NUMBER_VRS[vr][0])
    count = len(value) // size
    return struct.pack(f">{count}{letter}", *struct.unpack(f"<{count}{letter}", value))


def _encoded(text: str, charset: CharacterSet, *, name: bool) -> bytes:
    """Encode text that is not ASCII; with code extensions it would take escape sequences, which are not written."""
    if not charset.declared or not charset.known or charset.extended:
        raise UnfitForEditError(Unfit.CHARACTER_SET)
    try:
        value = text.encode(charset.codec)
    except UnicodeEncodeError:
        raise UnfitForEditError(Unfit.CHARACTER_SET) from None
    # Of JIS X 0201 the codec knows more than the character set has.
    has_pairs = charset.codec == "shift_jis" and len(value) != len(text)
    if has_pairs or charset.decode(value, name=name) != (text, True):
        raise UnfitForEditError(Unfit.CHARACTER_SET)
    return value
