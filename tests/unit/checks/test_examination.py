"""A whole examination: which checks speak of which data sets, and what their findings say."""

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    UltrasoundImageStorage,
)
from tests.factories import ROOT, identified, image, pixels
from tests.unit.checks.parts import part_of

from dicomweb_archive.checks.catalogue import CHECK_SETS, CHECKS, DUPLICATE_PIXELS, PUBLIC_RELEASE, STRUCTURAL
from dicomweb_archive.checks.content import SeriesPart
from dicomweb_archive.checks.examination import MOST_REMARKS, Examination
from dicomweb_archive.checks.findings import Finding, FindingLevel, Severity
from dicomweb_archive.checks.rules import Rules
from dicomweb_archive.checks.safe_private import SAFE_PRIVATE
from dicomweb_archive.checks.submissions import (
    ManifestComparison,
    PixelDigest,
    Related,
    Relation,
    SeenPixels,
    check_manifest,
    remark_on_conflict,
    remark_on_place,
    remark_on_same,
)
from dicomweb_archive.dicom.acceptance import AcceptanceRules


def clean(instance: int = 1, **overrides: Any) -> Dataset:
    """Return an image that a public release has nothing to say of."""
    dataset = image(instance=instance)
    dataset.PatientName = "CASE-0001"
    dataset.PatientID = "CASE-0001"
    dataset.PatientBirthDate = ""
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "by hand"
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    dataset.SeriesDescription = "Axial"
    for tag in [element.tag for element in dataset if element.tag.is_private]:
        del dataset[tag]
    for keyword, value in overrides.items():
        setattr(dataset, keyword, value)
    return dataset


def found_in(*parts: SeriesPart, rules: Rules | None = None) -> list[Finding]:
    examination = Examination(PUBLIC_RELEASE, rules or Rules())
    for part in parts:
        examination.add(part)
    return examination.finish()


def said_of(dataset: Dataset, rules: Rules | None = None) -> list[tuple[str, str, str]]:
    return [(each.check, each.severity.value, each.path) for each in found_in(part_of(dataset), rules=rules)]


def test_a_clean_series_has_no_findings() -> None:
    assert found_in(part_of(*(clean(number) for number in range(1, 5)))) == []


ITEM = Dataset()
ITEM.CodeMeaning = "for Jane Doe"

