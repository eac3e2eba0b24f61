"""Answers of a search: rows become finished DICOM JSON objects with the attributes of their level.

Attributes are kept as JSON text from the day they were stored and are never parsed here: what goes out has the
digits that came in, and a row costs some ten microseconds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Final, TypeAlias

import orjson

from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.attributes import (
    COMPUTED,
    INSTANCE_RETURN,
    SERIES_RETURN,
    STUDY_RETURN,
    level_of,
)
from dicomweb_archive.dicom.instance import BULK_MARKER
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.tags import vr_of
from dicomweb_archive.index.segments.document import Content, Document

_Write: TypeAlias = Callable[[Mapping[str, Any]], bytes]

ABOVE: Final = {
    Level.STUDY: (Level.STUDY,),
    Level.SERIES: (Level.STUDY, Level.SERIES),
    Level.INSTANCE: (Level.STUDY, Level.SERIES, Level.INSTANCE),
}
"""A level and those above it: what an answer of the level may hold (PS3.18 10.6.3.3)."""

_RETURN = {Level.STUDY: STUDY_RETURN, Level.SERIES: SERIES_RETURN, Level.INSTANCE: INSTANCE_RETURN}
_UNIQUE = {Level.STUDY: 0x0020000D, Level.SERIES: 0x0020000E, Level.INSTANCE: 0x00080018}

_AVAILABILITY, _MODALITIES, _SOP_CLASSES, _RETRIEVE_URL = b"00080056", b"00080061", b"00080062", b"00081190"
_STUDY_SERIES, _STUDY_INSTANCES, _SERIES_INSTANCES = b"00201206", b"00201208", b"00201209"

_ONLINE = b'{"vr":"CS","Value":["ONLINE"]}'
_COMPUTED = frozenset(b"%08X" % tag for tag in COMPUTED)
_MARKER = BULK_MARKER.encode()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which attributes an answer holds.

    Attributes:
        tags: by eight hex digits; every attribute that is known when `everything`.
        required: attributes that are present even when empty (type R), with their JSON then.
        private: private attributes asked for by includefield or matched.
    """

    tags: frozenset[bytes]
    required: Mapping[bytes, bytes]
    private: tuple[PathStep, ...]
    everything: bool

    def __contains__(self, tag: bytes) -> bool:
        return tag in self.tags or (self.everything and tag not in _COMPUTED)

    def computes(self, tag: bytes) -> bool:
        """Whether a computed attribute is answered."""
        return self.everything or tag in self.tags


def wanted_attributes(query: SearchQuery) -> Wanted:
    """Collect what an answer holds: the level's table, matched keys, includefield (PS3.18 10.6.3.3)."""
    levels = ABOVE[query.level]
    answered = [query.level]
    if query.relational:
        # What the path names is not repeated: `/studies/{s}/instances` adds series attributes only.
        answered = [level for level in levels if level is not Level.STUDY or query.study_instance_uid is None]
    table = [attribute for level in answered for attribute in _RETURN[level]]
    steps = [key.path.steps[0] for key in query.keys] + [path.steps[0] for path in query.include]
    steps += [pair_path.steps[0] for pair in query.combined for pair_path in (pair.date, pair.time)]
    plain = {step.tag for step in steps if step.private_creator is None and _is_known(step.tag, levels)}
    tags = {attribute.tag for attribute in table} | {_UNIQUE[level] for level in levels} | plain
    return Wanted(
        tags=frozenset(b"%08X" % tag for tag in tags),
        required={b"%08X" % tag: _empty(tag) for tag, kind in table if kind == "R"},
        private=tuple(step for step in steps if step.private_creator is not None),
        everything=query.include_all,
    )


def _is_known(tag: int, levels: Sequence[Level]) -> bool:
    return level_of(tag) in levels or b"%08X" % tag == _AVAILABILITY


def _empty(tag: int) -> bytes:
    return b'{"vr":"%b"}' % (vr_of(tag) or "UN").encode()


