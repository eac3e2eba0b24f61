"""PNG and GIF pictures as native pixels (PS3.18 Table 10.5.2-1); runs in worker processes.

What a picture has and pixel data cannot hold is refused rather than lost: transparency, and colours of 16 bits, which
the decoder would cut to 8.
"""

from io import BytesIO
from typing import Final

from PIL import Image, ImageSequence

from dicomweb_archive.errors import UndecodableError

_FORMATS: Final = ("PNG", "GIF")
_LONGEST_SIDE: Final = 0xFFFF
_MOST_FRAMES: Final = 20_000
_OPAQUE: Final = 255
# Bit depth and colour type in the first chunk of a PNG (ISO 15948 11.2.1).
_PNG_DEPTH, _PNG_COLOUR = 24, 25


def read_picture(data: bytes) -> tuple[dict[str, int], bytes]:
    """Return the frames of a picture as native pixels, one behind the other, and what these are.

    Raises:
        UndecodableError: it is no such picture, or says more than pixel data can.
    """
    if data[:4] == b"\x89PNG" and len(data) > _PNG_COLOUR and data[_PNG_DEPTH] == 16 and data[_PNG_COLOUR]:
        raise UndecodableError("colours of 16 bits cannot be kept; send them as JPEG 2000")
    with Image.open(BytesIO(data), formats=_FORMATS) as picture:
        if max(picture.size) > _LONGEST_SIDE:
            raise UndecodableError("the picture is larger than pixel data can be")
        count = getattr(picture, "n_frames", 1)
        if count > _MOST_FRAMES:
            raise UndecodableError("the picture has too many frames")
        frames = [_native(frame) for frame in ImageSequence.Iterator(picture)]
        columns, rows = picture.size
    if len({(samples, bits) for samples, bits, _ in frames}) > 1:
        raise UndecodableError("the frames are not all grey or all coloured")
    samples, bits, _ = frames[0]
    described = {"rows": rows, "columns": columns, "samples": samples, "bits": bits, "frames": len(frames)}
    return described, b"".join([pixels for _, _, pixels in frames])


def _native(frame: Image.Image) -> tuple[int, int, bytes]:
    if frame.has_transparency_data:
        alpha = frame.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (_OPAQUE, _OPAQUE):
            raise UndecodableError("transparency cannot be kept")
    if frame.mode.startswith("I"):
        return 1, 16, frame.convert("I;16").tobytes()
    if frame.mode in ("1", "L", "LA"):
        return 1, 8, frame.convert("L").tobytes()
    return 3, 8, frame.convert("RGB").tobytes()
