"""Transcoding of whole instances to Explicit VR Little Endian (PS3.18 8.7.3.4); runs in worker processes.

pydicom finds the elements; their values are written as they stand, byte for byte, however wrong they may be:
only what the transfer syntax asks for changes (VRs, byte order, pixels and the attributes that describe them).
"""

from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from struct import Struct
from typing import Any, cast

from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.values import convert_SQ

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.decode import decode_frame
from dicomweb_archive.imaging.native import pixel_word_bytes, swap_words, word_bytes
from dicomweb_archive.imaging.pixel_format import PixelFormat

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"

_TAG = Struct("<HH")
_SHORT = Struct("<HH2sH")
_LONG = Struct("<HH2sHI")
_ITEM = Struct("<HHI")
_UNDEFINED = 0xFFFFFFFF
_LONG_LENGTH_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))

_PIXEL_DATA, _FLOAT_PIXEL_DATA, _DOUBLE_PIXEL_DATA = 0x7FE00010, 0x7FE00008, 0x7FE00009
_PIXELS = (_PIXEL_DATA, _FLOAT_PIXEL_DATA, _DOUBLE_PIXEL_DATA)
# Offsets of compressed frames mean nothing once the frames are decoded.
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002)


def to_explicit_little_endian(part10: bytes) -> bytes:
    """Write an instance anew in Explicit VR Little Endian, with its compressed pixel data decoded.

    Raises:
        UndecodableError: the pixel data cannot be decoded, or would be 4 GiB or larger.
    """
    dataset = dcmread(BytesIO(part10))
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    writer = _Writer(implicit=syntax == IMPLICIT_VR_LITTLE_ENDIAN, big_endian=syntax == EXPLICIT_VR_BIG_ENDIAN)
    replaced = {}
    # The undefined length tells fragments from native pixels, also for syntaxes that pydicom does not know.
    if _PIXEL_DATA in dataset and getattr(dataset.get_item(_PIXEL_DATA), "length", 0) == _UNDEFINED:
        replaced = _decoded_elements(dataset, syntax)
    body = b"".join(writer.elements(dataset, replaced, ()))
    return bytes(dataset.preamble or bytes(128)) + b"DICM" + _file_meta(dataset.file_meta) + body


def pixel_format_from(dataset: Dataset) -> PixelFormat:
    """Take the frame layout from a data set, without decoding its elements for good."""
    bits = _number(dataset, 0x00280100, 0)
    return PixelFormat(
        rows=_number(dataset, 0x00280010, 0),
        columns=_number(dataset, 0x00280011, 0),
        samples_per_pixel=_number(dataset, 0x00280002, 1),
        bits_allocated=bits,
        bits_stored=_number(dataset, 0x00280101, bits),
        pixel_representation=_number(dataset, 0x00280103, 0),
        photometric_interpretation=str(_value(dataset, 0x00280004) or ""),
        planar_configuration=_number(dataset, 0x00280006, 0),
        number_of_frames=_number(dataset, 0x00280008, 1) or 1,
    )


def _value(dataset: Dataset, tag: int) -> Any:
    """Value of an element; unlike `dataset[tag]` this leaves the raw element, which is to be copied, as it is."""
    if tag not in dataset:
        return None
    element: DataElement | RawDataElement = dataset.get_item(tag)
    if isinstance(element, RawDataElement):
        element = convert_raw_data_element(element, ds=dataset)
    return element.value


def _number(dataset: Dataset, tag: int, default: int) -> int:
    value = _value(dataset, tag)
    return default if value is None or value == "" else int(value)


def _decoded_elements(dataset: Dataset, syntax: str) -> dict[int, bytes]:
    """Decode the pixel data; return the elements that change, encoded, and `b""` for those that go."""
    pixels = pixel_format_from(dataset)
    raw = dataset.get_item(_PIXEL_DATA)
    offsets = None
    if all(tag in dataset for tag in _OFFSET_TABLES):
        offsets = (_value(dataset, _OFFSET_TABLES[0]), _value(dataset, _OFFSET_TABLES[1]))
    stored = generate_frames(cast(bytes, raw.value), number_of_frames=pixels.number_of_frames, extended_offsets=offsets)
    decoded = [decode_frame(frame, syntax, pixels) for frame in islice(stored, pixels.number_of_frames)]
    if len(decoded) < pixels.number_of_frames:
        message = "the stored pixel data hold fewer frames than Number of Frames says"
        raise UndecodableError(message)
    value = join_frames([frame for frame, _ in decoded], pixels)
    if len(value) >= _UNDEFINED:
        message = "the decoded pixel data would be larger than an element can be (4 GiB)"
        raise UndecodableError(message)
    changed = {_PIXEL_DATA: encode(_PIXEL_DATA, "OB" if pixels.bits_allocated <= 8 else "OW", value)}
    changed |= dict.fromkeys(_OFFSET_TABLES, b"")
    colour = decoded[0][1]
    if colour != pixels.photometric_interpretation:
        changed[0x00280004] = encode(0x00280004, "CS", colour.encode())
    if pixels.samples_per_pixel > 1:
        changed[0x00280006] = encode(0x00280006, "US", bytes(2))
    return changed


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


