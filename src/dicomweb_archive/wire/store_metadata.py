"""Metadata of a store request: the instances of a JSON array, one by one (PS3.18 10.5.1, F.2).

The text is cut into its instances before a parser sees any of it: how deep it nests and how much it would become in
memory is known by then.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from dicomweb_archive.dicom.limits import DEFAULT_LIMITS
from dicomweb_archive.dicom.status import LIMIT_EXCEEDED, METADATA_UNREADABLE
from dicomweb_archive.dicom.xml_reader import read_native_xml
from dicomweb_archive.errors import InvalidInstanceError, InvalidRequestError, RequestTooLargeError
from dicomweb_archive.wire.media_types import DICOM_JSON, DICOM_XML

# Up to and with the next bracket, texts passed over whole; nothing matches where a text does not end.
_next_bracket = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[\[\]{}]', re.DOTALL).match

# A sequence is an object, a list and an item.
_MOST_NESTING: Final = 3 * DEFAULT_LIMITS.depth + 8

_MOST_OBJECTS: Final = 2 * DEFAULT_LIMITS.elements
_MOST_VALUES: Final = 2_000_000

# Of all instances together: what a request of thousands has, and what is walked through in a few seconds.
_MOST_MARKS: Final = 4_000_000
_MOST_TEXTS: Final = 10_000_000
_BLANKS: Final = b" \t\r\n"


def split_json_instances(text: bytes) -> Iterator[bytes]:
    """Yield the text of each instance of the array; one that stands alone is taken as well.

    Raises:
        InvalidRequestError: it is no JSON array of objects, or nests too deeply.
        RequestTooLargeError: it has more objects, lists and texts than are looked at in one request.
    """
    if text.count(b"{") + text.count(b"[") > _MOST_MARKS or text.count(b'"') > 2 * _MOST_TEXTS:
        message = "the metadata have more attributes than one request may; send fewer instances at once"
        raise RequestTooLargeError(message)
    lead = len(text) - len(text.lstrip(_BLANKS))
    opening = text[lead : lead + 1]
    if opening not in (b"[", b"{"):
        _refuse()
    if opening == b"{":
        text, lead = b"[" + text[lead:] + b"]", 0
    depth = start = 0
    end = position = lead + 1
    separator = b""
    while (found := _next_bracket(text, position)) is not None:
        position = found.end()
        mark = text[position - 1 : position]
        if depth == 0:
            before = text[end : position - 1].strip(_BLANKS)
            if mark == b"]" and not before and not text[position:].strip(_BLANKS):
                return
            if mark != b"{" or before != separator:
                _refuse()
            start = position - 1
        if mark in (b"{", b"["):
            depth += 1
            if depth > _MOST_NESTING:
                message = "the metadata nest more deeply than the archive takes"
                raise InvalidRequestError(message)
            continue
        depth -= 1
        if depth == 0:
            end, separator = position, b","
            yield text[start:end]
    _refuse()


def parse_json_instance(text: bytes) -> dict[str, Any]:
    """Read one instance of the array, all numbers as text.

    Raises:
        InvalidRequestError: it is no JSON.
        InvalidInstanceError: it names an attribute twice, or would need too much memory.
    """
    if text.count(b"{") > _MOST_OBJECTS or text.count(b",") > _MOST_VALUES:
        raise InvalidInstanceError("too many attributes or values in the metadata", failure=LIMIT_EXCEEDED)
    try:
        model: dict[str, Any] = json.loads(
            text, parse_float=str, parse_int=str, parse_constant=_refuse_constant, object_pairs_hook=_members
        )
    except ValueError:
        _refuse()
    return model


def _members(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        # Which of the two counts is for each reader to choose, so neither does.
        raise InvalidInstanceError("an attribute occurs twice in the metadata", failure=METADATA_UNREADABLE)
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError


def _refuse() -> NoReturn:
    message = "the metadata are not a JSON array of objects (PS3.18 F.2)"
    raise InvalidRequestError(message)


@dataclass(frozen=True, slots=True)
class MetadataFormat:
    """How metadata are written: the texts of their instances, and the data set of each in the DICOM JSON model."""

    split: Callable[[bytes], Iterator[bytes]]
    parse: Callable[[bytes], Mapping[str, Any]]


METADATA_FORMATS: Mapping[str, MetadataFormat] = {
    DICOM_JSON: MetadataFormat(split_json_instances, parse_json_instance),
    DICOM_XML: MetadataFormat(lambda text: iter((text,)), read_native_xml),
}
"""Media types of metadata (PS3.18 10.5.1.4); of XML each part is one instance."""
