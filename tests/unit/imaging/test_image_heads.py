"""Heads of images say the transfer syntax and the description that their encoders meant."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dicomweb_archive.dicom.status import CANNOT_UNDERSTAND, TRANSFER_SYNTAX_NOT_SUPPORTED
from dicomweb_archive.errors import InvalidInstanceError
from dicomweb_archive.imaging.encode import encode_frame
from dicomweb_archive.imaging.image_heads import SentImage, read_jpeg_2000_head, read_jpeg_head
from dicomweb_archive.imaging.pixel_format import PixelFormat

JPEG = "1.2.840.10008.1.2.4"
ROWS, COLUMNS = 33, 47
GREY = PixelFormat(ROWS, COLUMNS, 1, 16, 12, 0, "MONOCHROME2", 0, 1)
COLOUR = PixelFormat(ROWS, COLUMNS, 3, 8, 8, 0, "RGB", 0, 1)


def native(pixels: PixelFormat) -> bytes:
    kind = "<u2" if pixels.bits_allocated == 16 else "u1"
    values = np.arange(ROWS * COLUMNS * pixels.samples_per_pixel) * 7 % 2**pixels.bits_stored
    return values.astype(kind).tobytes()


def read(data: bytes) -> SentImage:
    reader = read_jpeg_head if data[:3] == b"\xff\xd8\xff" else read_jpeg_2000_head
    return reader(data[:4096], len(data))


@pytest.mark.parametrize("syntax", ["70", "80", "90", "91", "201"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_codestream_is_of_the_syntax_and_colours_that_it_was_encoded_in(syntax: str, pixels: PixelFormat) -> None:
    data, colours = encode_frame(native(pixels), "", pixels, f"{JPEG}.{syntax}")
    image = read(data)
    assert image.transfer_syntax_uid == f"{JPEG}.{syntax}"
    assert image.extent == (0, len(data))
    assert (image.rows, image.columns, image.samples) == (ROWS, COLUMNS, pixels.samples_per_pixel)
    assert image.bits == pixels.bits_stored
    assert image.photometric_interpretation == colours
    assert bool(image.method) == (syntax == "91")


JPEGS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "grey": ("L", {}, "50", "MONOCHROME2"),
    "full colours": ("RGB", {"subsampling": 0}, "50", "YBR_FULL"),
    "halved colours": ("RGB", {"subsampling": 1}, "50", "YBR_FULL_422"),
    "progressive": ("L", {"progressive": True}, "55", "MONOCHROME2"),
    "colours as they are": ("RGB", {"keep_rgb": True}, "50", "RGB"),
}


@pytest.mark.parametrize("case", JPEGS)
def test_a_jpeg_of_a_camera_is_told_by_its_marks(case: str) -> None:
    mode, options, syntax, colours = JPEGS[case]
    buffer = BytesIO()
    Image.new(mode, (COLUMNS, ROWS), 90 if mode == "L" else (90, 20, 10)).save(buffer, "JPEG", **options)
    image = read(buffer.getvalue())
    assert image.transfer_syntax_uid == f"{JPEG}.{syntax}"
    assert (image.photometric_interpretation, image.method) == (colours, "ISO_10918_1")
    assert (image.rows, image.columns, image.bits) == (ROWS, COLUMNS, 8)


def test_of_a_jp2_file_the_codestream_counts() -> None:
    data, _ = encode_frame(native(GREY), "", GREY, f"{JPEG}.90")
    head = bytes.fromhex("0000000c6a5020200d0a870a00000014667479706a703220000000006a703220")
    for length in (len(data) + 8, 0):
        image = read_jpeg_2000_head(head + length.to_bytes(4, "big") + b"jp2c" + data, len(head) + 8 + len(data))
        assert image.extent == (40, 40 + len(data))
        assert image.transfer_syntax_uid == f"{JPEG}.90"


def test_no_image_an_unfinished_one_and_strange_ones_are_refused() -> None:
    cmyk = BytesIO()
    Image.new("CMYK", (8, 8)).save(cmyk, "JPEG")
    huge = encode_frame(native(GREY), "", GREY, f"{JPEG}.90")[0].replace(COLUMNS.to_bytes(4), b"\x7f\xff\xff\xff", 1)
    for data, failure in (
        (b"", CANNOT_UNDERSTAND),
        (b"\xff\xd8\xff", TRANSFER_SYNTAX_NOT_SUPPORTED),
        (b"\xff\xd8\xff\xda\0\2", TRANSFER_SYNTAX_NOT_SUPPORTED),
        (b"\xff\xd8\xff\xc0\0\3\x08\xff\xda\0\2", CANNOT_UNDERSTAND),
        (b"\xff\xd8\xff\xc0\0\x08\x08\0\1\0\1\0\xff\xda\0\6\0\0\0\0", CANNOT_UNDERSTAND),
        (b"\xff\x4f\xff\x51" + bytes(10), CANNOT_UNDERSTAND),
        (bytes.fromhex("0000000c6a502020") + bytes(100), CANNOT_UNDERSTAND),
        (cmyk.getvalue(), TRANSFER_SYNTAX_NOT_SUPPORTED),
        (huge, TRANSFER_SYNTAX_NOT_SUPPORTED),
    ):
        with pytest.raises(InvalidInstanceError) as refused:
            read(data)
        assert refused.value.failure == failure
