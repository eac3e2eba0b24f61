"""JPEG 2000 and High-Throughput JPEG 2000 through `openjpeg`, as a decoding plugin of pydicom.

pydicom reaches that codec only through a further package whose other codecs are not permissively licensed.
"""

from typing import cast

from openjpeg.utils import decode_pixel_data
from pydicom import uid
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder

_LABEL = "openjpeg"
_SYNTAXES = (
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)

DECODER_DEPENDENCIES = dict.fromkeys(_SYNTAXES, ("pylibjpeg-openjpeg>=2.0",))
"""What pydicom asks of a plugin's module."""


def is_available(transfer_syntax_uid: str) -> bool:
    """Whether this plugin decodes a transfer syntax; part of pydicom's interface for plugins."""
    return transfer_syntax_uid in _SYNTAXES


def decode_openjpeg(source: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one codestream; part of pydicom's interface for plugins."""
    frame = cast(bytearray, decode_pixel_data(source, version=2, **runner.options))
    if runner.photometric_interpretation in (PhotometricInterpretation.YBR_ICT, PhotometricInterpretation.YBR_RCT):
        # The codec undoes the colour transform of the codestream.
        runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
    # The container of its samples follows the codestream's precision, not Bits Allocated.
    precision = runner.get_option("j2k_precision", runner.bits_stored)
    container = next(bits for bits in (8, 16, 32) if precision <= bits)
    runner.set_option("bits_allocated", container)
    return frame


def register() -> None:
    """Make pydicom try this codec after its own; harmless when done twice."""
    for syntax in _SYNTAXES:
        decoder = get_decoder(syntax)
        if _LABEL not in decoder.available_plugins:
            decoder.add_plugin(_LABEL, (__name__, decode_openjpeg.__name__))
