"""Where frames lie in the stored bytes of an instance (PS3.3 C.7.6.3, PS3.5 8.2 and A.4). Pure; holds no pixels."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dicomweb_archive.dicom.instance import Attributes, PixelData
from dicomweb_archive.errors import UndecodableError

_SAMPLES_PER_PIXEL = 0x00280002
_NUMBER_OF_FRAMES = 0x00280008
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_BITS_ALLOCATED = 0x00280100
_PLAIN_BITS = (1, 8, 16, 32, 64)
_MOST_FRAMES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """The attributes that say how native pixels are packed (PS3.3 C.7.6.3.1).

    Attributes:
        bits_allocated: bits of one sample; 1 packs eight pixels into a byte across rows and frames.
        frames: Number of Frames, 1 when absent.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    frames: int

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame."""
        return self.rows * self.columns * self.samples_per_pixel * self.bits_allocated


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """Where the bytes of one frame lie.

    Attributes:
        pieces: (offset, length) from the first byte of the file, in order; several for a fragmented frame.
        first_bit: of a native frame of 1-bit pixels, the bit of the first byte (0 is the lowest) where it begins.
        bits: length of a native frame in bits; 0 for an encapsulated one.
    """

    pieces: tuple[tuple[int, int], ...]
    first_bit: int = 0
    bits: int = 0

    @property
    def length(self) -> int:
        """Bytes of all pieces."""
        return sum(length for _, length in self.pieces)


def pixel_layout(attributes: Attributes) -> PixelLayout:
    """Read the image pixel attributes of an instance (PS3.3 C.7.6.3).

    Raises:
        UndecodableError: one is missing, no whole number, or out of range.
    """
    bits = _whole(attributes, _BITS_ALLOCATED, "Bits Allocated", most=64)
    if bits not in _PLAIN_BITS:
        raise UndecodableError("Bits Allocated is none of 1, 8, 16, 32, 64")
    return PixelLayout(
        rows=_whole(attributes, _ROWS, "Rows", most=0xFFFF),
        columns=_whole(attributes, _COLUMNS, "Columns", most=0xFFFF),
        samples_per_pixel=_whole(attributes, _SAMPLES_PER_PIXEL, "Samples per Pixel", most=0xFFFF, default=1),
        bits_allocated=bits,
        frames=frame_count(attributes),
    )


def frame_count(attributes: Attributes) -> int:
    """Return Number of Frames (0028,0008), 1 when absent or empty (PS3.3 C.7.6.6).

    Raises:
        UndecodableError: it is not a whole number from 1 on.
    """
    return _whole(attributes, _NUMBER_OF_FRAMES, "Number of Frames", most=_MOST_FRAMES, default=1)


def frame_spans(attributes: Attributes, pixel_data: PixelData, frames: Sequence[int]) -> list[FrameSpan]:
    """Locate frames, numbered from 1, in the bytes of an instance.

    Native frames follow each other without gap (PS3.5 8.2). Encapsulated ones are found by the Extended Offset
    Table, else the Basic Offset Table, else by counting: one fragment a frame, or all fragments for one frame
    (PS3.5 A.4).

    Raises:
        UndecodableError: the attributes and the pixel data do not fit each other.
        IndexError: a frame number is out of range.
    """
    count = frame_count(attributes)
    if any(not 1 <= number <= count for number in frames):
        raise IndexError("the instance has no such frame")
    if not pixel_data.encapsulated:
        layout = pixel_layout(attributes)
        return [_native_span(layout, pixel_data, number - 1) for number in frames]
    bounds = fragment_bounds(pixel_data, count)
    return [FrameSpan(pixel_data.fragments[bounds[n - 1] : bounds[n]]) for n in frames]


def _native_span(layout: PixelLayout, pixel_data: PixelData, index: int) -> FrameSpan:
    bits = layout.frame_bits
    begin, end = index * bits, (index + 1) * bits
    if (layout.frames * bits + 7) // 8 > pixel_data.length:
        raise UndecodableError("the pixel data are shorter than Rows, Columns and Number of Frames say")
    first_byte, first_bit = divmod(begin, 8)
    length = (end + 7) // 8 - first_byte
    return FrameSpan(((pixel_data.offset + first_byte, length),), first_bit, bits)


def fragment_bounds(pixel_data: PixelData, count: int) -> Sequence[int]:
    """Return the index of the fragment that each of `count` frames begins with, and of the end: ascending.

    Raises:
        UndecodableError: table and fragments do not tell the frames apart.
    """
    fragments = pixel_data.fragments
    if count == 1:
        # The fragments of a single frame all belong to it, whatever a table says.
        return [0, len(fragments)]
    if pixel_data.extended_offset_table:
        offsets = [offset for offset, _ in pixel_data.extended_offset_table]
        return _bounds_by_table(fragments, offsets, count)
    if pixel_data.basic_offset_table:
        return _bounds_by_table(fragments, pixel_data.basic_offset_table, count)
    if len(fragments) == count:
        return range(count + 1)
    raise UndecodableError("no offset table, and the number of fragments is not Number of Frames")


def _bounds_by_table(fragments: Sequence[tuple[int, int]], offsets: Sequence[int], count: int) -> list[int]:
    """Resolve offsets, which count from the first byte of the first fragment's item (PS3.5 A.4)."""
    if len(offsets) == count and fragments:
        first = fragments[0][0]
        starts = [start - first for start, _ in fragments]
        bounds = [bisect_left(starts, offset) for offset in offsets]
        is_exact = all(
            bound < len(starts) and starts[bound] == offset for bound, offset in zip(bounds, offsets, strict=True)
        )
        is_ascending = all(later > earlier for earlier, later in pairwise(bounds))
        if is_exact and is_ascending and bounds[0] == 0:
            return [*bounds, len(fragments)]
    if len(fragments) == count:
        # The table is wrong, yet one fragment a frame leaves no doubt.
        return list(range(count + 1))
    raise UndecodableError("the offset table does not fit the fragments")


def _whole(attributes: Attributes, tag: int, name: str, *, most: int, default: int | None = None) -> int:
    element = attributes.get(tag)
    if element is None or not element.values or element.values[0] in (None, ""):
        if default is None:
            raise UndecodableError(f"{name} is missing")
        return default
    value = element.values[0]
    if isinstance(value, str) and len(value) <= 12 and value.lstrip("+").isascii() and value.lstrip("+").isdigit():
        value = int(value)
    if not isinstance(value, int) or not 1 <= value <= most:
        raise UndecodableError(f"{name} is not a whole number from 1 to {most}")
    return value
