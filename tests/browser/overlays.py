"""A small CT with what refers to it: a segmentation and a structure set over the same slices."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RTStructureSetStorage
from tests.factories import ROOT, part10
from tests.pydicom_files import read

from dicomweb_archive.cli.client.phantom import iter_demo
from dicomweb_archive.cli.client.phantom_volume import LESION, VENTRICLES, inside

SLICES = 12
SIZE = 256
OUTLINED_SLICE = 6
"""The slice, counted from 0, that the structure set draws on."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Overlaid:
    """A CT, its segmentation and its structure set, all of one study.

    Attributes:
        study: its Study Instance UID.
        files: Part 10 files of everything.
        slices: the CT's data sets, in order.
    """

    study: str
    files: list[bytes]
    slices: list[Dataset]


def overlaid_study() -> Overlaid:
    """Make the study: the demo's CT and segmentation, and a structure set."""
    files = [instance.data for instance in islice(iter_demo("overlaid", ct_slices=SLICES), SLICES + 1)]
    slices = [read(data) for data in files[:SLICES]]
    return Overlaid(str(slices[0].StudyInstanceUID), [*files, structure_set(slices)], slices)


def segmented(index: int) -> Mask:
    """Return what the segmentation marks on a slice."""
    return inside((SLICES, SIZE, SIZE), (LESION, *VENTRICLES))[index]


def outline() -> list[tuple[float, float]]:
    """Return the structure's corners in pixels (column, row): an arrow head, unlike its mirror images."""
    return [(60.0, 90.0), (190.0, 60.0), (150.0, 100.0), (170.0, 190.0)]


def structure_set(slices: list[Dataset]) -> bytes:
    """Return a structure set with one closed contour on one slice (PS3.3 A.19)."""
    ct = slices[OUTLINED_SLICE]
    dataset = Dataset()
    for keyword in _SAME:
        setattr(dataset, keyword, ct.get(keyword))
    dataset.SOPClassUID, dataset.Modality = RTStructureSetStorage, "RTSTRUCT"
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{ROOT}.420.3", f"{ROOT}.420.3.1"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = 3, 1, "Outlined structure"
    dataset.StructureSetLabel, dataset.StructureSetName = "OUTLINE", "Outline"
    dataset.StructureSetDate, dataset.StructureSetTime = ct.StudyDate, ct.StudyTime
    dataset.ReferencedFrameOfReferenceSequence = [_referenced_series(slices)]
    dataset.StructureSetROISequence = [
        _item(
            ROINumber=1,
            ReferencedFrameOfReferenceUID=ct.FrameOfReferenceUID,
            ROIName="Arrow",
            ROIGenerationAlgorithm="MANUAL",
        )
    ]
    contour = _item(
        ContourImageSequence=Sequence([_reference(ct)]),
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(outline()),
        ContourData=[value for column, row in outline() for value in _position(ct, column, row)],
    )
    dataset.ROIContourSequence = [
        _item(ReferencedROINumber=1, ROIDisplayColor=[255, 0, 0], ContourSequence=Sequence([contour]))
    ]
    dataset.RTROIObservationsSequence = [
        _item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="ORGAN", ROIInterpreter="")
    ]
    return part10(dataset)


_SAME = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID", "Manufacturer",
)  # fmt: skip


def _referenced_series(slices: list[Dataset]) -> Dataset:
    series = _item(
        SeriesInstanceUID=slices[0].SeriesInstanceUID,
        ContourImageSequence=Sequence([_reference(each) for each in slices]),
    )
    study = _item(
        # Detached Study Management, retired, is what the standard names here (PS3.3 C.8.8.5.1).
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=slices[0].StudyInstanceUID,
        RTReferencedSeriesSequence=Sequence([series]),
    )
    return _item(
        FrameOfReferenceUID=slices[0].FrameOfReferenceUID,
        RTReferencedStudySequence=Sequence([study]),
    )


def _reference(instance: Dataset) -> Dataset:
    return _item(ReferencedSOPClassUID=instance.SOPClassUID, ReferencedSOPInstanceUID=instance.SOPInstanceUID)


def _position(image: Dataset, column: float, row: float) -> Iterator[str]:
    """Map a pixel of an axial image to the patient (PS3.3 C.7.6.2.1.1)."""
    x, y, z = map(float, image.ImagePositionPatient)
    rows_mm, columns_mm = map(float, image.PixelSpacing)
    return (f"{value:.3f}" for value in (x + column * columns_mm, y + row * rows_mm, z))


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
