"""The encoders behind `encode`: samples of one frame in, a codestream out (docs/design, transcoding).

Each takes the samples, the number of bits that they need, and whether RGB is to be transformed into the colour space
that the codestream has for it.
"""

import struct

import imagecodecs
import numpy as np
from jpeg_ls import encode_buffer as encode_jpeg_ls_buffer
from openjpeg.utils import encode_buffer as encode_jpeg_2000_buffer

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.samples import Samples

_BYTE = 8
# openjpeg's names for colour spaces.
_UNSPECIFIED, _SRGB = 0, 1
_LOSSY_RATIO = 10.0
# Pictures of one JPEG 2000 codestream, each half as large as the one before.
_RESOLUTIONS = 6
SMALLEST_SIDE_WITH_LOSS = 1 << (_RESOLUTIONS - 1)
"""Rows and columns that the encoder with loss must have."""

_JPEG_QUALITY = 90
# Wavelet levels of HTJ2K: five, and more until the smallest picture has at most 64 rows or columns, as readers of
# the transfer syntax with RPCL options count on. RPCL is the only order of progression that the encoder has.
_LEVELS = 5
_SMALLEST_PICTURE = 64
# The SIZ marker segment (ISO 15444-1 A.5.1): where it begins, its count of components, their first description.
_SIZ, _SIZ_AT, _COUNT_AT, _COMPONENT_AT, _COMPONENT_BYTES = b"\xff\x51", 2, 40, 42, 3
_SIGNED = 0x80
_RLE_HEAD_BYTES = 64


def encode_jpeg_2000(samples: Samples, bits: int, transform: bool) -> bytes:
    """Encode in JPEG 2000 without loss."""
    return bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(samples),
            level=0,
            codecformat="J2K",
            bitspersample=bits,
            # The encoder refuses pictures that are smaller than nothing.
            resolutions=min(_RESOLUTIONS, min(samples.shape[:2]).bit_length()),
            reversible=True,
            mct=transform,
            numthreads=1,
        )
    )


def encode_jpeg_2000_with_loss(samples: Samples, bits: int, transform: bool) -> bytes:
    """Encode in JPEG 2000 at a tenth of the size, whatever the range of the samples is."""
    rows, columns = samples.shape[:2]
    encoded = encode_jpeg_2000_buffer(
        _in_fewest_bytes(samples, bits).tobytes(),
        *(columns, rows, _components(samples), bits, samples.dtype.kind == "i"),
        photometric_interpretation=_SRGB if transform else _UNSPECIFIED,
        use_mct=transform,
        compression_ratios=[_LOSSY_RATIO],
    )
    return bytes(encoded)


def encode_htj2k(samples: Samples, bits: int, transform: bool) -> bytes:
    """Encode in High-Throughput JPEG 2000 without loss.

    The encoder knows samples of 8 and 16 bits only. So samples of other precision are encoded as signed ones, for
    which nothing is added to what is transformed, and the header is given their true precision and sign: a decoder
    then adds the half range that was taken off here. The quantization steps in the codestream stay what they are.
    """
    is_signed = samples.dtype.kind == "i"
    if is_signed or bits == samples.dtype.itemsize * _BYTE:
        coded = samples
    else:
        coded = (samples.astype(np.int32) - (1 << (bits - 1))).astype(np.int16)
    stream = bytearray(
        imagecodecs.htj2k_encode(
            np.ascontiguousarray(coded),
            reversible=True,
            rgb=transform,
            tlm=True,
            resolutions=_levels(max(samples.shape[:2])),
        )
    )
    if stream[_SIZ_AT : _SIZ_AT + 2] != _SIZ or stream[_COUNT_AT + 1] != _components(samples):
        message = "the encoder made no codestream of the frame"
        raise UndecodableError(message)
    for component in range(_components(samples)):
        stream[_COMPONENT_AT + component * _COMPONENT_BYTES] = (bits - 1) | (_SIGNED if is_signed else 0)
    return bytes(stream)


def encode_jpeg_ls(samples: Samples, bits: int, transform: bool) -> bytes:
    """Encode in JPEG-LS without loss; it knows no sign, so negative samples are cut to their bits."""
    rows, columns = samples.shape[:2]
    components = _components(samples)
    plain = _in_fewest_bytes(_without_sign(samples, bits), bits).tobytes()
    # Colour by pixel, as most readers expect it.
    interleaving = 0 if components == 1 else 2
    return bytes(encode_jpeg_ls_buffer(plain, rows, columns, components, bits, interleave_mode=interleaving))


def encode_jpeg_lossless(samples: Samples, bits: int, transform: bool) -> bytes:
    """Encode in JPEG Lossless, first-order prediction (process 14); it knows no sign either."""
    plain = _in_fewest_bytes(_without_sign(samples, bits), bits)
    space = imagecodecs.JPEG8.CS.GRAYSCALE if plain.ndim == 2 else imagecodecs.JPEG8.CS.RGB
    return bytes(
        imagecodecs.jpeg8_encode(
            plain, lossless=True, predictor=1, bitspersample=bits, colorspace=space, outcolorspace=space
        )
    )


def encode_jpeg_baseline(samples: Samples, bits: int, transform: bool) -> bytes:
    """Encode in JPEG Baseline, with chrominance shared by two pixels of a row."""
    kinds = imagecodecs.JPEG8.CS
    if samples.ndim == 2:
        return bytes(imagecodecs.jpeg8_encode(samples, level=_JPEG_QUALITY, colorspace=kinds.GRAYSCALE))
    coded = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(samples),
        level=_JPEG_QUALITY,
        colorspace=kinds.RGB,
        outcolorspace=kinds.YCbCr,
        subsampling="422",
    )
    return bytes(coded)


def encode_rle(samples: Samples, bits: int, transform: bool) -> bytes:
    """Encode in RLE: a segment for each byte of each component, highest first, rows for themselves (PS3.5 G)."""
    planes = samples[..., np.newaxis] if samples.ndim == 2 else samples
    parts = planes.view(np.uint8).reshape(*planes.shape, -1)
    segments = [
        _even(bytes(imagecodecs.packbits_encode(np.ascontiguousarray(parts[:, :, component, part]), axis=-1)))
        for component in range(parts.shape[2])
        for part in reversed(range(parts.shape[3]))
    ]
    offsets = [_RLE_HEAD_BYTES + sum(map(len, segments[:number])) for number in range(len(segments))]
    head = struct.pack(f"<{1 + len(offsets)}I", len(segments), *offsets)
    return b"".join([head.ljust(_RLE_HEAD_BYTES, b"\0"), *segments])


def _components(samples: Samples) -> int:
    return 1 if samples.ndim == 2 else int(samples.shape[2])


def _in_fewest_bytes(samples: Samples, bits: int) -> Samples:
    return samples.astype(f"<{samples.dtype.kind}{1 if bits <= _BYTE else 2}", copy=False)


def _without_sign(samples: Samples, bits: int) -> Samples:
    plain = samples.view(f"<u{samples.dtype.itemsize}")
    return plain if samples.dtype.kind == "u" else plain & plain.dtype.type((1 << bits) - 1)


def _levels(longest: int) -> int:
    levels = _LEVELS
    while longest >> levels > _SMALLEST_PICTURE:
        levels += 1
    return levels


def _even(data: bytes) -> bytes:
    return data + b"\0" if len(data) % 2 else data
