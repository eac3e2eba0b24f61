"""Synthetic series for index tests and benchmarks: made as the scanner would hand them over, without files."""

import random
from collections.abc import Iterator

import orjson

from dicomweb_archive.dicom.instance import Element, ScannedInstance
from dicomweb_archive.dicom.tags import parse_tag, vr_of
from dicomweb_archive.index.segments.building import StoredInstance
from dicomweb_archive.index.writing.register import PackRecord

ROOT = "1.2.826.0.1.3680043.10.1463.7"
MAKERS = ("Acme", "Phantom Works", "Globex", "Initech")
SOP_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
SURNAMES = ("Abel", "Brand", "Castro", "Dietrich", "Evans", "Fischer", "Garcia", "Huber", "Ivanov", "Jones")
NAMES = ("Anna", "Bernd", "Carla", "David", "Emma", "Franz", "Greta", "Hugo")


def element(keyword: str, *values: str | float) -> tuple[int, Element]:
    """Return an element by keyword with its JSON."""
    tag = parse_tag(keyword)
    vr = vr_of(tag) or "UN"
    shown = [{"Alphabetic": value} if vr == "PN" else value for value in values]
    return tag, Element(vr, orjson.dumps({"vr": vr, "Value": shown}), values)


def series(number: int, instances: int, *, series_per_study: int = 3) -> list[StoredInstance]:
    """Return one series; every value follows from its number."""
    chance = random.Random(number)
    study_number = number // series_per_study
    study_chance = random.Random(-1 - study_number)
    study, own = f"{ROOT}.{study_number}", f"{ROOT}.{study_number}.{number}"
    modality = chance.choice(("CT", "MR"))
    day = study_chance.randrange(3650)
    common = dict(
        [
            element("SOPClassUID", SOP_CLASSES[modality]),
            element("StudyDate", f"{2015 + day // 365}{day % 12 + 1:02}{day % 28 + 1:02}"),
            element("StudyTime", f"{day % 24:02}{day % 60:02}00"),
            element("AccessionNumber", f"A{study_number:07}"),
            element("Modality", modality),
            element("Manufacturer", chance.choice(MAKERS)),
            element("StudyDescription", f"Study {study_chance.randrange(40)}"),
            element("SeriesDescription", f"Series {chance.randrange(500)}"),
            element("PatientName", f"{study_chance.choice(SURNAMES)}^{study_chance.choice(NAMES)}{study_number % 97}"),
            element("PatientID", f"P{study_number // 2:07}"),
            element("PatientSex", study_chance.choice("FM")),
            element("KVP", chance.choice((80, 100, 120, 140))),
            element("OperatorsName", f"{SURNAMES[number % 10]}^{NAMES[number % 8]}{number % 997}"),
            element("ProtocolName", f"Protocol {chance.randrange(1000)}"),
            element("StudyInstanceUID", study),
            element("SeriesInstanceUID", own),
            element("StudyID", str(study_number)),
            element("SeriesNumber", number % series_per_study + 1),
            element("Rows", 512),
            element("Columns", 512),
            element("BitsAllocated", 16),
            *(element(f"{0x00189000 + 2 * extra:08X}", f"{extra}.{chance.randrange(20)}") for extra in range(1, 60)),
        ]
    )
    return [_instance(common, study, own, position, chance) for position in range(1, instances + 1)]


def _instance(common: dict[int, Element], study: str, own: str, position: int, chance: random.Random) -> StoredInstance:
    uid = f"{own}.{position}"
    varying = dict(
        [
            element("SOPInstanceUID", uid),
            element("InstanceNumber", position),
            element("SliceLocation", round(position * 1.25, 2)),
            element("AcquisitionNumber", position % 4),
            element("WindowCenter", chance.randrange(1000)),
            element("ImagePositionPatient", 0, 0, position * 1.25),
        ]
    )
    scanned = ScannedInstance(
        "1.2.840.10008.1.2.1", str(common[0x00080016].values[0]), uid, study, own, 1000, common, varying
    )
    return StoredInstance(scanned, position * 1100, 1000, uid.encode().ljust(32, b".")[-32:])


def packs(count: int, instances: int, *, first: int = 0, series_per_study: int = 3) -> Iterator[PackRecord]:
    """Yield one pack a series."""
    for number in range(first, first + count):
        stored = series(number, instances, series_per_study=series_per_study)
        yield PackRecord(f"packs/00/00/{number:032x}.zip", instances * 1100, [stored])
