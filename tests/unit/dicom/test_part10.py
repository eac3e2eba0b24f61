"""Part 10 scanner: what it takes, refuses and tolerates; chunks never matter."""

import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import factories
from tests.unit.dicom import part10_bytes as build

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.instance import Element, ScannedInstance
from dicomweb_archive.dicom.part10 import Part10Scanner, ScanLimits, scan
from dicomweb_archive.errors import InvalidInstanceError


def refused(data: bytes, limits: ScanLimits | None = None) -> InvalidInstanceError:
    """Scan what must be refused, whole and byte by byte: both must say the same."""
    limits = limits or ScanLimits()
    with pytest.raises(InvalidInstanceError) as whole:
        scan(data, limits)
    if len(data) < 20_000:
        with pytest.raises(InvalidInstanceError) as pieces:
            feed(data, 1, limits)
        assert pieces.value.reason == whole.value.reason
    return whole.value


def feed(data: bytes, size: int, limits: ScanLimits | None = None) -> ScannedInstance:
    scanner = Part10Scanner(limits or ScanLimits())
    for start in range(0, len(data), size):
        scanner.feed(memoryview(data)[start : start + size])
    return scanner.finish()


def element(found: ScannedInstance, tag: int) -> tuple[Element, object]:
    """Return an element and its parsed, strict JSON."""

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return found.base[tag], json.loads(found.base[tag].json, parse_constant=no_constant, parse_int=str, strict=False)


WELL_FORMED: list[tuple[str, Callable[[], bytes]]] = [
    *[
        (f"ct-{syntax}", lambda syntax=syntax: factories.ct_series(1, transfer_syntax=syntax)[0])
        for syntax in factories.NATIVE_SYNTAXES
    ],
    ("encapsulated", lambda: factories.encapsulated([b"abcd" * 40, b"ef"], fragments_per_frame=1)),
    ("extended-table", lambda: factories.encapsulated([b"abcd" * 40, b"ef"], extended=True)),
    ("nested", lambda: factories.part10(factories.nested(5))),
    ("nested-undefined", lambda: factories.part10(factories.nested(5, undefined_length=True))),
    ("nested-implicit", lambda: factories.part10(factories.nested(5, undefined_length=True), build.IMPLICIT)),
    (
        "study-after-pixels",
        lambda: build.file(
            build.data_set(build.explicit(0x7FE00010, "OW", bytes(100)), study=None)
            + build.explicit(0x0020000D, "UI", b"1.2.3\0")
        ),
    ),
    ("trailing-padding", lambda: factories.part10(factories.image(DataSetTrailingPadding=bytes(64)))),
    ("trailing-zeros", lambda: factories.part10(factories.image()) + bytes(37)),
    ("long-text", lambda: build.file(build.data_set(build.explicit(0x00204000, "UT", b"x" * 70_000)))),
    ("cut-text", lambda: build.file(build.data_set(build.explicit(0x00080120, "UR", b"x" * 70_000)))),
    ("no-meta-length", lambda: bytes(128) + b"DICM" + build.meta(group_length=None) + build.data_set()),
    ("wrong-meta-length", lambda: bytes(128) + b"DICM" + build.meta(group_length=4000) + build.data_set()),
]


