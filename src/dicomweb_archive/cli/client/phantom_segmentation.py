"""The demo's segmentation: one bit a voxel, a frame for each slice that a segment touches (PS3.3 A.51, C.8.20)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.uid import SegmentationStorage

_Mask = NDArray[np.bool_]
_COLOURS = ([43803, 45000, 42000], [30000, 20000, 48000])
_LESION = ("52988006", "Lesion")
_TYPES = {"Lesion": _LESION, "Lateral ventricles": ("66720007", "Lateral ventricle")}


def segmentation_of(
    general: Dataset,
    images: Sequence[Dataset],
    segments: Sequence[tuple[str, _Mask]],
    uid: Callable[..., str],
) -> Dataset:
    """Fill a Segmentation instance over a series.

    Args:
        general: patient, study, series and equipment, already filled; completed and returned.
        images: the series' slices, in the order of the masks' first axis.
        segments: label and mask (slices, rows, columns) of each segment.
    """
    frames = [
        (number, index)
        for number, (_, mask) in enumerate(segments, start=1)
        for index in range(len(images))
        if mask[index].any()
    ]
    _add_image(general, images[0], len(frames))
    _add_references(general, images)
    general.SegmentSequence = [_segment(number, label) for number, (label, _) in enumerate(segments, start=1)]
    _add_dimensions(general, uid("dimensions"))
    general.SharedFunctionalGroupsSequence = [_shared_groups(images[0])]
    slice_order = {index: order for order, index in enumerate(sorted({index for _, index in frames}), start=1)}
    general.PerFrameFunctionalGroupsSequence = [
        _frame_groups(number, slice_order[index], images[index]) for number, index in frames
    ]
    pixels = np.stack([segments[number - 1][1][index] for number, index in frames])
    general.PixelData = pack_bits(pixels.astype(np.uint8))
    general["PixelData"].VR = "OB"
    return general


def _add_image(data_set: Dataset, image: Dataset, frames: int) -> None:
    data_set.SOPClassUID = SegmentationStorage
    data_set.ImageType = ["DERIVED", "PRIMARY"]
    data_set.ContentLabel, data_set.ContentDescription = "PHANTOM", "Tissues of the generated phantom"
    data_set.ContentCreatorName = ""
    data_set.SegmentationType, data_set.LossyImageCompression = "BINARY", "00"
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows, data_set.Columns, data_set.NumberOfFrames = image.Rows, image.Columns, str(frames)
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 1, 1, 0
    data_set.PixelRepresentation = 0


def _add_references(data_set: Dataset, images: Sequence[Dataset]) -> None:
    """Name the segmented series and its instances (PS3.3 C.12.2)."""
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = [_reference(image) for image in images]
    data_set.ReferencedSeriesSequence = [series]


def _segment(number: int, label: str) -> Dataset:
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = number, label
    segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = "AUTOMATIC", "Phantom geometry"
    lesion = _TYPES[label] is _LESION
    category = ("49755003", "Morphologically Altered Structure") if lesion else ("123037004", "Anatomical Structure")
    segment.SegmentedPropertyCategoryCodeSequence = [_code(*category)]
    segment.SegmentedPropertyTypeCodeSequence = [_code(*_TYPES[label])]
    segment.RecommendedDisplayCIELabValue = _COLOURS[number - 1]
    return segment


def _add_dimensions(data_set: Dataset, organization_uid: str) -> None:
    """Say that frames are ordered by segment, then position (PS3.3 C.7.6.17)."""
    organization = Dataset()
    organization.DimensionOrganizationUID = organization_uid
    data_set.DimensionOrganizationSequence = [organization]
    data_set.DimensionIndexSequence = []
    for pointer, group in ((0x0062000B, 0x0062000A), (0x00200032, 0x00209113)):
        index = Dataset()
        index.DimensionOrganizationUID = organization_uid
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, group
        data_set.DimensionIndexSequence.append(index)


def _shared_groups(image: Dataset) -> Dataset:
    groups, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = image.PixelSpacing
    measures.SliceThickness = measures.SpacingBetweenSlices = image.SliceThickness
    orientation.ImageOrientationPatient = image.ImageOrientationPatient
    groups.PixelMeasuresSequence, groups.PlaneOrientationSequence = [measures], [orientation]
    return groups


def _frame_groups(segment_number: int, slice_number: int, image: Dataset) -> Dataset:
    groups, content, position, segment, derivation = (Dataset() for _ in range(5))
    content.DimensionIndexValues = [segment_number, slice_number]
    position.ImagePositionPatient = image.ImagePositionPatient
    segment.ReferencedSegmentNumber = segment_number
    source = _reference(image)
    source.PurposeOfReferenceCodeSequence = [
        _code("121322", "Source image for image processing operation", scheme="DCM")
    ]
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = [_code("113076", "Segmentation", scheme="DCM")]
    groups.FrameContentSequence, groups.PlanePositionSequence = [content], [position]
    groups.SegmentIdentificationSequence, groups.DerivationImageSequence = [segment], [derivation]
    return groups


def _reference(image: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = image.SOPClassUID
    reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return reference


def _code(value: str, meaning: str, scheme: str = "SCT") -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
