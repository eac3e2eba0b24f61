"""Metadata of a store request: the instances of a JSON array, one by one (PS3.18 10.5.1, F.2).

The text is cut into its instances while it is read, before a parser sees any of it: how deep it nests and how much it
would become in memory is known by then, and of a long text no more is held than one instance.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from dicomweb_archive.dicom.limits import DEFAULT_LIMITS
from dicomweb_archive.dicom.status import LIMIT_EXCEEDED, METADATA_UNREADABLE
from dicomweb_archive.dicom.xml_reader import read_native_xml
from dicomweb_archive.errors import InvalidInstanceError, InvalidRequestError, RequestTooLargeError
from dicomweb_archive.wire.media_types import DICOM_JSON, DICOM_XML

# Texts are passed over whole, so that what is in them is no bracket.
_PLAIN: Final = rb'[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PASSED_OVER: Final = rb"(?:" + _PLAIN + rb")*+"
# Within an instance so are lists and objects that hold nothing but such: most attributes, as a whole.
_LIST: Final = rb"\[" + _PASSED_OVER + rb"\]"
_FLAT: Final = rb"(?:" + _PLAIN + rb"|" + _LIST + rb"|\{(?:" + _PLAIN + rb"|" + _LIST + rb")*+\})*+"
_between = [re.compile(passed + rb"[\[\]{}]", re.DOTALL).match for passed in (_PASSED_OVER, _FLAT)]
_to_the_end = [re.compile(passed, re.DOTALL).match for passed in (_PASSED_OVER, _FLAT)]
_rest_of_text = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL).match

# A sequence is an object, a list and an item.
_MOST_NESTING: Final = 3 * DEFAULT_LIMITS.depth + 8

_MOST_OBJECTS: Final = 2 * DEFAULT_LIMITS.elements
_MOST_VALUES: Final = 1_000_000

# Of all instances together: what a request of thousands has, and what is walked through in a few seconds.
_MOST_MARKS: Final = 4_000_000
_MOST_TEXTS: Final = 10_000_000
_MOST_COMMAS: Final = 10_000_000
_BLANKS: Final = b" \t\r\n"

MOST_INSTANCE_BYTES: Final = 64 * 1024 * 1024
"""Metadata of one instance, as text."""


def split_json_instances(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the text of each instance of the array, which comes in pieces; one that stands alone is taken as well.

    Raises:
        InvalidRequestError: it is no JSON array of objects, or nests too deeply.
        RequestTooLargeError: it has more objects, lists and texts than are looked at in one request, or one of its
            instances is too long.
    """
    splitter = _Splitter()
    for piece in pieces:
        yield from splitter.feed(piece)
    splitter.finish()


class _Brackets:
    """Finds the brackets that are in no text, in pieces that may end within one."""

    def __init__(self) -> None:
        self.is_inside = False
        """Of an instance: then what nests no further may be passed over with its brackets."""
        self._in_text = self._is_escaped = False

    def find(self, piece: bytes) -> Iterator[int]:
        """Yield where the brackets of the next piece are; `is_inside` is looked at after each."""
        position = 0
        if self._in_text:
            found = _rest_of_text(piece, int(self._is_escaped))
            if found is None:
                self._end_within_text(piece, int(self._is_escaped))
                return
            position, self._in_text = found.end(), False
        while (found := _between[self.is_inside](piece, position)) is not None:
            position = found.end()
            yield position - 1
        passed = _to_the_end[self.is_inside](piece, position)
        assert passed is not None
        if passed.end() < len(piece):
            self._in_text = True
            self._end_within_text(piece, passed.end() + 1)

    def _end_within_text(self, piece: bytes, start: int) -> None:
        if start <= len(piece):
            backslashes = len(piece) - max(len(piece.rstrip(b"\\")), start)
            self._is_escaped = backslashes % 2 == 1


