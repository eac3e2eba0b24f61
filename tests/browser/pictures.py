"""What a picture should look like, by pydicom and numpy, and how alike two pictures are.

A picture is an array of rows and columns, 0 black to 1 white, with a third axis of red, green and blue for colour.
"""

import base64
import io
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

Picture: TypeAlias = NDArray[np.float64]

# Pictures are compared on a small grid: what the viewer's interpolation and a pixel of margin change must not count.
_GRID = 64
ALIKE = 0.97
UNLIKE_BY = 0.02


def windowed(values: NDArray[Any], centre: float, width: float) -> Picture:
    """Map values to grey by the linear function of window centre and width (PS3.3 C.11.2.1.2.1)."""
    return np.clip((values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5, 0, 1).astype(np.float64)


def rendered(data_set: Dataset, frame: int = 1) -> Picture:
    """Render a frame as its metadata asks: modality LUT, first window, photometric interpretation.

    Without a window the frame's own range is shown, as the viewer does.
    """
    pixels = data_set.pixel_array
    if int(data_set.get("NumberOfFrames") or 1) > 1:
        pixels = pixels[frame - 1]
    if data_set.SamplesPerPixel == 3:
        return (pixels / (2.0**data_set.BitsStored - 1)).astype(np.float64)
    values = np.asarray(apply_modality_lut(pixels, data_set), dtype=np.float64)
    if "WindowCenter" in data_set:
        picture = windowed(values, _first(data_set.WindowCenter), _first(data_set.WindowWidth))
    else:
        picture = (values - values.min()) / max(float(np.ptp(values)), 1e-6)
    return 1 - picture if data_set.PhotometricInterpretation == "MONOCHROME1" else picture


def decoded(data_url: str, *, only_opaque: bool = False) -> Picture:
    """Read a picture from a `data:` URL, in colour; on request cut to what is not transparent."""
    return read_png(base64.b64decode(data_url.partition(",")[2]), only_opaque=only_opaque)


def read_png(data: bytes, *, only_opaque: bool = False) -> Picture:
    """Read a picture from a PNG, in colour; on request cut to what is not transparent."""
    image = Image.open(io.BytesIO(data))
    if only_opaque:
        image = image.crop(image.getchannel("A").getbbox() or (0, 0, 1, 1))
    return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def likeness(shown: Picture, expected: Picture) -> float:
    """Return the normalised correlation of two pictures of the same scene: 1 the same, 0 nothing in common."""
    one, other = _on_grid(shown), _on_grid(expected)
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / size) if size > 0 else 0.0


def assert_shown(shown: Picture, expected: Picture, others: Iterable[Picture] = ()) -> None:
    """Hold a shown picture to the expected one, and hold that it is none of the others.

    The others are the negative control: without them any grey blob would do.
    """
    alike = likeness(shown, expected)
    assert alike >= ALIKE, f"the picture shown is not the expected one: likeness {alike:.3f}"
    for number, other in enumerate(others):
        unlike = likeness(shown, other)
        assert unlike <= alike - UNLIKE_BY, f"the picture shown is as much like other {number}: {unlike:.3f}"


def _on_grid(picture: Picture) -> Picture:
    """Shrink a picture to the grid, as colour."""
    if picture.ndim == 2:
        picture = np.stack([picture] * 3, axis=-1)
    image = Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.resize((_GRID, _GRID), Image.Resampling.BOX), dtype=np.float64) / 255


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value)
