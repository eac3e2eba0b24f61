"""The Image Pixel attributes that say how frames are laid out (PS3.3 C.7.6.3)."""

from dataclasses import dataclass
from typing import NamedTuple

from dicomweb_archive.dicom.instance import Attributes, Value
from dicomweb_archive.errors import UndecodableError

IMAGE_PIXEL_TAGS = (
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280103,
)  # fmt: skip
"""The attributes that `pixel_format_of` looks at."""

_FLOAT_PIXEL_DATA = {0x7FE00008: 32, 0x7FE00009: 64}
_MOST_FRAMES = 2**31 - 1


class PixelFormat(NamedTuple):
    """How the frames of an instance are laid out; a tuple of plain values, so that it is kept as JSON.

    `number_of_frames` is 1 where the attribute is absent or empty; `photometric_interpretation` is that of the
    stored, possibly compressed, pixels.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    photometric_interpretation: str
    planar_configuration: int
    number_of_frames: int

    @property
    def frame_bits(self) -> int:
        """Size of one uncompressed frame in bits; frames of single bits need not end on a byte (PS3.5 8.1.1)."""
        samples: float = self.samples_per_pixel
        if self.photometric_interpretation == "YBR_FULL_422":
            # Two chrominance samples are shared by two pixels (PS3.3 C.7.6.3.1.2).
            samples = 2
        return int(self.rows * self.columns * samples * self.bits_allocated)

    @property
    def decoded_frame_bytes(self) -> int:
        """Size of one frame as `imaging.decode` returns it, in bytes."""
        return (self.rows * self.columns * self.samples_per_pixel * self.bits_allocated + 7) // 8


@dataclass(frozen=True, slots=True)
class _Reader:
    attributes: Attributes

    def number(self, tag: int, default: int) -> int:
        value = self.first(tag)
        if value is None or value == "":
            return default
        if isinstance(value, int | float | str):
            try:
                return int(value)
            except (ValueError, OverflowError):
                return -1
        return -1

    def text(self, tag: int) -> str:
        value = self.first(tag)
        return value.strip() if isinstance(value, str) else ""

    def first(self, tag: int) -> Value:
        element = self.attributes.get(tag)
        return element.values[0] if element is not None and element.values else None

    def format(self, pixel_tag: int) -> PixelFormat:
        bits = _FLOAT_PIXEL_DATA.get(pixel_tag) or self.number(0x00280100, 0)
        return PixelFormat(
            rows=self.number(0x00280010, 0),
            columns=self.number(0x00280011, 0),
            samples_per_pixel=self.number(0x00280002, 1),
            bits_allocated=bits,
            bits_stored=self.number(0x00280101, bits),
            pixel_representation=self.number(0x00280103, 0),
            photometric_interpretation=self.text(0x00280004),
            planar_configuration=self.number(0x00280006, 0),
            number_of_frames=max(self.number(0x00280008, 1), 1),
        )


def pixel_format_of(attributes: Attributes, pixel_tag: int = 0x7FE00010) -> PixelFormat:
    """Take the format from an instance's attributes; values that make no sense stay, see `check_pixel_format`."""
    return _Reader(attributes).format(pixel_tag)


def check_pixel_format(pixels: PixelFormat) -> PixelFormat:
    """Return the format when it describes an image that can exist.

    Raises:
        UndecodableError: rows, columns, samples, bits or frames are missing or absurd.
    """
    plausible = (
        0 < pixels.rows <= 0xFFFF
        and 0 < pixels.columns <= 0xFFFF
        and pixels.samples_per_pixel in (1, 3, 4)
        and pixels.bits_allocated in (1, 8, 16, 32, 64)
        and 0 < pixels.bits_stored <= pixels.bits_allocated
        and pixels.pixel_representation in (0, 1)
        and pixels.planar_configuration in (0, 1)
        and pixels.number_of_frames <= _MOST_FRAMES
    )
    if not plausible:
        message = (
            "the Image Pixel attributes do not describe frames: "
            "Rows, Columns, Samples per Pixel, Bits Allocated or Bits Stored is missing or impossible"
        )
        raise UndecodableError(message)
    return pixels
