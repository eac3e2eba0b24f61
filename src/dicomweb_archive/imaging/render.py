"""Pictures for the eye: one decoded frame through modality, VOI and colour transforms to JPEG or PNG.

pydicom does what it does well (decoding, look-up tables, palettes, colour spaces); this file adds what a rendered
resource asks for: the frame's own window of a multi-frame image, region, viewport and encoding (PS3.18 8.3.5).
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import (
    apply_color_lut,
    apply_modality_lut,
    apply_presentation_lut,
    apply_voi_lut,
    apply_windowing,
)

from dicomweb_archive.errors import InvalidParameterError, UndecodableError
from dicomweb_archive.imaging.decode import decode_frame
from dicomweb_archive.imaging.pixel_format import PixelFormat, check_pixel_format

Pixels = npt.NDArray[np.integer | np.floating]

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
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

    data: bytes
    transfer_syntax_uid: str | None
    pixels: PixelFormat
    tag: int
    number: int


@dataclass(frozen=True, slots=True)
class Picture:
    """What to make of a frame; plain numbers, so that it travels to a worker process.

    Attributes:
        media_type: image/jpeg, image/png or image/gif.
        window: center, width and `linear`, `linear-exact` or `sigmoid`; `None` for the image's own window.
        size: width and height to fit into; `None` for the source's size.
        region: x, y, width, height in source pixels; `None` for "to the edge"; negative ones flip.
        quality: 1 to 100, of lossy formats.
    """

    media_type: str = "image/jpeg"
    window: tuple[float, float, str] | None = None
    size: tuple[int, int] | None = None
    region: tuple[float, float, float | None, float | None] = (0, 0, None, None)
    quality: int | None = None


def render_stored(head: bytes, frame: StoredFrame, picture: Picture) -> bytes:
    """Render a stored frame; `head` is its Part 10 file up to the pixel data (PS3.18 10.4.1.1.3).

    Raises:
        InvalidParameterError: the region lies outside of the image.
        UndecodableError: the frame cannot be decoded or makes no picture.
    """
    image = dcmread(io.BytesIO(head), stop_before_pixels=True)
    return render(_decoded(frame), image, picture, frame=frame.number)


def _decoded(frame: StoredFrame) -> Pixels:
    pixels = check_pixel_format(frame.pixels)
    data = frame.data
    if frame.tag in _FLOATS:
        floats: Pixels = np.frombuffer(data, _FLOATS[frame.tag])
        return floats.reshape(pixels.rows, pixels.columns)
    if frame.transfer_syntax_uid is not None:
        data, photometric_interpretation = decode_frame(data, frame.transfer_syntax_uid, pixels)
        pixels = pixels._replace(photometric_interpretation=photometric_interpretation, planar_configuration=0)
    options: dict[str, Any] = pixels._replace(number_of_frames=1)._asdict()
    options |= {"as_rgb": True, "pixel_keyword": "PixelData", "pixel_vr": "OW"}
    if pixels.samples_per_pixel == 1:
        del options["planar_configuration"]
    try:
        # What is native by now still has its planes, its colour space and its single bits to be sorted out.
        array, _ = get_decoder(_EXPLICIT_VR_LITTLE_ENDIAN).as_array(data, index=0, **options)
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        message = "the attributes of this image do not allow it to be rendered"
        raise UndecodableError(message) from error
    return array


def render(pixels: Pixels, image: Dataset, picture: Picture, *, frame: int = 1) -> bytes:
    """Encode `pixels`, one decoded frame of `image`, as `picture` wants it.

    `pixels` has the shape (rows, columns) or (rows, columns, 3); three samples are RGB. `frame` counts from 1 and
    chooses the per-frame window of an enhanced image.

    Raises:
        InvalidParameterError: the region lies outside of the image.
        UndecodableError: the attributes do not describe a picture.
    """
    try:
        shown = (
            _colour(pixels, image) if pixels.ndim == 3 or _is_palette(image) else _grey(pixels, image, picture, frame)
        )
    except (ValueError, TypeError, AttributeError, NotImplementedError, ArithmeticError) as error:
        message = "the attributes of this image do not allow it to be rendered"
        raise UndecodableError(message) from error
    return _encode(_fit(Image.fromarray(shown), image, picture), picture)


def _is_palette(image: Dataset) -> bool:
    return str(image.get("PhotometricInterpretation", "")) == "PALETTE COLOR"


def _colour(pixels: Pixels, image: Dataset) -> npt.NDArray[np.uint8]:
    if pixels.ndim == 2:
        pixels = apply_color_lut(pixels, image)
        bits = 16 if pixels.dtype.itemsize == 2 else 8
    else:
        bits = int(image.get("BitsStored", 8))
    return (pixels // 2 ** (bits - 8) if bits > 8 else pixels).astype(np.uint8)


def _grey(pixels: Pixels, image: Dataset, picture: Picture, frame: int) -> npt.NDArray[np.uint8]:
    view = _view_of_frame(image, frame)
    values = apply_modality_lut(pixels, view)
    if picture.window is not None:
        center, width, function = picture.window
        view.WindowCenter, view.WindowWidth, view.VOILUTFunction = center, width, _FUNCTIONS[function]
        view.pop("VOILUTSequence", None)
        values = apply_windowing(values, view)
    elif "WindowCenter" in view or "VOILUTSequence" in view:
        # A look-up table has whole numbers as its index; rescale gives floats.
        whole = np.rint(values).astype(np.int32) if "VOILUTSequence" in view else values
        values = apply_voi_lut(whole, view, prefer_lut=True)
    if "PresentationLUTSequence" in view:
        values = apply_presentation_lut(values, view)
    grey = _stretch(np.asarray(values, np.float64), view)
    inverted = str(image.get("PhotometricInterpretation", "")) == "MONOCHROME1"
    return np.asarray(255 - grey if inverted else grey, np.uint8)


def _stretch(values: npt.NDArray[np.float64], view: Dataset) -> npt.NDArray[np.uint8]:
    """Map to 0..255: the output range of the VOI transform when there was one, else what the frame holds."""
    if "VOILUTSequence" in view:
        low, high = 0.0, 2.0 ** int(view.VOILUTSequence[0].LUTDescriptor[2]) - 1
    elif "WindowCenter" in view:
        low, high = _window_output_range(view)
    else:
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    scaled = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1)
    return np.rint(scaled * 255).astype(np.uint8)


def _window_output_range(view: Dataset) -> tuple[float, float]:
    # pydicom's windowing maps onto the range of the stored values after rescale (its documentation names
    # it); the picture's black and white are the ends of that range.
    bits = int(view.BitsStored)
    signed = int(view.PixelRepresentation) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = float(view.get("RescaleSlope", 1) or 1), float(view.get("RescaleIntercept", 0) or 0)
    if "ModalityLUTSequence" in view:
        return 0, 2.0 ** int(view.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    return low * slope + intercept, high * slope + intercept


def _view_of_frame(image: Dataset, frame: int) -> Dataset:
    """The attributes that turn stored values into grey, the frame's own before the shared ones (PS3.3 C.7.6.16)."""
    view = Dataset()
    for keyword in (
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
    ):
        if keyword in image and image[keyword].value not in (None, ""):
            view[keyword] = image[keyword]
    shared = image.get("SharedFunctionalGroupsSequence") or []
    per_frame = image.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*shared[:1], *([per_frame[frame - 1]] if frame <= len(per_frame) else [])]
    for group in groups:
        for sequence in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in (group.get(sequence) or [])[:1]:
                view.update({element.tag: element for element in item if element.keyword != "RescaleType"})
    if "RescaleSlope" not in view or "RescaleIntercept" not in view:
        view.pop("RescaleSlope", None)
        view.pop("RescaleIntercept", None)
    if "WindowWidth" not in view:
        view.pop("WindowCenter", None)
    return view


