"""Pixel arrays: native bytes of a frame as numbers, colours as RGB."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels.decoders.base import get_decoder

from dicomweb_archive.imaging.pixel_format import PixelFormat

Shown = npt.NDArray[np.uint8]
"""What is seen: grey of shape (rows, columns), or red, green and blue of shape (rows, columns, 3)."""

_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def native_array(data: bytes | memoryview, pixels: PixelFormat) -> npt.NDArray[Any]:
    """Read one native little endian frame: its planes, colour space, single bits and unused bits sorted out.

    Raises:
        ValueError, TypeError, AttributeError, NotImplementedError: the attributes do not describe an image.
    """
    plain_colours = (3, 8, 8, 0, "RGB", 0)
    if pixels[2:8] == plain_colours:
        # Hot path (benchmarks/rendered): pydicom takes a millisecond to find out that nothing is to be done.
        return np.frombuffer(data, np.uint8).reshape(pixels.rows, pixels.columns, 3)
    options: dict[str, Any] = pixels._replace(number_of_frames=1)._asdict()
    options |= {"as_rgb": True, "pixel_keyword": "PixelData", "pixel_vr": "OW"}
    if pixels.samples_per_pixel == 1:
        del options["planar_configuration"]
    array, _ = get_decoder(_EXPLICIT_VR_LITTLE_ENDIAN).as_array(data, index=0, **options)
    return array


def eight_bits(colours: npt.NDArray[Any], bits: int) -> Shown:
    """Return the 8 highest of `bits` bits of each sample."""
    return (colours >> (bits - 8) if bits > 8 else colours).astype(np.uint8)