@pytest.mark.parametrize("make", [make for _, make in WELL_FORMED], ids=[name for name, _ in WELL_FORMED])
def test_any_chunking_gives_the_same_result(make: Callable[[], bytes]) -> None:
    data = make()
    expected = scan(data)
    for size in (1, 2, 3, 7, 8, 13, 128, 133, 1000, len(data) - 1):
        assert feed(data, size) == expected


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([make for _, make in WELL_FORMED]), st.lists(st.integers(0, 3000), max_size=12))
def test_random_cuts_give_the_same_result(make: Callable[[], bytes], cuts: list[int]) -> None:
    data = make()
    scanner = Part10Scanner()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(edges):
        scanner.feed(data[start:stop])
    assert scanner.finish() == scan(data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_read_as_strict_json(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([make for _, make in WELL_FORMED[:9]]))()
    damaged = bytearray(original)
    for position in data.draw(st.lists(st.integers(128, len(original) - 1), min_size=1, max_size=6)):
        damaged[position] = data.draw(st.integers(0, 255))
    try:
        found = scan(bytes(damaged))
    except InvalidInstanceError:
        return
    for tag in found.base:
        element(found, tag)


@pytest.mark.parametrize("make", [make for _, make in WELL_FORMED[:8]], ids=[name for name, _ in WELL_FORMED[:8]])
def test_a_cut_inside_an_element_is_refused(make: Callable[[], bytes]) -> None:
    data = make()
    whole = scan(data)
    for length in range(len(data)):
        try:
            found = scan(data[:length])
        except InvalidInstanceError:
            continue
        # A cut between two elements leaves a whole data set: nothing can show it but the length sent.
        assert length < len(data)
        assert found.base.items() <= whole.base.items()
        assert not found.pixel_data or found.pixel_data == whole.pixel_data


def test_a_cut_in_pixel_data_is_refused_as_truncated() -> None:
    data = factories.part10(factories.image())
    pixels = scan(data).pixel_data
    assert pixels is not None
    for length in (pixels.offset, pixels.offset + 1, len(data) - 1):
        assert refused(data[:length]).failure == status.TRUNCATED


NOT_PART_10 = {
    "empty": b"",
    "text": b"hello\n" * 100,
    "zip": b"PK\x03\x04" + bytes(300),
    "pdf": b"%PDF-1.7\n" + bytes(300),
    "preamble-only": bytes(128),
    "prefix-only": bytes(128) + b"DICM",
    "no-preamble": b"DICM" + build.meta() + build.data_set(),
    "no-meta": build.data_set(),
    "meta-only": bytes(128) + b"DICM" + build.meta(),
    "implicit-meta": bytes(128) + b"DICM" + build.implicit(0x00020010, b"1.2.840.10008.1.2\0") + build.data_set(),
}


@pytest.mark.parametrize("data", NOT_PART_10.values(), ids=NOT_PART_10.keys())
def test_what_is_not_part_10_is_refused(data: bytes) -> None:
    assert 0xA900 <= refused(data).failure <= 0xCFFF


@pytest.mark.parametrize("name", ["sop_class", "sop_instance", "study", "series"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"1.2\\1.3", id="two"),
        pytest.param(b"../../etc/passwd", id="path"),
        pytest.param(b"/etc/passwd", id="absolute"),
        pytest.param(b"1.2\r\nX: y", id="crlf"),
        pytest.param(b"1.2\x003", id="nul"),
        pytest.param(b"1.2'--", id="quote"),
        pytest.param(b"1.2%2f3", id="escape"),
        pytest.param(b"1.*", id="wildcard"),
        pytest.param("1.2.\u0663".encode(), id="other-digits"),
        pytest.param(b"1.2." + b"1" * 195, id="long"),
        pytest.param(b"1..2", id="empty-component"),
    ],
)
def test_identifiers_must_be_uids(name: str, value: bytes | None) -> None:
    error = refused(build.file(build.data_set(**{name: value})))
    assert 0xA900 <= error.failure < 0xAA00
    assert not value or value.decode("latin_1") not in str(error)


def test_odd_but_clear_uids_are_taken() -> None:
    found = scan(build.file(build.data_set(study=b"1.02.3", series=b"1.2.3.1 ")))
    assert found.study_instance_uid == "1.02.3"
    assert found.series_instance_uid == "1.2.3.1"
    assert "uid_leading_zero" in found.remarks


def test_the_data_set_decides_where_the_meta_differs() -> None:
    content = build.meta(sop_instance="9.9") + build.data_set()
    found = scan(bytes(128) + b"DICM" + content)
    assert found.sop_instance_uid == "1.2.3.4"
    assert found.remarks == ("meta_uid_differs",)


