"""Finishing a picture: the region asked for, flipped, scaled, annotated and encoded (PS3.18 8.3.5.1)."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from pydicom import Dataset

from dicomweb_archive.imaging.annotation import annotate, annotation_of
from dicomweb_archive.imaging.colour_profiles import described_colours
from dicomweb_archive.imaging.picture import Picture
from dicomweb_archive.imaging.pixel_arrays import Shown

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in whole pixels."""

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}


@dataclass(frozen=True, slots=True)
class PictureSource:
    """What else there is to know of the frame that is shown.

    Attributes:
        header: reads the attributes of the instance, which most pictures do without.
        frame: its number, from 1.
        codestream: in a format that may hold a colour profile; empty when there is none.
    """

    header: Callable[[], Dataset]
    frame: int = 1
    codestream: bytes = b""


def finished(shown: Shown, box: Box | None, size: tuple[int, int], picture: Picture, source: PictureSource) -> bytes:
    """Crop to `box`, flip, scale to `size`, annotate and encode, in this order (PS3.18 8.3.5.1.3, 8.3.5.1.1)."""
    image = Image.fromarray(shown)
    if box is not None:
        image = image.crop(box)
    _, _, width, height = picture.region
    if width is not None and width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if height is not None and height < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if image.size != size:
        # What is much larger is first averaged in blocks, which costs a fraction.
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
    profile: bytes | None = None
    if picture.profile is not None:
        image, profile = described_colours(image, picture.profile, source.header(), source.codestream)
    if picture.annotation:
        image = annotate(image, annotation_of(source.header(), picture.annotation, source.frame))
    return _encoded(image, picture, profile)


def _encoded(image: Image.Image, picture: Picture, profile: bytes | None) -> bytes:
    target = io.BytesIO()
    kind = _FORMATS[picture.media_type]
    options: dict[str, Any] = {} if profile is None else {"icc_profile": profile}
    if kind == "JPEG":
        # PS3.18 8.7.4: baseline, 8 bits, Huffman; no optimisation pass, which would double the time.
        options["quality"] = picture.quality or 90
    elif kind == "PNG":
        options["compress_level"] = 3
    image.save(target, kind, **options)
    return target.getvalue()