class _Splitter:
    """Cuts an array that comes in pieces into its objects."""

    def __init__(self) -> None:
        self._brackets = _Brackets()
        self._marks = self._texts = self._commas = 0
        # How many brackets are open, and how many are between instances: that of the array, if there is one.
        self._depth = self._outside = 0
        self._is_over = False
        # Blanks apart, nothing or a comma.
        self._between = self._separator = b""
        self._held: list[bytes] = []
        self._held_bytes = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take the next piece and yield the instances that end in it."""
        self._count(piece)
        start = 0
        for at in self._brackets.find(piece):
            mark = piece[at : at + 1]
            if self._depth == self._outside:
                self._lay_between(piece[start:at])
                self._go_in(mark)
                start = at if mark == b"{" else at + 1
            elif mark in (b"{", b"["):
                self._depth += 1
                if self._depth > _MOST_NESTING:
                    message = "the metadata nest more deeply than the archive takes"
                    raise InvalidRequestError(message)
            else:
                self._depth -= 1
                if self._depth == self._outside:
                    self._hold(piece[start : at + 1])
                    start = at + 1
                    self._brackets.is_inside = False
                    yield self._take()
        if self._depth == self._outside:
            self._lay_between(piece[start:])
        else:
            self._hold(piece[start:])

    def finish(self) -> None:
        """Hear that nothing else comes."""
        if not self._is_over or self._between:
            _refuse()

    def _count(self, piece: bytes) -> None:
        self._marks += piece.count(b"{") + piece.count(b"[")
        self._texts += piece.count(b'"')
        self._commas += piece.count(b",")
        if self._marks > _MOST_MARKS or self._texts > 2 * _MOST_TEXTS or self._commas > _MOST_COMMAS:
            message = "the metadata have more attributes than one request may; send fewer instances at once"
            raise RequestTooLargeError(message)

    def _lay_between(self, piece: bytes) -> None:
        self._between = (self._between + piece).strip(_BLANKS)
        if len(self._between) > len(b","):
            _refuse()

    def _go_in(self, mark: bytes) -> None:
        """Begin the array or an instance, or end the array."""
        between, self._between = self._between, b""
        if self._is_over or between != (self._separator if mark == b"{" else b""):
            _refuse()
        if mark == b"{":
            self._depth += 1
            self._brackets.is_inside = True
        elif mark == b"[" and self._outside == 0:
            self._depth = self._outside = 1
        elif mark == b"]" and self._outside == 1:
            self._depth = self._outside = 0
            self._is_over = True
        else:
            _refuse()

    def _hold(self, piece: bytes) -> None:
        self._held.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > MOST_INSTANCE_BYTES:
            raise _too_long()

    def _take(self) -> bytes:
        text = b"".join(self._held)
        self._held, self._held_bytes = [], 0
        self._separator = b","
        self._is_over = self._outside == 0
        return text


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


def _too_long() -> RequestTooLargeError:
    return RequestTooLargeError(f"the metadata of an instance may have at most {MOST_INSTANCE_BYTES} bytes")


def _refuse() -> NoReturn:
    message = "the metadata are not a JSON array of objects (PS3.18 F.2)"
    raise InvalidRequestError(message)


def _only_instance(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the text of a document, which is one instance."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > MOST_INSTANCE_BYTES:
            raise _too_long()
    yield b"".join(held)


@dataclass(frozen=True, slots=True)
class MetadataFormat:
    """How metadata are written: the texts of their instances, and the data set of each in the DICOM JSON model."""

    split: Callable[[Iterable[bytes]], Iterator[bytes]]
    parse: Callable[[bytes], Mapping[str, Any]]


METADATA_FORMATS: Mapping[str, MetadataFormat] = {
    DICOM_JSON: MetadataFormat(split_json_instances, parse_json_instance),
    DICOM_XML: MetadataFormat(_only_instance, read_native_xml),
}
"""Media types of metadata (PS3.18 10.5.1.4); of XML each part is one instance."""
