"""Samples of one native frame as an array, colour by pixel, each as it is stored (PS3.3 C.7.6.3.1)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.pixel_format import PixelFormat

Samples = npt.NDArray[Any]
"""Integers of shape (rows, columns), or (rows, columns, 3) for colours, as wide as Bits Allocated."""

_COLOURS = 3


def samples_of(frame: bytes, pixels: PixelFormat) -> tuple[Samples, str]:
    """Read a little endian frame of whole bytes, and name its colour space.

    Chrominance that two pixels share (YBR_FULL_422) is given to both, which makes it YBR_FULL.

    Raises:
        UndecodableError: the frame has another size than its attributes say.
    """
    if len(frame) < pixels.frame_bits // 8:
        message = "a frame is shorter than Rows, Columns and Samples per Pixel say"
        raise UndecodableError(message)
    kind = "i" if pixels.pixel_representation else "u"
    dtype = np.dtype(f"<{kind}{pixels.bits_allocated // 8}")
    samples = np.frombuffer(frame, dtype, pixels.frame_bits // pixels.bits_allocated)
    rows, columns = pixels.rows, pixels.columns
    colour = pixels.photometric_interpretation
    if colour == "YBR_FULL_422":
        return _with_all_chrominance(samples, rows, columns), "YBR_FULL"
    if pixels.samples_per_pixel == 1:
        return samples.reshape(rows, columns), colour
    if pixels.planar_configuration:
        planes = samples.reshape(_COLOURS, rows, columns)
        return np.ascontiguousarray(planes.transpose(1, 2, 0)), colour
    return samples.reshape(rows, columns, _COLOURS), colour


def _with_all_chrominance(samples: Samples, rows: int, columns: int) -> Samples:
    if columns % 2:
        message = "a frame of YBR_FULL_422 needs an even number of columns"
        raise UndecodableError(message)
    pairs = samples.reshape(-1, 4)
    pixels = np.empty((len(pairs), 2, _COLOURS), samples.dtype)
    pixels[:, :, 0] = pairs[:, :2]
    pixels[:, :, 1] = pairs[:, 2:3]
    pixels[:, :, 2] = pairs[:, 3:4]
    return pixels.reshape(rows, columns, _COLOURS)
