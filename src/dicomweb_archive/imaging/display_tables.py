"""Display tables: from the bits of a pixel to what is seen of it, kept for the neighbours that are shown alike."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from dicomweb_archive.imaging.display_elements import display_elements, parse_header
from dicomweb_archive.imaging.grey_scale import GreyTable, view_key, view_of_frame
from dicomweb_archive.imaging.picture import Window
from dicomweb_archive.imaging.pixel_arrays import Shown, eight_bits, native_array
from dicomweb_archive.imaging.pixel_format import PixelFormat

Table: TypeAlias = Callable[[npt.NDArray[Any]], Shown]
"""Takes the bits of each pixel, gives its grey, or its red, green and blue along a further axis."""

BITS: dict[int, np.dtype[Any]] = {8: np.dtype("<u1"), 16: np.dtype("<u2")}
"""Bits Allocated of images that have tables, and how their bits are read."""

# The table of a 16-bit image takes up to half a MiB.
_MOST_TABLES = 16


class DisplayTables:
    """Makes tables, and keeps the last ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, Table] = OrderedDict()

    def table(self, head: bytes, pixels: PixelFormat, number: int, window: Window | None) -> Table:
        """Return the table of frame `number`, from 1, of one sample a pixel and Bits Allocated in `BITS`.

        Args:
            head: the Part 10 file up to its pixel data.
            window: goes before the image's own.

        Raises:
            ValueError, TypeError, AttributeError, NotImplementedError, ArithmeticError: the attributes do not
                describe a picture.
        """
        form = pixels._replace(rows=0, columns=0, number_of_frames=1)
        elements = display_elements(head, number)
        if elements is None:
            return self._table_of_image(parse_header(head), form, number, window)
        return self._keep(
            (elements, form, window), lambda: self._table_of_image(elements.parse(), form, number, window)
        )

    def _table_of_image(self, image: Dataset, form: PixelFormat, number: int, window: Window | None) -> Table:
        if is_palette(image):
            return _ColourTable(eight_bits_of_palette(_every_value(form), image))
        view = view_of_frame(image, number)
        key = view_key(view)
        if key is None:
            return GreyTable(_every_value(form), view, window)
        # Frames of an enhanced image differ in their position and not in their window.
        return self._keep((key, form, window), lambda: GreyTable(_every_value(form), view, window))

    def _keep(self, key: object, make: Callable[[], Table]) -> Table:
        table = self._kept.get(key)
        if table is None:
            table = make()
            self._kept[key] = table
            if len(self._kept) > _MOST_TABLES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return table


class _ColourTable:
    def __init__(self, colours: Shown) -> None:
        self._colours = colours

    def __call__(self, bits: npt.NDArray[Any]) -> Shown:
        return np.take(self._colours, bits, axis=0)


def is_palette(image: Dataset) -> bool:
    """Tell whether stored values are entries of a palette (PS3.3 C.7.6.3.1.2)."""
    return str(image.get("PhotometricInterpretation", "")) == "PALETTE COLOR"


def eight_bits_of_palette(stored: npt.NDArray[Any], image: Dataset) -> Shown:
    """Return the colours of stored values (PS3.3 C.7.9)."""
    colours = apply_color_lut(stored, image)
    return eight_bits(colours, 16 if colours.dtype.itemsize == 2 else 8)


def _every_value(form: PixelFormat) -> npt.NDArray[Any]:
    """Return every value that a pixel may have, by its bits: as pydicom reads it, unused bits and sign included."""
    dtype = BITS[form.bits_allocated]
    side = 1 << form.bits_allocated // 2
    data = np.arange(side * side, dtype=dtype).tobytes()
    return native_array(data, form._replace(rows=side, columns=side)).reshape(-1)
