"""Transcoding of whole instances to another transfer syntax (PS3.18 8.7.3.4); runs in worker processes.

Elements that are not concerned are copied (see `element_writer`): only what the transfer syntax asks for changes,
and after lossy compression what tells of it.
"""

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from typing import cast

from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames

from dicomweb_archive.dicom.element_encoding import UNDEFINED_LENGTH, encode, encode_encapsulated
from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.decode import decode_frame
from dicomweb_archive.imaging.derivation import derived_elements, derived_uid
from dicomweb_archive.imaging.element_writer import ElementWriter, pixel_format_from, value_of
from dicomweb_archive.imaging.encode import LOSSY_TARGETS, RLE_LOSSLESS, check_encodable, encode_frame
from dicomweb_archive.imaging.native import pixel_word_bytes, swap_words
from dicomweb_archive.imaging.pixel_format import PixelFormat, check_pixel_format

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"

_PIXEL_DATA = 0x7FE00010
# Offsets of compressed frames mean nothing once the frames are others.
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002)
_BITS_OF_A_WORD = 16


def to_explicit_little_endian(part10: bytes) -> bytes:
    """Write an instance anew in Explicit VR Little Endian, with its compressed pixel data decoded.

    Raises:
        UndecodableError: the pixel data cannot be decoded, or would be 4 GiB or larger.
    """
    dataset = dcmread(BytesIO(part10))
    replaced = _decoded_elements(dataset, _syntax(dataset)) if _is_encapsulated(dataset) else {}
    return _written(dataset, replaced, EXPLICIT_VR_LITTLE_ENDIAN)


def to_compressed(part10: bytes, target: str) -> bytes:
    """Write an instance anew with its pixel data compressed in transfer syntax `target`, one fragment a frame.

    Lossy compression makes another instance of it, with a SOP Instance UID of its own: see `derivation`.

    Raises:
        UndecodableError: the pixel data cannot be decoded, or their layout cannot be had in that transfer syntax.
    """
    dataset = dcmread(BytesIO(part10))
    if _PIXEL_DATA not in dataset:
        message = "an instance without Pixel Data has no compressed form"
        raise UndecodableError(message)
    syntax = _syntax(dataset)
    source = syntax if _is_encapsulated(dataset) else ""
    pixels = check_encodable(pixel_format_from(dataset), source, target)
    frames = _stored_frames(dataset, pixels) if source else _native_frames(dataset, syntax, pixels)
    encoded = [encode_frame(frame, source, pixels, target) for frame in frames]
    codestreams = [codestream for codestream, _ in encoded]
    # With every frame in one fragment, the Basic Offset Table says where each begins: what a decoding process
    # may answer with is far below 4 GiB, so no Extended Offset Table is ever needed (PS3.5 A.4).
    replaced = {_PIXEL_DATA: encode_encapsulated(_PIXEL_DATA, encapsulate(codestreams, has_bot=len(codestreams) > 1))}
    replaced |= _descriptions(pixels, encoded[0][1], planar=target == RLE_LOSSLESS)
    if target in LOSSY_TARGETS:
        ratio = pixels.frame_bits / 8 * len(codestreams) / sum(map(len, codestreams))
        replaced |= derived_elements(dataset, target, ratio)
    return _written(dataset, replaced, target)


