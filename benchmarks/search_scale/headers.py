"""Series without end: headers of classic images of about 150 attributes, each following from its number.

How often values repeat was counted on real headers (127 series of research scanners: 75 to 375 attributes equal in
the series, 12 to 17 that vary, 118 distinct values at the median, up to 16 of them nowhere else) and is written down
here as numbers. What is skewed is skewed as one over the rank, as scanners and protocols of a hospital are.
"""

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import accumulate

from benchmarks.search_scale.elements import DataSet, code, data_set, element, private_block, sequence
from dicomweb_archive.dicom.instance import Element, ScannedInstance
from dicomweb_archive.index.segments.building import StoredInstance
from dicomweb_archive.index.writing.register import PackRecord

ROOT = "1.2.826.0.1.3680043.10.1463.5"
TRANSFER_SYNTAX = "1.2.840.10008.1.2.1"
INSTANCE_BYTES = 526_000

SCANNERS = 200
PROTOCOLS_PER_SCANNER = 5
POOLS = 64
"""Sets of attributes that vary within a series; each series has one of them under UIDs of its own."""

FIRST_DAY = date(2010, 1, 1)
DAYS = 15 * 365
_IN_USE_DAYS = 6 * 365

SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}
MAKERS = ("ACME MEDICAL", "Phantom Works", "Globex", "Initech", "Umbra", "Hooli")
BODY_PARTS = ("HEAD", "CHEST", "ABDOMEN", "SPINE", "KNEE", "PELVIS", "NECK", "SHOULDER")
WEIGHTINGS = ("T1 AX", "T2 SAG", "FLAIR COR", "DWI AX", "CE LUNG", "BONE", "SOFT TISSUE", "SCOUT")
GIVEN_NAMES = ("Anna", "Bernd", "Carla", "David", "Emma", "Franz", "Greta", "Hugo", "Inès", "Jan", "Klara", "Leo")
_SYLLABLES = ("ba", "der", "fi", "gon", "ha", "ker", "lin", "mo", "nas", "or", "pet", "ru", "sen", "ti", "ul", "wei")


@dataclass(frozen=True, slots=True)
class Shape:
    """How many instances a series has, and series a study."""

    series_length: int = 200
    series_per_study: int = 3

    def studies(self, instances: int) -> int:
        """Return how many whole studies hold so many instances."""
        return max(1, round(instances / (self.series_length * self.series_per_study)))


@dataclass(frozen=True, slots=True)
class Study:
    """What a study's number stands for, as far as searches ask for it."""

    number: int
    uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    day: date
    scanner: int


@dataclass(frozen=True, slots=True)
class Series:
    """A series: the data sets that make it up, none sharing a tag with another, and its pool."""

    uid: str
    scanner: int
    protocol: int
    study_part: DataSet
    protocol_part: DataSet
    own_part: DataSet
    pool: int


def _chance(*parts: object) -> random.Random:
    return random.Random(repr(parts))


def _skewed(count: int) -> list[float]:
    return list(accumulate(1 / rank for rank in range(1, count + 1)))


_SCANNER_WEIGHTS = _skewed(SCANNERS)
_PROTOCOL_WEIGHTS = _skewed(PROTOCOLS_PER_SCANNER)
_SURNAMES = 4096


def _pick(chance: random.Random, weights: Sequence[float]) -> int:
    return bisect(weights, chance.random() * weights[-1])


def surname(number: int) -> str:
    """Return one of 4,096 names of three syllables."""
    return "".join(_SYLLABLES[number >> shift & 15] for shift in (0, 4, 8)).capitalize()


