"""Documents of segments that searches keep in memory; segments never change, so neither do they."""

from collections import OrderedDict
from collections.abc import Mapping

from dicomweb_archive.index.segments.document import Document, decode_document


class KeptDocuments:
    """Decoded documents of segments, least recently used out first."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._size = 0
        self._kept: OrderedDict[int, tuple[Document, int]] = OrderedDict()

    def find(self, ids: Mapping[int, object]) -> dict[int, Document]:
        """Return those of these segments that are kept."""
        found = {id_: self._kept[id_][0] for id_ in ids if id_ in self._kept}
        for id_ in found:
            self._kept.move_to_end(id_)
        return found

    def add(self, segment_id: int, compressed: bytes) -> Document:
        """Decode a document and keep it."""
        document = decode_document(compressed)
        size = sum(
            len(content) if isinstance(content, bytes) else sum(map(len, content)) + 40 * len(content)
            for _, content in document.lines
        )
        if size <= self._capacity_bytes and segment_id not in self._kept:
            self._kept[segment_id] = document, size
            self._size += size
        while self._size > self._capacity_bytes:
            self._size -= self._kept.popitem(last=False)[1][1]
        return document
