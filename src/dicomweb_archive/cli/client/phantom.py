"""Generated studies for a first look: a CT with a segmentation of it, and an MR of the same patient.

Nobody was scanned: names, numbers and pixels are made up, and UIDs come from a seed, so that a demo stored
twice is the same demo.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from dicomweb_archive.cli.client.phantom_segmentation import segmentation_of
from dicomweb_archive.cli.client.phantom_volume import (
    AIR_HOUNSFIELD,
    AIR_SIGNAL,
    LESION,
    VENTRICLES,
    inside,
    paint,
    with_noise,
)

_MADE_BY = "dicomweb-archive"
# Goes up when the same seed gives other bytes: an archive that has the demo of an earlier release would refuse them.
_EDITION = 2
_FIELD_MM = 230.0
_IMPLEMENTATION_UID = generate_uid(entropy_srcs=[_MADE_BY, "implementation"])


@dataclass(frozen=True, slots=True)
class DemoInstance:
    """A Part 10 file of the demo, with the name it gets in a folder."""

    name: str
    sop_instance_uid: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Series:
    """What the images of a series share."""

    study: str
    number: int
    modality: str
    description: str
    time: str
    spacing_mm: float


def iter_demo(seed: str = "demo", *, ct_slices: int = 40, mr_slices: int = 24) -> Iterator[DemoInstance]:
    """Make the instances of the demo; the same seed gives the same bytes."""
    factory = _Factory(seed)
    ct_images = list(factory.ct_images(ct_slices))
    for image in ct_images:
        yield _written(image, "ct")
    shape = (ct_slices, 256, 256)
    segments = [("Lesion", inside(shape, (LESION,))), ("Lateral ventricles", inside(shape, VENTRICLES))]
    general = factory.general(_Series("ct", 2, "SEG", "Segmentation of the phantom", "101500", 0), 1)
    yield _written(segmentation_of(general, ct_images, segments, factory.uid), "seg")
    for image in factory.mr_images(mr_slices):
        yield _written(image, "mr")


class _Factory:
    """Fills the modules that the demo's instances share (PS3.3 C.7)."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def uid(self, *names: object) -> str:
        """Derive a UID from the seed and what it is for."""
        return str(generate_uid(entropy_srcs=[_MADE_BY, str(_EDITION), self._seed, *map(str, names)]))

    def ct_images(self, slices: int) -> Iterator[Dataset]:
        """Make the CT series: 256 x 256, Hounsfield units."""
        series = _Series("ct", 1, "CT", "Head phantom 3 mm", "100500", 3.0)
        volume = with_noise(paint((slices, 256, 256), "hounsfield", AIR_HOUNSFIELD), 6.0, seed=1)
        stored = np.clip(volume + 1024, 0, 4095).astype("<i2")
        for index in range(slices):
            image = self._image(series, index, stored[index], slices)
            image.SOPClassUID = CTImageStorage
            image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            image.KVP, image.XRayTubeCurrent, image.ExposureTime = "120", "200", "1000"
            image.ConvolutionKernel = "STANDARD"
            image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "-1024", "1", "HU"
            image.WindowCenter, image.WindowWidth = "40", "120"
            yield image

    def mr_images(self, slices: int) -> Iterator[Dataset]:
        """Make the MR series: 256 x 256, arbitrary units, another study of the same patient."""
        series = _Series("mr", 1, "MR", "Head phantom T2 5 mm", "113000", 5.0)
        volume = with_noise(paint((slices, 256, 256), "signal", AIR_SIGNAL), 12.0, seed=2)
        stored = np.clip(volume, 0, 4095).astype("<i2")
        for index in range(slices):
            image = self._image(series, index, stored[index], slices)
            image.SOPClassUID = MRImageStorage
            image.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
            image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "SE", "SK", ""
            image.MRAcquisitionType, image.MagneticFieldStrength = "2D", "1.5"
            image.RepetitionTime, image.EchoTime, image.EchoTrainLength = "4500", "95", "12"
            image.WindowCenter, image.WindowWidth = "500", "1000"
            yield image

    def general(self, series: _Series, instance_number: int) -> Dataset:
        """Fill patient, study, series and equipment (PS3.3 C.7.1 to C.7.5)."""
        day = "20240115" if series.study == "ct" else "20240116"
        data_set = Dataset()
        data_set.PatientName = "Phantom^Ada"
        data_set.PatientID = "DEMO-" + self.uid("patient")[-6:]
        data_set.PatientBirthDate, data_set.PatientSex = "19700101", "O"
        data_set.StudyInstanceUID = self.uid("study", series.study)
        data_set.StudyDate = data_set.SeriesDate = data_set.ContentDate = data_set.AcquisitionDate = day
        data_set.StudyTime = "100000" if series.study == "ct" else "112000"
        data_set.SeriesTime = data_set.ContentTime = data_set.AcquisitionTime = series.time
        data_set.AccessionNumber, data_set.StudyID = f"DEMO{series.study.upper()}", series.study.upper()
        data_set.ReferringPhysicianName = "Example^Referrer"
        data_set.StudyDescription = f"{series.study.upper()} of a generated head phantom"
        data_set.Modality = series.modality
        data_set.SeriesInstanceUID = self.uid("series", series.study, series.number)
        data_set.SeriesNumber, data_set.SeriesDescription = str(series.number), series.description
        data_set.SOPInstanceUID = self.uid("instance", series.study, series.number, instance_number)
        data_set.InstanceNumber = str(instance_number)
        data_set.FrameOfReferenceUID = self.uid("frame of reference", series.study)
        data_set.PositionReferenceIndicator = ""
        data_set.Manufacturer, data_set.ManufacturerModelName = _MADE_BY, "Phantom"
        data_set.DeviceSerialNumber, data_set.SoftwareVersions = "1", "1"
        return data_set

    def _image(self, series: _Series, index: int, pixels: Any, slices: int) -> Dataset:
        """Fill general image, plane and pixel modules (PS3.3 C.7.6.1 to C.7.6.3)."""
        image = self.general(series, index + 1)
        pixel_mm = _FIELD_MM / pixels.shape[0]
        z = (index - (slices - 1) / 2) * series.spacing_mm
        corner = -_FIELD_MM / 2 + pixel_mm / 2
        image.PatientPosition, image.BodyPartExamined, image.Laterality = "HFS", "HEAD", ""
        image.AcquisitionNumber = "1"
        image.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        image.ImagePositionPatient = [f"{corner:.4f}", f"{corner:.4f}", f"{z:.4f}"]
        image.SliceLocation, image.SliceThickness = f"{z:.4f}", f"{series.spacing_mm:.1f}"
        image.PixelSpacing = [f"{pixel_mm:.6f}", f"{pixel_mm:.6f}"]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.Rows, image.Columns = pixels.shape
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.PixelRepresentation = 1
        image.PixelData = pixels.tobytes()
        return image


def _written(data_set: Dataset, folder: str) -> DemoInstance:
    """Write a data set as a Part 10 file (PS3.10 7)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_UID
    meta.ImplementationVersionName = "DICOMWEB_ARCHIVE"
    data_set.file_meta = meta
    stream = io.BytesIO()
    data_set.save_as(stream, enforce_file_format=True)
    number = int(data_set.InstanceNumber)
    return DemoInstance(f"{folder}/{number:03d}.dcm", str(data_set.SOPInstanceUID), stream.getvalue())
