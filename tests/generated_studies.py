"""Generates studies of every sort for the differential test of search: seeded, so that each can be made again."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from tests.factories import ROOT
from tests.reference_search import tag

NAMES = (
    "Müller^Jörg", "Muller^Jorg", "MULLER^JORG^^Dr", "Doe^Jane", "DOE^JOHN", "doe ^  jane", "O'Hara^%_",
    "Yamada^Tarou=山田^太郎=やまだ^たろう", "Hong^Gildong=洪^吉洞=홍^길동", "Wang^XiaoDong=王^小東", "=山田^花子",
    "Παπαδόπουλος^Νίκος", "Иванов^Иван", "Łukasz^Ørsted", "Grün", "Buc^Jérôme", "김^희", "", "^", "Adams^John Robert^Q",
    "Mueller^Jörg", "O'Brien-Smith^Anne Marie", "Grün^^^Prof.=山田=グリュン",
)  # fmt: skip
TEXTS = (
    "Axial 5 mm", "axial 5 mm", " Axial 5 mm ", "T1_AX%", "T1-AX", "T1", "*", "50%", "a_b", "Größe", "<b>", "'; drop",
    "山田", "", "x" * 64, "0", "1e3",
)  # fmt: skip
CODES = ("AX", "SAG", "COR", "T1_AX", "ORIGINAL", "DERIVED", "")
LONG_TEXTS = ("first\r\nsecond", " leading", "trailing  ", "a\\b", "50% of _", "", "naïve", "x" * 500)
DATES = (
    "20240131",
    "20240201",
    "20231231",
    "2024.01.31",
    "00010101",
    "29991231",
    "",
    "202401",
    "20240230",
    "yesterday",
)
GOOD_DATES = ("20240131", "20240201", "20231231", "20240229", "")
TIMES = ("101500", "1015", "10", "10:15:00", "235959.25", "235960", "000000", "101500.000001", "", "noon", "2561")
MOMENTS = (
    "20240131101500", "202401311015", "2024013110", "20240131", "202401", "2024", "20240131101500.5+0100",
    "20240131101500-0500", "20240131091500+0000", "20240131101500.123456", "", "soon", "20241331",
)  # fmt: skip
NUMBERS = ("120", "120.0", "1.2E2", "+120", "100", "80.5", "-3", "0", "-0.0", "", "1e-3")
INTEGERS = ("1", "007", "7", "-3", "+2", "0", "2147483647", "")

ZONES = ("+0100", "-0500", "+0000", "+0530", "", "abc")

SERIES_LEVEL_VARIED = ("Modality", "SeriesNumber", "TimezoneOffsetFromUTC")
STUDY_LEVEL_VARIED = (
    "PatientName", "PatientID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
    "TimezoneOffsetFromUTC", "PatientBirthDate", "PatientAge", "StudyComments",
)  # fmt: skip
"""What instances may disagree about, and what the rows of study and series are made of."""

# Attributes of an instance, with the values that they are drawn from. All that is said here is matched on the
# instance itself, whatever its level.
DRAWN: dict[str, Sequence[Any]] = {
    "SeriesDescription": TEXTS,
    "BodyPartExamined": CODES,
    "StationName": TEXTS[:8],
    "SoftwareVersions": (["1.0", "2.0"], ["2.0"], ["", "3"], "1.0", ""),
    "ImageType": (["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY", "AX"], ["ORIGINAL", "", "AX"], ""),
    "OperatorsName": (*NAMES, ["Doe^Jane", "Müller^Jörg"], ["Roe", "", "Doe^J"]),
    "PerformingPhysicianName": NAMES,
    "ScheduledStationAETitle": ("STATION 1", "station 1", " STATION 2"),
    "ImageComments": LONG_TEXTS,
    "InstitutionAddress": LONG_TEXTS[:6],
    "LongCodeValue": LONG_TEXTS[:6],
    "TextValue": LONG_TEXTS,
    "CodingSchemeURL": ("https://example.org/a?b=c", "urn:oid:1.2.3", ""),
    "AcquisitionDate": DATES,
    "AcquisitionTime": TIMES,
    "ContentDate": GOOD_DATES,
    "ContentTime": TIMES[:9],
    "PerformedProcedureStepStartDate": GOOD_DATES,
    "PerformedProcedureStepStartTime": TIMES[:9],
    "DateOfLastCalibration": (["20240101", "20240201"], "20240131", ""),
    "TimeOfLastCalibration": (["1015", "2200"], "101500", ""),
    "AcquisitionDateTime": MOMENTS,
    "FrameReferenceDateTime": MOMENTS[:10],
    "KVP": NUMBERS,
    "SliceThickness": NUMBERS,
    "ImagePositionPatient": (["0", "0.0", "5"], ["1.5", "-2", "1e1"], ""),
    "AcquisitionNumber": INTEGERS,
    "NumberOfFrames": ("1", "12", ""),
    "Rows": (16, 512, 0),
    "SimpleFrameList": ([1, 2, 4294967295], 7, None),
    "TagAngleSecondAxis": (-5, 0, 5),
    "ReferencePixelX0": (-70000, 3),
    "SelectorSVValue": (-(2**40), 5),
    "SelectorUVValue": (2**40, 5),
    "RecommendedDisplayFrameRateInFloat": (0.1, 25.0, 1e10),
    "RealWorldValueSlope": (0.1, 2.0, 1e-5),
    "FrameIncrementPointer": (0x00181063, [0x00181063, 0x00181065]),
    "FrameOfReferenceUID": (f"{ROOT}.0.1", f"{ROOT}.0.2", ""),
    "RelatedGeneralSOPClassUID": (["1.2.840.10008.5.1.4.1.1.2", "1.2.3"], "1.2.3"),
}
SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2.1")


def element(dataset: Dataset, keyword: str, value: Any) -> None:
    """Set an attribute to what may be no valid value of it."""
    number = tag(keyword)
    dataset[number] = DataElement(number, dictionary_VR(number), value, validation_mode=config.IGNORE)


PRIVATE_VRS = {0x02: "SL", 0x23: "DS", 0x30: "LO", 0x31: "DA", 0x32: "UI", 0x33: "PN", 0x40: "SQ"}


def studies(seed: int, count: int, first: int = 1) -> Iterator[list[list[Dataset]]]:
    """Generate studies, each as requests that are stored one after the other: lists of data sets of one series."""
    for number in range(first, first + count):
        yield _study(random.Random(f"{seed}.{number}"), number)


def _study(chance: random.Random, number: int) -> list[list[Dataset]]:
    requests = []
    row = _study_row(chance)
    for series in range(1, chance.choice([1, 1, 2, 3]) + 1):
        size = chance.choice([1, 1, 2, 3, 5, 12, 40])
        of_series = random.Random(chance.random())
        own = {
            "StudyInstanceUID": f"{ROOT}.{number}",
            "SeriesInstanceUID": f"{ROOT}.{number}.{series}",
            "Modality": chance.choice(["CT", "MR", "SR", ""]),
            "SeriesNumber": chance.choice([series, series, 1, None]),
            "SOPClassUID": chance.choice(SOP_CLASSES),
        }
        other = _study_row(chance) | {"Modality": "PT", "SeriesNumber": 9} if chance.random() < 0.2 else {}
        # Where instances disagree about their study and series, they do so in these attributes alone.
        shared = [name for name in DRAWN if other or chance.random() < 0.5]
        common = {name: _drawn(of_series, name) for name in shared}
        if other:
            common["RequestAttributesSequence"] = Items(_requests(of_series))
        instances = []
        for position in range(size):
            uid = {"SOPInstanceUID": f"{ROOT}.{number}.{series}.{position + 1}", "InstanceNumber": position + 1}
            says = row | own | uid | (other if chance.random() < 0.3 else {})
            instances.append(_instance(chance, says, common, position))
        cut = chance.choice([size, size, 1, max(1, size // 2)])
        requests += [part for part in (instances[:cut], instances[cut:]) if part]
    return requests


def _study_row(chance: random.Random) -> dict[str, Any]:
    zone = {"TimezoneOffsetFromUTC": chance.choice(ZONES)} if chance.random() < 0.5 else {}
    return zone | {
        "PatientName": chance.choice(NAMES),
        "PatientID": chance.choice(["P1", "P*2", "p1", " P1", "50%", ""]),
        "StudyDate": chance.choice(DATES),
        "StudyTime": chance.choice(TIMES),
        "StudyID": chance.choice(["1", "S_1", ""]),
        "AccessionNumber": chance.choice(["A1", "A2", ""]),
        "ReferringPhysicianName": chance.choice(NAMES),
        "PatientBirthDate": chance.choice(DATES),
        "PatientAge": chance.choice(["030Y", "006M", ""]),
        "StudyComments": chance.choice(LONG_TEXTS),
    }


def _drawn(chance: random.Random, name: str) -> Any:
    return chance.choice(DRAWN[name])


def _instance(chance: random.Random, says: dict[str, Any], common: dict[str, Any], position: int) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    own = {name: _drawn(chance, name) for name in DRAWN if name not in common and chance.random() < 0.6}
    for keyword, value in (common | own | says).items():
        # Some values are too long for their VR only where all of a segment say the same.
        element(dataset, keyword, value)
    # More distinct values than a segment keeps as terms.
    element(dataset, "SliceLocation", f"{position * 1.5:.2f}")
    element(dataset, "FrameComments", f"frame {position:03} of {chance.choice(['a', 'B'])}")
    element(dataset, "StartAcquisitionDateTime", f"202401{position % 28 + 1:02}1015{position % 60:02}.5+0100")
    if "RequestAttributesSequence" not in common:
        element(dataset, "RequestAttributesSequence", Items(_requests(chance)))
    if chance.random() < 0.4:
        element(dataset, "ContentSequence", Items(_content(chance, 3)))
    if chance.random() < 0.1:
        element(dataset, "PerFrameFunctionalGroupsSequence", Items(_frames(chance)))
    _add_private(chance, dataset)
    return dataset


def _requests(chance: random.Random) -> Iterator[Dataset]:
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        item = Dataset()
        element(item, "ScheduledProcedureStepID", chance.choice(["S1", "S2", "S_3", ""]))
        element(item, "RequestedProcedureID", chance.choice(["R1", "R2", "R3"]))
        element(item, "ScheduledProcedureStepStartDate", chance.choice(GOOD_DATES))
        if chance.random() < 0.4:
            element(
                item, "RequestedProcedureCodeSequence", Items([_code(chance) for _ in range(chance.choice([0, 1, 2]))])
            )
        if chance.random() < 0.3:
            _add_private(chance, item)
        yield item


def _code(chance: random.Random) -> Dataset:
    code = Dataset()
    element(code, "CodeValue", chance.choice(["C1", "C2", "c1"]))
    element(code, "CodingSchemeDesignator", chance.choice(["LN", "DCM"]))
    element(code, "CodeMeaning", chance.choice(TEXTS))
    return code


def _content(chance: random.Random, depth: int) -> Iterator[Dataset]:
    for _ in range(chance.choice([1, 2, 3])):
        item = Dataset()
        element(item, "ValueType", chance.choice(["TEXT", "PNAME", "NUM"]))
        element(item, "TextValue", chance.choice(LONG_TEXTS))
        element(item, "PersonName", chance.choice(NAMES))
        element(item, "Date", chance.choice(GOOD_DATES))
        element(item, "ConceptNameCodeSequence", Items([_code(chance)]))
        if depth and chance.random() < 0.4:
            element(item, "ContentSequence", Items(_content(chance, depth - 1)))
        yield item


def _frames(chance: random.Random) -> Iterator[Dataset]:
    for number in range(chance.choice([1, 4, 34])):
        content, item = Dataset(), Dataset()
        element(content, "FrameAcquisitionNumber", number % 3)
        element(content, "FrameAcquisitionDateTime", f"20240131101500.{number:02}")
        element(content, "FrameLabel", f"{chance.choice('ab')}{number}")
        element(item, "FrameContentSequence", Items([content]))
        yield item


def _add_private(chance: random.Random, dataset: Dataset) -> None:
    """Blocks of one creator lie elsewhere in every data set, and one may have several."""
    creators = chance.sample(["PHANTOM_01", "OTHER", 'QUO"TE'], chance.choice([0, 1, 2, 3]))
    if chance.random() < 0.1:
        creators.append("PHANTOM_01")
    for block, creator in enumerate(creators, 0x10 + chance.choice([0, 0, 1])):
        base = 0x00190000 | block << 8
        dataset[0x00190000 | block] = DataElement(0x00190000 | block, "LO", creator)
        for low, vr, values in (
            (0x02, "SL", (1, 2, -3)),
            (0x23, "DS", ("0.0", "1.5", "")),
            (0x30, "LO", ("private", "Private", "50%", "")),
            (0x31, "DA", ("20240131", "20240201")),
            (0x32, "UI", ("1.2.3", "1.2.4")),
            (0x33, "PN", NAMES),
        ):
            if chance.random() < 0.5:
                dataset[base | low] = DataElement(base | low, vr, chance.choice(values))
        if chance.random() < 0.3:
            dataset[base | 0x40] = DataElement(base | 0x40, "SQ", Items([_code(chance)]))
