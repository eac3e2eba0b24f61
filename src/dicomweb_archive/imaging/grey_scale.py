"""Grey scale: stored values through modality and VOI transforms to what is shown (PS3.3 C.11.1, C.11.2; PS3.4 N.2).

The transforms are pydicom's. They are costly for a whole image and depend on the value of a pixel alone, so for
images of at most 16 bits they are done once for every value there can be, and the result is kept as a table:
the slices of a series mostly share one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing

from dicomweb_archive.imaging.picture import Window

Pixels = npt.NDArray[np.integer | np.floating]
Grey = npt.NDArray[np.uint8]
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_VIEW_KEYWORDS = (
    "PhotometricInterpretation",
    "BitsStored",
    "PixelRepresentation",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "SegmentationType",
    "MaximumFractionalValue",
)
_WINDOW_ENDS = (0.0, 2.0**16 - 1)


class GreyTable:
    """The grey of every value that a pixel can have.

    Args:
        stored: all stored values, so that the bits of a pixel are its index here.
        view: see `view_of_frame`.
    """

    def __init__(self, stored: Pixels, view: Dataset, window: Window | None) -> None:
        self._view = _windowed(view, window)
        self._values = _transformed(stored, self._view)
        self._range = _output_range(self._view)
        self._grey = None if self._range is None else to_grey(self._values, self._view, self._range)
        self._padding = _padding_among(stored, view) if self._range is None else None

    def __call__(self, bits: npt.NDArray[np.unsignedinteger]) -> Grey:
        """Return the grey of pixels, given as the bits that they are stored in."""
        return np.take(self._grey_of_frame(bits) if self._grey is None else self._grey, bits)

    def _grey_of_frame(self, bits: npt.NDArray[np.unsignedinteger]) -> Grey:
        """Without a window the frame itself says what is black and what is white."""
        held = np.zeros(self._values.shape, np.bool_)
        held[bits.reshape(-1)] = True
        values = self._values[held]
        padding = None if self._padding is None else self._padding[held]
        grey = np.zeros(held.shape, np.uint8)
        grey[held] = to_grey(values, self._view, _range_without(padding, values))
        return grey


def grey_of(stored: Pixels, view: Dataset, window: Window | None) -> Grey:
    """Return the grey of an image's stored values, pixel by pixel; what `GreyTable` is a short cut for."""
    shown = _windowed(view, window)
    values = _transformed(stored, shown)
    return to_grey(values, shown, _output_range(shown) or _range_without(_padding_among(stored, view), values))


def view_of_frame(image: Dataset, frame: int) -> Dataset:
    """Return the attributes that make grey of stored values, the frame's own before the shared ones (C.7.6.16).

    `frame` counts from 1; when the data set has but one item of per-frame groups it is that frame's.
    """
    view = Dataset()
    # Words of look-up tables are read in the image's byte order.
    view.set_original_encoding(*image.original_encoding)
    _take(image, view)
    shared = image.get("SharedFunctionalGroupsSequence") or []
    per_frame = image.get("PerFrameFunctionalGroupsSequence") or []
    own = per_frame[frame - 1 : frame] or (per_frame if len(per_frame) == 1 else [])
    for group in [*shared[:1], *own]:
        for sequence in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in (group.get(sequence) or [])[:1]:
                _take(item, view)
    if "RescaleSlope" not in view or "RescaleIntercept" not in view:
        view.pop("RescaleSlope", None)
        view.pop("RescaleIntercept", None)
    _mend_window(view)
    return view


def _take(source: Dataset, view: Dataset) -> None:
    for keyword in _VIEW_KEYWORDS:
        if keyword in source and source[keyword].value not in (None, ""):
            view[keyword] = source[keyword]


def _mend_window(view: Dataset) -> None:
    """Make the best of a window that cannot be (PS3.3 C.11.2.1.2, C.11.2.1.3): better a plain picture than none."""
    if str(view.get("VOILUTFunction", "LINEAR")).upper() not in _FUNCTIONS.values():
        view.pop("VOILUTFunction")
    widths = view["WindowWidth"] if "WindowCenter" in view and "WindowWidth" in view else None
    width = 0.0 if widths is None else float(widths.value[0] if widths.VM > 1 else widths.value)
    if not width > 0:
        view.pop("WindowCenter", None)
        view.pop("WindowWidth", None)
    elif width < 1 and str(view.get("VOILUTFunction", "LINEAR")).upper() == "LINEAR":
        # Of values between 0 and 1, as those of parametric maps; what was meant is plain.
        view.pop("VOILUTFunction", None)
        view.VOILUTFunction = "LINEAR_EXACT"