UNSOUND = {
    "element-twice": build.data_set() + build.explicit(0x0020000E, "UI", b"1.2.3.9\0"),
    "group-0": build.data_set() + build.explicit(0x00000010, "UL", bytes(4)),
    "group-2": build.data_set() + build.explicit(0x00020010, "UI", b"1.2\0"),
    "huge-length": build.data_set(build.explicit(0x00420011, "OB", b"", 0xFFFFFFF0)),
    "huge-pixels": build.data_set(build.explicit(0x7FE00010, "OW", b"", 0x7FFFFFFE)),
    "undefined-text": build.data_set(build.explicit(0x00204000, "UT", b"abcd", build.UNDEFINED)),
    "sequence-never-closed": build.data_set(build.explicit(0x0040A730, "SQ", build.item(b""), build.UNDEFINED)),
    "item-never-closed": build.data_set(
        build.explicit(0x0040A730, "SQ", build.implicit(0xFFFEE000, b"", build.UNDEFINED), build.UNDEFINED)
    ),
    "item-longer-than-sequence": build.data_set(build.explicit(0x0040A730, "SQ", build.item(b"", 64))),
    "element-longer-than-item": build.data_set(
        build.explicit(0x0040A730, "SQ", build.item(build.explicit(0x00080100, "SH", b"ab", 20)))
    ),
    "no-item": build.data_set(build.explicit(0x0040A730, "SQ", build.explicit(0x00080100, "SH", b"ab"))),
    "lone-delimiter": build.data_set() + build.SEQUENCE_END,
    "fragments-without-end": build.data_set(build.fragments(b"ab", end=b"")),
    "fragment-of-huge-length": build.data_set(
        build.explicit(0x7FE00010, "OB", build.item(b"") + build.item(b"", 0xFFFFFFFE), build.UNDEFINED)
    ),
    "no-vr": build.data_set() + b"\x28\x00\x10\x00\x00\x00\x02\x00\x01\x00",
    "two-pixel-data": build.data_set(
        build.explicit(0x7FE00008, "OF", bytes(8)), build.explicit(0x7FE00010, "OW", bytes(8))
    ),
    "bytes-behind": build.data_set(build.explicit(0x7FE00010, "OW", bytes(8))) + bytes(20) + b"MZ",
}


@pytest.mark.parametrize("content", UNSOUND.values(), ids=UNSOUND.keys())
def test_unsound_structure_is_refused(content: bytes) -> None:
    refused(build.file(content))


@pytest.mark.parametrize("length", [0xFFFFFFF0, 0xFFFFFFFE])
def test_huge_implicit_lengths_are_refused(length: int) -> None:
    refused(build.file(build.implicit_data_set(build.implicit(0x00204000, b"", length)), build.IMPLICIT))


def test_a_dicomdir_is_refused() -> None:
    directory = "1.2.840.10008.1.3.10"
    in_meta = bytes(128) + b"DICM" + build.meta(sop_class=directory) + build.data_set()
    assert refused(in_meta).failure == status.SOP_CLASS_NOT_SUPPORTED
    assert refused(build.file(build.data_set(sop_class=directory.encode()))).failure == (status.SOP_CLASS_NOT_SUPPORTED)


@pytest.mark.parametrize("syntax", [None, "", "not a uid", "1.2.3/../4"])
def test_a_missing_or_senseless_transfer_syntax_is_refused(syntax: str | None) -> None:
    error = refused(bytes(128) + b"DICM" + build.meta(syntax) + build.data_set())
    assert error.failure == status.TRANSFER_SYNTAX_NOT_SUPPORTED


def test_an_unknown_transfer_syntax_is_explicit_or_nothing() -> None:
    assert scan(build.file(build.data_set(), "1.2.3.99")).transfer_syntax_uid == "1.2.3.99"
    error = refused(build.file(build.data_set(order=">"), "1.2.3.99"))
    assert error.failure == status.TRANSFER_SYNTAX_NOT_SUPPORTED


def test_a_lying_transfer_syntax_is_noticed() -> None:
    explicit, implicit = build.file(build.data_set()), build.file(build.implicit_data_set())
    assert scan(implicit).remarks == ("encoding_not_as_declared",)
    assert scan(implicit).base == scan(explicit).base
    assert scan(build.file(build.data_set(), build.IMPLICIT)).base == scan(explicit).base
    refused(build.file(build.data_set(), build.BIG_ENDIAN))