SPOKEN_OF: list[tuple[str, dict[str, Any], tuple[str, str, str]]] = [
    ("no modality", {"Modality": ""}, ("required_attributes", "warn", "00080060")),
    (
        "a name in a text",
        {"PatientName": "Doe^Jane", "StudyDescription": "seen Doe."},
        ("identity_in_header", "block", "00081030"),
    ),
    (
        "an accented name",
        {"PatientName": "Müller", "ImageComments": "for muller"},
        ("identity_in_header", "block", "00204000"),
    ),
    ("an ID in a text", {"PatientID": "XK-4711", "StudyID": "xk-4711"}, ("identity_in_header", "block", "00200010")),
    (
        "a birth date",
        {"PatientBirthDate": "19700102", "ContentDate": "19700102"},
        ("identity_in_header", "block", "00080023"),
    ),
    (
        "a nested name",
        {"PatientName": "Doe^Jane", "ProcedureCodeSequence": Sequence([ITEM])},
        ("identity_in_header", "block", "00081032.00080104"),
    ),
    (
        "a short name in a script without blanks",
        {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "=山田^太郎", "ImageComments": "患者山田太郎様"},
        ("identity_in_header", "block", "00204000"),
    ),
    (
        "a name written as one word",
        {"PatientName": "Doe^Jane", "StudyID": "DOEJANE"},
        ("identity_in_header", "block", "00200010"),
    ),
    (
        "an ID behind letters",
        {"PatientID": "4711471", "StudyID": "MRN4711471"},
        ("identity_in_header", "block", "00200010"),
    ),
    (
        "a name in a title of a program",
        {"PatientName": "Doe^Jane", "StationAETitle": "DOE_CT"},
        ("identity_in_header", "block", "00080055"),
    ),
    ("a compact date", {"ImageComments": "as of 20240131"}, ("text_patterns", "warn", "00204000")),
    ("a date with a month", {"ImageComments": "as of 31-Jan-2024."}, ("text_patterns", "warn", "00204000")),
    ("a date in words", {"ImageComments": "January 31, 2024"}, ("text_patterns", "warn", "00204000")),
    ("a telephone number and a stop", {"ImageComments": "555-123-4567."}, ("text_patterns", "warn", "00204000")),
    ("a number with dots", {"ImageComments": "555.123.4567"}, ("text_patterns", "warn", "00204000")),
    ("a title in capitals", {"ImageComments": "ASKED BY DR. WHO"}, ("text_patterns", "warn", "00204000")),
    ("a title without a blank", {"ImageComments": "asked by Dr.Özil"}, ("text_patterns", "warn", "00204000")),
    ("an e-mail address", {"ImageComments": "to a.b@example.org"}, ("text_patterns", "warn", "00204000")),
    ("a telephone number", {"ImageComments": "call +1 (555) 123-4567"}, ("text_patterns", "warn", "00204000")),
    ("a security number", {"ImageComments": "123-45-6789"}, ("text_patterns", "warn", "00204000")),
    ("a date in a text", {"ImageComments": "as of 2024-01-31"}, ("text_patterns", "warn", "00204000")),
    ("a title", {"ImageComments": "asked by Dr. Who"}, ("text_patterns", "warn", "00204000")),
    ("another person", {"OperatorsName": "Who^Doctor"}, ("text_patterns", "warn", "00081070")),
    ("burned in", {"BurnedInAnnotation": "YES"}, ("burned_in", "block", "00280301")),
    ("a risky class", {"SOPClassUID": UltrasoundImageStorage}, ("burned_in", "warn", "00080016")),
    ("a risky modality", {"Modality": "RF"}, ("burned_in", "warn", "00080016")),
    ("a screen capture", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, ("burned_in", "warn", "00080008")),
    ("a face", {"RecognizableVisualFeatures": "YES"}, ("recognizable_face", "warn", "00280302")),
    ("no record", {"PatientIdentityRemoved": "NO"}, ("deidentification_record", "warn", "00120062")),
    ("no method", {"DeidentificationMethod": None}, ("deidentification_record", "warn", "00120063")),
    (
        "no word of dates",
        {"LongitudinalTemporalInformationModified": ""},
        ("deidentification_record", "warn", "00280303"),
    ),
    ("a great age", {"PatientAge": "090Y"}, ("age_over_89", "warn", "00101010")),
    ("an old patient", {"PatientBirthDate": "19340130"}, ("age_over_89", "warn", "00100030")),
    ("short pixels", {"PixelData": pixels(16, 15)}, ("pixel_length", "block", "7FE00010")),
    ("no instance number", {"InstanceNumber": ""}, ("geometry", "warn", "00200013")),
]


@pytest.mark.parametrize(("change", "expected"), [row[1:] for row in SPOKEN_OF], ids=[row[0] for row in SPOKEN_OF])
def test_each_check_speaks_of_what_it_is_for(change: dict[str, Any], expected: tuple[str, str, str]) -> None:
    dataset = clean()
    for keyword, value in change.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    assert said_of(dataset) == [expected]


@pytest.mark.parametrize(
    "change",
    [
        {"PatientAge": "089Y"},
        {"PatientBirthDate": "19340201"},
        {"PatientName": "Li", "StudyDescription": "Li-ion"},
        {"ImageComments": "ratio 1.2.3, kernel B30f, 120-140 kV"},
        {"ImageComments": "DR CHEST, MR HEAD, 123456789"},
        {"ImageComments": "w" * 60_000},
        {"PatientID": "XK-4711", "ImageComments": "XK-47112"},
        {"ClinicalTrialSubjectID": "CASE-0001"},
    ],
    ids=["89", "89 years", "two letters", "figures", "modalities", "a long word", "a longer ID", "an ID of a trial"],
)
def test_what_is_harmless_is_not_spoken_of(change: dict[str, Any]) -> None:
    assert said_of(clean(**change)) == []


@pytest.mark.parametrize("text", ["born 01/02/1970", "1970.01.02", "*02.01.1970", "1970-01-02"])
def test_a_birth_date_is_found_as_people_write_it(text: str) -> None:
    said = said_of(clean(PatientBirthDate="19700102", ImageComments=text))
    assert ("identity_in_header", "block", "00204000") in said


def test_private_attributes_are_named_but_for_those_known_to_be_safe() -> None:
    dataset = clean()
    ge = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
    ge.add_new(0x23, "DS", "39.37")
    ge.add_new(0x3A, "LO", "somebody")
    own = dataset.private_block(0x0021, "OURS 1.0", create=True)
    own.add_new(0x01, "DS", "1")
    assert said_of(dataset, Rules(safe_private=frozenset({'0021"OURS 1.0"01'}))) == [
        ("private_elements", "warn", '0019"GEMS_ACQU_01"3A')
    ]


