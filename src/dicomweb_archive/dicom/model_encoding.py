"""Data sets of the DICOM JSON model as encoded elements, bulk values left open (PS3.18 F.2, PS3.5 7.1.2, 7.5)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.element_encoding import (
    SEQUENCE_END,
    UNDEFINED_LENGTH,
    element_head,
    encode,
    encode_item,
    item_head,
)
from dicomweb_archive.dicom.limits import DEFAULT_LIMITS, ScanLimits
from dicomweb_archive.dicom.status import ELEMENTS_DISCARDED, LIMIT_EXCEEDED, METADATA_UNREADABLE, AttributeNote
from dicomweb_archive.dicom.value_encoding import UnfitValueError, decode_inline, encode_values, pad
from dicomweb_archive.dicom.values import BINARY_VRS, BULK_VRS, LONG_VRS, SHORT_VRS
from dicomweb_archive.errors import InvalidInstanceError

_TAG = re.compile(r"[0-9A-Fa-f]{8}").fullmatch
_META_GROUP = 0x0002
_ITEM_BEGIN = item_head(UNDEFINED_LENGTH)
_ITEM_END = bytes.fromhex("feff0de000000000")
_UTF8: Final = "ISO_IR 192"
# What an answer has room for; of thousands the first tell enough.
_MOST_NOTES: Final = 100
_TEXTS = frozenset(["LT", "ST", "UC", "UT"])

Model: TypeAlias = Mapping[str, Any]
"""A data set in the DICOM JSON model, all numbers as text."""


class BulkReference(NamedTuple):
    """An element whose value is a part of its own: only the URI is known, which is compared and never followed."""

    uri: str
    tag: int
    vr: str


class Elsewhere(NamedTuple):
    """Encoded bytes that were put away: where they are, there."""

    start: int
    stop: int


Piece: TypeAlias = bytes | BulkReference | Elsewhere


@dataclass(slots=True)
class EncodedDataSet:
    """A data set of which all is encoded but its bulk values.

    Attributes:
        elements: the pieces of each element, ascending by tag.
        meta: values of file meta information, which metadata should not have, and some have.
        references: all bulk values, those inside sequences too.
        notes: what was left out or changed.
    """

    elements: dict[int, list[Piece]] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    meta: dict[int, str] = field(default_factory=dict)
    references: list[BulkReference] = field(default_factory=list)
    notes: list[AttributeNote] = field(default_factory=list)

    def text_of(self, tag: int) -> str:
        """Return the first value of a top-level attribute as text, empty when there is none."""
        return self.texts.get(tag, "")

    def put(self, tag: int, vr: str, value: bytes) -> None:
        """Put an element in, in place of one that is there."""
        self.elements[tag] = [encode(tag, vr, pad(vr, value))]


def encode_model(model: Model, limits: ScanLimits = DEFAULT_LIMITS) -> EncodedDataSet:
    """Encode a data set in the DICOM JSON model; text becomes UTF-8, which JSON is (PS3.18 F.2).

    What cannot be encoded is left out and noted, so that one attribute does not hinder an instance.

    Raises:
        InvalidInstanceError: it is no data set at all, or beyond a limit.
    """
    return _Encoder(limits).encode(model)


class _Encoder:
    def __init__(self, limits: ScanLimits) -> None:
        self._limits = limits
        self._elements_left = limits.elements
        self._items_left = limits.items
        self._result = EncodedDataSet()
        self._sequences: list[tuple[int, int]] = []
        self._needs_utf8 = False

    def encode(self, model: Model) -> EncodedDataSet:
        result = self._result
        result.elements = self._data_set(model)
        if self._needs_utf8 or tags.SPECIFIC_CHARACTER_SET in result.elements:
            result.put(tags.SPECIFIC_CHARACTER_SET, "CS", _UTF8.encode())
        result.elements = dict(sorted(result.elements.items()))
        return result

    def _data_set(self, model: Any) -> dict[int, list[Piece]]:
        if not isinstance(model, Mapping):
            raise InvalidInstanceError("a data set is not an object", failure=METADATA_UNREADABLE)
        read: dict[int, tuple[str, Any]] = {}
        for key, attribute in model.items():
            tag = int(key, 16) if _TAG(key) else None
            if tag is None or tag in read or not isinstance(attribute, Mapping):
                reason = "attributes are not objects named by a tag each, every tag once"
                raise InvalidInstanceError(reason, failure=METADATA_UNREADABLE)
            read[tag] = key, attribute
        self._elements_left -= len(read)
        if self._elements_left < 0:
            raise InvalidInstanceError("too many elements", failure=LIMIT_EXCEEDED)
        encoded = {}
        for tag in sorted(read):
            pieces = self._element(tag, read[tag][1])
            if pieces is not None:
                encoded[tag] = pieces
        return encoded

    def _element(self, tag: int, attribute: Model) -> list[Piece] | None:
        group = tag >> 16
        if tag & 0xFFFF == 0:
            # Group lengths are retired and would be wrong (PS3.5 7.2).
            return None
        if group == _META_GROUP and not self._sequences:
            self._result.meta[tag] = _first_text(attribute)
            return None
        if group < 4 or group >= 0xFFFE:
            self._note(tag, ELEMENTS_DISCARDED, "No attribute of a data set")
            return None
        if tag == tags.SPECIFIC_CHARACTER_SET:
            return [encode(tag, "CS", pad("CS", _UTF8.encode()))]
        try:
            vr = _vr_of(tag, attribute)
            return self._sequence(tag, attribute) if vr == "SQ" else [self._value(tag, vr, attribute)]
        except UnfitValueError as unfit:
            self._note(tag, ELEMENTS_DISCARDED, str(unfit))
            return None

    def _value(self, tag: int, vr: str, attribute: Model) -> Piece:
        """Encode a value, or leave it open for what comes as a part of its own."""
        if "BulkDataURI" in attribute:
            uri = attribute["BulkDataURI"]
            if vr not in BULK_VRS or not isinstance(uri, str):
                raise UnfitValueError("BulkDataURI is not for its value representation")
            self._needs_utf8 = self._needs_utf8 or vr in _TEXTS
            reference = BulkReference(uri, tag, vr)
            self._result.references.append(reference)
            return reference
        if "InlineBinary" in attribute:
            if vr not in BINARY_VRS:
                raise UnfitValueError("InlineBinary is not for its value representation")
            return encode(tag, vr, pad(vr, decode_inline(attribute["InlineBinary"])))
        values = _values(attribute)
        if not values:
            return encode(tag, vr, b"")
        value = encode_values(vr, values, lambda warning, text: self._note(tag, warning, text))
        self._needs_utf8 = self._needs_utf8 or (vr not in BINARY_VRS and vr != "AT" and not _is_plain(vr, value))
        if not self._sequences:
            self._result.texts[tag] = values[0] if isinstance(values[0], str) else ""
        return encode(tag, vr, pad(vr, value))

    def _sequence(self, tag: int, attribute: Model) -> list[Piece]:
        if len(self._sequences) >= self._limits.depth:
            raise InvalidInstanceError("sequences are nested too deeply", failure=LIMIT_EXCEEDED)
        if "BulkDataURI" in attribute or "InlineBinary" in attribute:
            raise UnfitValueError("A sequence has items alone")
        items = []
        values = _values(attribute)
        self._items_left -= len(values)
        if self._items_left < 0:
            raise InvalidInstanceError("too many items", failure=LIMIT_EXCEEDED)
        for number, item in enumerate(values, 1):
            self._sequences.append((tag, number))
            items.append([piece for pieces in self._data_set(item or {}).values() for piece in pieces])
            self._sequences.pop()
        if not any(isinstance(piece, BulkReference) for item in items for piece in item):
            body = b"".join([encode_item(b"".join(_bytes_of(item))) for item in items])
            return [encode(tag, "SQ", body)]
        head = element_head(tag, "SQ", UNDEFINED_LENGTH)
        return [head, *(piece for item in items for piece in (_ITEM_BEGIN, *item, _ITEM_END)), SEQUENCE_END]

    def _note(self, tag: int, warning: int, text: str) -> None:
        note = AttributeNote(tag, warning, text, tuple(self._sequences))
        notes = self._result.notes
        if note not in notes[-1:] and len(notes) < _MOST_NOTES:
            notes.append(note)


def _vr_of(tag: int, attribute: Model) -> str:
    vr = attribute.get("vr")
    if isinstance(vr, str) and (vr in SHORT_VRS or vr in LONG_VRS):
        return vr
    known = tags.vr_of(tag)
    if known is None:
        raise UnfitValueError("No value representation")
    return known


def _values(attribute: Model) -> Sequence[Any]:
    values = attribute.get("Value")
    if values is None:
        return ()
    if not isinstance(values, list):
        raise UnfitValueError("Value is not a list")
    return values


def _first_text(attribute: Model) -> str:
    values = attribute.get("Value")
    return values[0].strip(" \0") if isinstance(values, list) and values and isinstance(values[0], str) else ""


def _is_plain(vr: str, value: bytes) -> bool:
    """Tell whether a value means the same in every character set; numbers are no text."""
    return value.isascii() or vr in ("FL", "FD", "SL", "SS", "SV", "UL", "US", "UV")


def _bytes_of(pieces: Sequence[Piece]) -> list[bytes]:
    return [piece for piece in pieces if isinstance(piece, bytes)]
