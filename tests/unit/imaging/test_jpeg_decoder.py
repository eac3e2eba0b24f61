"""Decoding of JPEG and JPEG XL where pydicom has no decoder: exact where the codestream is, near where it is not."""

import io
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom.encaps import generate_frames
from tests.pydicom_files import bundled, read

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.decode import decode_frame
from dicomweb_archive.imaging.pixel_format import PixelFormat

JPEG = "1.2.840.10008.1.2.4"
GREY = PixelFormat(20, 30, 1, 8, 8, 0, "MONOCHROME2", 0, 1)
COLOUR = GREY._replace(samples_per_pixel=3, photometric_interpretation="YBR_FULL_422")


def noise(pixels: PixelFormat) -> npt.NDArray[Any]:
    shape = (pixels.rows, pixels.columns, 3) if pixels.samples_per_pixel == 3 else (pixels.rows, pixels.columns)
    values = np.random.default_rng(3).integers(0, 1 << pixels.bits_stored, shape)
    return values.astype(f"<u{pixels.bits_allocated // 8}")


@pytest.mark.parametrize("syntax", [f"{JPEG}.53", f"{JPEG}.55"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_retired_progressive_images_are_what_another_decoder_makes_of_them(syntax: str, pixels: PixelFormat) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(pixels)).save(buffer, "JPEG", progressive=True, quality=90)
    native, colour = decode_frame(buffer.getvalue(), syntax, pixels)
    assert native == np.asarray(Image.open(buffer)).tobytes()
    assert colour == ("MONOCHROME2" if pixels is GREY else "RGB")


@pytest.mark.parametrize("name", ["JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_twelve_bits_are_decoded(name: str) -> None:
    dataset = read(bundled(name))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    pixels = PixelFormat(dataset.Rows, dataset.Columns, 1, 16, dataset.BitsStored, 0, "MONOCHROME2", 0, 1)
    native, _ = decode_frame(frame, str(dataset.file_meta.TransferSyntaxUID), pixels)
    values = np.frombuffer(native, "<u2").reshape(dataset.Rows, dataset.Columns)
    # The greatest value of this image is known from other toolkits to be near 260; its first row is empty.
    assert 250 < values.max() < 280
    assert values[0].max() < 10


@pytest.mark.parametrize("bits", [2, 7])
@pytest.mark.parametrize("signed", [0, 1])
def test_lossless_samples_of_few_bits_are_exact_and_have_their_sign(bits: int, signed: int) -> None:
    pixels = GREY._replace(bits_stored=bits, pixel_representation=signed)
    values = noise(pixels)
    frame = bytes(imagecodecs.jpeg8_encode(values, lossless=True, predictor=1, bitspersample=bits))
    expected = ((values << (8 - bits)).view("i1") >> (8 - bits)) if signed else values
    assert decode_frame(frame, f"{JPEG}.70", pixels)[0] == expected.tobytes()


@pytest.mark.parametrize(
    "pixels", [GREY, GREY._replace(bits_allocated=16, bits_stored=12), COLOUR], ids=["grey", "12", "colour"]
)
def test_jpeg_xl_is_exact(pixels: PixelFormat) -> None:
    values = noise(pixels)
    frame = bytes(imagecodecs.jpegxl_encode(values, lossless=True, bitspersample=pixels.bits_stored, numthreads=1))
    native, colour = decode_frame(frame, f"{JPEG}.110", pixels)
    assert native == values.tobytes()
    assert colour == ("RGB" if pixels is COLOUR else "MONOCHROME2")


def test_an_image_of_another_size_is_refused_before_room_is_made_for_it() -> None:
    frame = bytearray(imagecodecs.jpeg8_encode(noise(GREY), level=90))
    start = frame.index(b"\xff\xc0")
    frame[start + 5 : start + 9] = b"\xff\xdc\xff\xdc"
    for hostile in (bytes(frame), b"\xff\xd8" + b"\xff" * 5000, b"\xff\xd8\xff\xe0\0\0" * 99):
        with pytest.raises(UndecodableError, match="not the JPEG image"):
            decode_frame(hostile, f"{JPEG}.55", GREY)
    large = bytes(imagecodecs.jpegxl_encode(noise(GREY._replace(rows=21)), lossless=True, numthreads=1))
    with pytest.raises(UndecodableError):
        decode_frame(large, f"{JPEG}.110", GREY)
