"""Encoding of frames, held against pydicom's own decoding: every layout in every transfer syntax, bit for bit."""

import io
import warnings
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from tests.pydicom_files import read

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.encode import (
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS_LOSSLESS,
    LOSSY_TARGETS,
    RLE_LOSSLESS,
    encodable_syntaxes,
    encode_frame,
)
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.imaging.transcode import to_compressed, to_explicit_little_endian

LOSSLESS = (HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS, JPEG_LOSSLESS)
WAVELETS = LOSSLESS[:3]


@dataclass(frozen=True)
class Layout:
    """How the pixels of a test image are stored."""

    colour: str = "MONOCHROME2"
    allocated: int = 8
    stored: int = 8
    signed: bool = False
    planar: bool = False
    frames: int = 1
    rows: int = 11
    columns: int = 14

    def __str__(self) -> str:
        planes = "-planar" if self.planar else ""
        return f"{self.colour}-{'i' if self.signed else 'u'}{self.stored}in{self.allocated}{planes}x{self.frames}"

    @property
    def samples(self) -> int:
        return 3 if self.colour in {"RGB", "YBR_FULL", "YBR_FULL_422"} else 1


def values_of(layout: Layout) -> npt.NDArray[Any]:
    """Draw any values of Bits Stored, the extremes among them; colour by pixel."""
    low = -(1 << (layout.stored - 1)) if layout.signed else 0
    high = low + (1 << layout.stored) - 1
    shape = (layout.frames, layout.rows, layout.columns, *((3,) if layout.samples == 3 else ()))
    values = np.random.default_rng(7).integers(low, high, shape, endpoint=True)
    values.flat[:2] = low, high
    return values.astype(f"<{'i' if layout.signed else 'u'}{layout.allocated // 8}")


def instance(layout: Layout, values: npt.NDArray[Any], *, big_endian: bool = False) -> bytes:
    """Store the values as a native instance."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3", "1.2.3.5"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = layout.rows, layout.columns, layout.samples
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = layout.colour, int(layout.signed)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = layout.allocated, layout.stored, layout.stored - 1
    dataset.NumberOfFrames = layout.frames
    if layout.samples == 3:
        dataset.PlanarConfiguration = int(layout.planar)
    if layout.planar:
        values = values.transpose(0, 3, 1, 2)
    if layout.colour == "YBR_FULL_422":
        pairs = values.reshape(-1, 2, 3)
        values = np.concatenate([pairs[:, :, 0], pairs[:, 0, 1:]], axis=1)
    if layout.colour == "PALETTE COLOR":
        for table in ("Red", "Green", "Blue"):
            dataset[f"{table}PaletteColorLookupTableDescriptor"] = dataset_element(table)
    dataset.PixelData = values.astype(values.dtype.newbyteorder(">") if big_endian else values.dtype).tobytes()
    dataset["PixelData"].VR = "OB" if layout.allocated == 8 and not big_endian else "OW"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dataset_element(table: str) -> Any:
    described = Dataset()
    setattr(described, f"{table}PaletteColorLookupTableDescriptor", [256, 0, 16])
    return described[f"{table}PaletteColorLookupTableDescriptor"]


def pixels_of(layout: Layout) -> PixelFormat:
    return PixelFormat(
        *(layout.rows, layout.columns, layout.samples, layout.allocated, layout.stored, int(layout.signed)),
        *(layout.colour, int(layout.planar), layout.frames),
    )


def decoded(data: bytes, **options: bool) -> npt.NDArray[Any]:
    """Decode with pydicom, colours as they are in the codestream or after its own reversible transform."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(pixel_array(read(data), raw=True, **options))


GREY = [
    Layout("MONOCHROME1" if stored == 8 else "MONOCHROME2", allocated, stored, signed)
    for allocated, stored, signed in [
        *product((8,), (1, 2, 5, 7, 8), (False, True)),
        *product((16,), (1, 8, 9, 10, 12, 15, 16), (False, True)),
    ]
    if not (signed and stored == 1)
]
COLOUR = [
    Layout("RGB"),
    Layout("RGB", planar=True),
    Layout("RGB", planar=True, frames=2),
    Layout("RGB", 8, 5),
    Layout("RGB", 16, 16),
    Layout("RGB", 16, 12, planar=True),
    Layout("YBR_FULL"),
    Layout("YBR_FULL", planar=True),
    Layout("PALETTE COLOR"),
    Layout("PALETTE COLOR", 16, 10),
    Layout(frames=3),
    Layout(rows=1, columns=1),
    Layout(rows=3, columns=1, allocated=16, stored=12),
    Layout(rows=301, columns=7, allocated=16, stored=12, signed=True),
]


def expected_targets(layout: Layout) -> set[str]:
    """Tell what PS3.5 8.2 and the encoders allow."""
    targets = set(LOSSLESS)
    if layout.stored < 8:
        targets.remove(JPEG_LOSSLESS)
    if layout.stored < 2 or layout.rows * layout.columns < 128:
        targets.remove(JPEG_LS_LOSSLESS)
    return targets


