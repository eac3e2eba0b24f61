"""Builds Part 10 files byte by byte, for what no well-behaved writer would write."""

import struct
import zlib

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
UNDEFINED = 0xFFFFFFFF
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}


def explicit(tag: int, vr: str, value: bytes, length: int | None = None, *, order: str = "<") -> bytes:
    """One element in Explicit VR; `length` may lie."""
    count = len(value) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr.encode() in _LONG:
        return head + struct.pack(f"{order}HI", 0, count) + value
    return head + struct.pack(f"{order}H", count) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    """One element in Implicit VR Little Endian."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(content: bytes, length: int | None = None) -> bytes:
    """An item; an undefined length gets its delimiter."""
    tail = implicit(0xFFFEE00D, b"") if length == UNDEFINED else b""
    return implicit(0xFFFEE000, content, length) + tail


SEQUENCE_END = implicit(0xFFFEE0DD, b"")


def even(value: bytes, pad: bytes = b"\0") -> bytes:
    """Pad to even length."""
    return value + pad[: len(value) % 2]


def identifiers(**changes: bytes | None) -> dict[int, tuple[str, bytes]]:
    """The four identifiers; `None` leaves one out."""
    values: dict[str, bytes | None] = {
        "sop_class": SECONDARY_CAPTURE.encode(),
        "sop_instance": b"1.2.3.4",
        "study": b"1.2.3",
        "series": b"1.2.3.1",
        **changes,
    }
    where = {"sop_class": 0x00080016, "sop_instance": 0x00080018, "study": 0x0020000D, "series": 0x0020000E}
    return {where[k]: ("UI", even(v)) for k, v in values.items() if v is not None}


def data_set(*elements: bytes, order: str = "<", **changes: bytes | None) -> bytes:
    """The identifiers and further explicit elements, in tag order by their first four bytes."""
    own = [explicit(tag, vr, value, order=order) for tag, (vr, value) in identifiers(**changes).items()]

    def tag_of(element: bytes) -> tuple[int, ...]:
        return struct.unpack(f"{order}HH", element[:4])

    return b"".join(sorted([*own, *elements], key=tag_of))


def implicit_data_set(*elements: bytes, **changes: bytes | None) -> bytes:
    """The identifiers and further implicit elements, in tag order."""
    own = [implicit(tag, value) for tag, (_, value) in identifiers(**changes).items()]
    return b"".join(sorted([*own, *elements], key=lambda element: struct.unpack("<HH", element[:4])))


def meta(
    syntax: str | None = EXPLICIT,
    *,
    sop_class: str = SECONDARY_CAPTURE,
    sop_instance: str = "1.2.3.4",
    group_length: int | None = -1,
) -> bytes:
    """File Meta Information; a group length of -1 is the right one, `None` leaves it out."""
    elements = explicit(0x00020001, "OB", b"\0\1")
    elements += explicit(0x00020002, "UI", even(sop_class.encode()))
    elements += explicit(0x00020003, "UI", even(sop_instance.encode()))
    if syntax is not None:
        elements += explicit(0x00020010, "UI", even(syntax.encode()))
    if group_length is None:
        return elements
    length = len(elements) if group_length == -1 else group_length
    return explicit(0x00020000, "UL", struct.pack("<I", length)) + elements


def file(content: bytes | None = None, syntax: str | None = EXPLICIT, *, preamble: bytes = bytes(128)) -> bytes:
    """A Part 10 file; a deflated syntax deflates the content."""
    content = data_set() if content is None else content
    if syntax == DEFLATED:
        engine = zlib.compressobj(9, zlib.DEFLATED, -15)
        content = engine.compress(content) + engine.flush()
    return preamble + b"DICM" + meta(syntax) + content


def nested(depth: int, *, undefined: bool) -> bytes:
    """Content Sequences within each other, built without recursion."""
    if undefined:
        opening = explicit(0x0040A730, "SQ", b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED)
        closing = implicit(0xFFFEE00D, b"") + SEQUENCE_END
        return opening * depth + closing * depth
    content = b""
    for _ in range(depth):
        content = explicit(0x0040A730, "SQ", item(content))
    return content


def fragments(*values: bytes, table: bytes = b"", end: bytes = SEQUENCE_END) -> bytes:
    """Encapsulated pixel data."""
    items = b"".join([item(table), *[item(value) for value in values]])
    return explicit(0x7FE00010, "OB", items + end, UNDEFINED)
