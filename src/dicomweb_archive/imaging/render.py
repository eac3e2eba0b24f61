"""Pictures for the eye: one stored frame, decoded and through its transforms, to JPEG, PNG or GIF (PS3.18 8.3.5).

pydicom does what it does well (decoding, look-up tables, palettes, colour spaces); what a picture can do without is
left out: transforms are tables (`display_tables`), of the header a dozen elements are read (`display_elements`), and
what is shown small is decoded small where the codec can (`scaled_decode`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from dicomweb_archive.errors import InvalidParameterError, UndecodableError
from dicomweb_archive.imaging.decode import decode_frame
from dicomweb_archive.imaging.display_elements import parse_header
from dicomweb_archive.imaging.display_tables import BITS, DisplayTables, eight_bits_of_palette, is_palette
from dicomweb_archive.imaging.finishing import Box, PictureSource, finished
from dicomweb_archive.imaging.grey_scale import Pixels, grey_of, view_of_frame
from dicomweb_archive.imaging.picture import Picture
from dicomweb_archive.imaging.pixel_arrays import Shown, eight_bits, native_array
from dicomweb_archive.imaging.pixel_format import PixelFormat, check_pixel_format
from dicomweb_archive.imaging.scaled_decode import decode_scaled

__all__ = ["Picture", "StoredFrame", "render", "render_stored"]

_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_FLOATS: dict[int, np.dtype[Any]] = {0x7FE00008: np.dtype("<f4"), 0x7FE00009: np.dtype("<f8")}


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One frame as it lies in an instance, and what is needed to decode it.

    Attributes:
        data: the joined fragments of a compressed frame, or native little endian pixels.
        transfer_syntax_uid: of `data`; `None` when they are native.
        tag: of the pixel data element.
        number: from 1.
    """

    data: bytes | memoryview
    transfer_syntax_uid: str | None
    pixels: PixelFormat
    tag: int
    number: int


def render_stored(head: bytes, frame: StoredFrame, picture: Picture, tables: DisplayTables) -> bytes:
    """Render a stored frame; `head` is its Part 10 file up to the pixel data (PS3.18 10.4.1.1.3).

    Raises:
        InvalidParameterError: the region lies outside of the image.
        UndecodableError: the frame cannot be decoded or makes no picture.
    """
    pixels = check_pixel_format(frame.pixels)
    box = _box(picture, pixels.columns, pixels.rows)
    size = _size(picture, box)
    is_whole = box == (0, 0, pixels.columns, pixels.rows)
    source = PictureSource(partial(parse_header, head), frame.number, _codestream(frame))
    if is_whole and frame.transfer_syntax_uid is not None:
        scaled = decode_scaled(bytes(frame.data), frame.transfer_syntax_uid, pixels, size)
        if scaled is not None:
            with _attributes_may_make_no_picture():
                shown = scaled if scaled.ndim == 3 else _seen(scaled, head, frame, picture, tables)
            return finished(shown.astype(np.uint8, copy=False), None, size, picture, source)
    return finished(_shown(head, frame, picture, tables), None if is_whole else box, size, picture, source)


def render(pixels: Pixels, image: Dataset, picture: Picture, *, frame: int = 1) -> bytes:
    """Render `pixels`, one decoded frame of `image`: the plain way that `render_stored` has short cuts for.

    `pixels` has the shape (rows, columns) or (rows, columns, 3); three samples are RGB. `frame` counts from 1 and
    chooses the per-frame window of an enhanced image.

    Raises:
        InvalidParameterError: the region lies outside of the image.
        UndecodableError: the attributes do not describe a picture.
    """
    rows, columns = pixels.shape[:2]
    box = _box(picture, columns, rows)
    with _attributes_may_make_no_picture():
        shown = _plainly_seen(pixels, image, picture, frame)
    whole = box == (0, 0, columns, rows)
    return finished(shown, None if whole else box, _size(picture, box), picture, PictureSource(lambda: image, frame))


def _codestream(frame: StoredFrame) -> bytes:
    """Return a frame that may describe its own colours."""
    return bytes(frame.data) if frame.transfer_syntax_uid == _JPEG_BASELINE else b""


def _shown(head: bytes, frame: StoredFrame, picture: Picture, tables: DisplayTables) -> Shown:
    """Decode a frame and show it as large as it is."""
    pixels, data = frame.pixels, frame.data
    with _attributes_may_make_no_picture():
        if frame.tag in _FLOATS:
            floats: Pixels = np.frombuffer(data, _FLOATS[frame.tag]).reshape(pixels.rows, pixels.columns)
            return _plainly_seen(floats, parse_header(head), picture, frame.number)
        if frame.transfer_syntax_uid is not None:
            data, photometric_interpretation = decode_frame(bytes(data), frame.transfer_syntax_uid, pixels)
            pixels = pixels._replace(photometric_interpretation=photometric_interpretation, planar_configuration=0)
        if pixels.samples_per_pixel != 1:
            return eight_bits(native_array(data, pixels), pixels.bits_stored)
        if pixels.bits_allocated not in BITS:
            return _plainly_seen(native_array(data, pixels), parse_header(head), picture, frame.number)
        bits = np.frombuffer(data, BITS[pixels.bits_allocated]).reshape(pixels.rows, pixels.columns)
        return _seen(bits, head, frame, picture, tables)


def _seen(bits: npt.NDArray[Any], head: bytes, frame: StoredFrame, picture: Picture, tables: DisplayTables) -> Shown:
    return tables.table(head, frame.pixels, frame.number, picture.window)(bits)


def _plainly_seen(pixels: Pixels, image: Dataset, picture: Picture, frame: int) -> Shown:
    if pixels.ndim == 3:
        return eight_bits(pixels, int(image.get("BitsStored", 8)))
    if is_palette(image):
        return eight_bits_of_palette(pixels, image)
    return grey_of(pixels, view_of_frame(image, frame), picture.window)


@contextmanager
def _attributes_may_make_no_picture() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, AttributeError, NotImplementedError, ArithmeticError, LookupError) as error:
        message = "the attributes of this image do not allow it to be rendered"
        raise UndecodableError(message) from error


def _box(picture: Picture, columns: int, rows: int) -> Box:
    """Return the region as left, top, right and bottom in whole pixels."""
    x, y, width, height = picture.region
    if x >= columns or y >= rows:
        raise InvalidParameterError("viewport", accepted="a region that lies within the image")
    right = columns if width is None else min(columns, x + abs(width))
    bottom = rows if height is None else min(rows, y + abs(height))
    return int(x), int(y), max(int(x) + 1, round(right)), max(int(y) + 1, round(bottom))


def _size(picture: Picture, box: Box) -> tuple[int, int]:
    """Return the size in which the region fits into the viewport without changing its aspect ratio."""
    width, height = box[2] - box[0], box[3] - box[1]
    if picture.size is None:
        return width, height
    factor = min(picture.size[0] / width, picture.size[1] / height)
    if not picture.enlarge:
        factor = min(factor, 1)
    return max(1, round(width * factor)), max(1, round(height * factor))
