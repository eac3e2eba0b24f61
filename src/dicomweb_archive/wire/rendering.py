"""Query parameters of rendered resources: window, viewport and quality (PS3.18 8.3.5.1)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dicomweb_archive.errors import InvalidParameterError

MAXIMUM_VIEWPORT = 4096
"""Widest and highest picture that is rendered, in pixels: nobody may make us build a larger one."""

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
    """How a picture is wanted."""

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int | None = None


def parse_rendering_parameters(parameters: Mapping[str, str]) -> RenderingParameters:
    """Read window, viewport and quality (PS3.18 8.3.5.1).

    Raises:
        InvalidParameterError: a value breaks its grammar or bounds.
    """
    window = parameters.get("window")
    viewport = parameters.get("viewport")
    quality = parameters.get("quality")
    return RenderingParameters(
        window=None if window is None else parse_window(window),
        viewport=None if viewport is None else parse_viewport(viewport),
        quality=None if quality is None else parse_quality(quality),
    )


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
    if len(parts) not in (2, 6):
        raise InvalidParameterError("viewport", accepted=accepted)
    width, height = (_size(part, accepted) for part in parts[:2])
    if len(parts) == 2:
        return Viewport(width, height)
    x, y, region_width, region_height = (
        None if part == "" else _decimal(part, "viewport", accepted) for part in parts[2:]
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
