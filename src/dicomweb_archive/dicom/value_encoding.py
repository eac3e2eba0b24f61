"""Values of the DICOM JSON model as the bytes of a value field (PS3.18 F.2.3, PS3.5 6.2, 7.1.2).

Numbers are taken as text, so that decimal strings keep the digits that were sent.
"""

import binascii
import operator
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from dicomweb_archive.dicom.status import COERCED, SOP_CLASS_MISMATCH_WARNING
from dicomweb_archive.dicom.values import BINARY_VRS, NUMBER_VRS, number_text

NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

_SEPARATED = frozenset(["AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"])
_WHOLE = frozenset(["LT", "ST", "UR", "UT"])
_DECIMAL_LENGTH = 16
_LONGEST_NUMBER = 40
# Values as they mostly are, joined: of a length that is read, no exponent that a double could not hold.
_DECIMALS = re.compile(
    r"(?:(?=[^\\]{0,40}(?:\\|\Z)) *[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})? *(?:\\|\Z))*+"
).fullmatch
_ROUNDED: Final = (COERCED, "Rounded to the 16 characters of a decimal string")
_WHOLE_NUMBERS = re.compile(r"(?:(?:0|-?[1-9][0-9]{0,39})(?:\\|\Z))*+").fullmatch
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,40}").fullmatch
# Greater ones may be written without a point, if they have as many digits as there is room for.
_HAS_POINT: Final = 1e13
_MOST_WHOLE: Final = 1e20
_UNPADDED_ZERO = BINARY_VRS | {"UI"}


class UnfitValueError(Exception):
    """A value that no value field of its value representation can hold; the text names no value."""


Remark = Callable[[int, str], None]
"""Takes a Warning Reason and what is to be said of the attribute."""


def pad(vr: str, value: bytes) -> bytes:
    """Return a value of even length (PS3.5 6.2)."""
    return value if len(value) % 2 == 0 else value + (b"\0" if vr in _UNPADDED_ZERO else b" ")


def encode_values(vr: str, values: Sequence[Any], remark: Remark) -> bytes:
    """Encode the values of an attribute that is no sequence.

    Raises:
        UnfitValueError: one of them is not of this value representation, and no text of it can be kept either.
    """
    if vr == "PN":
        return "\\".join([_name(value) for value in values]).encode("utf-8", "replace")
    if vr in _SEPARATED:
        return "\\".join([_text(value) for value in values]).encode("utf-8", "replace")
    if vr in _WHOLE:
        if len(values) > 1:
            raise UnfitValueError("Several values where there can be one")
        return "".join([_text(value) for value in values]).encode("utf-8", "replace")
    if vr == "DS":
        return _joined(values, _DECIMALS, _decimal, remark)
    if vr == "IS":
        return _joined(values, _WHOLE_NUMBERS, _whole_number, remark)
    if vr in NUMBER_VRS:
        return _numbers(vr, values)
    if vr == "AT":
        return b"".join([_tag(value) for value in values])
    raise UnfitValueError("Value where only InlineBinary or BulkDataURI can be")


def decode_inline(value: Any) -> bytes:
    """Decode InlineBinary (PS3.18 F.2.7); line breaks may stand in it.

    Raises:
        UnfitValueError: it is not base64.
    """
    if not isinstance(value, str):
        raise UnfitValueError("InlineBinary is not text")
    try:
        return b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UnfitValueError("InlineBinary is not base64") from None


def _joined(
    values: Sequence[Any],
    are_plain: Callable[[str], re.Match[str] | None],
    read: Callable[[str, dict[tuple[int, str], None]], str],
    remark: Remark,
) -> bytes:
    """Join numbers as text: all at once where nothing is to be changed, since there may be a million of them."""
    if None not in values:
        try:
            joined = "\\".join(values)
        except TypeError:
            raise UnfitValueError("Not text") from None
        # A backslash in a value would pass for the end of one.
        if joined.count("\\") == len(values) - 1 and are_plain(joined):
            return (_shortened(values, remark) if are_plain is _DECIMALS else joined).encode()
    remarks: dict[tuple[int, str], None] = {}
    joined = "\\".join([read(_text(value), remarks) for value in values])
    for warning, text in remarks:
        remark(warning, text)
    return joined.encode("utf-8", "replace")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise UnfitValueError("Not text")


def _name(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise UnfitValueError("Not a person name")
    return "=".join([_text(value.get(group)) for group in NAME_GROUPS]).rstrip("=")


def _decimal(text: str, remarks: dict[tuple[int, str], None]) -> str:
    if not text:
        return text
    if number_text(text.strip()) is None:
        remarks[SOP_CLASS_MISMATCH_WARNING, "Not a number"] = None
        return text
    if len(text) <= _DECIMAL_LENGTH:
        return text
    remarks[_ROUNDED] = None
    return _rounded(float(text))


def _shortened(values: Sequence[str], remark: Remark) -> str:
    """Join decimal strings, those rounded for which there is no room."""
    short = [value if len(value) <= _DECIMAL_LENGTH else _rounded(float(value)) for value in values]
    if any(map(operator.is_not, short, values)):
        remark(*_ROUNDED)
    return "\\".join(short)


def _rounded(number: float) -> str:
    """Write a number with as many digits as there is room for."""
    digits, has_point = _DECIMAL_LENGTH, -_HAS_POINT < number < _HAS_POINT
    if has_point:
        # Sign, point and the zero before it take room of digits, and so does an exponent.
        digits -= (number < 0) + 1 + (-1 < number < 1)
    while (excess := len(short := f"{number:.{digits}g}") - _DECIMAL_LENGTH) > 0:
        digits -= excess if has_point else 1
    return short


def _whole_number(text: str, remarks: dict[tuple[int, str], None]) -> str:
    if not text:
        return text
    number = _integer(text)
    if number is None:
        remarks[SOP_CLASS_MISMATCH_WARNING, "Not a whole number"] = None
        return text
    return str(number)


def _integer(text: str) -> int | None:
    """Read a whole number, which JSON may write with a point."""
    text = text.strip()
    if _WHOLE_NUMBER(text):
        return int(text)
    if number_text(text) is None:
        return None
    number = float(text)
    # Of what no value representation holds 1e300 would be written with 301 digits.
    return int(number) if number.is_integer() and abs(number) < _MOST_WHOLE else None


def _numbers(vr: str, values: Sequence[Any]) -> bytes:
    _, letter = NUMBER_VRS[vr]
    try:
        if vr in ("FL", "FD"):
            numbers: list[float] = [_float(_text(value)) for value in values]
        else:
            whole = [_integer(_text(value)) for value in values]
            if None in whole:
                raise UnfitValueError("Not a whole number")
            numbers = [number for number in whole if number is not None]
        return struct.pack(f"<{len(numbers)}{letter}", *numbers)
    except (ValueError, OverflowError, struct.error):
        raise UnfitValueError("Not a number that its value representation can hold") from None


def _float(text: str) -> float:
    if "_" in text or len(text) > _LONGEST_NUMBER:
        raise ValueError
    return float(text)


def _tag(value: Any) -> bytes:
    text = _text(value)
    try:
        if len(text) != 8:
            raise ValueError
        number = int(text, 16)
    except ValueError:
        raise UnfitValueError("Not a tag of eight hexadecimal digits") from None
    return struct.pack("<HH", number >> 16, number & 0xFFFF)