def join_frames(frames: list[bytes], pixels: PixelFormat) -> bytes:
    """Join decoded frames to one value; single-bit frames follow each other without a gap (PS3.5 8.1.1)."""
    if pixels.bits_allocated > 1 or pixels.frame_bits % 8 == 0:
        return b"".join(frames)
    bits = 0
    joined = 0
    for frame in frames:
        joined |= (int.from_bytes(frame, "little") & ((1 << pixels.frame_bits) - 1)) << bits
        bits += pixels.frame_bits
    return joined.to_bytes((bits + 7) // 8, "little")


def _syntax(dataset: Dataset) -> str:
    return str(dataset.file_meta.TransferSyntaxUID)


def _is_encapsulated(dataset: Dataset) -> bool:
    # The undefined length tells fragments from native pixels, also for syntaxes that pydicom does not know.
    return _PIXEL_DATA in dataset and getattr(dataset.get_item(_PIXEL_DATA), "length", 0) == UNDEFINED_LENGTH


def _written(dataset: Dataset, replaced: dict[int, bytes], target: str) -> bytes:
    syntax = _syntax(dataset)
    writer = ElementWriter(implicit=syntax == IMPLICIT_VR_LITTLE_ENDIAN, big_endian=syntax == EXPLICIT_VR_BIG_ENDIAN)
    meta = _file_meta(dataset, target)
    return b"".join([bytes(dataset.preamble or bytes(128)), b"DICM", meta, *writer.elements(dataset, replaced, ())])


def _file_meta(dataset: Dataset, target: str) -> bytes:
    # pydicom reads file meta information eagerly in part; it is always Explicit VR Little Endian itself.
    writer = ElementWriter(implicit=False, big_endian=False)
    replaced = {0x00020000: b"", 0x00020010: encode(0x00020010, "UI", target.encode())}
    if target in LOSSY_TARGETS:
        replaced[0x00020003] = encode(0x00020003, "UI", derived_uid(dataset, target).encode())
    body = b"".join(writer.elements(dataset.file_meta, replaced, ()))
    return encode(0x00020000, "UL", len(body).to_bytes(4, "little")) + body


def _decoded_elements(dataset: Dataset, syntax: str) -> dict[int, bytes]:
    """Decode the pixel data; return the elements that change, encoded, and `b""` for those that go."""
    pixels = pixel_format_from(dataset)
    decoded = [decode_frame(frame, syntax, pixels) for frame in _stored_frames(dataset, pixels)]
    value = join_frames([frame for frame, _ in decoded], pixels)
    if len(value) >= UNDEFINED_LENGTH:
        message = "the decoded pixel data would be larger than an element can be (4 GiB)"
        raise UndecodableError(message)
    vr = "OW" if pixels.bits_allocated >= _BITS_OF_A_WORD else "OB"
    return {_PIXEL_DATA: encode(_PIXEL_DATA, vr, value)} | _descriptions(pixels, decoded[0][1], planar=False)


def _descriptions(pixels: PixelFormat, colour: str, *, planar: bool) -> dict[int, bytes]:
    changed = dict.fromkeys(_OFFSET_TABLES, b"")
    if colour != pixels.photometric_interpretation:
        changed[0x00280004] = encode(0x00280004, "CS", colour.encode())
    if pixels.samples_per_pixel > 1:
        changed[0x00280006] = encode(0x00280006, "US", int(planar).to_bytes(2, "little"))
    return changed


def _stored_frames(dataset: Dataset, pixels: PixelFormat) -> Iterator[bytes]:
    """Yield the codestreams of encapsulated pixel data.

    Raises:
        UndecodableError: there are fewer than Number of Frames says.
    """
    value = cast(bytes, dataset.get_item(_PIXEL_DATA).value)
    offsets = None
    if all(tag in dataset for tag in _OFFSET_TABLES):
        offsets = (value_of(dataset, _OFFSET_TABLES[0]), value_of(dataset, _OFFSET_TABLES[1]))
    stored = generate_frames(value, number_of_frames=pixels.number_of_frames, extended_offsets=offsets)
    return _exactly(pixels.number_of_frames, islice(stored, pixels.number_of_frames).__next__)


def _native_frames(dataset: Dataset, syntax: str, pixels: PixelFormat) -> Iterator[bytes]:
    """Yield the frames of native pixel data, little endian.

    Raises:
        UndecodableError: there are fewer than Number of Frames says.
    """
    element = dataset.get_item(_PIXEL_DATA)
    value = cast(bytes, element.value or b"")
    if syntax == EXPLICIT_VR_BIG_ENDIAN:
        value = swap_words(value, pixel_word_bytes(str(element.VR), pixels))
    size = check_pixel_format(pixels).frame_bits // 8
    pieces = (value[start : start + size] for start in range(0, len(value) - size + 1, size))
    return _exactly(pixels.number_of_frames, pieces.__next__)


def _exactly(count: int, take: Callable[[], bytes]) -> Iterator[bytes]:
    for _ in range(count):
        try:
            yield take()
        except StopIteration:
            message = "the stored pixel data hold fewer frames than Number of Frames says"
            raise UndecodableError(message) from None
