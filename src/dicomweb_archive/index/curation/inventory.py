"""The element inventory: which values each attribute has, in how many instances and series, segment by segment."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.dicom.element_text import read_element
from dicomweb_archive.dicom.held_attributes import path_steps
from dicomweb_archive.index.curation.element_values import (
    ElementValues,
    creator_of,
    is_creator,
    step_of,
    values_of,
)
from dicomweb_archive.index.segments.document import Content, Document

MOST_VALUES: Final = 10_000
"""Distinct values of one path that are told apart; further ones are counted with the path alone."""

_MOST_HELD_BYTES: Final = 16 * 1024 * 1024
_PRIVATE: Final = "private "
_ODD_DIGITS: Final = frozenset("13579BDF")

MOST_VALUES_OF_ALL: Final = 500_000
"""Distinct values of all paths together that are told apart, some 250 bytes of memory each."""

MOST_PATHS: Final = 20_000
"""Paths that are told apart: a sender may make up private ones."""


@dataclass(slots=True)
class Tally:
    """In how many instances and series something is; series are counted one after the other."""

    instances: int = 0
    series: int = 0
    last_series: int = -1

    def add(self, instances: int, series_id: int) -> None:
        """Count instances of a series, whose segments come in a row."""
        self.instances += instances
        if self.last_series != series_id:
            self.last_series = series_id
            self.series += 1


@dataclass(slots=True)
class PathTally(Tally):
    """The values of one path.

    Attributes:
        values: by text, empty for an element without a value, `None` for a binary one.
        is_cut: there are more values than are told apart.
    """

    vr: str = ""
    values: dict[str | None, Tally] = field(default_factory=dict)
    is_cut: bool = False

    def most_frequent(self, limit: int, offset: int = 0) -> Sequence[tuple[str | None, Tally]]:
        """Return some of the values, the most frequent first, those of one frequency by their text."""
        return heapq.nsmallest(offset + limit, self.values.items(), key=_by_frequency)[offset:]


class InventoryCount:
    """Counts the values of a space; segments of one series have to come in a row, and `finish` after the last.

    What a series has is put together first: of instances that were stored one by one each has a segment of its own,
    and most elements are the same in all.

    Args:
        only: the one path that matters; `None`: all.
    """

    def __init__(self, only: str | None = None, *, most_values: int = MOST_VALUES) -> None:
        self.paths: dict[str, PathTally] = {}
        self.instances = 0
        self.series = 0
        self.is_cut = False
        self.values = 0
        self._only = only
        self._only_tag = None if only is None else next(path_steps(only)).tag
        self._most_values = most_values
        self._series_id = -1
        self._of_series: dict[bytes, Counter[bytes]] = {}
        self._held_bytes = 0

    def add(self, document: Document, instance_count: int, series_id: int) -> None:
        """Count a segment; hot path (a space of lone instances has as many)."""
        if series_id != self._series_id or self._held_bytes > _MOST_HELD_BYTES:
            self.finish()
        if series_id != self._series_id:
            self._series_id = series_id
            self.series += 1
        self.instances += instance_count
        creators: dict[str, str] = {}
        for name, content in document.lines:
            held = self._of_series.get(name)
            if held is None:
                held = self._held(name, content, creators)
                if held is None:
                    continue
            if isinstance(content, bytes):
                so_far = held.get(content)
                if so_far is None:
                    self._held_bytes += len(content)
                    so_far = 0
                held[content] = so_far + instance_count
            else:
                held.update(content)
                self._held_bytes += sum(map(len, content))

    def _held(self, name: bytes, content: Content, creators: dict[str, str]) -> "Counter[bytes] | None":
        """Return where the texts of an element are counted, `None` when it does not matter.

        Elements of the standard are found by their tag the next time; what a private tag means is for each segment
        to say.
        """
        tag = name.decode()
        is_private = tag[3] in _ODD_DIGITS
        if is_private and is_creator(tag):
            creators.update(_reserved(tag, content))
        step = step_of(tag, creators)
        if self._only_tag is not None and next(path_steps(step)).tag != self._only_tag:
            return None
        return self._of_series.setdefault(_private_key(step) if is_private else name, Counter())

    def finish(self) -> None:
        """Count what is held of the series that came last."""
        for key, held in self._of_series.items():
            step = key.decode().removeprefix(_PRIVATE)
            for text, instances in held.items():
                # Instances without the element have nothing in its column.
                if text:
                    self._add_values(values_of(step, text), instances, self._series_id)
        self._of_series.clear()
        self._held_bytes = 0

    def _add_values(self, found: ElementValues, instances: int, series_id: int) -> None:
        for path, vr in found.paths:
            tally = self._path(path, vr)
            if tally is not None:
                tally.add(instances, series_id)
        for path, text in found.values:
            tally = self.paths.get(path)
            if tally is None:
                continue
            value = tally.values.get(text)
            if value is None:
                if len(tally.values) >= self._most_values or self.values >= MOST_VALUES_OF_ALL:
                    tally.is_cut = True
                    continue
                self.values += 1
                value = tally.values[text] = Tally()
            value.add(instances, series_id)

    def _path(self, path: str, vr: str) -> PathTally | None:
        tally = self.paths.get(path)
        if tally is not None or (self._only is not None and path != self._only):
            return tally
        if len(self.paths) >= MOST_PATHS:
            self.is_cut = True
            return None
        tally = self.paths[path] = PathTally(vr=vr)
        return tally


def _private_key(step: str) -> bytes:
    """Return a key that is no tag, so that a private element is asked for anew in each segment."""
    return (_PRIVATE + step).encode()


def _reserved(tag: str, content: Content) -> Iterator[tuple[str, str]]:
    """Read who has reserved a block; where instances differ, the first that says something counts."""
    texts: Iterable[bytes] = [content] if isinstance(content, bytes) else filter(None, content)
    for text in texts:
        creator = creator_of(read_element(text))
        if creator is not None:
            yield tag, creator
            return


def _by_frequency(value: tuple[str | None, Tally]) -> tuple[int, bool, str]:
    text, tally = value
    return -tally.instances, text is None, text or ""
