"""What each search resource answers of an instance: PS3.18 Tables 10.6.3-3 to 5, line by line, as JSON and as XML."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.factories import ROOT as UID
from tests.factories import identified, image, part10
from tests.http.archive import Archive, parts_of

from dicomweb_archive.dicom.attributes import INSTANCE_RETURN, SERIES_RETURN, STUDY_RETURN

XML = {"accept": 'multipart/related; type="application/dicom+xml"'}

# Written from the standard, not from the code: R is always there, C when it is known, U is the unique key.
STUDY = {
    "00080020": "R", "00080030": "R", "00080050": "R", "00080056": "C", "00080061": "R", "00080090": "R",
    "00080201": "C", "00081190": "C", "00100010": "R", "00100020": "R", "00100030": "R", "00100040": "R",
    "0020000D": "U", "00200010": "R", "00201206": "R", "00201208": "R",
}  # fmt: skip
SERIES = {
    "00080060": "R", "00080201": "C", "0008103E": "C", "00081190": "R", "0020000E": "U", "00200011": "R",
    "00201209": "R", "00400244": "C", "00400245": "C", "00400275": "C",
}  # fmt: skip
INSTANCE = {
    "00080016": "R", "00080018": "U", "00080056": "C", "00080201": "C", "00081190": "R", "00200013": "R",
    "00280008": "C", "00280010": "C", "00280011": "C", "00280100": "C",
}  # fmt: skip
KNOWN_ANYWAY = {"00080056", "00081190"}
"""Of type C, and known of everything that is stored here."""

STUDY_UID, SERIES_UID = "0020000D", "0020000E"
RESOURCES = [
    ("/studies", [STUDY], ()),
    ("/studies/{study}/series", [SERIES], (STUDY_UID,)),
    ("/studies/{study}/series/{series}/instances", [INSTANCE], (STUDY_UID, SERIES_UID)),
    ("/series", [STUDY, SERIES], ()),
    ("/studies/{study}/instances", [SERIES, INSTANCE], (STUDY_UID,)),
    ("/instances", [STUDY, SERIES, INSTANCE], ()),
]


def full() -> bytes:
    """Return an instance that knows every attribute of the tables."""
    request = Dataset()
    request.ScheduledProcedureStepID = "STEP1"
    request.RequestedProcedureID = "PROC1"
    told = {
        "TimezoneOffsetFromUTC": "+0100",
        "PerformedProcedureStepStartDate": "20240131",
        "PerformedProcedureStepStartTime": "101000",
        "RequestAttributesSequence": Sequence([request]),
        "NumberOfFrames": "1",
    }
    return part10(image(study=8601, **told))


def bare() -> bytes:
    """Return an instance that knows nothing but its UIDs."""
    dataset = identified(study=8602)
    for element in list(dataset):
        if element.keyword not in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            del dataset[element.tag]
    return part10(dataset)


def lines(tables: Iterable[Mapping[str, str]], kinds: str) -> set[str]:
    return {tag for table in tables for tag, kind in table.items() if kind in kinds}


async def as_json(archive: Archive, path: str) -> dict[str, bool]:
    """Return which attributes the one object of an answer has, and whether they have a value."""
    (row,) = (await archive.get(path)).json()
    return {tag: bool(element.get("Value")) for tag, element in row.items()}


async def as_xml(archive: Archive, path: str) -> dict[str, bool]:
    ((_, body),) = parts_of(await archive.get(path, headers=XML))
    return {element.attrib["tag"]: len(element) > 0 for element in ET.fromstring(body)}


async def test_each_resource_answers_every_line_of_its_tables_in_either_form(archive: Archive) -> None:
    await archive.store(full(), bare())
    for path, tables, above in RESOURCES:
        everything = lines(tables, "RCU") | set(above)
        for study, known in ((8601, everything), (8602, lines(tables, "U") | KNOWN_ANYWAY | set(above))):
            named = path.format(study=f"{UID}.{study}", series=f"{UID}.{study}.1")
            asked = named if "{study}" in path else f"{named}?StudyInstanceUID={UID}.{study}"
            found = await as_json(archive, asked)
            assert found == await as_xml(archive, asked), asked
            with_value = {tag for tag, has_value in found.items() if has_value}
            if study == 8601:
                assert (found.keys(), with_value) == (everything, everything), asked
            else:
                assert found.keys() == known & everything | lines(tables, "R"), asked
                computed = {"00080016", "00201206", "00201208", "00201209"}
                assert with_value == (known | computed) & everything, asked


def test_the_tables_of_the_archive_are_those_of_the_standard() -> None:
    for table, ours in ((STUDY, STUDY_RETURN), (SERIES, SERIES_RETURN), (INSTANCE, INSTANCE_RETURN)):
        assert {f"{tag:08X}": kind for tag, kind in ours} == table
