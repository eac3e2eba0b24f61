"""Decoding of single frames, bit for bit what pydicom makes of the whole file."""

import warnings
import zlib
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from pydicom.encaps import generate_frames
from tests.pydicom_files import bundled, bundled_names, read

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.errors import InvalidInstanceError, UndecodableError
from dicomweb_archive.imaging.decode import DECODABLE_SYNTAXES, DEFLATED_IMAGE_FRAME, decode_frame
from dicomweb_archive.imaging.frames import fragment_bounds
from dicomweb_archive.imaging.pixel_format import PixelFormat, pixel_format_of

# pydicom has no codec for 12-bit JPEG; broken on purpose; pydicom fails to correct the sign of the last one in place.
UNDECODABLE = {"JPEG-lossy.dcm", "JPGExtended.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}
UNDECODABLE |= {"J2K_pixelrep_mismatch.dcm"}
GREY = PixelFormat(2, 3, 1, 8, 8, 0, "MONOCHROME2", 0, 1)


def encapsulated() -> list[str]:
    names = []
    for name in bundled_names():
        data = bundled(name)
        # Files that lack identifiers cannot be in the archive.
        with suppress(InvalidInstanceError):
            scanned = scan(data)
            if scanned.pixel_data and scanned.pixel_data.encapsulated and name not in UNDECODABLE:
                names.append(name)
    return names


@pytest.mark.parametrize("name", encapsulated())
def test_every_frame_is_what_pydicom_decodes(name: str) -> None:
    data = bundled(name)
    scanned = scan(data)
    assert scanned.pixel_data is not None
    pixels = pixel_format_of(scanned.attributes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = read(data)
        whole = dataset.pixel_array
        expected = whole.astype(whole.dtype.newbyteorder("<")).tobytes()
        bounds = pairwise(fragment_bounds(scanned.pixel_data, pixels.number_of_frames))
        frames = [scanned.pixel_data.fragments[begin:end] for begin, end in bounds]
        stored = [b"".join(data[offset : offset + length] for offset, length in frame) for frame in frames]
        theirs = generate_frames(dataset.PixelData, number_of_frames=pixels.number_of_frames)
        assert stored == list(theirs)[: len(stored)]
        decoded = [decode_frame(frame, scanned.transfer_syntax_uid, pixels) for frame in stored]
    assert b"".join(frame for frame, _ in decoded) == expected
    if "YBR" in pixels.photometric_interpretation:
        assert {colour for _, colour in decoded} == {"RGB"}


def test_deflated_frames_are_inflated_within_bounds() -> None:
    def deflated(data: bytes) -> bytes:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return packer.compress(data) + packer.flush()

    assert decode_frame(deflated(b"abcdef"), DEFLATED_IMAGE_FRAME, GREY)[0] == b"abcdef"
    for wrong in (deflated(b"abcde"), deflated(bytes(10_000_000)), b"\xff\xff", b""):
        with pytest.raises(UndecodableError):
            decode_frame(wrong, DEFLATED_IMAGE_FRAME, GREY)


def test_single_bits_in_rle_are_those_that_were_packed() -> None:
    pixels = PixelFormat(5, 7, 1, 1, 1, 0, "MONOCHROME2", 0, 1)
    head = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    native = b"\xa5\xa5\xa5\x0f\x03"
    runs = b"\xfe\xa5\x01\x0f\x03"
    assert decode_frame(head + runs + b"\x80", "1.2.840.10008.1.2.5", pixels)[0] == native
    for wrong in (head + runs[:2], head + b"\x81\xa5" * 3, runs, bytes(64) + runs):
        with pytest.raises(UndecodableError, match="single bits"):
            decode_frame(wrong, "1.2.840.10008.1.2.5", pixels)


@pytest.mark.parametrize("syntax", sorted(DECODABLE_SYNTAXES))
@pytest.mark.parametrize("frame", [b"", b"\0", b"\xff\xd8\xff\xd9", bytes(1000), b"\xff\x4f\xff\x51" + bytes(60)])
def test_garbage_is_refused(syntax: str, frame: bytes) -> None:
    with pytest.raises(UndecodableError):
        decode_frame(frame, syntax, GREY)


@pytest.mark.parametrize(
    "changed",
    [{"rows": 0}, {"rows": -1}, {"rows": 2**31}, {"bits_allocated": 0}, {"bits_allocated": 12}, {"bits_stored": 9},
     {"samples_per_pixel": 2}, {"number_of_frames": 2**31}],
    ids=str,
)  # fmt: skip
def test_impossible_attributes_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(UndecodableError, match="Image Pixel attributes"):
        decode_frame(b"x", "1.2.840.10008.1.2.5", GREY._replace(**changed))


def test_a_frame_of_another_size_is_refused() -> None:
    data = bundled("MR_small_jp2klossless.dcm")
    scanned = scan(data)
    assert scanned.pixel_data is not None
    pixels = pixel_format_of(scanned.attributes())
    offset, length = scanned.pixel_data.fragments[0]
    with pytest.raises(UndecodableError):
        decode_frame(data[offset : offset + length], scanned.transfer_syntax_uid, pixels._replace(rows=63))


def test_samples_are_as_wide_as_bits_allocated_says() -> None:
    data = bundled("MR_small_jp2klossless.dcm")
    scanned = scan(data)
    assert scanned.pixel_data is not None
    pixels = pixel_format_of(scanned.attributes())
    offset, length = scanned.pixel_data.fragments[0]
    narrow, _ = decode_frame(data[offset : offset + length], scanned.transfer_syntax_uid, pixels)
    wide, _ = decode_frame(
        data[offset : offset + length], scanned.transfer_syntax_uid, pixels._replace(bits_allocated=32)
    )
    assert np.array_equal(np.frombuffer(narrow, "<i2"), np.frombuffer(wide, "<i4"))
