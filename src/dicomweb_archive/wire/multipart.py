"""multipart/related, both ways (PS3.18 8.6.1.2, 8.7.1; RFC 2046 5.1): incremental reader, and part framing.

The reader finds delimiters by searching for them. Content-Length of a part is reported and otherwise ignored:
what a client claims must not decide where a part ends.
"""

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar, Final, TypeAlias

from dicomweb_archive.dicom.status import AttributeNote, StoreOutcome
from dicomweb_archive.errors import InvalidRequestError, RequestTooLargeError, UnsupportedMediaTypeError
from dicomweb_archive.wire.header_fields import parse_media_type, quote

_CRLF: Final = b"\r\n"
# The standard ends at 70 characters; Orthanc sends 73 (DICOMweb plugin 1.7), and nothing is gained by refusing them.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,199}[0-9A-Za-z'()+_,\-./:=?]")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\x00\r\n]*)")
_FOLD = re.compile(rb"\r\n[ \t]+")
_LINE_END = re.compile(rb"--|[ \t]{0,256}\r\n")
_UNFINISHED = re.compile(rb"-?|[ \t]{0,256}\r?")
_LENGTH = re.compile(r"[0-9]{1,19}")

_MOST_PADDING: Final = 256
"""Blanks taken between a boundary and the end of its line, as in the patterns above; more than that is data."""


@dataclass(frozen=True, slots=True)
class MultipartLimits:
    """Bounds of one multipart body; sizes in bytes."""

    parts: int = 20_000
    header_bytes: int = 8 * 1024
    header_lines: int = 32
    preamble_bytes: int = 64 * 1024
    epilogue_bytes: int = 64 * 1024
    content_type_bytes: int = 4 * 1024


@dataclass(frozen=True, slots=True)
class RelatedType:
    """A request's Content-Type (PS3.18 8.7.1); `type` is the media type of the root part, lower case."""

    boundary: str
    type: str
    start: str | None = None


@dataclass(frozen=True, slots=True)
class PartHead:
    """The header block of a part; names in lower case, `content_length` as claimed."""

    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """Content-Type as sent, empty when missing."""
        return self.headers.get("content-type", "")

    @property
    def content_length(self) -> int | None:
        """Content-Length as claimed; a hint, never the truth."""
        text = self.headers.get("content-length", "")
        return int(text) if _LENGTH.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part begins.

    Attributes:
        notes: what is to be said of attributes of the instance, when it was made of its metadata.
    """

    head: PartHead
    notes: tuple[AttributeNote, ...] = ()


@dataclass(frozen=True, slots=True)
class PartData:
    """Some bytes of the part; a view of the chunk that was fed."""

    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is complete."""


@dataclass(frozen=True, slots=True)
class PartJudged:
    """A part of which was known that it cannot be stored before any of it was given on; nothing else comes of it."""

    outcome: StoreOutcome


Event: TypeAlias = PartBegin | PartData | PartEnd | PartJudged


def parse_multipart_related(content_type: str, limits: MultipartLimits = MultipartLimits()) -> RelatedType:
    """Read the Content-Type of a multipart/related payload (PS3.18 8.7.1).

    A missing `type` is tolerated (empty): the parts say theirs.

    Raises:
        UnsupportedMediaTypeError: it is another media type.
        InvalidRequestError: there is no boundary, or not a legal one (RFC 2046 5.1.1).
    """
    if len(content_type) > limits.content_type_bytes:
        raise InvalidRequestError(f"Content-Type is longer than {limits.content_type_bytes} bytes")
    parsed = parse_media_type(content_type)
    if parsed is None:
        raise InvalidRequestError("Content-Type is not a media type with parameters")
    if parsed.type != "multipart/related":
        raise UnsupportedMediaTypeError("the payload is not multipart/related", supported=("multipart/related",))
    boundary = parsed.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequestError("Content-Type needs a boundary of 1 to 200 legal characters (RFC 2046 5.1.1)")
    return RelatedType(boundary, parsed.parameters.get("type", "").lower(), parsed.parameters.get("start"))


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