@pytest.mark.parametrize("layout", [*GREY, *COLOUR], ids=str)
def test_every_layout_comes_back_bit_for_bit_from_every_lossless_syntax(layout: Layout) -> None:
    values = values_of(layout)
    data = instance(layout, values)
    targets = set(encodable_syntaxes(pixels_of(layout), "")) - LOSSY_TARGETS
    assert targets == expected_targets(layout)
    expected = values if layout.frames > 1 else values[0]
    for target in targets:
        made = to_compressed(data, target)
        found = read(made)
        assert found.file_meta.TransferSyntaxUID == target
        colour = "YBR_RCT" if layout.colour == "RGB" and target in WAVELETS else layout.colour
        assert found.PhotometricInterpretation == colour
        if layout.samples == 3:
            assert found.PlanarConfiguration == int(target == RLE_LOSSLESS)
        assert (found.BitsAllocated, found.BitsStored) == (layout.allocated, layout.stored)
        assert "LossyImageCompression" not in found
        assert np.array_equal(decoded(made), expected), target
        # Once more through our own decoder, and what is not about pixels is as it was.
        assert read(to_explicit_little_endian(made)).StudyInstanceUID == "1.2.3"


@pytest.mark.parametrize("target", LOSSLESS)
def test_big_endian_and_shared_chrominance_come_back_as_pydicom_reads_them(target: str) -> None:
    layout = Layout(allocated=16, stored=12)
    values = values_of(layout)
    big = instance(layout, values, big_endian=True)
    assert np.array_equal(decoded(to_compressed(big, target)), values[0])
    shared = instance(Layout("YBR_FULL_422"), values_of(Layout("YBR_FULL_422")))
    made = to_compressed(shared, target)
    assert read(made).PhotometricInterpretation == "YBR_FULL"
    assert np.array_equal(decoded(made), decoded(shared))


def test_samples_that_use_more_than_bits_stored_are_kept_or_refused() -> None:
    layout = Layout(allocated=16, stored=12, signed=True)
    values = values_of(Layout(allocated=16, stored=16, signed=True))
    data = instance(layout, values)
    for target in LOSSLESS:
        if target in {JPEG_LS_LOSSLESS, JPEG_LOSSLESS}:
            with pytest.raises(UndecodableError, match="Bits Stored"):
                to_compressed(data, target)
        else:
            # pydicom would cut such samples when it reads them, native ones too.
            assert np.array_equal(decoded(to_compressed(data, target), correct_unused_bits=False), values[0])


@pytest.mark.parametrize(
    "changed",
    [{"bits_allocated": 1, "bits_stored": 1}, {"bits_allocated": 32, "bits_stored": 32}, {"bits_allocated": 64},
     {"samples_per_pixel": 4}, {"samples_per_pixel": 3}, {"photometric_interpretation": "YBR_PARTIAL_420"},
     {"photometric_interpretation": ""}, {"rows": 0}, {"columns": 2**16}, {"rows": -1}, {"pixel_representation": 2},
     {"bits_stored": 0}, {"bits_stored": 17}],
    ids=str,
)  # fmt: skip
def test_what_has_no_place_in_a_transfer_syntax_is_not_offered(changed: dict[str, Any]) -> None:
    pixels = PixelFormat(20, 20, 1, 16, 16, 0, "MONOCHROME2", 0, 1)._replace(**changed)
    assert encodable_syntaxes(pixels, "") == ()
    with pytest.raises(UndecodableError):
        encode_frame(bytes(800), "", pixels, HTJ2K_LOSSLESS)


def test_what_is_lossy_is_offered_where_its_codec_can() -> None:
    pixels = pixels_of(Layout(rows=40, columns=40))
    assert set(encodable_syntaxes(pixels, "")) >= LOSSY_TARGETS
    assert JPEG_BASELINE not in encodable_syntaxes(pixels._replace(bits_allocated=16, bits_stored=12), "")
    assert JPEG_2000 not in encodable_syntaxes(pixels._replace(rows=31), "")
    assert not LOSSY_TARGETS & set(encodable_syntaxes(pixels._replace(photometric_interpretation="PALETTE COLOR"), ""))


@pytest.mark.parametrize("target", sorted(LOSSY_TARGETS))
def test_loss_makes_another_instance_that_says_so(target: str) -> None:
    layout = Layout("RGB", rows=64, columns=64)
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype("u1")
    values = np.stack([ramp, 255 - ramp, ramp], axis=-1)[np.newaxis]
    data = instance(layout, values)
    made = to_compressed(data, target)
    assert made == to_compressed(data, target)
    found = read(made)
    assert found.SOPInstanceUID == found.file_meta.MediaStorageSOPInstanceUID != "1.2.3.4"
    assert found.SOPInstanceUID.startswith("2.25.")
    assert list(found.ImageType) == ["DERIVED", "PRIMARY", "OTHER"]
    assert found.LossyImageCompression == "01"
    assert float(found.LossyImageCompressionRatio) > 4
    assert found.LossyImageCompressionMethod == ("ISO_10918_1" if target == JPEG_BASELINE else "ISO_15444_1")
    assert found.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert found.DerivationCodeSequence[0].CodeValue == "113040"
    assert found.PhotometricInterpretation == ("YBR_FULL_422" if target == JPEG_BASELINE else "YBR_ICT")
    shown = np.asarray(pixel_array(found))
    assert np.abs(shown.astype(int) - values[0]).mean() < 3
    again = read(to_compressed(made, next(iter(LOSSY_TARGETS - {target}))))
    assert list(again.LossyImageCompressionMethod) != []
    assert len(again.LossyImageCompressionRatio) == 2


def test_frames_that_are_missing_are_not_made_up() -> None:
    layout = Layout(frames=3)
    data = instance(layout, values_of(layout))
    short = data.replace(b"IS\x02\x003 ", b"IS\x02\x004 ")
    assert short != data
    with pytest.raises(UndecodableError, match="fewer frames"):
        to_compressed(short, HTJ2K_LOSSLESS)
    with pytest.raises(UndecodableError, match="shorter"):
        encode_frame(b"x", "", pixels_of(layout), HTJ2K_LOSSLESS)
