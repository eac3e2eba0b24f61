"""One study with a series for each encoding, every picture of its own, and what each must look like."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import jpeg_ls
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from tests.browser import fingerprints
from tests.browser.fingerprints import COLUMNS, ROWS, Levels
from tests.browser.pictures import Picture, rendered
from tests.factories import ROOT, identified, image, part10
from tests.pydicom_files import bundled, read

CODESTREAM = Path(__file__).parent.parent / "data" / "fingerprint.jhc"
STUDY = f"{ROOT}.410"


@dataclass(frozen=True)
class Encoded:
    """An instance in an encoding.

    Attributes:
        name: the encoding, as a test's id and the series' description.
        data: its Part 10 file.
        picture: what a viewer shows of it.
    """

    name: str
    sop_instance_uid: str
    data: bytes
    picture: Picture


class _Made(NamedTuple):
    name: str
    dataset: Dataset
    transfer_syntax: str
    picture: Picture


def iter_encoded() -> Iterator[Encoded]:
    """Make the instances, one a series of the study."""
    made = (*_grey_images(), *_colour_images(), *(_others_image(name, file) for name, file in _OTHERS.items()))
    for number, (name, dataset, transfer_syntax, picture) in enumerate(made, start=1):
        dataset.update(_IDENTITY)
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{STUDY}.{number}", f"{STUDY}.{number}.1"
        dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = number, 1, name
        yield Encoded(name, dataset.SOPInstanceUID, part10(dataset, transfer_syntax), picture)


_IDENTITY = {
    "StudyInstanceUID": STUDY,
    "PatientID": "ENCODED",
    "PatientName": "Encoded^Pictures",
    "StudyDescription": "A series for each encoding",
    "Modality": "OT",
}
_OTHERS = {
    "JPEG 2000 colour": "examples_jpeg2k.dcm",
    "JPEG lossless": "SC_rgb_jpeg_gdcm.dcm",
}
"""What others have encoded; their pictures are pydicom's."""


def _grey_images() -> Iterator[_Made]:
    yield _grey("uncompressed", lambda levels: levels.astype("<u2").tobytes(), ExplicitVRLittleEndian)
    yield _grey("RLE", _rle, RLELossless)
    yield _grey("JPEG-LS", lambda levels: bytes(jpeg_ls.encode_array(levels)), JPEGLSLossless)
    yield _grey("JPEG 2000 lossless", _jpeg_2000, JPEG2000Lossless)
    yield _grey("JPEG 2000 lossy", lambda levels: _jpeg_2000(levels, compression_ratios=[10]), JPEG2000)
    # Nothing here encodes this one; its samples have 16 bits.
    made = _grey("HTJ2K", lambda _levels: CODESTREAM.read_bytes(), HTJ2KLossless)
    made.dataset.BitsStored, made.dataset.HighBit = 16, 15
    yield made


def _grey(name: str, encode: Callable[[Levels], bytes], transfer_syntax: UID) -> _Made:
    levels = fingerprints.grey(name)
    # A window over all levels, and stored values are the output units.
    shown = {"RescaleIntercept": "0", "WindowCenter": "2048", "WindowWidth": "4096"}
    dataset = image(rows=ROWS, columns=COLUMNS, **shown)
    _set_pixels(dataset, encode(levels), transfer_syntax)
    return _Made(name, dataset, transfer_syntax, levels / 4095)


def _jpeg_2000(levels: Levels, **options: Any) -> bytes:
    return encode_array(levels, bits_stored=12, photometric_interpretation=2, **options)


def _rle(levels: Levels) -> bytes:
    described: dict[str, Any] = {"number_of_frames": 1, "pixel_representation": 0, "planar_configuration": 0}
    described["rows"], described["columns"], *samples = levels.shape
    described["samples_per_pixel"] = 3 if samples else 1
    described["photometric_interpretation"] = "RGB" if samples else "MONOCHROME2"
    described["bits_allocated"] = described["bits_stored"] = 8 * levels.itemsize
    return get_encoder(RLELossless).encode(levels, **described)


def _colour_images() -> Iterator[_Made]:
    levels = fingerprints.colour("RLE colour")
    dataset = colour_image(PhotometricInterpretation="RGB")
    _set_pixels(dataset, _rle(levels), RLELossless)
    yield _Made("RLE colour", dataset, RLELossless, levels / 255)
    # As ultrasound machines do: YCbCr, colours at half the columns.
    name = "JPEG baseline colour"
    levels, stream = fingerprints.colour(name), BytesIO()
    Image.fromarray(levels).save(stream, format="JPEG", quality=90, subsampling="4:2:2")
    dataset = colour_image(PhotometricInterpretation="YBR_FULL_422")
    _set_pixels(dataset, stream.getvalue(), JPEGBaseline8Bit)
    yield _Made(name, dataset, JPEGBaseline8Bit, levels / 255)


def colour_image(**overrides: Any) -> Dataset:
    """Return the attributes of a Secondary Capture image of 3 x 8 bits, without pixels."""
    dataset = identified(sop_class=SecondaryCaptureImageStorage, Modality="OT", ConversionType="WSD")
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PixelRepresentation = 3, 0, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    for keyword, value in overrides.items():
        setattr(dataset, keyword, value)
    return dataset


def _others_image(name: str, file: str) -> _Made:
    dataset = read(bundled(file))
    return _Made(name, dataset, dataset.file_meta.TransferSyntaxUID, rendered(dataset))


def _set_pixels(dataset: Dataset, data: bytes, transfer_syntax: UID) -> None:
    is_encapsulated = transfer_syntax.is_encapsulated
    dataset.PixelData = encapsulate([data]) if is_encapsulated else data
    dataset["PixelData"].VR = "OB" if is_encapsulated else "OW"
    dataset["PixelData"].is_undefined_length = is_encapsulated