def _fit(shown: Image.Image, image: Dataset, picture: Picture) -> Image.Image:
    """Crop to the region, flip, then scale into the viewport without changing the aspect ratio."""
    x, y, width, height = picture.region
    if x >= shown.width or y >= shown.height:
        raise InvalidParameterError("viewport", accepted="a region that lies within the image")
    right = shown.width if width is None else min(shown.width, x + abs(width))
    bottom = shown.height if height is None else min(shown.height, y + abs(height))
    box = (int(x), int(y), max(int(x) + 1, round(right)), max(int(y) + 1, round(bottom)))
    if box != (0, 0, shown.width, shown.height):
        shown = shown.crop(box)
    if width is not None and width < 0:
        shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if height is not None and height < 0:
        shown = shown.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if picture.size is None:
        return shown
    factor = min(picture.size[0] / shown.width, picture.size[1] / shown.height)
    size = (max(1, round(shown.width * factor)), max(1, round(shown.height * factor)))
    return shown if size == shown.size else shown.resize(size, Image.Resampling.BILINEAR)


def _encode(shown: Image.Image, picture: Picture) -> bytes:
    target = io.BytesIO()
    kind = _FORMATS[picture.media_type]
    if kind == "JPEG":
        # PS3.18 8.7.4: baseline, 8 bits, Huffman; no optimisation pass, which would double the time.
        shown.save(target, kind, quality=picture.quality or 90)
    elif kind == "PNG":
        shown.save(target, kind, compress_level=3)
    else:
        shown.save(target, kind)
    return target.getvalue()
