"""Image Pixel attributes that describe no image that can exist."""

import pytest

from dicomweb_archive.dicom.instance import Element, PixelData
from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.native import native_frame_range
from dicomweb_archive.imaging.pixel_format import pixel_format_of

ROWS, COLUMNS, BITS, SAMPLES, FRAMES = 0x00280010, 0x00280011, 0x00280100, 0x00280002, 0x00280008


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({ROWS: 65535, COLUMNS: 65535}, id="far-too-few-bytes"),
        pytest.param({ROWS: 2**31}, id="rows-beyond-16-bits"),
        pytest.param({ROWS: 0}, id="no-rows"),
        pytest.param({ROWS: None}, id="rows-missing"),
        pytest.param({ROWS: "many"}, id="text-rows"),
        pytest.param({FRAMES: str(2**31)}, id="more-than-most-frames"),
        pytest.param({BITS: 0}, id="no-bits"),
        pytest.param({BITS: 12}, id="odd-bits"),
        pytest.param({SAMPLES: 65535}, id="too-many-samples"),
    ],
)
def test_impossible_dimensions_are_undecodable(changes: dict[int, int | str | None]) -> None:
    values: dict[int, int | str | None] = {ROWS: 2, COLUMNS: 4, BITS: 16, **changes}
    attributes = {tag: Element("US", b"", (value,)) for tag, value in values.items()}
    with pytest.raises(UndecodableError):
        native_frame_range(PixelData(0x7FE00010, "OW", 1000, 16), pixel_format_of(attributes), 1)


@pytest.mark.parametrize("value", ["-5", "0", "many", "1" * 30_000, "²", None])
def test_a_number_of_frames_that_is_none_counts_as_one(value: str | None) -> None:
    assert pixel_format_of({FRAMES: Element("IS", b"", (value,))}).number_of_frames == 1