@dataclass(frozen=True, slots=True)
class AnswerWriter:
    """Writes the objects of one answer; `service_root` has no slash at the end."""

    query: SearchQuery
    service_root: str
    wanted: Wanted = field(init=False)
    _computing: tuple[tuple[bytes, "_Write"], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wanted", wanted_attributes(self.query))
        known = _WRITERS.keys() - ({_SERIES_INSTANCES} if self.query.level is Level.STUDY else set())
        computing = tuple((tag, _WRITERS[tag]) for tag in known if self.wanted.computes(tag))
        object.__setattr__(self, "_computing", computing)

    def study(self, row: Mapping[str, Any]) -> bytes:
        """Write one study (PS3.18 Table 10.6.3-3)."""
        pieces = dict(self.wanted.required)
        pieces.update(self._selected(row["study_attributes"]))
        pieces.update(self._computed(row))
        pieces[_RETRIEVE_URL] = self._url(f"/studies/{row['study_instance_uid']}")
        return join_object(pieces)

    def series(self, row: Mapping[str, Any]) -> bytes:
        """Write one series (PS3.18 Table 10.6.3-4), with attributes of its study where they are asked for."""
        pieces = dict(self.wanted.required)
        pieces.update(self._selected(row["study_attributes"]))
        pieces.update(self._selected(row["series_attributes"]))
        pieces.update(self._computed(row))
        url = f"/studies/{row['study_instance_uid']}/series/{row['series_instance_uid']}"
        pieces[_RETRIEVE_URL] = self._url(url)
        return join_object(pieces)

    def instances(self, row: Mapping[str, Any], document: Document, positions: Sequence[int]) -> Iterator[bytes]:
        """Write instances of one segment (PS3.18 Table 10.6.3-5); all their attributes come from its document.

        Hot path: one join an instance of static bytes and of what varies (benchmarks/search).
        """
        series = f"{self.service_root}/studies/{row['study_instance_uid']}/series/{row['series_instance_uid']}"
        uids = document.sop_instance_uids(row["instance_count"])
        urls = [b"%b/instances/%b" % (series.encode(), uids[position]) for position in positions]
        contents: dict[bytes, Content] = dict(self.wanted.required)
        contents.update(self._picked(document, positions, urls))
        contents.update(self._computed(row))
        contents[_RETRIEVE_URL] = [_url_json(url) for url in urls]
        return _joined(contents, len(positions))

    def _selected(self, attributes: bytes) -> Iterable[tuple[bytes, bytes]]:
        if self.wanted.everything:
            return [(tag, text) for tag, text in split_object(attributes) if tag not in _COMPUTED]
        tags = self.wanted.tags
        return [(tag, text) for tag, text in split_object(attributes) if tag in tags]

    def _computed(self, row: Mapping[str, Any]) -> Iterable[tuple[bytes, bytes]]:
        """Give what the archive says of its own holdings (PS3.4 C.3.4)."""
        return [(tag, write(row)) for tag, write in self._computing]

    def _picked(
        self, document: Document, positions: Sequence[int], urls: Sequence[bytes]
    ) -> Iterator[tuple[bytes, Content]]:
        wanted = self.wanted
        private = _private_tags(document, wanted.private)
        for tag, content in document.lines:
            if tag not in wanted and tag not in private:
                continue
            picked: Content = content
            if isinstance(content, list):
                empty = wanted.required.get(tag, b"")
                picked = [content[position] or empty for position in positions]
            yield tag, _with_urls(picked, urls)

    def _url(self, path: str) -> bytes:
        return _url_json((self.service_root + path).encode())


def split_object(text: bytes) -> list[tuple[bytes, bytes]]:
    """Cut the JSON object of a study or series row into tags and attribute texts, without parsing it.

    `level_rows.level_attributes` puts a line feed between two attributes, which strict JSON text has nowhere.
    """
    return [(member[1:9], member[11:]) for member in text[1:-1].split(b",\n") if member]


def join_object(pieces: Mapping[bytes, bytes]) -> bytes:
    """Join attributes to one JSON object, keys ascending (PS3.18 F.2.2)."""
    return b"{" + b",".join([b'"%b":%b' % (tag, pieces[tag]) for tag in sorted(pieces)]) + b"}"


def _joined(contents: Mapping[bytes, Content], count: int) -> Iterator[bytes]:
    """Join attributes by position, static runs written once."""
    columns: list[Iterable[bytes]] = []
    static = bytearray()
    for tag in sorted(contents):
        content = contents[tag]
        if isinstance(content, bytes):
            static += b',"%b":%b' % (tag, content)
            continue
        head = b',"%b":' % tag
        columns += [repeat(bytes(static), count), [head + text if text else b"" for text in content]]
        static.clear()
    columns.append(repeat(bytes(static), count))
    join = b"".join
    return (b"{" + join(row)[1:] + b"}" for row in zip(*columns, strict=True))


def _with_urls(content: Content, urls: Sequence[bytes]) -> Content:
    """Put the instance's bulkdata URL where a value is in the file only."""
    if isinstance(content, bytes):
        if _MARKER not in content:
            return content
        content = [content] * len(urls)
    elif not any(_MARKER in text for text in content):
        return content
    return [text.replace(_MARKER, url + b"/bulkdata/") for text, url in zip(content, urls, strict=True)]


def _private_tags(document: Document, steps: Sequence[PathStep]) -> frozenset[bytes]:
    """Find where private attributes lie in this document, and their creators, which are answered with them."""
    found: set[bytes] = set()
    if not steps:
        return frozenset()
    for tag, content in document.lines:
        number = int(tag, 16)
        if not number & 0x10000 or not 0x10 <= number & 0xFFFF <= 0xFF:
            continue
        creators = {_creator(text) for text in ([content] if isinstance(content, bytes) else set(content))}
        for step in steps:
            if step.tag >> 16 == number >> 16 and step.private_creator in creators:
                element = number & 0xFFFF0000 | (number & 0xFF) << 8 | step.tag & 0xFF
                found |= {tag, b"%08X" % element}
    return frozenset(found)


def _creator(text: bytes) -> str | None:
    values = orjson.loads(text).get("Value") if text else None
    return values[0].strip() if values and isinstance(values[0], str) else None


def _url_json(url: bytes) -> bytes:
    return b'{"vr":"UR","Value":["%b"]}' % url


def _list_json(vr: bytes, values: Sequence[str]) -> bytes:
    if not values:
        return b'{"vr":"%b"}' % vr
    return b'{"vr":"%b","Value":%b}' % (vr, orjson.dumps(sorted(values)))


def _count_json(count: int) -> bytes:
    return b'{"vr":"IS","Value":[%d]}' % count


_WRITERS: dict[bytes, _Write] = {
    _AVAILABILITY: lambda _row: _ONLINE,
    _MODALITIES: lambda row: _list_json(b"CS", row["modalities"]),
    _SOP_CLASSES: lambda row: _list_json(b"UI", row["sop_classes"]),
    _STUDY_SERIES: lambda row: _count_json(row["series_count"]),
    _STUDY_INSTANCES: lambda row: _count_json(row["study_instance_count"]),
    _SERIES_INSTANCES: lambda row: _count_json(row["series_instance_count"]),
}
