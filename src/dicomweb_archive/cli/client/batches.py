"""Cutting what is to be sent into requests of bounded size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dicomweb_archive.cli.client.sources import Source


@dataclass(slots=True)
class Batcher:
    """Collects sources until a request is full.

    A SOP Instance UID is sent once a round: its further files wait in `repeated` for the next round, so that
    the answers can be told apart and the first file in order is the one that the server meets first.
    """

    max_bytes: int
    max_files: int
    repeated: list[Source] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _batch: list[Source] = field(default_factory=list)
    _bytes: int = 0

    def add(self, sources: Iterable[Source]) -> Iterator[list[Source]]:
        """Take sources in, give full batches out; a source larger than a batch goes alone."""
        for source in sources:
            if self._is_repeated(source):
                self.repeated.append(source)
                continue
            if self._batch and self._bytes + source.size_bytes > self.max_bytes:
                yield self._take()
            self._batch.append(source)
            self._bytes += source.size_bytes
            if len(self._batch) >= self.max_files:
                yield self._take()

    def rest(self) -> Iterator[list[Source]]:
        """Give out what is left at the end."""
        if self._batch:
            yield self._take()

    def _take(self) -> list[Source]:
        batch, self._batch, self._bytes = self._batch, [], 0
        return batch

    def _is_repeated(self, source: Source) -> bool:
        if source.sop_instance_uid is None:
            return False
        # Hashes instead of texts: a million UIDs in 70 MB; a collision only sends a file one round later.
        key = hash(source.sop_instance_uid)
        if key in self._seen:
            return True
        self._seen.add(key)
        return False