@pytest.mark.parametrize(
    ("depth", "undefined"),
    [*[(n, True) for n in (60, 64, 65, 300, 5000, 60_000)], *[(n, False) for n in (60, 64, 65, 400, 3000)]],
)
def test_nesting_is_bounded(depth: int, undefined: bool) -> None:
    data = build.file(build.data_set(build.nested(depth, undefined=undefined)))
    if depth <= 64:
        assert scan(data).base[0x0040A730].vr == "SQ"
    else:
        assert refused(data).failure == status.LIMIT_EXCEEDED


def test_unknown_values_of_undefined_length_are_implicit_sequences() -> None:
    inner = build.item(build.implicit(0x00080100, b"C1") + build.implicit(0x00091001, b"ab"), build.UNDEFINED)
    content = build.data_set(build.explicit(0x00091002, "UN", inner + build.SEQUENCE_END, build.UNDEFINED))
    found, parsed = element(scan(build.file(content)), 0x00091002)
    assert found.vr == "SQ"
    assert parsed == {
        "vr": "SQ",
        "Value": [{"00080100": {"vr": "SH", "Value": ["C1"]}, "00091001": {"vr": "UN", "InlineBinary": "YWI="}}],
    }


def test_a_character_set_in_an_unknown_value_holds() -> None:
    content = build.data_set(
        build.explicit(0x00080005, "UN", b"ISO_IR 192"), build.explicit(0x00081030, "UN", "\u00e9".encode())
    )
    assert scan(build.file(content)).base[0x00081030].values == ("\u00e9",)


def test_unknown_values_of_known_elements_are_read() -> None:
    sequence = build.item(build.implicit(0x00080100, b"C1"))
    content = build.data_set(
        build.explicit(0x00100010, "UN", b"Doe^Jane"),
        build.explicit(0x0040A730, "UN", sequence),
        build.explicit(0x00081140, "UN", b"no sequence at all"),
    )
    found = scan(build.file(content))
    assert found.base[0x00100010].values == ("Doe^Jane",)
    assert found.base[0x0040A730].vr == "SQ"
    assert found.base[0x00081140].vr == "UN"
    assert found.remarks == ("unknown_value_not_a_sequence",)


@pytest.mark.parametrize(
    ("written", "vr", "parsed", "remark"),
    [
        pytest.param(build.explicit(0x00280010, "US", b"\1"), "US", {"vr": "US"}, "odd_length", id="us-of-1-byte"),
        pytest.param(
            build.explicit(0x00280010, "US", b"\1\0\2"), "US", {"vr": "US", "Value": ["1"]}, "odd_length", id="us-of-3"
        ),
        pytest.param(
            build.explicit(0x00100010, "PN", b"Doe"), "PN",
            {"vr": "PN", "Value": [{"Alphabetic": "Doe"}]}, "odd_length", id="odd-text",
        ),
        pytest.param(
            b"\x28\0\x10\0ZZ\0\0\2\0\0\0\1\0", "UN", {"vr": "UN", "InlineBinary": "AQA="}, "unknown_vr", id="future-vr"
        ),
        pytest.param(
            b"\x28\0\x10\0ZZ\2\0\1\0", "UN", {"vr": "UN", "InlineBinary": "AQA="}, "unknown_vr", id="strange-vr"
        ),
        pytest.param(
            build.explicit(0x00280030, "DS", b"NaN\\1.5 "), "DS",
            {"vr": "DS", "Value": ["NaN", 1.5]}, "not_a_number", id="ds-nan",
        ),
        pytest.param(
            build.explicit(0x00280030, "DS", b"1.5e400 "), "DS",
            {"vr": "DS", "Value": ["1.5e400"]}, "not_a_number", id="ds-overflow",
        ),
        pytest.param(
            build.explicit(0x00200013, "IS", b"1" * 30_000), "IS",
            {"vr": "IS", "Value": ["1" * 30_000]}, "not_a_number", id="is-30000-digits",
        ),
        pytest.param(
            build.explicit(0x00189074, "FD", struct.pack("<d", float("nan"))), "FD",
            {"vr": "FD", "BulkDataURI": "\x1a00189074"}, "not_finite", id="fd-nan",
        ),
        pytest.param(
            build.explicit(0x00080005, "CS", b"ISO_IR 192") + build.explicit(0x00081030, "LO", b"\xed\xa0\x80\xff"),
            "LO", None, "text_not_decodable", id="bad-utf-8",
        ),
        pytest.param(
            build.explicit(0x00081030, "LO", b"a\0b "), "LO", {"vr": "LO", "Value": ["a\0b"]}, None, id="nul"
        ),
        pytest.param(
            build.explicit(0x00081030, "LO", b"\x1b[31m\r\n<b>=1+1"), "LO",
            {"vr": "LO", "Value": ["\x1b[31m\r\n<b>=1+1"]}, None, id="control-text",
        ),
        pytest.param(
            build.explicit(0x00080005, "CS", b"ISO 2022 IR 6\\ISO 2022 IR 87 ")
            + build.explicit(0x00081030, "LO", b"ab\x1b$"),
            "LO", {"vr": "LO", "Value": ["ab\x1b$"]}, "text_not_decodable", id="unfinished-escape",
        ),
        pytest.param(
            build.explicit(0x00080005, "CS", b"KLINGON ") + build.explicit(0x00081030, "LO", b"\xe9 "),
            "LO", {"vr": "LO", "Value": ["\u00e9"]}, "unknown_character_set", id="unknown-character-set",
        ),
        pytest.param(
            build.explicit(0x00080020, "DA", b"20240230"), "DA", {"vr": "DA", "Value": ["20240230"]}, None, id="date"
        ),
        pytest.param(
            build.explicit(0x00100010, "PN", b"N" * 60_000), "PN",
            {"vr": "PN", "Value": [{"Alphabetic": "N" * 60_000}]}, None, id="name-of-60-kb",
        ),
    ],
)  # fmt: skip
def test_malformed_values_are_carried(written: bytes, vr: str, parsed: object, remark: str | None) -> None:
    data = build.file(build.data_set(written))
    found = scan(data)
    tag = next(t for t in found.base if t not in build.identifiers() and t != 0x00080005)
    kept, seen = element(found, tag)
    assert kept.vr == vr
    assert parsed is None or seen == parsed
    assert remark is None or remark in found.remarks
    assert feed(data, 1) == found


