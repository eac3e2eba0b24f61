"""Pixel data against the attributes that describe them (PS3.3 C.7.6.3, PS3.5 8.2 and A.4)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from dicomweb_archive.checks.findings import Remark, Severity
from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.instance import Attributes, Element, PixelData

_SAMPLES: Final = 0x00280002
_PHOTOMETRIC: Final = 0x00280004
_FRAMES: Final = 0x00280008
_ROWS: Final = 0x00280010
_COLUMNS: Final = 0x00280011
_BITS_ALLOCATED: Final = 0x00280100
_PROVIDER_URL: Final = 0x00287FE0

SHAPE_TAGS: Final = frozenset({_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS_ALLOCATED, _PROVIDER_URL})
"""The attributes that decide how long pixel data are."""

_FLOAT_BITS: Final = {tags.FLOAT_PIXEL_DATA: 32, tags.DOUBLE_FLOAT_PIXEL_DATA: 64}
# MPEG-2, MPEG-4 AVC and HEVC: a stream of all frames, cut into fragments anywhere (PS3.5 8.2.5 and following).
_VIDEO: Final = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)) | frozenset(
    f"1.2.840.10008.1.2.4.{number}.1" for number in range(100, 107)
)
_JPIP: Final = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (94, 95, 204, 205))

_SHARED_CHROMINANCE: Final = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})
_PATH: Final = "7FE00010"


class PixelShape(NamedTuple):
    """What the Image Pixel attributes say; -1 stands for what is no number."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    photometric_interpretation: str
    frames: int

    @property
    def describes_pixels(self) -> bool:
        """Tell whether there are such images at all."""
        return self.rows > 0 and self.columns > 0 and self.samples > 0 and self.bits_allocated > 0 and self.frames > 0

    def native_bytes(self) -> int:
        """Return how long native pixel data are, without the byte that makes it even (PS3.5 8.1.1)."""
        # Two chrominance samples are shared by two pixels (PS3.3 C.7.6.3.1.2).
        samples = 2 if self.photometric_interpretation in _SHARED_CHROMINANCE else self.samples
        return (self.rows * self.columns * samples * self.bits_allocated * self.frames + 7) // 8


def shape_of(attributes: Attributes, pixel_tag: int = tags.PIXEL_DATA) -> PixelShape:
    """Take the shape from an instance's attributes."""
    get = attributes.get
    return PixelShape(
        rows=_number(get(_ROWS), 0),
        columns=_number(get(_COLUMNS), 0),
        samples=_number(get(_SAMPLES), 1),
        bits_allocated=_FLOAT_BITS.get(pixel_tag) or _number(get(_BITS_ALLOCATED), 0),
        photometric_interpretation=_text(get(_PHOTOMETRIC)),
        frames=_number(get(_FRAMES), 1),
    )


def judge_pixel_length(shape: PixelShape, pixels: PixelData | None, transfer_syntax_uid: str) -> Iterator[Remark]:
    """Compare the length of native pixel data, or the fragments of encapsulated ones, with the shape."""
    if pixels is None:
        if shape.rows > 0 and shape.columns > 0 and transfer_syntax_uid not in _JPIP:
            yield Remark(Severity.WARN, "Rows and Columns describe an image, and there are no pixel data", _PATH)
        return
    if not shape.describes_pixels:
        yield Remark(
            Severity.BLOCK,
            "the Image Pixel attributes do not describe the pixel data: Rows, Columns, Samples per Pixel, "
            "Bits Allocated or Number of Frames is missing or impossible",
            _PATH,
        )
    elif pixels.encapsulated:
        yield from _judge_fragments(shape, pixels, transfer_syntax_uid)
    else:
        yield from _judge_native(shape.native_bytes(), pixels.length)


def _judge_native(expected: int, length: int) -> Iterator[Remark]:
    if length < expected:
        yield Remark(Severity.BLOCK, "pixel data are shorter than the Image Pixel attributes say", _PATH)
    elif length > expected + (expected & 1):
        yield Remark(Severity.WARN, "pixel data are longer than the Image Pixel attributes say", _PATH)


def _judge_fragments(shape: PixelShape, pixels: PixelData, transfer_syntax_uid: str) -> Iterator[Remark]:
    count = len(pixels.fragments)
    if not any(length for _, length in pixels.fragments):
        yield Remark(Severity.BLOCK, "encapsulated pixel data hold no bytes", _PATH)
    elif transfer_syntax_uid in _VIDEO:
        return
    elif count < shape.frames:
        yield Remark(Severity.BLOCK, "encapsulated pixel data have fewer fragments than frames", _PATH)
    elif count > shape.frames > 1 and not _table_fits(shape.frames, pixels):
        yield Remark(Severity.WARN, "no offset table tells which fragments belong to which frame", _PATH)


def _table_fits(frames: int, pixels: PixelData) -> bool:
    return frames in (len(pixels.extended_offset_table), len(pixels.basic_offset_table))


def _number(element: Element | None, default: int) -> int:
    value = element.values[0] if element is not None and element.values else None
    if value is None or value == "":
        return default
    if isinstance(value, int | float | str):
        try:
            return int(value)
        except (ValueError, OverflowError):
            return -1
    return -1


def _text(element: Element | None) -> str:
    value = element.values[0] if element is not None and element.values else None
    return value.strip() if isinstance(value, str) else ""
