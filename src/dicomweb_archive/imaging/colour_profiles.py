"""Colour profiles of pictures: embedded as they are, or the colours converted to a named space (PS3.18 8.3.5.1.5).

The profiles of the named spaces are written here from the numbers that define them (ICC.1 version 2, matrix and
tone curve), because those that come with programs have licences of their own.
"""

import io
import struct
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms
from pydicom import Dataset

_D50 = (0.9642, 1.0, 0.8249)
_D65 = (0.3127, 0.3290)
_MOST_BYTES = 8 * 1024 * 1024


class _Space(NamedTuple):
    """Chromaticities of red, green, blue and white; `gamma` is `None` for the curve of sRGB."""

    name: str
    primaries: tuple[tuple[float, float], ...]
    white: tuple[float, float]
    gamma: float | None


_SPACES = {
    # IEC 61966-2-1
    "srgb": _Space("sRGB IEC61966-2.1", ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), _D65, None),
    # Adobe RGB (1998) Color Image Encoding, version 2005-05
    "adobergb": _Space("Adobe RGB (1998) compatible", ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), _D65, 563 / 256),
    # ISO 22028-2; the short straight line at the black end of its curve is less than a step of 8 bits.
    "rommrgb": _Space("ROMM RGB", ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), (0.3457, 0.3585), 1.8),
    "displayp3": _Space("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), _D65, None),
}


def described_colours(image: Image.Image, wanted: str, header: Dataset, codestream: bytes) -> tuple[Image.Image, bytes]:
    """Return a picture in RGB and the profile that describes its colours.

    What the colours are says the ICC Profile (0028,2000) of the image or of its optical path (C.11.15, C.8.12.5),
    else the one within the stored codestream; without one, and for greys, they are sRGB.

    Args:
        wanted: `yes` for the colours as they are, or the space to convert them to.
    """
    is_colour = image.mode == "RGB"
    shown = image if is_colour else image.convert("RGB")
    held = _held_profile(header, codestream) if is_colour else None
    source = held or named_profile("srgb")
    if wanted == "yes":
        return shown, source
    target = named_profile(wanted)
    if source == target:
        return shown, target
    converted = ImageCms.profileToProfile(shown, _opened(source), _opened(target))
    return (shown if converted is None else converted), target


def _held_profile(header: Dataset, codestream: bytes) -> bytes | None:
    """Return the first profile that colours can be read by; one that is damaged says nothing."""
    paths = header.get("OpticalPathSequence") or []
    held = [header.get("ICCProfile"), *(path.get("ICCProfile") for path in paths[:1])]
    if codestream:
        held.append(_profile_within(codestream))
    return next((bytes(profile) for profile in held if profile and _is_usable(bytes(profile))), None)


def _profile_within(codestream: bytes) -> bytes | None:
    try:
        with Image.open(io.BytesIO(codestream), formats=["JPEG"]) as image:
            profile: bytes | None = image.info.get("icc_profile")
    # What is odd about it the decoder has put up with.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return profile


def _is_usable(profile: bytes) -> bool:
    if not 128 < len(profile) <= _MOST_BYTES or profile[16:20] != b"RGB ":
        return False
    try:
        ImageCms.buildTransform(_opened(profile), _opened(named_profile("srgb")), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):
        return False
    return True


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


@cache
def named_profile(name: str) -> bytes:
    """Write the profile of a named space (ICC.1:2001-04)."""
    space = _SPACES[name]
    colorants = _to_d50(space)
    curve = _curve(space.gamma)
    text = space.name.encode("ascii") + b"\0"
    description = b"desc" + struct.pack(">II", 0, len(text)) + text + bytes(78)
    tags = {
        b"desc": description,
        b"cprt": b"text" + bytes(4) + b"No rights are claimed.\0",
        b"wtpt": _xyz(_D50),
        **{b"%bXYZ" % channel: _xyz(column) for channel, column in zip((b"r", b"g", b"b"), colorants.T, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    return _profile(tags)


def _to_d50(space: _Space) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Return what the primaries are in XYZ under the light D50, one a column (Bradford adaptation)."""
    primaries = np.array([_of_chromaticity(*each) for each in space.primaries]).T
    white = _of_chromaticity(*space.white)
    matrix = primaries * np.linalg.solve(primaries, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    scale = np.diag((bradford @ np.array(_D50)) / (bradford @ white))
    adapted: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.linalg.inv(bradford) @ scale @ bradford @ matrix
    return adapted


def _of_chromaticity(x: float, y: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))
    values = np.linspace(0, 1, 1024)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    table: bytes = np.rint(linear * 65535).astype(">u2").tobytes()
    return b"curv" + struct.pack(">II", 0, len(values)) + table


def _xyz(values: Iterable[float]) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *(round(float(value) * 65536) for value in values))


def _profile(tags: dict[bytes, bytes]) -> bytes:
    table, body = [struct.pack(">I", len(tags))], bytearray()
    begin = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for signature, content in tags.items():
        # The three curves are one.
        place = places.setdefault(content, begin + len(body))
        if place == begin + len(body):
            body += content + bytes(-len(content) % 4)
        table.append(signature + struct.pack(">II", place, len(content)))
    content = b"".join(table) + bytes(body)
    head = struct.pack(">I4sI4s4s4s", 128 + len(content), b"", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    made = struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    light = struct.pack(">3i", *(round(value * 65536) for value in _D50))
    # Platform, flags, device, intent (perceptual), illuminant, creator and what is reserved.
    return (head + made + bytes(4 + 4 + 4 + 4 + 8 + 4) + light).ljust(128, b"\0") + content
