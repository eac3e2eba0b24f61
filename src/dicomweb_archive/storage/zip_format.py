"""The records of a ZIP file whose members are stored without compression (PKWARE APPNOTE 6.3).

Only what packs and archives of their members need: no records of folders, no compression, no encryption, ASCII
names, one fixed date, so that equal content gives equal bytes. ZIP64 fields are written where a number does not fit,
and for streamed members.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from dicomweb_archive.storage.base import Buffer

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END = struct.Struct("<IHHHHIIH")
_END64 = struct.Struct("<IQHHIIQQQQ")
_END64_LOCATOR = struct.Struct("<IIQI")
_DESCRIPTOR64 = struct.Struct("<IIQQ")

_PLAIN_VERSION = 10
_ZIP64_VERSION = 45
_UNIX = 3 << 8
_READABLE_FILE = 0o100644 << 16
_SIZES_FOLLOW = 0x0008
_FIRST_OF_JANUARY_1980 = (0, 0x0021)

_ZIP64_SIZES = struct.Struct("<HHQQ")

LOCAL_HEADER_BYTES = _LOCAL.size
"""Length of the header before a member, without its name."""

ZIP64_BYTES = _ZIP64_SIZES.size
"""Length of what a header has behind the name when the size does not fit, or is not known yet."""

DESCRIPTOR_BYTES = _DESCRIPTOR64.size

LARGEST_32 = 0xFFFFFFFF
LARGEST_16 = 0xFFFF


class LocalHeader(NamedTuple):
    """What the header before a member says; CRC and size of a streamed one stand behind it instead."""

    crc: int
    size_bytes: int
    is_streamed: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the central directory lists it; `offset` is that of its local header."""

    name: bytes
    crc: int
    size_bytes: int
    offset: int
    streamed: bool = False


def local_header(name: bytes, crc: int, size_bytes: int) -> bytes:
    """Encode the header before a member whose size and CRC-32 are known (4.3.7)."""
    size_field, extra, version = size_bytes, b"", _PLAIN_VERSION
    if size_bytes >= LARGEST_32:
        size_field, extra, version = LARGEST_32, _zip64(size_bytes, size_bytes), _ZIP64_VERSION
    head = _LOCAL.pack(
        0x04034B50, version, 0, 0, *_FIRST_OF_JANUARY_1980, crc, size_field, size_field, len(name), len(extra)
    )
    return head + name + extra


def streamed_header(name: bytes) -> bytes:
    """Encode the header before a member whose size and CRC-32 follow in a data descriptor (4.4.4, bit 3).

    The ZIP64 field is always there, because nobody knows yet whether the member stays below 4 GiB.
    """
    extra = _zip64(0, 0)
    head = _LOCAL.pack(
        0x04034B50,
        _ZIP64_VERSION,
        _SIZES_FOLLOW,
        0,
        *_FIRST_OF_JANUARY_1980,
        0,
        LARGEST_32,
        LARGEST_32,
        len(name),
        len(extra),
    )
    return head + name + extra


def read_local_header(header: Buffer, name: bytes) -> LocalHeader | None:
    """Read the header of the member of this name, `None` when these bytes are none (4.3.7)."""
    if len(header) < LOCAL_HEADER_BYTES:
        return None
    signature, _, flags, method, _, _, crc, _, size, name_bytes, extra_bytes = _LOCAL.unpack_from(header)
    behind_name = LOCAL_HEADER_BYTES + len(name)
    if (signature, method, name_bytes) != (0x04034B50, 0, len(name)) or len(header) != behind_name + extra_bytes:
        return None
    if bytes(header[LOCAL_HEADER_BYTES:behind_name]) != name or extra_bytes not in (0, ZIP64_BYTES):
        return None
    if extra_bytes:
        _, _, size, _ = _ZIP64_SIZES.unpack_from(header, behind_name)
    return LocalHeader(crc, size, bool(flags & _SIZES_FOLLOW))


def read_data_descriptor(descriptor: Buffer) -> tuple[int, int]:
    """Read CRC and size behind a streamed member; sizes that cannot be when it is none (4.3.9)."""
    signature, crc, stored, size = _DESCRIPTOR64.unpack_from(descriptor)
    return crc, size if signature == 0x08074B50 and stored == size else -1


def data_descriptor(crc: int, size_bytes: int) -> bytes:
    """Encode what follows a streamed member, with the eight-byte sizes of ZIP64 (4.3.9)."""
    return _DESCRIPTOR64.pack(0x08074B50, crc, size_bytes, size_bytes)


def central_header(entry: Entry) -> bytes:
    """Encode the central directory's record of a member (4.3.12)."""
    large = [value for value in (entry.size_bytes, entry.size_bytes, entry.offset) if value >= LARGEST_32]
    extra = _zip64(*large) if large else b""
    size_field = min(entry.size_bytes, LARGEST_32)
    version = _ZIP64_VERSION if large or entry.streamed else _PLAIN_VERSION
    return (
        _CENTRAL.pack(
            0x02014B50,
            _UNIX | _ZIP64_VERSION,
            version,
            _SIZES_FOLLOW if entry.streamed else 0,
            0,
            *_FIRST_OF_JANUARY_1980,
            entry.crc,
            size_field,
            size_field,
            len(entry.name),
            len(extra),
            0,
            0,
            0,
            _READABLE_FILE,
            min(entry.offset, LARGEST_32),
        )
        + entry.name
        + extra
    )


def end_of_directory(*, count: int, offset: int, size_bytes: int, comment: bytes) -> bytes:
    """Encode the end of the central directory that lies at `offset` (4.3.14 to 4.3.16)."""
    end = _END.pack(
        0x06054B50,
        0,
        0,
        min(count, LARGEST_16),
        min(count, LARGEST_16),
        min(size_bytes, LARGEST_32),
        min(offset, LARGEST_32),
        len(comment),
    )
    if count < LARGEST_16 and offset < LARGEST_32 and size_bytes < LARGEST_32:
        return end + comment
    record = _END64.pack(
        0x06064B50,
        _END64.size - 12,
        _UNIX | _ZIP64_VERSION,
        _ZIP64_VERSION,
        0,
        0,
        count,
        count,
        size_bytes,
        offset,
    )
    locator = _END64_LOCATOR.pack(0x07064B50, 0, offset + size_bytes, 1)
    return record + locator + end + comment


def _zip64(*values: int) -> bytes:
    """Encode the extended information field with the numbers that did not fit, in the record's order (4.5.3)."""
    return struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values)
