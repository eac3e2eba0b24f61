"""The rows of whole studies, by table, ready for COPY."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import orjson

from benchmarks.search_scale.bulk import Composer, Piece, SegmentRows, instance_rows
from benchmarks.search_scale.headers import (
    INSTANCE_BYTES,
    SOP_CLASSES,
    Series,
    Shape,
    Study,
    modality_of,
    object_key,
    pack_bytes,
    series_of_study,
    study_of,
)
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.segments.level_rows import series_columns, study_columns
from dicomweb_archive.index.writing.events import EventKind
from dicomweb_archive.index.writing.register import DEFAULT_COLLECTION

ACTOR = "benchmark"
NEW_TERMS = "bulk_term"
"""Where new values wait until all are there: the loaders do not know of each other's."""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "study": (
            *("id", "space_id", "collection_id", "study_instance_uid", "patient_id", "patient_name", "study_date"),
            *("study_time", "accession_number", "study_id", "referring_physician_name", "modalities", "sop_classes"),
            *("series_count", "instance_count", "size_bytes", "attributes", "facts", "revision"),
            *("patient_name_words", "referring_physician_name_words"),
        ),
        "series": (
            *("id", "study_id", "series_instance_uid", "modality", "series_number", "instance_count", "size_bytes"),
            *("attributes", "facts", "revision"),
        ),
        "pack": ("id", "object_key", "size_bytes"),
        "segment": ("id", "study_id", "series_id", "instance_count", "study_facts", "series_facts", "terms", "varying"),
        "segment_data": ("segment_id", "common", "columns", "document", "locations"),
        "zone": ("segment_id", "path_id", "low", "high", "low_text", "high_text", "spacing"),
        "instance": (
            *("segment_id", "position", "space_id", "sop_instance_uid", "pack_id", "byte_offset", "byte_length"),
            "digest",
        ),
        "event": ("id", "kind", "actor", "space_id", "study_instance_uid", "detail"),
        NEW_TERMS: ("hash", "path_id", "value", "number"),
    }
)

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class FirstIds:
    """Where the ids of the study of number `number` begin; those of the others follow."""

    number: int
    study: int
    series: int
    pack: int
    segment: int
    event: int


@dataclass(slots=True)
class RowWriter:
    """Writes rows of studies, every new value once."""

    composer: Composer
    shape: Shape
    path_ids: Mapping[str, int]
    seen_terms: set[int] = field(default_factory=set)

    def write(self, numbers: Iterable[int], ids: FirstIds) -> dict[str, list[Row]]:
        """Return the rows of these studies by table."""
        rows: dict[str, list[Row]] = defaultdict(list)
        for number in numbers:
            self._write_study(study_of(number), ids, rows)
        return rows

    def _write_study(self, study: Study, ids: FirstIds, rows: dict[str, list[Row]]) -> None:
        count = self.shape.series_per_study
        behind = study.number - ids.number
        study_id = ids.study + behind
        all_series = series_of_study(study.number, count)
        segments = [self.composer.segment(series, study.number) for series in all_series]
        rows["study"].append(self._study_row(study, study_id, segments[0]))
        for place, (series, segment) in enumerate(zip(all_series, segments, strict=True)):
            own = [first + behind * count + place for first in (ids.series, ids.pack, ids.segment)]
            self._write_series(study, study_id, place, series, segment, own, rows)
        series_ids = [ids.series + behind * count + place for place in range(count)]
        rows["event"].append(self._event_row(study, study_id, ids.event + behind, series_ids))

    def _write_series(
        self,
        study: Study,
        study_id: int,
        place: int,
        series: Series,
        segment: SegmentRows,
        ids: list[int],
        rows: dict[str, list[Row]],
    ) -> None:
        series_id, pack_id, segment_id = ids
        length = self.shape.series_length
        columns = series_columns(segment.series_attributes)
        rows["series"].append(
            (
                *(series_id, study_id, series.uid, columns.modality, columns.series_number, length),
                *(length * INSTANCE_BYTES, segment.series_attributes, segment.series_facts, 1),
            )
        )
        rows["pack"].append((pack_id, object_key(study.number, place), pack_bytes(self.shape)))
        rows["segment"].append(
            (
                segment_id,
                study_id,
                series_id,
                length,
                segment.study_facts,
                segment.series_facts,
                segment.hashes,
                segment.varying,
            )
        )
        rows["segment_data"].append((segment_id, segment.common, segment.columns, segment.document, segment.locations))
        rows["instance"] += instance_rows(
            series, length, segment_id=segment_id, space_id=ARCHIVE_SPACE, pack_id=pack_id
        )
        for piece in segment.pieces:
            rows["zone"] += ((segment_id, self.path_ids[path], *bounds) for path, *bounds in piece.zones)
            rows[NEW_TERMS] += self._new_terms(piece)

    def _new_terms(self, piece: Piece) -> Iterator[Row]:
        for row in piece.dictionary:
            if row.hash not in self.seen_terms:
                self.seen_terms.add(row.hash)
                yield (row.hash, self.path_ids[row.path], row.text, row.number)

    def _study_row(self, study: Study, study_id: int, segment: SegmentRows) -> Row:
        columns = study_columns(segment.study_attributes)
        modality = modality_of(study.scanner)
        instances = self.shape.series_per_study * self.shape.series_length
        return (
            *(study_id, ARCHIVE_SPACE, DEFAULT_COLLECTION, study.uid, columns.patient_id, columns.patient_name),
            *(columns.study_date, columns.study_time, columns.accession_number, columns.study_id),
            *(columns.referring_physician_name, [modality], [SOP_CLASSES[modality]], self.shape.series_per_study),
            *(instances, instances * INSTANCE_BYTES, segment.study_attributes, segment.study_facts, 1),
            *(columns.patient_name_words, columns.referring_physician_name_words),
        )

    def _event_row(self, study: Study, study_id: int, event_id: int, series_ids: list[int]) -> Row:
        instances = self.shape.series_per_study * self.shape.series_length
        detail = {
            "study": study_id,
            "series": series_ids,
            "instances": instances,
            "size_bytes": instances * INSTANCE_BYTES,
        }
        kind = EventKind.INSTANCES_STORED.value
        return event_id, kind, ACTOR, ARCHIVE_SPACE, study.uid, orjson.dumps(detail).decode()