def study_of(number: int) -> Study:
    """Return a study; its scanner was in use on its day."""
    chance = _chance("study", number)
    day = chance.randrange(DAYS)
    while True:
        scanner = _pick(chance, _SCANNER_WEIGHTS)
        installed = in_use_from(scanner)
        if installed <= day < installed + _IN_USE_DAYS:
            break
    patient = _chance("patient", number // 2)
    # Some surnames are ten times as common as others.
    name = f"{surname(int(patient.random() ** 2 * _SURNAMES))}^{patient.choice(GIVEN_NAMES)}"
    uid = f"{ROOT}.{number}.{chance.randrange(10**9, 10**10)}"
    return Study(number, uid, f"PAT{number // 2:08}", name, f"ACC{number:09}", FIRST_DAY + timedelta(day), scanner)


@lru_cache(maxsize=SCANNERS)
def in_use_from(scanner: int) -> int:
    """Return the day on which a scanner was installed; the first ones span all years, so no day is without."""
    return (0, 5, 9)[scanner] * 365 if scanner < 3 else _chance("scanner", scanner).randrange(-900, DAYS)


@lru_cache(maxsize=16)
def series_of_study(number: int, count: int) -> tuple[Series, ...]:
    """Return the series of a study."""
    study = study_of(number)
    study_part = _study_part(study)
    return tuple(_series(study, study_part, place) for place in range(count))


def _series(study: Study, study_part: DataSet, place: int) -> Series:
    chance = _chance("series", study.number, place)
    protocol = study.scanner * PROTOCOLS_PER_SCANNER + _pick(chance, _PROTOCOL_WEIGHTS)
    uid = f"{study.uid}.{place + 1}"
    own = _own_part(study, uid, place, chance)
    return Series(uid, study.scanner, protocol, study_part, protocol_part(protocol), own, chance.randrange(POOLS))


def _study_part(study: Study) -> DataSet:
    chance = _chance("study part", study.number)
    day = f"{study.day:%Y%m%d}"
    region = chance.choice(BODY_PARTS)
    return data_set(
        StudyDate=day,
        StudyTime=f"{chance.randrange(6, 22):02}{chance.randrange(60):02}{chance.randrange(60):02}",
        AccessionNumber=study.accession_number,
        ReferringPhysicianName=f"{surname(chance.randrange(300))}^{chance.choice(GIVEN_NAMES)}",
        StudyDescription=f"{region} {chance.choice(('ROUTINE', 'FOLLOW UP', 'TRAUMA', 'STAGING', 'SCREENING'))}",
        ProcedureCodeSequence=code(f"PR{chance.randrange(60):03}", f"Procedure {chance.randrange(60)}"),
        PatientName=study.patient_name,
        PatientID=study.patient_id,
        PatientBirthDate=f"{1930 + study.number // 2 % 80}{study.number // 2 % 12 + 1:02}15",
        PatientSex="FM"[study.number // 2 % 2],
        PatientAge=f"{chance.randrange(18, 95):03}Y",
        PatientWeight=chance.randrange(45, 120),
        # Typed by hand, or not at all.
        PatientComments=() if chance.random() < 0.03 else f"Remark {chance.randrange(2000)}",
        StudyInstanceUID=study.uid,
        StudyID=str(study.number % 100_000),
    )


def _own_part(study: Study, uid: str, place: int, chance: random.Random) -> DataSet:
    """What is found in no other series."""
    day = f"{study.day:%Y%m%d}"
    begin = chance.randrange(6 * 3600, 22 * 3600)
    clock = f"{begin // 3600:02}{begin // 60 % 60:02}{begin % 60:02}.{chance.randrange(1000):03}"
    request = data_set(
        ScheduledProcedureStepDescription=f"Step {chance.randrange(300)}",
        ScheduledProcedureStepID=f"SPS{study.number}",
        RequestedProcedureID=f"RP{study.number}",
    )
    elements = data_set(
        # Beside the date-time that is read by it.
        TimezoneOffsetFromUTC=("+0000", "+0100", "-0500")[study.scanner % 3],
        InstanceCreationDate=day,
        SeriesDate=day,
        AcquisitionDate=day,
        ContentDate=day,
        SeriesTime=clock,
        AcquisitionDateTime=f"{day}{clock}",
        DateOfLastCalibration=f"{study.day - timedelta(chance.randrange(30)):%Y%m%d}",
        TableHeight=round(chance.uniform(100, 220), 3),
        ReconstructionDiameter=round(chance.uniform(150, 500), 2),
        SAR=round(chance.uniform(0.001, 3), 6),
        ImagingFrequency=round(chance.uniform(63, 128), 6),
        SeriesInstanceUID=uid,
        SeriesNumber=place + 1,
        FrameOfReferenceUID=f"{study.uid}.0.{place}",
        SynchronizationFrameOfReferenceUID=f"{study.uid}.9.{place}",
        PerformedProcedureStepStartTime=clock,
        PerformedProcedureStepID=f"PPS{study.number}.{place}",
        RequestAttributesSequence=sequence(request),
        IrradiationEventUID=f"{uid}.7",
    )
    run = {
        0x04: element("SL", chance.randrange(10**6)),
        0x27: element("SH", f"RUN{chance.randrange(10**7)}"),
        0x30: element("FD", round(chance.uniform(0, 50), 4)),
    }
    return dict(sorted((elements | private_block(0x0009, "BENCH RUN", run)).items()))


@lru_cache(maxsize=SCANNERS * PROTOCOLS_PER_SCANNER)
def protocol_part(protocol: int) -> DataSet:
    """Return what all series of one protocol of one scanner share."""
    scanner = protocol // PROTOCOLS_PER_SCANNER
    elements = _scanner_part(scanner) | _technique(protocol, modality_of(scanner))
    return dict(sorted((elements | _vendor_blocks(protocol)).items()))


def modality_of(scanner: int) -> str:
    """Return the modality of a scanner."""
    return ("CT", "MR", "CT", "MR", "CT", "MR", "PT", "CT", "MR", "CT")[scanner % 10]


def maker_of(scanner: int) -> str:
    """Return the manufacturer of a scanner."""
    return MAKERS[_pick(_chance("maker", scanner), _skewed(len(MAKERS)))]


def _scanner_part(scanner: int) -> DataSet:
    chance = _chance("device", scanner)
    maker, modality = maker_of(scanner), modality_of(scanner)
    return data_set(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=SOP_CLASSES[modality],
        Modality=modality,
        Manufacturer=maker,
        InstitutionName=f"Hospital {scanner // 4}",
        InstitutionAddress=f"{scanner // 4} Main Street",
        InstitutionalDepartmentName=chance.choice(("Radiology", "Neuroradiology", "Oncology")),
        StationName=f"STATION{scanner:03}",
        ManufacturerModelName=f"{maker.split()[0]} {chance.choice(('One', 'Prime', 'Ultra', 'Force', 'Go'))}",
        DeviceSerialNumber=f"SN{scanner:05}",
        SoftwareVersions=(f"{chance.randrange(5, 12)}.{chance.randrange(10)}", "patch 3"),
        MagneticFieldStrength=chance.choice((1.5, 3)),
    )


def protocol_name(protocol: int) -> str:
    """Return the name that only series of this protocol have."""
    chance = _chance("protocol", protocol)
    return f"{chance.choice(WEIGHTINGS)} {chance.choice(BODY_PARTS)} {protocol:04}"


def _technique(protocol: int, modality: str) -> DataSet:
    chance = _chance("technique", protocol)
    name = protocol_name(protocol)
    size = chance.choice((256, 320, 512, 512))
    return data_set(
        ProtocolName=name,
        SeriesDescription=name.rsplit(" ", 1)[0] + f" {chance.randrange(40)}",
        BodyPartExamined=name.split(" ")[-2],
        AnatomicRegionSequence=code(f"T-{chance.randrange(40):05}", f"Region {chance.randrange(40)}"),
        ScanningSequence=chance.choice((("SE",), ("GR",), ("EP", "SE"))),
        SequenceVariant=chance.choice(("SK", "SP", "NONE")),
        ScanOptions=chance.choice(((), ("FS",), ("PFP", "FS"), ("HELICAL MODE",))),
        MRAcquisitionType=chance.choice(("2D", "3D")),
        SequenceName=f"*{chance.choice(('se', 'gre', 'tse', 'epi'))}{chance.randrange(9)}d1",
        AngioFlag=chance.choice("YN"),
        SliceThickness=chance.choice((0.6, 1, 1.25, 2, 2.5, 3, 5, 8)),
        KVP=chance.choice((80, 100, 120, 120, 120, 140)),
        RepetitionTime=chance.choice((500, 600, 2000, 4000, 9000)) + chance.randrange(60),
        EchoTrainLength=chance.choice((1, 8, 16, 64)),
        NumberOfAverages=chance.choice((1, 1, 2, 4)),
        ImagedNucleus="1H",
        SpacingBetweenSlices=chance.choice((0.6, 1, 1.25, 2, 3, 6)),
        PercentSampling=chance.choice((70, 80, 90, 100)),
        PercentPhaseFieldOfView=chance.choice((75, 87.5, 100)),
        PixelBandwidth=chance.choice((120, 150, 199, 250, 400, 780)),
        DataCollectionDiameter=500,
        GantryDetectorTilt=chance.choice((0, 0, 0, -12)),
        RotationDirection="CW",
        ExposureTime=chance.choice((400, 500, 600, 1000)),
        Exposure=chance.randrange(2, 400),
        FilterType=chance.choice(("BODY FILTER", "HEAD FILTER", "0")),
        GeneratorPower=chance.choice((24, 36, 48, 60)),
        FocalSpots=chance.choice((0.7, 1.2)),
        ConvolutionKernel=chance.choice(("STANDARD", "BONE", "LUNG", "B30f", "B70f", "Br40")),
        ReceiveCoilName=chance.choice(("HEAD 32", "BODY 18", "KNEE 15", "NECK 4")),
        AcquisitionMatrix=(0, size, size, 0),
        InPlanePhaseEncodingDirection=chance.choice(("ROW", "COL")),
        FlipAngle=chance.choice((8, 15, 70, 90, 120, 180)),
        VariableFlipAngleFlag="N",
        PatientPosition=chance.choice(("HFS", "HFS", "FFS", "HFP")),
        RevolutionTime=chance.choice((0.28, 0.5, 1.0)),
        SingleCollimationWidth=chance.choice((0.6, 0.625, 1.2)),
        TotalCollimationWidth=chance.choice((19.2, 38.4, 40)),
        SpiralPitchFactor=chance.choice((0.6, 0.984, 1.2)),
        AcquisitionContrast=chance.choice(("T1", "T2", "DIFFUSION", "UNKNOWN")),
        ImageOrientationPatient=chance.choice(((1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1))),
        PositionReferenceIndicator=chance.choice(("", "SN")) or (),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        Rows=size,
        Columns=size,
        PixelSpacing=(round(chance.uniform(0.3, 1), 4),) * 2,
        BitsAllocated=16,
        BitsStored=chance.choice((12, 16)),
        PixelRepresentation=1,
        RescaleIntercept=chance.choice((0, -1024)) if modality != "MR" else 0,
        RescaleSlope=1,
        RescaleType="HU" if modality == "CT" else "US",
        RequestedContrastAgent=() if chance.random() < 0.7 else "IODINE",
        PerformedProcedureStepDescription=f"{name.split(' ')[0]} exam {chance.randrange(80)}",
    )


def _vendor_blocks(protocol: int) -> DataSet:
    """Private attributes: some two in five of the attributes of real headers."""
    chance = _chance("vendor", protocol)
    maker = maker_of(protocol // PROTOCOLS_PER_SCANNER).split()[0].upper()
    acquisition = {0x0F + 3 * n: element("DS", chance.choice((0, 1, 2, 3)) + n) for n in range(26)}
    parameters = {0x01 + 2 * n: element("SS", chance.randrange(12)) for n in range(14)}
    names = {0x05 + n: element("LO", f"{chance.choice(WEIGHTINGS)} {n}") for n in range(7)}
    return (
        private_block(0x0019, f"{maker}_ACQU_01", acquisition)
        | private_block(0x0043, f"{maker}_PARM_01", parameters)
        | private_block(0x0051, "BENCH VENDOR MR", names)
    )


@lru_cache(maxsize=2 * POOLS)
def varying_part(pool: int, length: int) -> tuple[DataSet, ...]:
    """Return what differs between the instances of a series, by position; UIDs come on top."""
    chance = _chance("varying", pool)
    first, spacing = round(chance.uniform(-400, 0), 2), chance.choice((0.6, 1.25, 2, 5))
    begin, echoes = chance.randrange(6 * 3600, 20 * 3600), chance.choice((1, 2, 4))
    return tuple(_varying(position, first, spacing, begin, echoes, chance) for position in range(length))


def _varying(position: int, first: float, spacing: float, begin: int, echoes: int, chance: random.Random) -> DataSet:
    place = round(first + position * spacing, 2)
    now = begin + position // 3
    clock = f"{now // 3600:02}{now // 60 % 60:02}{now % 60:02}.{position * 37 % 1000:03}"
    echo = position % echoes
    return data_set(
        ImageType=("ORIGINAL", "PRIMARY", "AXIAL" if position % 50 else "LOCALIZER"),
        AcquisitionTime=clock,
        ContentTime=clock,
        EchoTime=round(4.76 + 10 * echo, 2),
        EchoNumbers=echo + 1,
        XRayTubeCurrent=120 + 5 * (position % 23),
        AcquisitionNumber=position // 60 + 1,
        InstanceNumber=position + 1,
        ImagePositionPatient=(-120.5, -131.25, place),
        SliceLocation=place,
        SmallestImagePixelValue=0 - chance.randrange(2),
        LargestImagePixelValue=900 + chance.randrange(700),
        WindowCenter=40 + chance.randrange(8),
    )


def sop_instance_uid(series_uid: str, position: int) -> str:
    """Return the UID of an instance."""
    return f"{series_uid}.{position + 1}"


def uid_element(uid: str) -> Element:
    """Return a UID as an element."""
    return Element("UI", b'{"vr":"UI","Value":["%b"]}' % uid.encode(), (uid,))


def digest_of(uid: str) -> bytes:
    """Return 32 bytes that stand for the digest of an instance's bytes."""
    return uid.encode().ljust(32, b".")[-32:]


def stored_series(study: Study, series: Series, length: int) -> list[StoredInstance]:
    """Return the instances of a series as the store service hands them to the register."""
    base = dict(sorted((series.study_part | series.protocol_part | series.own_part).items()))
    stored = []
    for position, varying in enumerate(varying_part(series.pool, length)):
        uid = sop_instance_uid(series.uid, position)
        scanned = ScannedInstance(
            transfer_syntax_uid=TRANSFER_SYNTAX,
            sop_class_uid=SOP_CLASSES[modality_of(study.scanner)],
            sop_instance_uid=uid,
            study_instance_uid=study.uid,
            series_instance_uid=series.uid,
            size_bytes=INSTANCE_BYTES,
            base=base,
            delta={0x00080018: uid_element(uid), **varying},
        )
        stored.append(StoredInstance(scanned, byte_offset(position), INSTANCE_BYTES, digest_of(uid)))
    return stored


def byte_offset(position: int) -> int:
    """Return where an instance begins in its pack."""
    return 100 + position * (INSTANCE_BYTES + 100)


def object_key(study_number: int, place: int) -> str:
    """Return the key of the pack of a series."""
    return f"packs/{study_number % 256:02x}/{place:02x}/{study_number:032x}.zip"


def study_packs(number: int, shape: Shape) -> list[PackRecord]:
    """Return a study as packs, one a series."""
    study = study_of(number)
    packs = []
    for place, series in enumerate(series_of_study(number, shape.series_per_study)):
        stored = stored_series(study, series, shape.series_length)
        packs.append(PackRecord(object_key(number, place), pack_bytes(shape), [stored]))
    return packs


def pack_bytes(shape: Shape) -> int:
    """Return the size of the pack of a series."""
    return shape.series_length * (INSTANCE_BYTES + 100)
