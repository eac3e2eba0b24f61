"""Hostile instances: what people and machines send that is no sound instance, and what is to become of it.

Each kind of bad input has a number, which stands in the conformance statement ("Bad input, kind by kind"). Kinds that
are a matter of the request rather than of an instance have tests of their own, which the statement names.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.unit.dicom import part10_bytes as build

from dicomweb_archive.dicom import status

PATIENT = "Zyxwvut^Quentin"
"""Named in every case that gets as far as a patient: an answer or a log that holds it has told too much."""

_PERSON = build.explicit(0x00100010, "PN", build.even(PATIENT.encode(), b" "))
_MATCH, _UID = status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, status.HOSTILE_IDENTIFIER
_NONE, _CUT, _LIMIT = status.CANNOT_UNDERSTAND, status.TRUNCATED, status.LIMIT_EXCEEDED
_CLASS, _SYNTAX = status.SOP_CLASS_NOT_SUPPORTED, status.TRANSFER_SYNTAX_NOT_SUPPORTED


@dataclass(frozen=True)
class HostileInstance:
    """One bad instance.

    Attributes:
        kind: number of the kind of bad input.
        failure: Failure Reason that the archive gives, or `None` where it keeps the instance as it came.
        uids: study, series and SOP Instance UID of one that is kept.
    """

    kind: int
    name: str
    data: bytes
    failure: int | None
    uids: tuple[str, str, str]

    @property
    def path(self) -> str:
        """Where the instance is to be had, below the root."""
        return "/studies/{}/series/{}/instances/{}".format(*self.uids)


class _Made:
    """Builds a case: a file with identifiers of its own."""

    def __init__(self, number: int) -> None:
        self.uids = f"1.2.77.{number}", f"1.2.77.{number}.1", f"1.2.77.{number}.1.1"
        names = ("study", "series", "sop_instance")
        self.identifiers = {name: uid.encode() for name, uid in zip(names, self.uids, strict=True)}

    def data_set(self, *elements: bytes, **changes: Any) -> bytes:
        return build.data_set(_PERSON, *elements, **(self.identifiers | changes))

    def file(self, *elements: bytes, syntax: str | None = build.EXPLICIT, **changes: Any) -> bytes:
        return build.file(self.data_set(*elements, **changes), syntax)

    def implicit(self, *elements: bytes, syntax: str = build.IMPLICIT) -> bytes:
        return build.file(build.implicit_data_set(*elements, **self.identifiers), syntax)

    def picture(self, pixels: bytes = b"", syntax: str = build.EXPLICIT, **changes: bytes) -> bytes:
        """A monochrome image of 2 x 2, but for what `changes` say of it: elements by the keyword that they replace."""
        described = {
            "SamplesPerPixel": build.explicit(0x00280002, "US", b"\1\0"),
            "PhotometricInterpretation": build.explicit(0x00280004, "CS", b"MONOCHROME2 "),
            "Rows": build.explicit(0x00280010, "US", b"\2\0"),
            "Columns": build.explicit(0x00280011, "US", b"\2\0"),
            "BitsAllocated": build.explicit(0x00280100, "US", b"\x08\0"),
            "BitsStored": build.explicit(0x00280101, "US", b"\x08\0"),
            "HighBit": build.explicit(0x00280102, "US", b"\7\0"),
            "PixelRepresentation": build.explicit(0x00280103, "US", b"\0\0"),
            "PixelData": pixels or build.explicit(0x7FE00010, "OB", b"abcd"),
        } | changes
        return self.file(*described.values(), syntax=syntax)


Recipe = Callable[[_Made], bytes]


def hostile_instances() -> Iterator[HostileInstance]:
    """Make all of them, each with a study of its own."""
    for number, (kind, name, failure, recipe) in enumerate(_recipes(), start=1):
        made = _Made(number)
        # A recipe may change the UIDs, so it goes first.
        data = recipe(made)
        yield HostileInstance(kind, name, data, failure, made.uids)


def generated_kinds() -> set[int]:
    """Return the numbers of the kinds of which there are instances, without making one."""
    return {kind for kind, *_ in _recipes()}


def _recipes() -> Iterator[tuple[int, str, int | None, Recipe]]:
    for family in (_no_instances, _identifiers, _structures, _sizes, _values, _pictures):
        yield from family()


def _same(data: bytes) -> Recipe:
    return lambda _: data


def _with(*elements: bytes, **changes: Any) -> Recipe:
    return lambda made: made.file(*elements, **changes)


def _no_instances() -> Iterator[tuple[int, str, int | None, Recipe]]:
    yield 1, "text", _CUT, _same(b"Dear archive, please keep this: " + PATIENT.encode())
    yield 1, "nothing", _CUT, _same(b"")
    yield 1, "a zip archive", _NONE, _same(b"PK\3\4" + bytes(300))
    yield 1, "a PDF document", _NONE, _same(b"%PDF-1.7\n" + bytes(300))
    yield 1, "a preamble alone", _SYNTAX, _same(bytes(128) + b"DICM")
    yield 2, "cut in the file meta information", _CUT, lambda made: made.file()[:200]
    yield 2, "cut in the header", _CUT, lambda made: made.file()[:-3]
    yield 2, "cut in the pixel data", _CUT, lambda made: made.picture()[:-2]
    yield 8, "a directory", _CLASS, _with(sop_class=b"1.2.840.10008.1.3.10")
    yield 9, "no transfer syntax", _SYNTAX, _with(syntax=None)
    yield 9, "an empty transfer syntax", _SYNTAX, _with(syntax="")
    yield 9, "an unknown transfer syntax", None, _with(syntax="1.2.3.99")
    yield 9, "little endian that says big", _CUT, _with(syntax=build.BIG_ENDIAN)
    yield 9, "implicit that says explicit", None, lambda made: made.implicit(syntax=build.EXPLICIT)
    yield (
        9,
        "big endian",
        None,
        lambda made: build.file(build.data_set(order=">", **made.identifiers), build.BIG_ENDIAN),
    )
    yield 25, "an executable", None, lambda made: b"MZ".ljust(128, b"\x90") + made.file()[128:]
    yield 25, "an ELF program", None, lambda made: b"\x7fELF".ljust(128, b"\0") + made.file()[128:]
    yield 25, "a script", None, lambda made: b"#!/bin/sh\n".ljust(128, b"\0") + made.file()[128:]
    yield 25, "a page", None, lambda made: b"<html><script>".ljust(128, b" ") + made.file()[128:]
    yield 25, "a TIFF picture", None, lambda made: b"II*\0\x08\0\0\0".ljust(128, b"\1") + made.file()[128:]


def _with_zero(made: _Made) -> bytes:
    study, _, instance = made.uids
    made.uids = study, f"{study}.01", instance
    return made.file(series=made.uids[1].encode())


_HOSTILE_UIDS = (
    b"../../etc/passwd",
    b"/etc/passwd",
    b"1.2\r\nX: y",
    b"1.2\x003",
    b"1.2'; drop",
    b"1.2\\1.3",
    b"1.2%2f3",
    b"1.*",
    "1.2.\u0663".encode(),
    b"1.2." + b"1" * 195,
    b"1..2",
    PATIENT.encode(),
)


def _identifiers() -> Iterator[tuple[int, str, int | None, Recipe]]:
    names = ("sop_class", "sop_instance", "study", "series")
    for name in names:
        yield 3, f"no {name}", _MATCH, _with(**{name: None})
        yield 3, f"an empty {name}", _MATCH, _with(**{name: b""})
    for number, uid in enumerate(_HOSTILE_UIDS):
        name = names[number % len(names)]
        # Two values are no value, each of which would be a UID.
        yield 4, f"{uid!r} as {name}", _MATCH if b"\\" in uid else _UID, _with(**{name: uid})
    yield 5, "a component that begins with zero", None, _with_zero
    yield 5, "padded with blanks", None, lambda made: made.file(series=f"{made.uids[1]}   ".encode())
    yield (
        6,
        "another UID in the file meta information",
        None,
        lambda made: bytes(128) + b"DICM" + build.meta(sop_instance="1.2.9.9") + made.data_set(),
    )
    yield 7, "a UID twice", _NONE, lambda made: made.file() + build.explicit(0x0020000E, "UI", b"1.2.3.9\0")
    yield (
        7,
        "a study behind the pixels",
        None,
        lambda made: (
            made.file(build.explicit(0x7FE00010, "OB", b"abcd"), study=None)
            + build.explicit(0x0020000D, "UI", build.even(made.uids[0].encode()))
        ),
    )
    yield 7, "group 0000", _NONE, lambda made: made.file() + build.explicit(0x00000010, "UL", bytes(4))
    yield 7, "group 0002", _NONE, lambda made: made.file() + build.explicit(0x00020010, "UI", b"1.2\0")


def _structures() -> Iterator[tuple[int, str, int | None, Recipe]]:
    text, sequence = 0x00204000, 0x0040A730
    undefined = build.UNDEFINED
    yield 12, "an explicit length of 4 GB", _CUT, _with(build.explicit(0x00420011, "OB", b"", 0xFFFFFFF0))
    yield 12, "an implicit length of 4 GB", _CUT, lambda made: made.implicit(build.implicit(text, b"", 0xFFFFFFF0))
    yield 12, "pixels of 2 GB", _CUT, lambda made: made.picture(build.explicit(0x7FE00010, "OW", b"", 0x7FFFFFFE))
    yield 13, "text of undefined length", _NONE, _with(build.explicit(text, "UT", b"abcd", undefined))
    yield 13, "a sequence never closed", _CUT, _with(build.explicit(sequence, "SQ", build.item(b""), undefined))
    yield 13, "an item longer than its sequence", _NONE, _with(build.explicit(sequence, "SQ", build.item(b"", 64)))
    inner = build.item(build.implicit(0x00080100, b"C1"), undefined)
    unknown = build.explicit(0x00091002, "UN", inner + build.SEQUENCE_END, undefined)
    yield 14, "unknown values of undefined length", None, _with(unknown)
    yield 15, "a number of one byte", None, _with(build.explicit(0x00280010, "US", b"\1"))
    yield 15, "text of odd length", None, _with(build.explicit(0x00081030, "LO", b"odd"))
    yield 15, "an unknown VR", None, _with(b"\x28\0\x10\0ZZ\0\0\2\0\0\0\1\0")
    yield 16, "60 sequences deep", None, _with(build.nested(60, undefined=True))
    for depth in (300, 5000, 60_000):
        yield 16, f"{depth} sequences deep", _LIMIT, _with(build.nested(depth, undefined=True))
    yield 16, "400 sequences of defined length deep", _LIMIT, _with(build.nested(400, undefined=False))
    pixels = build.fragments(b"ab", end=b"")
    yield 23, "fragments without an end", _CUT, lambda made: made.picture(pixels, build.JPEG)
    endless = build.explicit(0x7FE00010, "OB", build.item(b"") + build.item(b"", 0xFFFFFFFE), undefined)
    yield 23, "a fragment of 4 GB", _CUT, lambda made: made.picture(endless, build.JPEG)


def _sizes() -> Iterator[tuple[int, str, int | None, Recipe]]:
    yield 10, "a deflate bomb of 512 MB", _LIMIT, _bomb
    head = bytes(128) + b"DICM" + build.meta(build.DEFLATED)
    yield 11, "garbage that says it is deflated", _NONE, _same(head + bytes(range(256)) * 4)
    yield 11, "a small deflated one", None, _with(syntax=build.DEFLATED)
    # As many as would be allowed are scanned in the tests of the scanner, which costs less than to store them.
    yield 17, "20,000 empty items", None, _with(build.explicit(0x0040A730, "SQ", build.item(b"") * 20_000))
    private = b"".join(build.explicit(0x00090000 + number, "LO", b"x ") for number in range(0x1000, 0x3000))
    yield 17, "8192 private attributes", None, _with(private)
    yield 17, "a megabyte of backslashes", None, _with(build.explicit(0x00080119, "UC", b"\\" * 1_000_000))
    yield (
        18,
        "a name of 60 kB",
        None,
        lambda made: build.file(build.data_set(build.explicit(0x00100010, "PN", b"N" * 60_000), **made.identifiers)),
    )
    yield 18, "text of 3 MB", None, _with(build.explicit(0x0040A160, "UT", b"t" * 3_000_000))


def _bomb(made: _Made) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    size = 512 << 20
    start = engine.compress(made.data_set() + build.explicit(0x7FE00010, "OW", b"", size))
    start += engine.flush(zlib.Z_FULL_FLUSH)
    # Behind a full flush the same bytes are always packed alike, so that a mebibyte is packed only once.
    mebibyte = engine.compress(bytes(1 << 20)) + engine.flush(zlib.Z_FULL_FLUSH)
    return bytes(128) + b"DICM" + build.meta(build.DEFLATED) + start + mebibyte * 512 + engine.flush()


_TEXTS = {
    "NUL": b"a\0b ",
    "a page": b"<script>alert(1)</script>",
    "a template": b"{{7*7}}${7*7}",
    "a formula": b"=cmd|' /C calc'!A0",
    "control characters": b'\x1b[31m\r\n{"level":"error"}',
}


def _values() -> Iterator[tuple[int, str, int | None, Recipe]]:
    def described(text: bytes, characters: bytes | None = None) -> Recipe:
        named = [build.explicit(0x00080005, "CS", build.even(characters, b" "))] if characters else []
        return _with(*named, build.explicit(0x00081030, "LO", build.even(text, b" ")))

    for name, text in _TEXTS.items():
        yield 19 if name == "NUL" else 21, f"{name} as text", None, described(text)
    yield 19, "bad UTF-8", None, described(b"\xff\xfe\xc0\xaf", b"ISO_IR 192")
    yield 19, "an encoded surrogate", None, described(b"\xed\xa0\x80x", b"ISO_IR 192")
    yield 19, "an unknown character set", None, described(b"\xe9t\xe9", b"KLINGON")
    yield 19, "an unfinished escape", None, described(b"ab\x1b$", b"ISO 2022 IR 6\\ISO 2022 IR 87")
    for tag, vr, text in (
        (0x00080020, "DA", b"20240230"),
        (0x00080020, "DA", b"yesterday"),
        (0x00080030, "TM", b"256199"),
        (0x00080030, "TM", b"-1"),
        (0x00200013, "IS", b"9" * 30_000),
        (0x00200013, "IS", b"1.5e400 "),
        (0x00200011, "IS", b"many"),
        (0x00280030, "DS", b"NaN\\Infinity"),
        (0x00180050, "DS", b"1e999"),
        (0x00101010, "AS", b"999Y"),
    ):
        yield 20, f"{text[:20]!r} as {vr}", None, _with(build.explicit(tag, vr, build.even(text, b" ")))
    yield 20, "no number as FD", None, _with(build.explicit(0x00189074, "FD", struct.pack("<d", float("nan"))))


def _pictures() -> Iterator[tuple[int, str, int | None, Recipe]]:
    def of(pixels: bytes = b"", syntax: str = build.EXPLICIT, **changes: bytes) -> Recipe:
        return lambda made: made.picture(pixels, syntax, **changes)

    def rows_and_columns(number: int, vr: str = "US") -> dict[str, bytes]:
        written = number.to_bytes(2 if vr == "US" else 4, "little")
        return {"Rows": build.explicit(0x00280010, vr, written), "Columns": build.explicit(0x00280011, vr, written)}

    huge = rows_and_columns(65535)
    yield 22, "65535 x 65535 of 4 bytes", None, of(**huge)
    yield 22, "2^31 rows as UL", None, of(**rows_and_columns(2**31, "UL"))
    for frames in (b"2147483647", b"-5", b"0 ", b"many"):
        yield 22, f"{frames!r} frames", None, of(NumberOfFrames=build.explicit(0x00280008, "IS", frames))
    yield 22, "no bits", None, of(BitsAllocated=build.explicit(0x00280100, "US", b"\0\0"))
    colours = build.explicit(0x00280004, "CS", b"PALETTE COLOR ")
    shades = [build.explicit(tag, "US", b"\0\1\0\0\x10\0") for tag in (0x00281101, 0x00281102, 0x00281103)] + [
        build.explicit(tag, "OW", b"\0\1") for tag in (0x00281201, 0x00281202, 0x00281203)
    ]
    yield 22, "a short palette", None, of(PhotometricInterpretation=colours, palette=b"".join(shades))
    jpeg = b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xdc\xff\xdc\1\1\x11\0\xff\xd9"
    sizes = struct.pack(">HHIIIIIIIIH", 41, 0, 2**31 - 1, 2**31 - 1, 0, 0, 1, 1, 0, 0, 1)
    wavelets = b"\xff\x4f\xff\x51" + sizes + b"\7\1\1"
    offsets = struct.pack("<16I", 15, *[0xFFFFFFF0] * 15)
    yield 24, "a bad offset table", None, of(build.fragments(jpeg, table=b"\xff" * 8), build.JPEG)
    yield 24, "a JPEG of noise", None, of(build.fragments(b"\xff\xd8" + bytes(range(256))), build.JPEG)
    yield 24, "a JPEG of 65500 x 65500", None, of(build.fragments(build.even(jpeg)), build.JPEG, **huge)
    yield 24, "JPEG 2000 of 2^31", None, of(build.fragments(build.even(wavelets)), "1.2.840.10008.1.2.4.90")
    yield 24, "RLE offsets", None, of(build.fragments(offsets), "1.2.840.10008.1.2.5")
    yield 24, "20,000 fragments", None, of(build.fragments(*[b"ab"] * 20_000), build.JPEG)
