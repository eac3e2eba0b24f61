"""Elements of a stored data set, written anew in Explicit VR Little Endian (PS3.5 7.1.2); runs in worker processes.

pydicom finds the elements; their values are written as they stand, byte for byte, however wrong they may be:
only what the transfer syntax asks for changes.
"""

from collections.abc import Iterator
from typing import Any, cast

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.values import convert_SQ

from dicomweb_archive.dicom.element_encoding import UNDEFINED_LENGTH, encode, encode_encapsulated, encode_item
from dicomweb_archive.imaging.native import pixel_word_bytes, swap_words, word_bytes
from dicomweb_archive.imaging.pixel_format import PixelFormat

# Pixel Data, Float Pixel Data and Double Float Pixel Data.
_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)


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
        photometric_interpretation=str(value_of(dataset, 0x00280004) or ""),
        planar_configuration=_number(dataset, 0x00280006, 0),
        number_of_frames=_number(dataset, 0x00280008, 1) or 1,
    )


def value_of(dataset: Dataset, tag: int) -> Any:
    """Value of an element; unlike `dataset[tag]` this leaves the raw element, which is to be copied, as it is."""
    if tag not in dataset:
        return None
    element: DataElement | RawDataElement = dataset.get_item(tag)
    if isinstance(element, RawDataElement):
        element = convert_raw_data_element(element, ds=dataset)
    return element.value


def _number(dataset: Dataset, tag: int, default: int) -> int:
    value = value_of(dataset, tag)
    return default if value is None or value == "" else int(value)


class ElementWriter:
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
        if element.length == UNDEFINED_LENGTH:
            # Encapsulated pixel data inside an icon, or a value that pydicom left alone: kept with its delimiter.
            return encode_encapsulated(tag, value, vr)
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
            parts.append(encode_item(body))
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
    write_data_element(buffer, element, convert_encodings(value_of(dataset, 0x00080005)))
    return buffer.getvalue()


def _dictionary_vr(tag: int, around: tuple[Dataset, ...]) -> str:
    """VR of an element that was stored without one (PS3.5 7.1.2, 7.8, A.1)."""
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2:
        if element < 0x100:
            return "LO" if element >= 0x10 else "UN"
        name = str(value_of(around[0], group << 16 | element >> 8) or "").strip(" \0")
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
        signed = value_of(dataset, 0x00280103)
        if signed is not None:
            return "SS" if signed == 1 else "US"
    return "US"
