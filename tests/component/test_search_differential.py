"""Search equals the plain matcher: generated data sets, random queries, every level and shape."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.factories import ROOT, identified, part10
from tests.searching import always_by_terms, always_ordered, found, path
from tests.stored import in_pack, pack_of, sharing_base

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.comparable_values import normalise
from dicomweb_archive.dicom.instance import Attributes, Element, ScannedInstance
from dicomweb_archive.dicom.matching import matches
from dicomweb_archive.dicom.matching_keys import DateTimeRange, Key, Matching, Range, SingleValue, UidList, WildCard
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.search.planning.shape import choose_shape
from dicomweb_archive.index.writing.register import Register

MODALITIES_IN_STUDY = 0x00080061
NAMES = (
    "Müller^Jörg", "Muller^Jorg", "Doe^Jane", "DOE^JOHN", "Yamada^Tarou=山田^太郎=やまだ^たろう", "O'Hara^%_\\", "",
)  # fmt: skip
TEXTS = ("Axial 5 mm", "axial 5 mm", "T1_AX%", "T1-AX\\", "*", "", "Größe")
LONG = "a" * 600


def sequence_item(chance: random.Random, **more: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID = chance.choice(["S1", "S2", "S3"])
    item.RequestedProcedureID = chance.choice(["R1", "R2", "R3"])
    for keyword, value in more.items():
        setattr(item, keyword, value)
    if chance.random() < 0.3:
        code = Dataset()
        code.CodeValue = chance.choice(["C1", "C2"])
        code.CodingSchemeDesignator = chance.choice(["LN", "DCM"])
        item.RequestedProcedureCodeSequence = Sequence([code])
    return item


def instance_of(chance: random.Random, study: int, series: int, number: int, fixed: dict[str, object]) -> Dataset:
    """One instance: `fixed` is what its study and series agree on, the rest varies or is missing at random."""
    dataset = identified(study=study, series=series, instance=number, **fixed)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    series_chance = random.Random(f"{study}.{series}")
    for keyword, values in {
        "SeriesDescription": TEXTS,
        "Manufacturer": ("Phantom Works", "PHANTOM WORKS", ""),
        "KVP": ("120", "120.0", "1.2E2", "100", "80.5"),
        "ImageComments": ("first\r\nsecond", " leading", "x"),
        "PerformedProcedureStepStartDate": ("20240101", "20231231", ""),
        "PerformedProcedureStepStartTime": ("1015", "101500", "235959.5", ""),
        "ImageType": (["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY", "AXIAL"]),
        "OperatorsName": NAMES,
    }.items():
        # Half of the attributes are shared by the series, half vary in it.
        source = series_chance if series_chance.random() < 0.5 else chance
        if source.random() < 0.8:
            setattr(dataset, keyword, source.choice(values))
    dataset.AcquisitionNumber = chance.choice([1, 2, None])
    dataset.SliceLocation = f"{number * 1.5:.2f}"
    dataset.AcquisitionDateTime = f"202401{number % 28 + 1:02}1015{number % 60:02}.5+0100"
    dataset.FrameIncrementPointer = 0x00181063
    dataset.RealWorldValueSlope = chance.choice([0.1, 2.0])
    dataset.RequestAttributesSequence = Sequence([sequence_item(chance) for _ in range(chance.choice([0, 1, 1, 2, 3]))])
    references = []
    for reference in range(chance.choice([0, 1, 3])):
        item = Dataset()
        item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        item.ReferencedSOPInstanceUID = f"{ROOT}.9.{number}.{reference}"
        references.append(item)
    if references:
        dataset.ReferencedImageSequence = Sequence(references)
    # Blocks of one creator differ between series.
    block = dataset.private_block(0x0019, "PHANTOM_01", create=True)
    if series % 2:
        dataset.private_block(0x0019, "OTHER", create=True).add_new(0x02, "LO", "other")
    block.add_new(0x02, "SL", chance.choice([1, 2, -3]))
    block.add_new(0x23, "DS", chance.choice(["0.0", "1.5"]))
    return dataset


def studies(chance: random.Random, count: int) -> Iterator[list[list[ScannedInstance]]]:
    for study in range(1, count + 1):
        fixed = {
            "PatientName": chance.choice(NAMES),
            "PatientID": chance.choice(["P1", "P*2", "p1", ""]),
            "StudyDate": chance.choice(["20240131", "20240201", "20231231", ""]),
            "StudyTime": chance.choice(["101500", "1015", "235959.25", ""]),
            "StudyDescription": chance.choice((*TEXTS, LONG)),
            "ReferringPhysicianName": chance.choice(NAMES),
            "AccessionNumber": chance.choice(["A1", "A2", ""]),
        }
        yield [
            [
                scan(part10(instance_of(chance, study, series, number, fixed | {
                    "Modality": modality, "SeriesNumber": chance_number,
                })))
                for number in range(1, instances + 1)
            ]
            for series in range(1, chance.choice([1, 2, 3]) + 1)
            for modality in [chance.choice(["CT", "MR", "SR"])]
            for chance_number in [chance.choice([series, None])]
            for instances in [chance.choice([1, 1, 2, 5, 12, 40])]
        ]  # fmt: skip


@dataclass(frozen=True)
class Oracle:
    """The slow and obvious search."""

    instances: list[tuple[dict[int, Element], str, str, str]]

    def expected(self, query: SearchQuery) -> set[str]:
        number = {Level.STUDY: 1, Level.SERIES: 2, Level.INSTANCE: 3}[query.level]
        return {entry[number] for entry in self.instances if matches(entry[0], query)}


def oracle_of(all_studies: list[list[list[ScannedInstance]]]) -> Oracle:
    entries = []
    for study in all_studies:
        modalities = {
            value
            for series in study
            for scanned in series
            for value in scanned.attributes()[0x00080060].values
            if isinstance(value, str)
        }
        for scanned in (scanned for series in study for scanned in series):
            attributes = scanned.attributes()
            attributes[MODALITIES_IN_STUDY] = Element("CS", b"", tuple(sorted(modalities)))
            uids = (scanned.study_instance_uid, scanned.series_instance_uid, scanned.sop_instance_uid)
            entries.append((attributes, *uids))
    return Oracle(entries)


PATHS = (
    "PatientName", "PatientID", "StudyDate", "StudyTime", "StudyDescription", "ReferringPhysicianName",
    "AccessionNumber", "StudyInstanceUID", "ModalitiesInStudy", "Modality", "SeriesNumber", "SeriesInstanceUID",
    "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "SeriesDescription", "Manufacturer", "KVP", "ImageComments",
    "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "ImageType", "OperatorsName",
    "AcquisitionNumber", "SliceLocation", "AcquisitionDateTime", "FrameIncrementPointer",
    "RealWorldValueSlope", "RequestAttributesSequence.ScheduledProcedureStepID",
    "RequestAttributesSequence.RequestedProcedureID",
    "RequestAttributesSequence.RequestedProcedureCodeSequence.CodeValue",
    "RequestAttributesSequence.RequestedProcedureCodeSequence.CodingSchemeDesignator",
    "ReferencedImageSequence.ReferencedSOPInstanceUID", "ReferencedImageSequence.ReferencedSOPClassUID",
)  # fmt: skip
PRIVATE = (
    AttributePath((PathStep(0x00190002, "PHANTOM_01"),), "SL"),
    AttributePath((PathStep(0x00190002, "PHANTOM_01"),), "UN"),
    AttributePath((PathStep(0x00190023, "PHANTOM_01"),), "DS"),
    AttributePath((PathStep(0x00190002, "OTHER"),), "UN"),
)
ALL_PATHS = tuple(map(path, PATHS)) + PRIVATE


def values_at(attributes: Attributes, steps: tuple[PathStep, ...]) -> Iterator[object]:
    tags = [tag for tag in attributes if tag & 0xFFFF00FF == steps[0].tag or tag == steps[0].tag]
    for value in (value for tag in tags for value in attributes[tag].values):
        if len(steps) > 1 and not isinstance(value, str | int | float) and value is not None:
            yield from values_at(value, steps[1:])
        elif len(steps) == 1:
            yield value


def random_matching(chance: random.Random, at: AttributePath, value: str | float) -> Matching | None:
    """A matching near a stored value, as the door would make it."""
    form = (normalise(at.vr, value) or (None,))[0]
    text = str(value)
    if form is None:
        return None
    if at.vr in ("DA", "TM", "DT") and form.number is not None and chance.random() < 0.6:
        low = form.number - chance.choice([0, 3600, 86_400])
        high = form.number + chance.choice([0, 60, 10 * 86_400])
        return Range(*chance.choice([(low, high), (low, None), (None, high)]))
    if at.vr == "UI":
        return chance.choice([UidList((text,)), UidList((text, "1.2.3", f"{ROOT}.1")), SingleValue(text)])
    # Patterns see the first 512 characters of a value only.
    if at.vr in ("PN", "LO", "SH", "CS", "LT") and len(text) < 512 and chance.random() < 0.5:
        part = text.split("=")[0] or "x"
        cut = chance.randrange(len(part))
        pattern = chance.choice(
            [
                part[:cut] + "*",
                "*" + part[cut:],
                "?" + part[1:],
                f"*{part[cut : cut + 2]}*",
                f"{part[:cut]}*{part[-1:]}",
            ]
        )
        # A lone star is universal matching.
        return WildCard(pattern) if pattern.strip("*") else None
    return SingleValue(chance.choice([text, text, text.lower(), f" {text}"]))


def random_query(chance: random.Random, oracle: Oracle) -> SearchQuery:
    """Keys with values of one instance mostly, so that many queries find something."""
    level = chance.choice(list(Level))
    attributes = chance.choice(oracle.instances)[0]
    keys: list[Key] = []
    for at in chance.sample(ALL_PATHS, chance.choice([1, 1, 2, 2, 3, 4])):
        if chance.random() < 0.15:
            attributes = chance.choice(oracle.instances)[0]
        values = [value for value in values_at(attributes, at.steps) if isinstance(value, str | int | float)]
        matching = random_matching(chance, at, chance.choice(values)) if values else None
        if matching is not None:
            keys.append(Key(at, matching))
    combined = (random_moment(chance, attributes),) if chance.random() < 0.15 else ()
    query = SearchQuery(level, tuple(keys), tuple(pair for pair in combined if pair), limit=5000)
    if level is Level.STUDY or chance.random() < 0.7:
        return query
    entry = chance.choice(oracle.instances)
    series = entry[2] if level is Level.INSTANCE and chance.random() < 0.5 else None
    return replace(query, study_instance_uid=entry[1], series_instance_uid=series)


def random_moment(chance: random.Random, attributes: Attributes) -> DateTimeRange | None:
    names = chance.choice(
        [("StudyDate", "StudyTime"), ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime")]
    )
    date, time = map(path, names)
    forms = [form for value in values_at(attributes, date.steps) for form in normalise("DA", str(value))]
    if not forms or forms[0].number is None:
        return None
    low = forms[0].number + chance.choice([0, 36_900, -3600])
    return DateTimeRange(date, time, *chance.choice([(low, low + 3600), (low, None), (None, low + 40_000)]))


QUERIES = 80
SHAPES = {"chosen": choose_shape, "ordered": always_ordered, "by terms": always_by_terms}


@pytest.mark.parametrize("seed", [1])
async def test_every_level_and_shape_finds_what_the_plain_matcher_finds(database: Database, seed: int):
    chance = random.Random(seed)
    all_studies = list(studies(chance, 24))
    oracle = oracle_of(all_studies)
    register = Register(database)
    for study in all_studies:
        packs = [pack_of(in_pack(sharing_base(series))) for series in study]
        await register.register(packs, actor="tester")
    async with database.connection() as connection:
        await connection.execute("analyze")
    indexes = {name: SearchIndex(database, choose=choose) for name, choose in SHAPES.items()}
    hits = 0
    for number in range(QUERIES):
        query = random_query(chance, oracle)
        expected = oracle.expected(query)
        hits += bool(expected)
        for name, index in indexes.items():
            answer = await found(index, query)
            assert len(answer) == len(set(answer)), (seed, number, name, query)
            assert set(answer) == expected, (seed, number, name, query)
    assert hits > QUERIES / 3
