"""The first bytes of a file: is it DICOM, and which instance is it (PS3.10 7.1, PS3.5 7.1).

A glance, not a judgement: the server reads the whole. The SOP Instance UID found here ties the items of a
Store Instances Response to files.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEAD_BYTES = 16 * 1024
"""Enough for preamble, file meta information and the first elements of group 0008."""

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SOP_INSTANCE_UID = 0x00080018


@dataclass(frozen=True, slots=True)
class Head:
    """What the first bytes say.

    Attributes:
        sop_instance_uid: of the data set, else of the file meta information; None where neither is readable.
        problem: why the file should not be sent, None when it looks like an instance.
    """

    sop_instance_uid: str | None
    problem: str | None = None


def read_head(head: bytes) -> Head:
    """Judge a file by its first `HEAD_BYTES` bytes."""
    if head[128:132] != b"DICM":
        return Head(None, _what_it_is_instead(head))
    meta: dict[int, str] = {}
    start = len(head)
    for tag, value, offset in _elements(head, 132, explicit=True, order="<"):
        if tag >> 16 != 0x0002:
            start = offset
            break
        if tag in (0x00020002, 0x00020003, 0x00020010):
            meta[tag] = _uid(value)
    if meta.get(0x00020002) == MEDIA_STORAGE_DIRECTORY:
        return Head(None, "a DICOMDIR, the directory of a medium, not an instance")
    found = _sop_instance_uid(head, start, meta.get(0x00020010, ""))
    return Head(found or meta.get(0x00020003) or None)


def _sop_instance_uid(head: bytes, start: int, transfer_syntax: str) -> str | None:
    if transfer_syntax == _DEFLATED:
        return None
    explicit = transfer_syntax != _IMPLICIT_LITTLE
    order = ">" if transfer_syntax == _EXPLICIT_BIG else "<"
    for tag, value, _ in _elements(head, start, explicit=explicit, order=order):
        if tag >= _SOP_INSTANCE_UID:
            return _uid(value) if tag == _SOP_INSTANCE_UID else None
    return None


def _elements(data: bytes, offset: int, *, explicit: bool, order: str) -> Iterator[tuple[int, bytes, int]]:
    """Walk elements of defined length as (tag, value, offset) until the bytes or the grammar end."""
    while offset + 12 <= len(data):
        group, number = struct.unpack_from(f"{order}HH", data, offset)
        start = offset + 8
        if not explicit:
            (length,) = struct.unpack_from(f"{order}I", data, offset + 4)
        elif data[offset + 4 : offset + 6] in _LONG_VRS:
            (length,) = struct.unpack_from(f"{order}I", data, offset + 8)
            start = offset + 12
        else:
            (length,) = struct.unpack_from(f"{order}H", data, offset + 6)
        yield group << 16 | number, data[start : start + length], offset
        offset = start + length


def _uid(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii", errors="replace")


def _what_it_is_instead(head: bytes) -> str:
    if not head:
        return "empty"
    for order in ("<", ">"):
        if len(head) >= 8 and struct.unpack_from(f"{order}H", head)[0] in (0x0002, 0x0008):
            return "no preamble and `DICM` before the data set, so its encoding is a guess (--all-files sends it)"
    return "not DICOM: no `DICM` at byte 128"
