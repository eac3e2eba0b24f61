"""A small CT with what refers to it: a segmentation and a structure set over the same slices."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RTStructureSetStorage
from tests.browser.masks import Mask
from tests.browser.volumes import series_of, volume, written
from tests.factories import ROOT, part10

from dicomweb_archive.cli.client.phantom_segmentation import segmentation_of

SLICES, SIZE = 12, 128
OUTLINED_SLICE = 6
"""The slice, counted from 0, that the structure set draws on."""
SEGMENTATION, STRUCTURES = "Segmented thing", "Outlined structure"
"""Series descriptions."""
_STUDY = 4201


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
    """Make the study."""
    slices = series_of(volume(SLICES, SIZE, SIZE, seed=42), study=_STUDY)
    files = [*written(slices), segmentation(slices), structure_set(slices)]
    return Overlaid(str(slices[0].StudyInstanceUID), files, slices)


def segmented(index: int) -> Mask:
    """Return what the segmentation marks on a slice: an L that moves from slice to slice, none on the first two."""
    mask = np.zeros((SIZE, SIZE), dtype=np.bool_)
    if index >= 2:
        left = 10 + 4 * index
        mask[20:80, left : left + 12] = True
        mask[68:80, left : left + 40] = True
    return mask


def segmentation(slices: list[Dataset]) -> bytes:
    """Return a segmentation of the CT with one segment, as the demo makes them."""
    dataset = _in_series(slices[0], 2, SEGMENTATION)
    dataset.Modality, dataset.SoftwareVersions, dataset.DeviceSerialNumber = "SEG", "1", "1"
    masks = np.stack([segmented(index) for index in range(len(slices))])
    return part10(segmentation_of(dataset, slices, [("Lesion", masks)], lambda *_names: f"{ROOT}.{_STUDY}.9"))


def outline() -> list[tuple[float, float]]:
    """Return the structure's corners in pixels (column, row): an arrow head, unlike its mirror images."""
    return [(30.0, 45.0), (95.0, 30.0), (75.0, 50.0), (85.0, 95.0)]


def structure_set(slices: list[Dataset]) -> bytes:
    """Return a structure set with one closed contour on one slice (PS3.3 A.19)."""
    ct = slices[OUTLINED_SLICE]
    dataset = _in_series(ct, 3, STRUCTURES)
    dataset.SOPClassUID, dataset.Modality = RTStructureSetStorage, "RTSTRUCT"
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


def _in_series(image: Dataset, number: int, description: str) -> Dataset:
    """Return an instance of the image's study in a series of its own."""
    dataset = Dataset()
    for keyword in _SAME:
        setattr(dataset, keyword, image.get(keyword))
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{ROOT}.{_STUDY}.{number}", f"{ROOT}.{_STUDY}.{number}.1"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = number, 1, description
    return dataset


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
