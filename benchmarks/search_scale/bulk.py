"""Rows in bulk: the very rows that the register would write, put together from pieces that the real builder made.

A piece is a part of a data set that many series share (the technique of a protocol, what varies within a series) or
that is small (what is a series' own). Each goes through `build_segments` once; a segment is then only joined.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from benchmarks.search_scale.elements import DataSet
from benchmarks.search_scale.headers import (
    INSTANCE_BYTES,
    SOP_CLASSES,
    TRANSFER_SYNTAX,
    Series,
    byte_offset,
    digest_of,
    modality_of,
    protocol_part,
    sop_instance_uid,
    uid_element,
    varying_part,
)
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.index.segments.building import SegmentContent, StoredInstance, build_segment
from dicomweb_archive.index.segments.document import Content, decode_document, encode_document
from dicomweb_archive.index.segments.level_rows import SERIES_ROW_TAGS, STUDY_ROW_TAGS, facts_of, level_attributes
from dicomweb_archive.index.segments.terms import TermRow, ZoneRow

_SOP_INSTANCE_UID = 0x00080018
_LEVEL_TAGS = STUDY_ROW_TAGS | SERIES_ROW_TAGS


@dataclass(frozen=True, slots=True)
class Piece:
    """What one part of a data set brings to a segment."""

    lines: tuple[tuple[int, Content], ...]
    level_texts: Mapping[int, bytes]
    common: str
    columns: str
    varying: tuple[int, ...]
    hashes: tuple[int, ...]
    dictionary: tuple[TermRow, ...]
    zones: tuple[ZoneRow, ...]
    paths: Mapping[str, str]
    locations: bytes


@dataclass(frozen=True, slots=True)
class SegmentRows:
    """One segment before it has ids; `dictionary` has the rows of its pieces, most of them seen before."""

    study_attributes: bytes
    study_facts: int
    series_attributes: bytes
    series_facts: int
    common: str
    columns: str
    varying: list[int]
    document: bytes
    locations: bytes
    hashes: list[int]
    pieces: tuple[Piece, ...]


class Composer:
    """Makes segments of one archive; what protocols and pools bring is kept."""

    def __init__(self, secret: bytes, series_length: int) -> None:
        self._secret = secret
        self._length = series_length
        self.protocol = lru_cache(maxsize=None)(self._protocol)
        self.varying = lru_cache(maxsize=None)(self._varying)
        self._latest_study: tuple[int, Piece] | None = None

    def segment(self, series: Series, study_number: int) -> SegmentRows:
        """Put the segment of a series together."""
        pieces = (
            self._study(study_number, series),
            self.protocol(series.protocol),
            self._piece([series.own_part], {}),
            self.varying(series.pool, SOP_CLASSES[modality_of(series.scanner)]),
        )
        uids: Content = [uid_element(sop_instance_uid(series.uid, position)).json for position in range(self._length)]
        if self._length == 1:
            uids = uids[0]
        lines = sorted([(_SOP_INSTANCE_UID, uids), *chain.from_iterable(piece.lines for piece in pieces)], key=_tag)
        texts = {tag: text for piece in pieces for tag, text in piece.level_texts.items()}
        study_attributes = level_attributes(texts, STUDY_ROW_TAGS)
        series_attributes = level_attributes(texts, SERIES_ROW_TAGS)
        return SegmentRows(
            study_attributes=study_attributes,
            study_facts=facts_of(study_attributes),
            series_attributes=series_attributes,
            series_facts=facts_of(series_attributes),
            common=_joined(piece.common for piece in pieces),
            columns=_joined(piece.columns for piece in pieces),
            varying=sorted(chain.from_iterable(piece.varying for piece in pieces)),
            document=encode_document(lines),
            locations=pieces[-1].locations,
            hashes=sorted(chain.from_iterable(piece.hashes for piece in pieces)),
            pieces=pieces,
        )

    def _study(self, number: int, series: Series) -> Piece:
        # Its series come one after the other.
        if self._latest_study is None or self._latest_study[0] != number:
            self._latest_study = number, self._piece([series.study_part], {})
        return self._latest_study[1]

    def _protocol(self, protocol: int) -> Piece:
        return self._piece([protocol_part(protocol)], {})

    def _varying(self, pool: int, sop_class: str) -> Piece:
        return self._piece([{}] * self._length, dict(enumerate(varying_part(pool, self._length))), sop_class)

    def _piece(self, bases: list[DataSet], deltas: Mapping[int, DataSet], sop_class: str = "") -> Piece:
        stored = [
            StoredInstance(_scanned(base, deltas.get(position, {}), sop_class), 0, INSTANCE_BYTES, b"")
            for position, base in enumerate(bases)
        ]
        return _cut(build_segment(stored, self._secret))


def _scanned(base: DataSet, delta: DataSet, sop_class: str) -> ScannedInstance:
    return ScannedInstance(TRANSFER_SYNTAX, sop_class, "", "", "", INSTANCE_BYTES, base, dict(delta))


def _cut(content: SegmentContent) -> Piece:
    lines = tuple((int(name, 16), text) for name, text in decode_document(content.document).lines)
    return Piece(
        lines=lines,
        level_texts={tag: text for tag, text in lines if tag in _LEVEL_TAGS and isinstance(text, bytes)},
        common=content.common[1:-1],
        columns=content.columns[1:-1],
        varying=tuple(content.varying),
        hashes=tuple(content.terms.hashes),
        dictionary=tuple(content.terms.dictionary),
        zones=tuple(content.terms.zones),
        paths=content.terms.paths,
        locations=content.locations,
    )


def _tag(line: tuple[int, Content]) -> int:
    return line[0]


def _joined(members: Iterable[str]) -> str:
    return "{" + ",".join(member for member in members if member) + "}"


def instance_rows(
    series: Series, length: int, *, segment_id: int, space_id: int, pack_id: int
) -> list[tuple[int, int, int, str, int, int, int, bytes]]:
    """Return the rows of the table `instance` of a series."""
    rows = []
    for position in range(length):
        uid = sop_instance_uid(series.uid, position)
        offset = byte_offset(position)
        rows.append((segment_id, position, space_id, uid, pack_id, offset, INSTANCE_BYTES, digest_of(uid)))
    return rows