class PartReader:
    """Split a multipart body into parts, chunk by chunk; any chunking gives the same parts.

    A delimiter is CRLF, two hyphens, the boundary, then optional blanks and CRLF, or two hyphens that close the
    body. The boundary text anywhere else, e.g. within pixel data, is data. Memory: one chunk and 8 KiB.

    Hot path: one `bytes.find` over each chunk, data passed on as views (benchmarks/multipart).
    """

    def __init__(self, boundary: str, limits: MultipartLimits = MultipartLimits()) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._limits = limits
        self._state = _State.PREAMBLE
        # A body may begin with its first boundary: the CRLF before it is put in and never shows.
        self._held: bytes = _CRLF
        self._invented = len(_CRLF)
        self._skipped = 0
        self._parts = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the body and give what they complete.

        Raises:
            InvalidRequestError: a header block is malformed, or preamble or epilogue are too long.
            RequestTooLargeError: there are more parts than allowed.
        """
        events: list[Event] = []
        position = 0
        while position < len(chunk):
            if self._held:
                chunk, position = self._join_held(chunk, position, events)
            elif self._state is _State.HEADERS:
                position = self._read_headers(chunk, position, events)
            elif self._state is _State.EPILOGUE:
                self._skip(len(chunk) - position)
                break
            else:
                position = self._read_data(chunk, position, events)
        return events

    def finish(self) -> None:
        """Say that the body has ended.

        Raises:
            InvalidRequestError: the closing delimiter has not come: the body is cut short or not multipart.
        """
        if self._state is _State.PREAMBLE:
            raise InvalidRequestError("the boundary of the Content-Type does not occur in the body")
        if self._state is not _State.EPILOGUE:
            raise InvalidRequestError("the body ends before its closing boundary")

    def _join_held(self, chunk: bytes, position: int, events: list[Event]) -> tuple[bytes, int]:
        """Settle what the last bytes left open; returns the bytes to go on with, and where.

        A large chunk is not copied: whether the held bytes begin a delimiter shows in a small window.
        """
        held, self._held = self._held, b""
        reach = len(self._delimiter) + _MOST_PADDING + len(_CRLF)
        if self._state is _State.HEADERS or len(chunk) - position < reach:
            return held + chunk[position:], 0
        start, end, closes = self._find_delimiter(held + chunk[position : position + reach], 0)
        if 0 <= start < len(held) and end > 0:
            self._emit(held, 0, start, events)
            self._pass_delimiter(events, closes=closes)
            return chunk, position + end - len(held)
        self._emit(held, 0, len(held), events)
        return chunk, position

    def _read_data(self, chunk: bytes, position: int, events: list[Event]) -> int:
        """Pass data on up to the next delimiter, or up to what may become one."""
        start, end, closes = self._find_delimiter(chunk, position)
        if start < 0:
            self._emit(chunk, position, len(chunk), events)
            return len(chunk)
        self._emit(chunk, position, start, events)
        if end == 0:
            self._held = chunk[start:]
            return len(chunk)
        self._pass_delimiter(events, closes=closes)
        return end

    def _find_delimiter(self, data: bytes, position: int) -> tuple[int, int, bool]:
        """Find the next delimiter: its start, where its line ends, and whether it closes the body.

        A start of -1: there is none. An end of 0: what is at start may become one with more bytes.
        """
        delimiter = self._delimiter
        while True:
            start = data.find(delimiter, position)
            if start < 0:
                return self._find_partial(data, position), 0, False
            after = start + len(delimiter)
            line_end = _LINE_END.match(data, after)
            if line_end is not None:
                return start, line_end.end(), line_end[0] == b"--"
            if len(data) - after < _MOST_PADDING + len(_CRLF) and _UNFINISHED.fullmatch(data, after):
                return start, 0, False
            position = start + 1

    def _find_partial(self, data: bytes, position: int) -> int:
        """Find the beginning of a delimiter that `data` ends with, -1 when there is none."""
        start = data.find(b"\r", max(position, len(data) - len(self._delimiter) + 1))
        while start >= 0 and not self._delimiter.startswith(data[start:]):
            start = data.find(b"\r", start + 1)
        return start

    def _pass_delimiter(self, events: list[Event], *, closes: bool) -> None:
        if self._state is _State.BODY:
            events.append(PartEnd())
        self._invented = 0
        self._skipped = 0
        self._state = _State.EPILOGUE if closes else _State.HEADERS
        if not closes:
            self._parts += 1
            if self._parts > self._limits.parts:
                raise RequestTooLargeError(f"more than {self._limits.parts} parts in one request")

    def _read_headers(self, chunk: bytes, position: int, events: list[Event]) -> int:
        """Collect a header block up to its empty line; the block may come in pieces."""
        limit = self._limits.header_bytes
        if chunk.startswith(_CRLF, position):
            block, body = b"", position + len(_CRLF)
        else:
            end = chunk.find(b"\r\n\r\n", position, position + limit + 4)
            if end < 0:
                if len(chunk) - position > limit:
                    raise InvalidRequestError(f"a part's header block is longer than {limit} bytes")
                self._held = chunk[position:]
                return len(chunk)
            block, body = chunk[position:end], end + 4
        events.append(PartBegin(self._parse_head(block)))
        self._state = _State.BODY
        # The CRLF that ends the header block may also begin the delimiter of a part without a body.
        self._held, self._invented = _CRLF, len(_CRLF)
        return body

    def _parse_head(self, block: bytes) -> PartHead:
        headers: dict[str, str] = {}
        lines = _FOLD.sub(b" ", block).split(_CRLF) if block else []
        if len(lines) > self._limits.header_lines:
            raise InvalidRequestError(f"a part has more than {self._limits.header_lines} header lines")
        for line in lines:
            found = _HEADER_LINE.fullmatch(line)
            if found is None:
                raise InvalidRequestError("a part's header line is malformed")
            name = found[1].decode("ascii").lower()
            if name in headers and name.startswith("content-"):
                raise InvalidRequestError("a part repeats a header line that may occur once")
            headers[name] = found[2].decode("utf-8", "replace").rstrip(" \t")
        return PartHead(headers)

    def _emit(self, chunk: bytes, start: int, end: int, events: list[Event]) -> None:
        dropped = min(self._invented, end - start)
        start += dropped
        self._invented -= dropped
        if start == end:
            return
        if self._state is not _State.BODY:
            self._skip(end - start)
        elif end - start == len(chunk):
            events.append(PartData(chunk))
        else:
            events.append(PartData(memoryview(chunk)[start:end]))

    def _skip(self, count: int) -> None:
        """Count what lies before the first and behind the last part."""
        before = self._state is _State.PREAMBLE
        self._skipped += count
        if self._skipped > (self._limits.preamble_bytes if before else self._limits.epilogue_bytes):
            place = "before the first boundary" if before else "behind the closing boundary"
            raise InvalidRequestError(f"too many bytes {place}")


def new_boundary() -> str:
    """Make a boundary that no data can hold but by a chance of 2^-128 (RFC 2046 5.1.1)."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class AlikeHeads:
    """Heads of parts that differ in their length and in the end of their location alone.

    Hot path: one by one they take longer to write than a slice takes to send (benchmarks/retrieve).

    Attributes:
        before: what stands before the length.
        between: what stands between the length and the end of the location.
    """

    before: bytes
    between: bytes

    def head(self, length: int, name: str) -> bytes:
        """Write the head of a part whose location ends with `name`."""
        return b"%b%d%b%b\r\n\r\n" % (self.before, length, self.between, name.encode("ascii"))

    def total_bytes(self, lengths: Sequence[int], names: Sequence[str]) -> int:
        """Compute how long the heads of these parts are together."""
        fixed = len(self.before) + len(self.between) + len(_CRLF * 2)
        return fixed * len(lengths) + len("".join(map(str, lengths))) + len("".join(names))


