"""Raw walk: equal in outcome to the full scan, or it says that the full scan must decide."""

import struct
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from tests.factories import ROOT, ct_series, encapsulated, image, mr_series, nested, part10

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.raw_walk import SeriesTemplate, delta_against
from dicomweb_archive.errors import InvalidInstanceError


def walk_and_compare(files: list[bytes]) -> int:
    """Walk a series twice (the second time the template has learnt); return how many were walked."""
    first = scan(files[0])
    template = SeriesTemplate(files[0], first)
    walked = 0
    for data in [*files[1:], *files[1:]]:
        found = template.walk(data)
        if found is not None:
            walked += 1
            assert found == delta_against(first.base, scan(data))
            assert found.attributes() == scan(data).attributes()
            assert found.base is first.base
    return walked


def item(**values: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def with_sequence(number: int, *, undefined: bool) -> bytes:
    dataset = image(instance=number)
    inner = item(CodeValue=f"C{number}" * number, CodeMeaning="same")
    inner.is_undefined_length_sequence_item = undefined
    dataset.AnatomicRegionSequence = Sequence([inner] * number)
    dataset["AnatomicRegionSequence"].is_undefined_length = undefined
    return part10(dataset)


def with_optional(number: int, **overrides: object) -> bytes:
    dataset = image(instance=number, **overrides)
    if number % 2:
        del dataset.SliceThickness
        dataset.ImageComments = "only here"
        dataset.AnatomicRegionSequence = Sequence([item(CodeValue="X")])
    return part10(dataset)


def overlaid(number: int) -> bytes:
    dataset = image(instance=number, rows=64, columns=64)
    dataset.add_new(0x60003000, "OW", bytes([number]) * 3000)
    dataset.add_new(0x00189004, "CS", "PRODUCT")
    icon = Dataset()
    icon.PixelData = bytes([7]) * 2000
    icon["PixelData"].VR = "OW"
    dataset.IconImageSequence = Sequence([icon])
    return part10(dataset)


SERIES: list[tuple[str, Callable[[], list[bytes]]]] = [
    ("ct", lambda: ct_series(5)),
    ("mr", lambda: mr_series(4)),
    ("uids-of-other-lengths", lambda: [part10(image(instance=10**n)) for n in range(5)]),
    ("sequences-of-defined-length", lambda: [with_sequence(n, undefined=False) for n in (1, 2, 3)]),
    ("sequences-of-undefined-length", lambda: [with_sequence(n, undefined=True) for n in (1, 2, 3)]),
    ("optional-elements", lambda: [with_optional(n) for n in range(1, 6)]),
    ("bulk-values", lambda: [overlaid(n) for n in (1, 2, 3)]),
    ("encapsulated", lambda: [encapsulated([b"abcd" * n, b"ef"], instance=n) for n in (1, 2, 3)]),
    ("other-pixel-sizes", lambda: [part10(image(instance=n, rows=8 * n)) for n in (1, 2, 3)]),
    ("odd-values", lambda: [part10(image(instance=n, KVP="NaN", StudyID="\u00e9")) for n in (1, 2, 3)]),
    ("not-finite", lambda: [part10(image(instance=n, RealWorldValueSlope=float("nan"))) for n in (1, 2)]),
    (
        "meta-uid-differs",
        lambda: [part10(image(instance=n), meta={"MediaStorageSOPInstanceUID": "1.2"}) for n in (1, 2)],
    ),
    ("preambles", lambda: [part10(image(instance=n), preamble=bytes([n]) * 128) for n in (0, 1, 2)]),
]


@pytest.mark.parametrize("build", [build for _, build in SERIES], ids=[name for name, _ in SERIES])
def test_the_walk_gives_what_the_full_scan_gives(build: Callable[[], list[bytes]]) -> None:
    files = build()
    assert walk_and_compare(files) == 2 * (len(files) - 1)


OTHERS: list[tuple[str, Callable[[], bytes]]] = [
    ("other-study", lambda: part10(image(instance=2, study=2))),
    ("other-series", lambda: part10(image(instance=2, series=2))),
    ("implicit", lambda: part10(image(instance=2), ImplicitVRLittleEndian)),
    ("big-endian", lambda: part10(image(instance=2), ExplicitVRBigEndian)),
    ("deflated", lambda: part10(image(instance=2), DeflatedExplicitVRLittleEndian)),
    ("other-character-set", lambda: part10(image(instance=2, SpecificCharacterSet="ISO_IR 192"))),
    ("no-pixels", lambda: part10(image(instance=2, PixelData=b""))),
    (
        "hostile-uid",
        lambda: part10(image(instance=2)).replace(
            f"{ROOT}.1.1.2".encode(), b"../../etc/passwd.dcm1234567"[:27].ljust(len(f"{ROOT}.1.1.2"), b"x")
        ),
    ),
    ("trailing-bytes", lambda: part10(image(instance=2)) + b"\0\0"),
    ("not-dicom", lambda: bytes(2000)),
    ("empty", lambda: b""),
]


@pytest.mark.parametrize("build", [build for _, build in OTHERS], ids=[name for name, _ in OTHERS])
def test_what_is_of_another_kind_is_left_to_the_full_scan(build: Callable[[], bytes]) -> None:
    first = ct_series(1)[0]
    assert SeriesTemplate(first, scan(first)).walk(build()) is None


def test_a_cut_instance_is_never_walked() -> None:
    first, second = with_sequence(1, undefined=True), with_sequence(2, undefined=True)
    template = SeriesTemplate(first, scan(first))
    assert template.walk(second) is not None
    for length in range(len(second)):
        assert template.walk(second[:length]) is None


def test_no_changed_byte_makes_the_walk_differ_from_the_scan() -> None:
    first, second = with_sequence(1, undefined=True), with_sequence(2, undefined=True)
    header = scan(second).pixel_data
    assert header is not None
    template = SeriesTemplate(first, scan(first))
    base = scan(first).base
    for position in range(header.offset):
        for value in (0, 255, second[position] ^ 1):
            changed = second[:position] + bytes([value]) + second[position + 1 :]
            found = template.walk(changed)
            if found is not None:
                try:
                    expected = delta_against(base, scan(changed))
                except InvalidInstanceError as error:
                    pytest.fail(f"walked what the scan refuses at {position}: {error}")
                assert found == expected


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_never_walked(syntax: str) -> None:
    files = ct_series(2, transfer_syntax=syntax)
    assert walk_and_compare(files) == 0


def test_a_deep_other_sequence_is_left_to_the_full_scan() -> None:
    first = part10(nested(3, undefined_length=True))
    template = SeriesTemplate(first, scan(first))
    assert template.walk(part10(nested(70, undefined_length=True, instance=2))) is None


@pytest.mark.parametrize(("count", "is_walked"), [(100, True), (2000, False)])
def test_thousands_of_others_are_left_to_the_full_scan(count: int, is_walked: bool) -> None:
    first, second = ct_series(2)
    others = b"".join(struct.pack("<HH2sH", 0x5100, number, b"LO", 0) for number in range(1, count + 1))
    pixels = second.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    template = SeriesTemplate(first, scan(first))
    assert (template.walk(second[:pixels] + others + second[pixels:]) is not None) == is_walked


def test_a_very_long_other_sequence_is_left_to_the_full_scan() -> None:
    first, second = with_sequence(1, undefined=True), with_sequence(2, undefined=True)
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 8) + struct.pack("<HH2sH", 0x0008, 0x0050, b"SH", 0)
    longer = struct.pack("<HH2sHL", 0x5100, 0x0001, b"SQ", 0, 16 * 60_000) + item * 60_000
    pixels = second.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    assert SeriesTemplate(first, scan(first)).walk(second[:pixels] + longer + second[pixels:]) is None


@pytest.mark.real_data
def test_every_real_series_walks_as_it_scans(real_data: Path) -> None:
    series = defaultdict(list)
    for path in sorted(real_data.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            try:
                found = scan(data)
            except InvalidInstanceError:
                continue
            series[(path.parent, found.series_instance_uid)].append(data)
    walked = sum(walk_and_compare(files[:20]) for files in series.values())
    assert walked > 300
