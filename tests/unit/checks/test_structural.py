"""The structural judges: what is said of one instance by what the scanner knows."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import MPEG4HP41, JPEGBaseline8Bit, MRImageStorage
from tests.factories import ROOT, ct_series, encapsulated, identified, image, part10, pixels

from dicomweb_archive import dicom
from dicomweb_archive.checks.catalogue import CHECKS, STRUCTURAL, CheckSet
from dicomweb_archive.checks.findings import Finding, FindingLevel, Severity, merge_findings
from dicomweb_archive.checks.structural import KNOWN_REMARKS, InstanceJudge, passes
from dicomweb_archive.dicom.acceptance import AcceptanceRules
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.raw_walk import SeriesTemplate

STRICT = CheckSet("strict", 1, "", frozenset(CHECKS))


def judged(data: bytes, check_set: CheckSet = STRICT, **accepted: Any) -> list[tuple[str, str, str]]:
    found = InstanceJudge(check_set, AcceptanceRules(**accepted)).judge(scan(data))
    return [(each.check, each.severity.value, each.path) for each in found]


def with_other_meta(data: bytes, ending: str) -> bytes:
    """Change the last digit of the UID in File Meta Information, which comes first."""
    return data.replace(f"{ROOT[2:]}{ending[1:]}".encode(), f"{ROOT[2:]}{ending[1:-1]}9".encode(), 1)


def test_a_sound_image_has_no_findings() -> None:
    assert judged(part10(image())) == []
    assert judged(encapsulated([b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xd9"])) == []
    assert judged(part10(identified())) == []


@pytest.mark.parametrize(
    ("change", "severity"),
    [
        ({"PixelData": pixels(16, 15)}, "block"),
        ({"PixelData": pixels(16, 17)}, "warn"),
        ({"Rows": 0}, "block"),
        ({"NumberOfFrames": 2}, "block"),
        ({"BitsAllocated": 0}, "block"),
    ],
    ids=["short", "long", "no rows", "two frames", "no bits"],
)
def test_native_pixel_data_are_as_long_as_the_attributes_say(change: dict[str, Any], severity: str) -> None:
    assert judged(part10(image(**change))) == [("pixel_length", severity, "7FE00010")]


def test_an_odd_number_of_bytes_is_made_even_and_single_bits_fill_bytes() -> None:
    odd = image(rows=3, columns=3, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=bytes(10))
    assert judged(part10(odd)) == []
    bits = image(rows=3, columns=3, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=3, PixelData=bytes(4))
    assert judged(part10(bits)) == []
    shared = image(BitsAllocated=8, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", PixelData=bytes(512))
    assert judged(part10(shared)) == []


def test_pixel_data_of_a_described_image_are_missed() -> None:
    without = image()
    del without.PixelData
    assert judged(part10(without)) == [("pixel_length", "warn", "7FE00010")]


def test_fragments_are_counted_against_frames() -> None:
    one = encapsulated([b"\xff\xd8\xff\xd9"])
    frames = b"\x28\x00\x08\x00IS\x02\x001 "
    assert frames in one
    assert judged(one.replace(frames, frames[:-2] + b"3 ")) == [("pixel_length", "block", "7FE00010")]
    split = encapsulated([bytes(8), bytes(8)], fragments_per_frame=2, has_basic_offset_table=False)
    assert judged(split) == [("pixel_length", "warn", "7FE00010")]
    assert judged(encapsulated([bytes(8), bytes(8)], fragments_per_frame=2)) == []
    video = encapsulated([bytes(8)], transfer_syntax=MPEG4HP41).replace(frames, frames[:-2] + b"9 ")
    assert judged(video) == []


def test_file_meta_information_is_compared_with_the_data_set() -> None:
    other = with_other_meta(part10(image(study=63)), "1.63.1.1")
    assert judged(other) == [("identifiers", "block", "00080018")]
    assert judged(other, STRUCTURAL) == [("identifiers", "warn", "00080018")]


def test_a_preamble_that_is_not_kept_is_told() -> None:
    assert judged(part10(image(), preamble=b"MZ" + bytes(126))) == [("preamble", "info", "")]


def test_text_outside_of_the_declared_character_set_is_told() -> None:
    undeclared = image()
    undeclared.StudyDescription = "Schädel"
    data = part10(undeclared).replace(b"ISO_IR 100", b" " * 10)
    assert judged(data) == [("character_set", "warn", "00080005")]


def test_only_what_the_collection_accepts_passes() -> None:
    data = part10(image())
    other_class = AcceptanceRules(sop_classes=frozenset({MRImageStorage}))
    other_syntax = AcceptanceRules(transfer_syntaxes=frozenset({JPEGBaseline8Bit}))
    for accepted, path in ((other_class, "00080016"), (other_syntax, "00020010")):
        found = InstanceJudge(STRUCTURAL, accepted).judge(scan(data))
        assert [(each.check, each.path) for each in found] == [("accepted", path)]
        assert not passes(found)
    assert passes(InstanceJudge(STRUCTURAL).judge(scan(data)))


def test_a_series_is_judged_as_each_of_its_instances_alone() -> None:
    files = ct_series(4, study=61)
    files[2] = part10(image(study=61, instance=3, PixelData=pixels(16, 15)))
    files[3] = with_other_meta(files[3], "1.61.1.4")
    first = scan(files[0])
    template = SeriesTemplate(files[0], first)
    judge = InstanceJudge(STRICT)
    walked = [judge.judge(template.walk(data) or scan(data)) for data in files]
    alone = [InstanceJudge(STRICT).judge(scan(data)) for data in files]
    assert walked == alone
    assert [len(found) for found in walked] == [0, 0, 1, 1]


def test_what_is_believed_of_a_like_instance_names_the_instance() -> None:
    first, second = (scan(data) for data in ct_series(2, study=62, PixelData=pixels(16, 15)))
    judge = InstanceJudge(STRICT)
    judge.judge(first)
    (found,) = judge.judge(replace(second, base=first.base))
    assert found.sop_instance_uid == second.sop_instance_uid


def test_every_remark_of_the_scanner_is_spoken_of() -> None:
    folder = Path(dicom.__file__).parent
    texts = [path.read_text() for path in folder.glob("*.py")]
    said = {code for text in texts for code in re.findall(r"remark\(\"(\w+)\"\)", text)}
    said |= {code for text in texts for code in re.findall(r"remarks\.(?:append|add)\(\"(\w+)\"\)", text)}
    assert said == KNOWN_REMARKS


def test_what_is_said_of_many_instances_of_a_series_is_one_finding() -> None:
    def found(series: str, instance: str) -> Finding:
        return Finding(
            "parses", 1, Severity.WARN, "odd",
            study_instance_uid="1", series_instance_uid=series, sop_instance_uid=instance,
        )  # fmt: skip

    merged = merge_findings([found("1.1", "1.1.1"), found("1.2", "1.2.1"), found("1.1", "1.1.2")])
    assert [(each.level, each.series_instance_uid, each.sop_instance_uid, each.instances) for each in merged] == [
        (FindingLevel.SERIES, "1.1", "1.1.1", 2),
        (FindingLevel.INSTANCE, "1.2", "1.2.1", 1),
    ]