@dataclass(frozen=True, slots=True)
class PartFraming:
    """What stands between the parts of a multipart/related answer (PS3.18 8.6.1.2, 8.7.1).

    A body is, for each part, `head(...)`, the part's bytes and `TAIL`; then `closing()`. Everything but the
    part's bytes is known beforehand, so is the length of the body.

    Args:
        type: media type of the parts, without parameters.
    """

    type: str
    boundary: str = field(default_factory=new_boundary)

    TAIL: ClassVar[bytes] = _CRLF

    @property
    def content_type(self) -> str:
        """The Content-Type of the whole answer."""
        return f"multipart/related; type={quote(self.type)}; boundary={quote(self.boundary)}"

    def head(self, content_type: str, *, length: int | None = None, location: str | None = None) -> bytes:
        """Write a boundary line and the header block of a part (PS3.18 Table 8.6.1-1).

        `length` is left out only when the part's length is not known beforehand.
        """
        # Viewers look for exactly `Content-Type:`; with other capitals they take a wrong transfer syntax.
        lines = [f"--{self.boundary}", f"Content-Type: {content_type}"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if location is not None:
            lines.append(f"Content-Location: {location}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def heads(self, content_type: str, location: str) -> "AlikeHeads":
        """Write what is the same in the heads of many parts, of which only the ends of their locations differ.

        Args:
            location: what their locations begin with.
        """
        before, _, between = self.head(content_type, length=0, location=location).partition(b": 0\r\n")
        return AlikeHeads(before + b": ", b"\r\n" + between.removesuffix(_CRLF * 2))

    def closing(self) -> bytes:
        """Write the closing boundary line."""
        return f"--{self.boundary}--\r\n".encode("ascii")

    def content_length(self, parts: Iterable[tuple[int, int]]) -> int:
        """Compute the body's length from the lengths of each part's head and bytes."""
        return sum(head + body + len(self.TAIL) for head, body in parts) + len(self.closing())
