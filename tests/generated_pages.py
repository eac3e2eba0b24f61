"""Generates what a search asks about its answer: the page, its order, fields, and what is counted of it."""

import random
from dataclasses import dataclass

from tests.reference_order import ORDERS, WITHIN_SERIES

FIELDS = (
    "SeriesDescription", "SoftwareVersions", "ImageType", "OperatorsName", "ImageComments", "AcquisitionDate",
    "AcquisitionTime", "AcquisitionDateTime", "KVP", "ImagePositionPatient", "Rows", "RealWorldValueSlope",
    "FrameIncrementPointer", "FrameOfReferenceUID", "RequestAttributesSequence", "ContentSequence.TextValue",
    "RequestAttributesSequence.RequestedProcedureCodeSequence.CodeValue", "PatientBirthDate",
)  # fmt: skip
COUNTED = (
    *(name for name in FIELDS if not name.endswith("Sequence")), "Modality", "StudyDate", "PatientName", "SeriesNumber",
    "SliceLocation", "InstanceNumber", "RequestAttributesSequence.ScheduledProcedureStepID", "00191002@PHANTOM_01",
    "00191033@PHANTOM_01", "00191030@OTHER", "SOPClassUID", "StudyTime", "ReferringPhysicianName", "PatientID",
    "ContentSequence.PersonName", "FrameComments", "PerFrameFunctionalGroupsSequence.FrameContentSequence.FrameLabel",
)  # fmt: skip
BINS = {"ContentDate": "year", "PerformedProcedureStepStartDate": "month", "InstanceNumber": "10", "Rows": "100"}


@dataclass(frozen=True)
class Asked:
    """One page of an answer, its order and fields; `walk` is the size of pages that are followed to the end."""

    limit: int = 5000
    offset: int = 0
    count: str = ""
    order: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    walk: int = 0
    counted: tuple[str, ...] = ()


def asked_of(chance: random.Random, level: str, *, in_series: bool) -> Asked:
    """Draw what is asked."""
    limit, offset = chance.choice([(5000, 0), (5000, 0), (1, 0), (3, 1), (7, 2), (0, 0)])
    orders = [name for group in ORDERS[level] for name in group] + list(WITHIN_SERIES if in_series else ())
    order = chance.sample(orders, chance.choice([1, 1, 2, 3])) if chance.random() < 0.35 else []
    return Asked(
        limit,
        offset,
        chance.choice(["", "", "exact", "none"]),
        tuple(chance.choice(["", "-"]) + name for name in order),
        tuple(chance.sample(FIELDS, 3)) if chance.random() < 0.15 else (),
        chance.choice([1, 2, 7, 30]) if chance.random() < 0.12 else 0,
        tuple(chance.sample([*COUNTED, *BINS], 3)) if chance.random() < 0.1 else (),
    )