def _file_meta(meta: Dataset) -> bytes:
    # pydicom reads file meta information eagerly in part; it is always Explicit VR Little Endian itself.
    writer = _Writer(implicit=False, big_endian=False)
    syntax = EXPLICIT_VR_LITTLE_ENDIAN.encode()
    replaced = {0x00020000: b"", 0x00020010: encode(0x00020010, "UI", syntax)}
    body = b"".join(writer.elements(meta, replaced, ()))
    return encode(0x00020000, "UL", len(body).to_bytes(4, "little")) + body


def encode(tag: int, vr: str, value: bytes) -> bytes:
    """Encode an element of defined length; a value too long for its VR's length field becomes UN (PS3.5 6.2.2)."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    if vr not in _LONG_LENGTH_VRS:
        if len(value) <= 0xFFFF:
            return _SHORT.pack(tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value
        vr = "UN"
    return _LONG.pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value


class _Writer:
    """Writes the elements of data sets that were stored in one encoding."""

    def __init__(self, *, implicit: bool, big_endian: bool) -> None:
        self._implicit = implicit
        self._big_endian = big_endian

    def elements(self, dataset: Dataset, replaced: dict[int, bytes], above: tuple[Dataset, ...]) -> Iterator[bytes]:
        """Yield each element, ascending; `replaced` holds those that were made anew, `above` the data sets around."""
        tags = set(map(int, dataset.keys())) | {tag for tag, made in replaced.items() if made}
        around = (dataset, *above)
        for tag in sorted(tags):
            if tag in replaced:
                yield replaced[tag]
            elif tag & 0xFFFF or tag >> 16 == 2:
                # Group lengths other than the file meta information's are retired and would be wrong (PS3.5 7.2).
                yield self._element(dataset.get_item(tag), around)

    def _element(self, element: DataElement | RawDataElement, around: tuple[Dataset, ...]) -> bytes:
        tag = int(element.tag)
        vr = self._vr(element, around)
        if vr == "SQ":
            return self._sequence(tag, element, around)
        if not isinstance(element, RawDataElement):
            return _encode_decoded(element, around[0])
        value = element.value or b""
        if element.length == _UNDEFINED:
            # Encapsulated pixel data inside an icon, or a value that pydicom left alone: kept with its delimiter.
            head = _LONG.pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0, _UNDEFINED)
            return head + value + _ITEM.pack(0xFFFE, 0xE0DD, 0)
        if self._big_endian:
            value = swap_words(value, self._width(tag, vr, around[0]))
        return encode(tag, vr, value)

    def _sequence(self, tag: int, element: DataElement | RawDataElement, around: tuple[Dataset, ...]) -> bytes:
        items: Any = element.value
        if isinstance(element, RawDataElement):
            # UN holds implicit little endian, whatever is around it (PS3.5 6.2.2 note 2).
            items = convert_SQ(cast(bytes, items or b""), self._implicit, not self._big_endian)
        parts = []
        for item in items or ():
            body = b"".join(self.elements(item, {}, around))
            parts.append(_ITEM.pack(0xFFFE, 0xE000, len(body)) + body)
        return encode(tag, "SQ", b"".join(parts))

    def _vr(self, element: DataElement | RawDataElement, around: tuple[Dataset, ...]) -> str:
        vr = element.VR
        if vr is None or " or " in vr:
            vr = _dictionary_vr(int(element.tag), around)
        return str(vr)

    def _width(self, tag: int, vr: str, dataset: Dataset) -> int:
        if tag in _PIXELS:
            return pixel_word_bytes(vr, pixel_format_from(dataset))
        return word_bytes(vr)


def _encode_decoded(element: DataElement, dataset: Dataset) -> bytes:
    """Encode an element that pydicom decodes while it reads: character sets, private creators, file meta."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_data_element(buffer, element, convert_encodings(_value(dataset, 0x00080005)))
    return buffer.getvalue()


def _dictionary_vr(tag: int, around: tuple[Dataset, ...]) -> str:
    """VR of an element that was stored without one (PS3.5 7.1.2, 7.8, A.1)."""
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2:
        if element < 0x100:
            return "LO" if element >= 0x10 else "UN"
        name = str(_value(around[0], group << 16 | element >> 8) or "").strip(" \0")
        try:
            vr = private_dictionary_VR(tag, name)
        except KeyError:
            return "UN"
    else:
        try:
            vr = dictionary_VR(tag)
        except KeyError:
            return "UN"
    return _chosen(tag, vr, around) if " or " in vr else vr


def _chosen(tag: int, choices: str, around: tuple[Dataset, ...]) -> str:
    """Choose between the VRs that the dictionary allows, by the attributes that decide (PS3.6, PS3.5 A.1)."""
    if "OW" in choices:
        # LUT Data and the values of Implicit VR pixel, overlay and waveform data are words (PS3.5 A.1).
        return "OW"
    for dataset in around:
        signed = _value(dataset, 0x00280103)
        if signed is not None:
            return "SS" if signed == 1 else "US"
    return "US"