def test_the_private_attributes_of_the_standard_are_known_by_their_creators() -> None:
    # As many as Table E.3.10-1 of PS3.15 has rows in the edition 2026a.
    assert len(SAFE_PRIVATE) == 479
    assert {'2001"Philips Imaging DD 001"03', '0029"SIEMENS Ultrasound SC2000"00'} & SAFE_PRIVATE == {
        '2001"Philips Imaging DD 001"03'
    }


def test_attributes_are_named_that_a_collection_does_not_allow() -> None:
    held = {f"{element.tag:08X}" for element in clean()} | {"00080100", "00080102", "00080104"}
    rules = Rules(allowed_paths=frozenset(held - {"00180060", "00080104"}))
    assert said_of(clean(), rules) == [
        ("allowed_attributes", "warn", "00081032.00080104"),
        ("allowed_attributes", "warn", "00180060"),
    ]


def test_a_collection_takes_what_it_accepts() -> None:
    rules = Rules(accepted=AcceptanceRules(sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.4"})))
    assert said_of(clean(), rules) == [("accepted", "block", "00080016")]


def test_overlays_and_documents_are_for_a_person_to_look_at() -> None:
    overlay = clean()
    overlay.add_new(0x60003000, "OW", bytes(32))
    assert said_of(overlay) == [("graphics", "warn", "60003000")]
    for sop_class in (BasicTextSRStorage, EncapsulatedPDFStorage):
        document = identified(sop_class=sop_class)
        assert ("documents", "warn", "00080016") in said_of(document)


def test_methods_that_contradict_each_other_are_told() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113106", "DCM"
    dataset = clean(DeidentificationMethodCodeSequence=Sequence([code]))
    assert said_of(dataset) == [("deidentification_record", "warn", "00280303")]


def slices(*places: float, **overrides: Any) -> SeriesPart:
    datasets = [
        clean(number, ImagePositionPatient=[0, 0, place], **overrides) for number, place in enumerate(places, 1)
    ]
    return part_of(*datasets)


@pytest.mark.parametrize(
    ("places", "messages"),
    [
        ((0, 5, 10, 15), []),
        ((0, 5, 10, 20, 25), ["there are gaps between slices"]),
        ((0, 0, 5, 5, 10, 10), []),
        ((0, 5, 5, 10, 15), ["some places have more slices than others"]),
        ((0, 5), []),
    ],
    ids=["even", "gap", "two phases", "repeated", "too few to tell"],
)
def test_slices_follow_each_other(places: tuple[float, ...], messages: list[str]) -> None:
    assert [found.message for found in found_in(slices(*places))] == messages


def test_slices_of_a_series_have_one_orientation() -> None:
    turned = clean(2, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    (found,) = found_in(part_of(clean(1), turned))
    assert (found.check, found.path, found.level) == ("geometry", "00200037", FindingLevel.SERIES)
    localizer = clean(2, ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert found_in(part_of(clean(1), localizer)) == []


def test_a_fine_volume_of_a_head_may_show_a_face() -> None:
    places = [float(number) for number in range(20)]
    assert [each.check for each in found_in(slices(*places, BodyPartExamined="HEAD"))] == ["recognizable_face"]
    assert found_in(slices(*places, StudyDescription="ABDOMEN")) == []
    cleaned = slices(*places, BodyPartExamined="HEAD", RecognizableVisualFeatures="NO")
    assert found_in(cleaned) == []
    # What is said of one slice is not said of the others.
    series = [clean(number, ImagePositionPatient=[0, 0, number], BodyPartExamined="HEAD") for number in range(1, 21)]
    series[0].RecognizableVisualFeatures = "NO"
    assert [each.check for each in found_in(part_of(*series))] == ["recognizable_face"]


def test_a_study_has_one_patient_and_its_instances_agree() -> None:
    first = part_of(clean(1), clean(2))
    other = clean(3, PatientID="CASE-0002", SeriesInstanceUID=f"{ROOT}.1.2", StudyDescription="OTHER")
    findings = found_in(first, part_of(other))
    assert [(each.check, each.path, each.level, each.instances, each.series_instance_uid) for each in findings] == [
        ("one_patient", "00100020", FindingLevel.STUDY, 1, ""),
        ("study_agrees", "00081030", FindingLevel.STUDY, 1, ""),
    ]
    elsewhere = clean(1, PatientID="CASE-0002", StudyInstanceUID=f"{ROOT}.2")
    assert found_in(first, part_of(elsewhere)) == []


def test_what_concerns_a_series_is_told_once_with_the_number_of_instances() -> None:
    datasets = [clean(number, PixelData=pixels(16, 15)) for number in range(1, 5)]
    (found,) = found_in(part_of(*datasets[:2]), part_of(*datasets[2:]))
    assert (found.level, found.instances) == (FindingLevel.SERIES, 4)
    assert found.sop_instance_uid == datasets[0].SOPInstanceUID


def test_findings_of_a_hostile_header_are_bounded() -> None:
    dataset = clean()
    for group in (0x0009, 0x0011):
        block = dataset.private_block(group, "MANY", create=True)
        for element in range(1, 0xF0):
            block.add_new(element, "DS", "1")
    findings = found_in(part_of(dataset))
    assert len(findings) == MOST_REMARKS + 1
    assert findings[-1].instances == 2 * 0xEF - MOST_REMARKS


def test_findings_of_a_long_series_do_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicomweb_archive.checks.examination._MOST_HELD", 300)
    examination = Examination(PUBLIC_RELEASE)
    for number in range(1, 4):
        dataset = clean(number)
        block = dataset.private_block(0x0009, f"MANY {number}", create=True)
        for element in range(1, 0xF0):
            block.add_new(element, "DS", str(number))
        examination.add(part_of(dataset))
        assert len(examination._of_series) < 300
    findings = examination.finish()
    assert len(findings) == MOST_REMARKS + 1
    assert findings[-1].instances == 3 * 0xEF - MOST_REMARKS


def test_the_structural_set_says_nothing_of_people() -> None:
    examination = Examination(STRUCTURAL)
    examination.add(part_of(image(PatientName="Doe^Jane", StudyDescription="Doe", BurnedInAnnotation="YES")))
    assert examination.finish() == []


def test_relations_to_instances_elsewhere_are_told_by_their_own_checks() -> None:
    judges = (remark_on_same, remark_on_conflict, remark_on_place)
    for relation, severity in (
        (Relation.SAME, "info"),
        (Relation.OTHER_BYTES, "block"),
        (Relation.OTHER_PLACE, "block"),
    ):
        related = Related("1", "1.1", "1.1.1", relation)
        assert [remark.severity.value for judge in judges for remark in judge(related)] == [severity]


def test_equal_pixels_under_other_uids_are_found() -> None:
    digests = [PixelDigest("1", "1.1", f"1.1.{number}", bytes([number % 2]) * 32) for number in range(3)]
    seen = SeenPixels()
    assert [each.sop_instance_uid for each in digests if seen.repeats(each)] == ["1.1.2"]


def test_what_was_announced_is_compared_with_what_has_come() -> None:
    assert list(check_manifest(ManifestComparison())) == []
    told = check_manifest(ManifestComparison(missing=2, unexpected=1, other_bytes=3, other_totals=2))
    assert [(remark.severity, remark.instances) for remark in told] == [
        (Severity.BLOCK, 2), (Severity.BLOCK, 1), (Severity.BLOCK, 3), (Severity.BLOCK, 1),
    ]  # fmt: skip


def test_findings_hold_no_value_of_a_data_set() -> None:
    dataset = clean(PatientName="Secretname", StudyDescription="Secretname 555-123-4567", OperatorsName="Secretname")
    for found in found_in(part_of(dataset)):
        assert "ecretname" not in found.message + found.path
        assert "4567" not in found.message


def test_checks_are_numbered_and_every_set_names_checks_that_there_are() -> None:
    numbers = [check.number for check in CHECKS.values()]
    assert numbers == [number for number in range(1, 29) if number != 20]
    assert all(check_set.checks <= CHECKS.keys() for check_set in CHECK_SETS.values())
    assert all(check_set.lenient <= check_set.checks for check_set in CHECK_SETS.values())
    assert DUPLICATE_PIXELS.reads_files


def test_the_page_on_checks_names_each_with_its_number_and_marks_those_that_read_files() -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto" / "checks.md").read_text(encoding="utf-8")
    for check in CHECKS.values():
        mark = " (*file*)" if check.reads_files else ""
        assert f"| {check.number} | `{check.name}`{mark} |" in page