def view_key(view: Dataset) -> str | None:
    """Return a text that is the same for equal views; `None` for those with look-up tables, which are long."""
    if "ModalityLUTSequence" in view or "VOILUTSequence" in view:
        return None
    return repr([(element.keyword, element.value) for element in view])


def _windowed(view: Dataset, window: Window | None) -> Dataset:
    """Put the window that was asked for in the place of the view's own."""
    if window is None:
        return view
    shown = Dataset()
    shown.set_original_encoding(*view.original_encoding)
    shown.update(view)
    shown.WindowCenter, shown.WindowWidth, function = window
    shown.VOILUTFunction = _FUNCTIONS[function]
    shown.pop("VOILUTSequence", None)
    return shown


def _transformed(stored: Pixels, view: Dataset) -> Pixels:
    values = apply_modality_lut(stored, view)
    if "VOILUTSequence" in view:
        # A look-up table has whole numbers as its index; rescale gives floats.
        return apply_voi_lut(np.rint(values).astype(np.int32), view, prefer_lut=True)
    return apply_windowing(values, _window_alone(view)) if "WindowCenter" in view else values


def _window_alone(view: Dataset) -> Dataset:
    """Return a window for values that are through rescale already, and whose bits pydicom need not ask about.

    pydicom maps onto the range of the stored values after rescale; of float pixel data there is none.
    """
    window = Dataset()
    for keyword in ("PhotometricInterpretation", "WindowCenter", "WindowWidth", "VOILUTFunction"):
        if keyword in view:
            window[keyword] = view[keyword]
    window.BitsStored, window.PixelRepresentation = 16, 0
    return window


def _output_range(view: Dataset) -> tuple[float, float] | None:
    """Return what the VOI transform makes of black and white; `None` without one."""
    if "VOILUTSequence" in view:
        return 0.0, 2.0 ** int(view.VOILUTSequence[0].LUTDescriptor[2]) - 1
    if "WindowCenter" in view:
        return _WINDOW_ENDS
    if view.get("SegmentationType") == "FRACTIONAL" and "MaximumFractionalValue" in view:
        # What is certain is white in every frame of a fractional segmentation (PS3.3 C.8.20.2.3).
        return 0.0, float(view.MaximumFractionalValue)
    # Of a mask both values are known, also where a frame holds but one of them.
    return (0.0, 1.0) if view.get("BitsStored") == 1 else None


def _padding_among(stored: Pixels, view: Dataset) -> npt.NDArray[np.bool_] | None:
    """Tell which stored values stand for no measurement, and so say nothing of the range (PS3.3 C.7.5.1.1.2)."""
    ends = [view.get("PixelPaddingValue"), view.get("PixelPaddingRangeLimit", view.get("PixelPaddingValue"))]
    # The padding of a label map is its background, from which the first label has to stand out.
    if "SegmentationType" in view or not all(isinstance(end, int) for end in ends) or stored.dtype.kind == "f":
        return None
    bits = int(view.get("BitsStored", 8 * stored.dtype.itemsize))
    representation = int(view.get("PixelRepresentation", 0))
    # Written as US by many where SS is meant, so it is read as the pixels are: by its bits.
    low, high = sorted(_from_bits(int(end), bits, representation) for end in ends)
    return np.asarray((stored >= low) & (stored <= high))


def _from_bits(value: int, bits: int, representation: int) -> int:
    unsigned = value % (1 << bits)
    return unsigned - (1 << bits) if representation and unsigned >> (bits - 1) else unsigned


def _range_without(padding: npt.NDArray[np.bool_] | None, values: Pixels) -> tuple[float, float]:
    low, high = value_range(values)
    if padding is None or padding.all():
        return low, high
    inner = value_range(values[~padding])
    # What is of one value stands out from its padding at least.
    return inner if inner[0] < inner[1] else (low, high)


def value_range(values: Pixels) -> tuple[float, float]:
    """Return the least and the greatest value that is a number."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        finite = values[np.isfinite(values)]
        return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return low, high


def to_grey(values: Pixels, view: Dataset, ends: tuple[float, float]) -> Grey:
    """Map values to 0..255, from one end to the other; MONOCHROME1 is shown inverted (PS3.3 C.7.6.3.1.2)."""
    low, high = ends
    if high == low:
        grey: Any = np.zeros(values.shape, np.uint8)
    else:
        scaled = np.clip((np.nan_to_num(values.astype(np.float64), nan=low) - low) / (high - low), 0, 1)
        grey = np.rint(scaled * 255).astype(np.uint8)
    inverted = str(view.get("PhotometricInterpretation", "")) == "MONOCHROME1"
    return np.asarray(255 - grey if inverted else grey, np.uint8)
