"""Document of a segment: the JSON of its instances, each element once where equal and as a column where not.

The text has one line a tag, ascending: `TTTTTTTT=` and the element's JSON when it is equal in all instances,
`TTTTTTTT*` and the JSON of each instance joined by `\\x1e` (nothing where absent) when it varies. Where all begin
and end alike it is `TTTTTTTT+`, the beginning, `\\x1d`, the end, `\\x1d`, and what is between in each, joined by
`\\x1e`. Strict JSON holds no raw control character, so the separators cannot occur inside. It is kept compressed by
zlib.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from dicomweb_archive.dicom.instance import BULK_MARKER

Content = bytes | list[bytes]
"""JSON of one element in all instances, or by position with `b""` where it is absent."""

SOP_INSTANCE_UID = 0x00080018

_MARKER = BULK_MARKER.encode()
_BETWEEN_INSTANCES = b"\x1e"
_BETWEEN_PARTS = b"\x1d"
_LONGEST_BEGINNING = 256
# Of zlib: takes a third of the time of the usual 6 and leaves two bytes an instance more.
_LEVEL = 3
_ENDS = (b'"]}', b"]}")
_FIRST_VALUE = re.compile(rb'"Value":\["([^"]*)"')


def encode_document(lines: Iterable[tuple[int, Content]]) -> bytes:
    """Write the document of a segment; lines come in ascending order of tags."""
    text = bytearray()
    for tag, content in lines:
        if isinstance(content, bytes):
            text += b"%08X=%b\n" % (tag, content)
        else:
            text += b"%08X%b\n" % (tag, _encode_column(content))
    return zlib.compress(text, _LEVEL)


def _encode_column(texts: Sequence[bytes]) -> bytes:
    """Write what varies; what all begin and end with is written once, so that a quarter is left to compress.

    Hot path (benchmarks/index): both are cut off all texts at once, and the length tells whether all had them.
    """
    joined = _BETWEEN_INSTANCES.join(texts)
    distinct = set(texts)
    beginning = _common_beginning(min(distinct), max(distinct))
    for end in _ENDS:
        if beginning and joined.endswith(end):
            between = joined[len(beginning) : len(joined) - len(end)]
            between = between.replace(end + _BETWEEN_INSTANCES + beginning, _BETWEEN_INSTANCES)
            if len(between) == len(joined) - len(texts) * (len(beginning) + len(end)):
                return b"+%b" % _BETWEEN_PARTS.join((beginning, end, between))
    return b"*%b" % joined


def _common_beginning(low: bytes, high: bytes) -> bytes:
    """Return what the lowest and the highest text of a column begin with; so do all between them."""
    pairs = enumerate(zip(low[:_LONGEST_BEGINNING], high, strict=False))
    return low[: next((place for place, (a, b) in pairs if a != b), 0)]


def _decode_column(kind: bytes, content: bytes) -> list[bytes]:
    if kind == b"+":
        beginning, end, between = content.split(_BETWEEN_PARTS)
        joints = between.replace(_BETWEEN_INSTANCES, end + _BETWEEN_INSTANCES + beginning)
        content = beginning + joints + end
    return content.split(_BETWEEN_INSTANCES)


def decode_document(document: bytes) -> "Document":
    """Read a document back."""
    lines: list[tuple[bytes, Content]] = []
    for line in zlib.decompress(document).split(b"\n")[:-1]:
        kind, content = line[8:9], line[9:]
        lines.append((line[:8], content if kind == b"=" else _decode_column(kind, content)))
    return Document(tuple(lines))


@dataclass(frozen=True, slots=True)
class Document:
    """The lines of a document: tag as eight hex digits, and content."""

    lines: tuple[tuple[bytes, Content], ...]

    def estimated_bytes(self) -> int:
        """Estimate how much memory the document takes."""
        sizes = (len(c) if isinstance(c, bytes) else sum(map(len, c)) + 41 * len(c) for _, c in self.lines)
        return sum(sizes) + 150 * len(self.lines)

    def element_texts(self, position: int, tags: Iterable[int] | None = None) -> dict[int, bytes]:
        """Return the JSON of one instance's elements by tag, ascending; only of `tags` when given."""
        wanted = None if tags is None else frozenset(b"%08X" % tag for tag in tags)
        texts = {}
        for name, content in self.lines:
            if wanted is None or name in wanted:
                text = content if isinstance(content, bytes) else content[position]
                if text:
                    texts[int(name, 16)] = text
        return texts

    def sop_instance_uids(self, instance_count: int) -> list[bytes]:
        """Return the SOP Instance UIDs by position."""
        for name, content in self.lines:
            if name == b"%08X" % SOP_INSTANCE_UID:
                texts = [content] * instance_count if isinstance(content, bytes) else content
                return [_first_value(text) for text in texts]
        return []

    def only(self, tags: Iterable[int]) -> "Document":
        """Return the document with these elements alone."""
        names = frozenset(b"%08X" % tag for tag in tags)
        return Document(tuple(line for line in self.lines if line[0] in names))

    def instance_text(self, position: int, bulkdata_url: bytes) -> bytes:
        """Return the whole JSON object of one instance (PS3.18 F.2).

        Args:
            bulkdata_url: ending in `/`; it replaces the marker of bulk values.
        """
        texts = ((name, c if isinstance(c, bytes) else c[position]) for name, c in self.lines)
        members = [b'"%b":%b' % (name, text) for name, text in texts if text]
        return b"{%b}" % b",".join(members).replace(_MARKER, bulkdata_url)

    def instance_texts(self, bulkdata_urls: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the whole JSON object of each instance, in order of position (PS3.18 F.2).

        Args:
            bulkdata_urls: of each instance, ending in `/`; they replace the marker of bulk values.

        Hot path (benchmarks/index): one join an instance of static bytes and what varies between them.
        """
        columns: list[Iterable[bytes]] = []
        static = bytearray()
        for name, content in self.lines:
            if isinstance(content, bytes):
                static += b',"%b":%b' % (name, content)
                continue
            columns += _static_columns(static, bulkdata_urls)
            static = bytearray()
            head = b',"%b":' % name
            pieces = [head + piece if piece else b"" for piece in content]
            if any(_MARKER in piece for piece in pieces):
                pieces = [p.replace(_MARKER, url) for p, url in zip(pieces, bulkdata_urls, strict=True)]
            columns.append(pieces)
        columns += _static_columns(static, bulkdata_urls)
        join = b"".join
        for row in zip(*columns, strict=True):
            yield b"{" + join(row)[1:] + b"}"


def _static_columns(static: bytearray, bulkdata_urls: Sequence[bytes]) -> Iterator[Iterable[bytes]]:
    """Cut a static run where the URL of the instance's bulk values goes."""
    first, *rest = bytes(static).split(_MARKER)
    yield repeat(first, len(bulkdata_urls))
    for part in rest:
        yield bulkdata_urls
        yield repeat(part, len(bulkdata_urls))


def _first_value(text: bytes) -> bytes:
    found = _FIRST_VALUE.search(text)
    return found[1] if found else b""
