"""Query parameters of rendered resources and thumbnails (PS3.18 8.3.5)."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.query_strings import single_parameters, warnings_of_unknown

MAXIMUM_VIEWPORT = 4096
"""Widest and highest picture that is rendered, in pixels: nobody may make us build a larger one."""

_KNOWN = frozenset({"accept", "annotation", "charset", "iccprofile", "quality", "viewport", "window"})
_KNOWN_OF_THUMBNAILS = frozenset({"accept", "viewport"})
ANNOTATIONS = ("patient", "technique")
"""What can be written into the corners of a picture (PS3.18 8.3.5.1.1)."""

COLOUR_SPACES = ("srgb", "adobergb", "rommrgb", "displayp3")
"""Spaces that the colours of a picture can be converted to (PS3.18 8.3.5.1.5)."""

_DECIMAL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?|[+-]?\.\d+([eE][+-]?\d{1,3})?", re.ASCII)


class WindowFunction(StrEnum):
    """VOI LUT Function (0028,1056) as the `window` parameter spells it."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True)
class Window:
    """Center and width in modality units, and the function between them (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: WindowFunction


@dataclass(frozen=True, slots=True)
class Viewport:
    """Size to fit into, and the region of the source, in pixels (PS3.18 8.3.5.1.3).

    `region_width` and `region_height` are `None` for "to the edge"; negative ones flip.
    """

    width: int
    height: int
    x: float = 0
    y: float = 0
    region_width: float | None = None
    region_height: float | None = None


@dataclass(frozen=True, slots=True)
class RenderingParameters:
    """How a picture is wanted.

    Attributes:
        annotation: what of `ANNOTATIONS` is burned in.
        profile: `yes` for a description of the colours as they are, or one of `COLOUR_SPACES`; `None` for neither.
    """

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int | None = None
    annotation: tuple[str, ...] = ()
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class RenderingRequest:
    """What the query string of a rendered resource asks for.

    `warnings` are texts for Warning headers: what is asked for and not done is never left unsaid.
    """

    parameters: RenderingParameters
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ThumbnailRequest:
    """What the query string of a thumbnail asks for; `size` is width and height to fit into."""

    size: tuple[int, int] | None = None
    accept: str | None = None
    warnings: tuple[str, ...] = ()


def parse_rendering(pairs: Sequence[tuple[str, str]]) -> RenderingRequest:
    """Read the decoded parameters of a rendered resource (PS3.18 8.3.5.1).

    Raises:
        InvalidParameterError: a value breaks its grammar or bounds, or a parameter stands twice.
    """
    parameters = single_parameters(pairs)
    window, viewport, quality = (parameters.get(name) for name in ("window", "viewport", "quality"))
    annotation, profile = (parameters.get(name) for name in ("annotation", "iccprofile"))
    return RenderingRequest(
        RenderingParameters(
            window=None if window is None else parse_window(window),
            viewport=None if viewport is None else parse_viewport(viewport),
            quality=None if quality is None else parse_quality(quality),
            annotation=() if annotation is None else parse_annotation(annotation),
            profile=None if profile is None else parse_profile(profile),
        ),
        warnings_of_unknown(sorted(parameters.keys() - _KNOWN)),
    )


def parse_thumbnail(pairs: Sequence[tuple[str, str]]) -> ThumbnailRequest:
    """Read the decoded parameters of a thumbnail: a viewport without a region (PS3.18 8.3.5.2, 8.3.5.1.3).

    Raises:
        InvalidParameterError: the viewport breaks its grammar or bounds, or a parameter stands twice.
    """
    parameters = single_parameters(pairs)
    viewport = parameters.get("viewport")
    unknown = warnings_of_unknown(sorted(parameters.keys() - _KNOWN_OF_THUMBNAILS))
    return ThumbnailRequest(None if viewport is None else _whole(viewport), parameters.get("accept"), unknown)


def _whole(text: str) -> tuple[int, int]:
    accepted = f"vw,vh from 1 to {MAXIMUM_VIEWPORT}; a thumbnail shows all of its image"
    if text.count(",") != 1:
        raise InvalidParameterError("viewport", accepted=accepted)
    width, height = (_size(part, accepted) for part in text.split(","))
    return width, height


def parse_annotation(text: str) -> tuple[str, ...]:
    """Read a list of `patient` and `technique` (PS3.18 8.3.5.1.1); the order means nothing."""
    values = text.split(",")
    if not set(values) <= set(ANNOTATIONS):
        raise InvalidParameterError("annotation", accepted="patient, technique or both, separated by a comma")
    return tuple(sorted(set(values)))


def parse_profile(text: str) -> str | None:
    """Read `no`, which is `None` here, `yes` or the name of a colour space (PS3.18 8.3.5.1.5)."""
    if text not in ("no", "yes", *COLOUR_SPACES):
        raise InvalidParameterError("iccprofile", accepted=", ".join(("no", "yes", *COLOUR_SPACES)))
    return None if text == "no" else text


def parse_window(text: str) -> Window:
    """Read `center,width,function`; all three are required (PS3.18 8.3.5.1.4)."""
    accepted = "center,width,function with function linear, linear-exact or sigmoid and a width of at least 1"
    parts = text.split(",")
    if len(parts) != 3 or parts[2] not in list(WindowFunction):
        raise InvalidParameterError("window", accepted=accepted)
    center, width = (_decimal(part, "window", accepted) for part in parts[:2])
    function = WindowFunction(parts[2])
    # PS3.3 C.11.2.1.2: linear needs a width of at least 1, the others more than 0.
    if width <= 0 or (function is WindowFunction.LINEAR and width < 1):
        raise InvalidParameterError("window", accepted=accepted)
    return Window(center, width, function)


def parse_viewport(text: str) -> Viewport:
    """Read `vw,vh[,[sx],[sy],[sw],[sh]]` (PS3.18 8.3.5.1.3)."""
    accepted = f"vw,vh or vw,vh,sx,sy,sw,sh with vw and vh from 1 to {MAXIMUM_VIEWPORT}"
    parts = text.split(",")
    if not 2 <= len(parts) <= 6:
        raise InvalidParameterError("viewport", accepted=accepted)
    width, height = (_size(part, accepted) for part in parts[:2])
    # Values in between may be left out, and what is left out at the end takes its commas with it.
    region = [*parts[2:], "", "", "", ""][:4]
    x, y, region_width, region_height = (
        None if part == "" else _decimal(part, "viewport", accepted) for part in region
    )
    if (x or 0) < 0 or (y or 0) < 0 or region_width == 0 or region_height == 0:
        raise InvalidParameterError("viewport", accepted=accepted)
    return Viewport(width, height, x or 0, y or 0, region_width, region_height)


def parse_quality(text: str) -> int:
    """Read an integer from 1 to 100 (PS3.18 8.3.5.1.2)."""
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not 1 <= int(text) <= 100:
        raise InvalidParameterError("quality", accepted="an integer from 1 to 100")
    return int(text)


def _size(text: str, accepted: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 1 <= int(text) <= MAXIMUM_VIEWPORT:
        raise InvalidParameterError("viewport", accepted=accepted)
    return int(text)


def _decimal(text: str, parameter: str, accepted: str) -> float:
    if len(text) > 16 or not _DECIMAL.fullmatch(text) or not math.isfinite(float(text)):
        raise InvalidParameterError(parameter, accepted=accepted)
    return float(text)