def test_text_beyond_the_limit_is_cut_or_referred_to() -> None:
    url, text = build.explicit(0x00080120, "UR", b"u" * 3_000_000), build.explicit(0x0040A160, "UT", b"t" * 3_000_000)
    found = scan(build.file(build.data_set(url, text)))
    assert found.remarks == ("value_truncated",)
    assert len(found.base[0x00080120].json) < 66_000
    assert found.base[0x0040A160].is_bulk
    assert [(bulk.path, bulk.length) for bulk in found.bulk] == [("0040A160", 3_000_000)]


def test_many_items_elements_and_values_are_taken() -> None:
    items = build.explicit(0x0040A730, "SQ", build.item(b"") * 100_000)
    assert len(scan(build.file(build.data_set(items))).base[0x0040A730].values) == 100_000
    private = b"".join(
        build.explicit(0x00090000 + group * 0x20000 + number, "LO", b"x ")
        for group in range(2)
        for number in range(0x1000, 0x1000 + 30_000)
    )
    assert len(scan(build.file(build.data_set(private))).base) == 60_004
    backslashes = build.explicit(0x00081030, "LO", b"\\" * 65_534)
    assert len(scan(build.file(build.data_set(backslashes))).base[0x00081030].values) == 65_535


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(ScanLimits(elements=10), id="elements"),
        pytest.param(ScanLimits(items=10), id="items"),
        pytest.param(ScanLimits(header_bytes=100), id="header"),
        pytest.param(ScanLimits(json_bytes=100), id="json"),
        pytest.param(ScanLimits(meta_bytes=140), id="meta"),
        pytest.param(ScanLimits(fragments=2), id="fragments"),
    ],
)
def test_each_limit_refuses(limits: ScanLimits) -> None:
    items = build.explicit(0x0040A730, "SQ", build.item(build.explicit(0x00080100, "SH", b"ab")) * 11)
    data = build.file(build.data_set(items, build.fragments(b"a ", b"b ", b"c ")), build.JPEG)
    assert scan(data).pixel_data is not None
    assert refused(data, limits).failure == status.LIMIT_EXCEEDED


