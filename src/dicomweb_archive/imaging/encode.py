"""Encoding of single frames in a compressed transfer syntax (PS3.5 8.2, A.4); runs in worker processes.

What may be encoded how is a table (`_TARGETS`), after those of PS3.5 8.2: a layout that a transfer syntax does not
allow, or that no reader would find, is not offered to clients in the first place. Lossless codestreams hold the
samples as they are, bit for bit. A reversible colour transform is applied where the standard has a name for the
result (YBR_RCT). Colours of what was stored without loss stay in their colour space; those of JPEG images become RGB,
as they do in Explicit VR Little Endian.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging import codecs
from dicomweb_archive.imaging.decode import JPEG_WITH_LOSS, decode_frame
from dicomweb_archive.imaging.pixel_format import PixelFormat, check_pixel_format
from dicomweb_archive.imaging.samples import Samples, samples_of

RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4"
JPEG_BASELINE: Final = f"{_JPEG}.50"
JPEG_LOSSLESS: Final = f"{_JPEG}.70"
JPEG_LS_LOSSLESS: Final = f"{_JPEG}.80"
JPEG_2000_LOSSLESS: Final = f"{_JPEG}.90"
JPEG_2000: Final = f"{_JPEG}.91"
HTJ2K_LOSSLESS: Final = f"{_JPEG}.201"
HTJ2K_LOSSLESS_RPCL: Final = f"{_JPEG}.202"

_LONGEST_SIDE: Final = 0xFFFF
_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
_INDEXED: Final = "PALETTE COLOR"
# What a colour space becomes while the frame is decoded for encoding.
_DECODED: Final = MappingProxyType({"YBR_RCT": "RGB", "YBR_ICT": "RGB", "YBR_FULL_422": "YBR_FULL"})


@dataclass(frozen=True, slots=True)
class _Target:
    """A transfer syntax that frames can be encoded in.

    Attributes:
        encode: see `codecs`.
        colours: Photometric Interpretations that can be encoded, and what they are called then.
        bits_stored: fewest and most.
        wide_colours: colour spaces whose samples may have 16 bits allocated.
        keeps_unused_bits: samples that use more than Bits Stored come back as they were.
        signed: grey samples may have a sign.
        smallest_side: fewest rows and columns that the encoder takes.
        fewest_pixels: and the fewest of both together.
    """

    encode: Callable[[Samples, int, bool], bytes]
    colours: Mapping[str, str]
    bits_stored: tuple[int, int] = (1, 16)
    wide_colours: frozenset[str] = frozenset(("RGB",))
    keeps_unused_bits: bool = False
    signed: bool = True
    smallest_side: int = 1
    fewest_pixels: int = 1


_PLAIN: Final = MappingProxyType({name: name for name in (*_GREY, _INDEXED, "RGB", "YBR_FULL")})
_REVERSIBLE: Final = MappingProxyType({**_PLAIN, "RGB": "YBR_RCT"})
_BOTH: Final = frozenset(("RGB", "YBR_FULL"))
_WAVELET: Final = _Target(codecs.encode_jpeg_2000, _REVERSIBLE, wide_colours=_BOTH, keeps_unused_bits=True)
_HIGH_THROUGHPUT: Final = _Target(codecs.encode_htj2k, _REVERSIBLE, wide_colours=_BOTH, keeps_unused_bits=True)

_TARGETS: Final[Mapping[str, _Target]] = MappingProxyType(
    {
        # What is quickest to make and to read comes first (docs/design, codecs).
        HTJ2K_LOSSLESS: _HIGH_THROUGHPUT,
        HTJ2K_LOSSLESS_RPCL: _HIGH_THROUGHPUT,
        JPEG_2000_LOSSLESS: _WAVELET,
        JPEG_LS_LOSSLESS: _Target(codecs.encode_jpeg_ls, _PLAIN, bits_stored=(2, 16), fewest_pixels=128),
        RLE_LOSSLESS: _Target(codecs.encode_rle, _PLAIN, keeps_unused_bits=True),
        # There are readers that die of samples of less than 8 bits.
        JPEG_LOSSLESS: _Target(codecs.encode_jpeg_lossless, _PLAIN, bits_stored=(8, 16), wide_colours=_BOTH),
        JPEG_BASELINE: _Target(
            codecs.encode_jpeg_baseline,
            MappingProxyType({**{name: name for name in _GREY}, "RGB": "YBR_FULL_422"}),
            bits_stored=(8, 8),
            signed=False,
        ),
        JPEG_2000: _Target(
            codecs.encode_jpeg_2000_with_loss,
            MappingProxyType({**{name: name for name in _GREY}, "RGB": "YBR_ICT"}),
            smallest_side=codecs.SMALLEST_SIDE_WITH_LOSS,
        ),
    }
)
LOSSY_TARGETS: Final = frozenset((JPEG_BASELINE, JPEG_2000))
"""Of the transfer syntaxes that frames are encoded in, those that change pixels."""


@lru_cache(maxsize=4096)
def encodable_syntaxes(pixels: PixelFormat, source: str) -> tuple[str, ...]:
    """Return the transfer syntaxes that frames of this layout can be encoded in, those without loss first.

    Args:
        pixels: their layout; absurd ones have none.
        source: transfer syntax of compressed frames, empty for native ones.
    """
    return tuple(syntax for syntax in _TARGETS if syntax != source and _fits(pixels, source, _TARGETS[syntax]))


def check_encodable(pixels: PixelFormat, source: str, target: str) -> PixelFormat:
    """Return the layout when it can be encoded so.

    Raises:
        UndecodableError: it cannot, or there is no such encoding here.
    """
    check_pixel_format(pixels)
    if target not in _TARGETS or not _fits(pixels, source, _TARGETS[target]):
        message = "frames of this layout cannot be encoded in the transfer syntax that is asked for"
        raise UndecodableError(message)
    return pixels


def encode_frame(frame: bytes, source: str, pixels: PixelFormat, target: str) -> tuple[bytes, str]:
    """Encode one frame, in two steps when it is compressed otherwise.

    Args:
        frame: its joined fragments, or its native little endian pixels.
        source: transfer syntax of a compressed frame, empty for a native one.
        pixels: layout of the stored pixels.
        target: transfer syntax of the codestream.

    Returns:
        The codestream and its Photometric Interpretation.

    Raises:
        UndecodableError: the frame cannot be decoded, or not be encoded as asked.
    """
    check_encodable(pixels, source, target)
    encoding = _TARGETS[target]
    if source:
        frame, colour = decode_frame(frame, source, pixels, as_rgb=source in JPEG_WITH_LOSS)
        pixels = pixels._replace(photometric_interpretation=colour, planar_configuration=0)
    samples, colour = samples_of(frame, pixels)
    if colour not in encoding.colours:
        message = "the colour space of the frame cannot be had in the transfer syntax that is asked for"
        raise UndecodableError(message)
    bits = _bits_used(samples, pixels)
    if bits > pixels.bits_stored and not encoding.keeps_unused_bits:
        message = "samples use more than Bits Stored, which the transfer syntax that is asked for would lose"
        raise UndecodableError(message)
    named = encoding.colours[colour]
    return encoding.encode(samples, bits, named != colour), named


def _fits(pixels: PixelFormat, source: str, target: _Target) -> bool:
    stored = pixels.photometric_interpretation
    colour = "RGB" if source in JPEG_WITH_LOSS and stored.startswith("YBR_FULL") else _DECODED.get(stored, stored)
    fewest, most = target.bits_stored
    return (
        colour in target.colours
        and pixels.samples_per_pixel == (3 if colour in ("RGB", "YBR_FULL") else 1)
        and pixels.bits_allocated in ((8, 16) if _may_be_wide(colour, target) else (8,))
        and fewest <= pixels.bits_stored <= min(most, pixels.bits_allocated)
        and (pixels.pixel_representation == 0 or (target.signed and colour in _GREY))
        and pixels.pixel_representation in (0, 1)
        and target.fewest_pixels <= pixels.rows * pixels.columns
        and target.smallest_side <= pixels.rows <= _LONGEST_SIDE
        and target.smallest_side <= pixels.columns <= _LONGEST_SIDE
        and not (stored == "YBR_FULL_422" and pixels.bits_allocated != 8)
    )


def _may_be_wide(colour: str, target: _Target) -> bool:
    return colour in target.wide_colours or colour not in ("RGB", "YBR_FULL")


def _bits_used(samples: Samples, pixels: PixelFormat) -> int:
    """Return Bits Stored, or Bits Allocated where samples do not keep to it."""
    if pixels.bits_stored == pixels.bits_allocated:
        return pixels.bits_stored
    half = 1 << (pixels.bits_stored - 1)
    lowest, highest = (-half, half - 1) if pixels.pixel_representation else (0, 2 * half - 1)
    fits = int(samples.min()) >= lowest and int(samples.max()) <= highest
    return pixels.bits_stored if fits else pixels.bits_allocated
