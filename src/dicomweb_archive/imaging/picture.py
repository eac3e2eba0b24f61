"""Picture: what is to be made of a stored frame."""

from dataclasses import dataclass

Window = tuple[float, float, str]
"""Center, width and `linear`, `linear-exact` or `sigmoid`."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What to make of a frame; plain values, so that it travels to a worker process.

    Attributes:
        media_type: image/jpeg, image/png or image/gif.
        window: see `Window`; `None` for the image's own window.
        size: width and height to fit into; `None` for the source's size.
        region: x, y, width, height in source pixels; `None` for "to the edge"; negative ones flip.
        quality: 1 to 100, of lossy formats.
        enlarge: whether what is smaller than `size` is scaled up to it.
        annotation: `patient`, `technique`: what is written into the corners.
        profile: `yes` for a description of the colours as they are, or the space that they are converted to:
            `srgb`, `adobergb`, `rommrgb` or `displayp3`; `None` for no description.
        timed: whether it is also to be told how long a frame of the instance is to be seen.
    """

    media_type: str = "image/jpeg"
    window: Window | None = None
    size: tuple[int, int] | None = None
    region: tuple[float, float, float | None, float | None] = (0, 0, None, None)
    quality: int | None = None
    enlarge: bool = True
    annotation: tuple[str, ...] = ()
    profile: str | None = None
    timed: bool = False