def test_a_deflate_bomb_is_refused_with_little_memory() -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = engine.compress(build.data_set() + build.explicit(0x7FE00010, "OW", b"", 128 << 20))
    parts = [start, *[engine.compress(bytes(1 << 20)) for _ in range(128)], engine.flush()]
    bomb = bytes(128) + b"DICM" + build.meta(build.DEFLATED) + b"".join(parts)
    assert len(bomb) < 150_000
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInstanceError) as error:
            scan(bomb)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert error.value.failure == status.LIMIT_EXCEEDED


def test_deflated_garbage_and_cuts_are_refused() -> None:
    head = bytes(128) + b"DICM" + build.meta(build.DEFLATED)
    refused(head + bytes(range(256)) * 4)
    whole = build.file(build.data_set(), build.DEFLATED)
    assert scan(whole).sop_instance_uid == "1.2.3.4"
    for length in range(len(head), len(whole)):
        refused(whole[:length])
    refused(whole + b"more")
    assert scan(whole + b"\0") is not None


def test_memory_does_not_grow_with_the_pixels() -> None:
    head = build.file(build.data_set(build.explicit(0x7FE00010, "OW", b"", 3 << 30)))
    scanner = Part10Scanner()
    scanner.feed(head)
    assert scanner.identity is not None
    assert scanner.identity.study_instance_uid == "1.2.3"
    piece = bytes(1 << 20)
    tracemalloc.start()
    try:
        for _ in range(3 << 10):
            scanner.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    found = scanner.finish()
    assert found.size_bytes == len(head) + (3 << 30)
    assert found.pixel_data is not None
    assert found.pixel_data.length == 3 << 30


@pytest.mark.parametrize(
    ("start", "neutralised"),
    [
        pytest.param(b"", False, id="zeros"),
        pytest.param(b"II*\0", False, id="tiff"),
        pytest.param(b"MM\0*", False, id="tiff-big-endian"),
        pytest.param(b"MZ", True, id="pe"),
        pytest.param(b"\x7fELF", True, id="elf"),
        pytest.param(b"#!/bin/sh\n", True, id="script"),
        pytest.param(b"<html>", True, id="html"),
        pytest.param(bytes(100) + b"<script>", True, id="late"),
    ],
)
def test_an_executable_preamble_is_neutralised(start: bytes, neutralised: bool) -> None:
    assert scan(build.file(preamble=start.ljust(128, b"\0"))).preamble_neutralised is neutralised


def test_fragments_are_located_however_odd_their_tables() -> None:
    values = [b"ab"] * 100_000
    data = build.file(build.data_set(build.fragments(*values, table=b"\xff" * 10)), build.JPEG)
    pixels = scan(data).pixel_data
    assert pixels is not None
    assert len(pixels.fragments) == 100_000
    assert all(data[offset : offset + length] == b"ab" for offset, length in pixels.fragments[:5])
    assert pixels.basic_offset_table == (0xFFFFFFFF, 0xFFFFFFFF)


def test_big_endian_words_are_little_endian_in_json() -> None:
    content = build.data_set(
        build.explicit(0x00280010, "US", b"\1\2", order=">"),
        build.explicit(0x60003000, "OW", b"\1\2\3\4", order=">"),
        order=">",
    )
    found = scan(build.file(content, build.BIG_ENDIAN))
    assert found.base[0x00280010].values == (0x0102,)
    assert found.base[0x60003000].json == b'{"vr":"OW","InlineBinary":"AgEEAw=="}'


def test_bulk_values_are_referred_to_by_path() -> None:
    icon = build.explicit(0x7FE00010, "OB", bytes(2000))
    nested = build.explicit(0x00880200, "SQ", build.item(b"") + build.item(icon))
    data = build.file(build.data_set(nested, build.explicit(0x00420011, "OB", bytes(1025))))
    found = scan(data)
    assert {bulk.path for bulk in found.bulk} == {"00880200/1/7FE00010", "00420011"}
    assert b'{"vr":"OB","BulkDataURI":"\x1a00880200/1/7FE00010"}' in found.base[0x00880200].json
    assert found.pixel_data is None
    assert all(data[bulk.offset : bulk.offset + bulk.length].count(0) == bulk.length for bulk in found.bulk)
