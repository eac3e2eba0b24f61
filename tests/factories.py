"""Builds data sets and Part 10 files in code: no test needs a file that is not in the repository."""

import struct
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MRImageStorage,
)

ROOT = "1.2.826.0.1.3680043.10.1463"
NATIVE_SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def part10(
    dataset: Dataset,
    transfer_syntax: str = ExplicitVRLittleEndian,
    *,
    preamble: bytes = bytes(128),
    meta: dict[str, Any] | None = None,
) -> bytes:
    """Write a data set as a Part 10 file; `meta` adds or replaces file meta elements by keyword."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", f"{ROOT}.99")
    for keyword, value in (meta or {}).items():
        setattr(dataset.file_meta, keyword, value)
    dataset.preamble = preamble
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def pixels(rows: int, columns: int, *, seed: int = 0) -> bytes:
    """Return 16-bit grey pixels that differ by seed."""
    return struct.pack(f"<{rows * columns}H", *((i * 7 + seed * 131) % 4096 for i in range(rows * columns)))


def identified(
    *, study: int = 1, series: int = 1, instance: int = 1, sop_class: str = CTImageStorage, **overrides: Any
) -> Dataset:
    """Return a data set with identifiers and a patient, without pixels; `overrides` by keyword."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = f"{ROOT}.{study}.{series}.{instance}"
    dataset.StudyDate = "20240131"
    dataset.StudyTime = "101500"
    dataset.AccessionNumber = f"A{study:05d}"
    dataset.Modality = "MR" if sop_class == MRImageStorage else "CT"
    dataset.ReferringPhysicianName = "Refer^Ring"
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = f"P{study:05d}"
    dataset.PatientBirthDate = "19700102"
    dataset.PatientSex = "F"
    dataset.StudyInstanceUID = f"{ROOT}.{study}"
    dataset.SeriesInstanceUID = f"{ROOT}.{study}.{series}"
    dataset.StudyID = str(study)
    dataset.SeriesNumber = series
    dataset.InstanceNumber = instance
    for keyword, value in overrides.items():
        setattr(dataset, keyword, value)
    return dataset


def image(
    *, rows: int = 16, columns: int = 16, study: int = 1, series: int = 1, instance: int = 1, **overrides: Any
) -> Dataset:
    """Return a small CT image (or MR by `sop_class`) with nested sequences and private elements."""
    dataset = identified(study=study, series=series, instance=instance)
    dataset.Manufacturer = "Phantom Works"
    dataset.StudyDescription = "HEAD^ROUTINE"
    dataset.SeriesDescription = "Axial 5 mm"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SliceThickness = "5.0"
    dataset.KVP = "120"
    dataset.ImagePositionPatient = [0, 0, 5 * instance]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.FrameOfReferenceUID = f"{ROOT}.{study}.{series}.0"
    dataset.SliceLocation = str(5.0 * instance)
    code = Dataset()
    code.CodeValue = "24725-4"
    code.CodingSchemeDesignator = "LN"
    code.CodeMeaning = "CT Head"
    dataset.ProcedureCodeSequence = Sequence([code])
    block = dataset.private_block(0x0019, "PHANTOM_01", create=True)
    block.add_new(0x02, "SL", 708 + instance)
    block.add_new(0x23, "DS", "0.0")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = rows
    dataset.Columns = columns
    dataset.PixelSpacing = ["0.5", "0.5"]
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter = "40"
    dataset.WindowWidth = "400"
    dataset.RescaleIntercept = "-1024"
    dataset.RescaleSlope = "1"
    dataset.PixelData = pixels(rows, columns, seed=instance)
    for keyword, value in overrides.items():
        setattr(dataset, keyword, value)
    return dataset


def ct_series(
    instances: int = 3,
    rows: int = 16,
    columns: int = 16,
    *,
    study: int = 1,
    series: int = 1,
    transfer_syntax: str = ExplicitVRLittleEndian,
    **overrides: Any,
) -> list[bytes]:
    """Return the Part 10 files of a CT series; `overrides` by keyword hold for each instance."""
    return [
        part10(
            image(rows=rows, columns=columns, study=study, series=series, instance=number, **overrides),
            transfer_syntax,
        )
        for number in range(1, instances + 1)
    ]


def mr_series(instances: int = 3, rows: int = 16, columns: int = 16, **overrides: Any) -> list[bytes]:
    """Return the Part 10 files of an MR series; see `ct_series`."""
    return ct_series(
        instances, rows, columns, **{"SOPClassUID": MRImageStorage, "Modality": "MR", "KVP": None, **overrides}
    )


def encapsulated(
    frames: list[bytes],
    *,
    fragments_per_frame: int = 1,
    has_basic_offset_table: bool = True,
    extended: bool = False,
    transfer_syntax: str = JPEGBaseline8Bit,
    **overrides: Any,
) -> bytes:
    """Return a multi-frame instance with encapsulated pixel data; the frames may be any bytes."""
    dataset = image(**overrides)
    dataset.NumberOfFrames = len(frames)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    if extended:
        data, offsets, lengths = encapsulate_extended(frames)
        dataset.ExtendedOffsetTable = offsets
        dataset.ExtendedOffsetTableLengths = lengths
        dataset.PixelData = data
    else:
        dataset.PixelData = encapsulate(frames, fragments_per_frame=fragments_per_frame, has_bot=has_basic_offset_table)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return part10(dataset, transfer_syntax)


def nested(depth: int, *, undefined_length: bool = False, **overrides: Any) -> Dataset:
    """Return a data set whose Content Sequence holds itself `depth` times."""
    inner = Dataset()
    inner.CodeMeaning = "innermost"
    for _ in range(depth):
        outer = Dataset()
        outer.ContentSequence = Sequence([inner])
        outer["ContentSequence"].is_undefined_length = undefined_length
        inner.is_undefined_length_sequence_item = undefined_length
        inner = outer
    dataset = identified(**overrides)
    dataset.update(inner)
    return dataset
