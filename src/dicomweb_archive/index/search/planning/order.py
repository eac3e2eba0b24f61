"""Order of an answer: which columns a search sorts by. Pure; nothing here knows SQL.

Every order is total: it ends with an id or a unique identifier. A row that lacks a value sorts as the highest one
when ascending and as the lowest when descending, so that it comes last either way and a page can begin behind any
row by comparing alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from dicomweb_archive.dicom.attribute_path import AttributePath
from dicomweb_archive.dicom.comparable_values import NUMBER_VRS, RANGE_VRS
from dicomweb_archive.dicom.query import Level, OrderKey, SearchQuery
from dicomweb_archive.dicom.tags import keyword_of
from dicomweb_archive.errors import InvalidParameterError

SOP_INSTANCE_UID = 0x00080018
INSTANCE_NUMBER = 0x00200013


class Source(StrEnum):
    """Where a sort value stands."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"
    SEGMENT = "segment"
    """In the columns of a segment: the first value of any attribute."""


class SortForm(StrEnum):
    """What a sort value is, and how its absence is written."""

    ID = "id"
    COUNT = "count"
    UID = "uid"
    TEXT = "text"
    """Empty when missing."""
    NUMBER = "number"
    """-1 when missing."""
    NULLABLE = "nullable"
    """A number, NULL when missing."""


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column of an order; `path` names the attribute of a `SEGMENT` value in the index."""

    source: Source
    column: str
    form: SortForm
    descending: bool = False
    path: str = field(default="", compare=False)


STUDY_ID = SortKey(Source.STUDY, "id", SortForm.ID)
SERIES_ID = SortKey(Source.SERIES, "id", SortForm.ID)
_STUDY_ID_DESCENDING = SortKey(Source.STUDY, "id", SortForm.ID, descending=True)
_NEWEST = SortKey(Source.STUDY, "study_date", SortForm.NUMBER, descending=True)
_SERIES_NUMBER = SortKey(Source.SERIES, "series_number", SortForm.NULLABLE)
_OWN_UID = SortKey(Source.INSTANCE, "sop_instance_uid", SortForm.UID)

DEFAULT_ORDER: Final[Mapping[Level, tuple[SortKey, ...]]] = MappingProxyType(
    {
        Level.STUDY: (_NEWEST, _STUDY_ID_DESCENDING),
        Level.SERIES: (_NEWEST, _STUDY_ID_DESCENDING, _SERIES_NUMBER, SERIES_ID),
        # Segments come and go when instances are deleted or segments merged; series and UIDs stay.
        Level.INSTANCE: (SERIES_ID, _OWN_UID),
    }
)
"""Studies and their series newest first; instances by series, in the order of UIDs as texts."""

_STUDY_COLUMNS: Final[Mapping[int, tuple[str, SortForm]]] = MappingProxyType(
    {
        0x00080020: ("study_date", SortForm.NUMBER),
        0x00080030: ("study_time", SortForm.NUMBER),
        0x00080050: ("accession_number", SortForm.TEXT),
        0x00080090: ("referring_physician_name", SortForm.TEXT),
        0x00100010: ("patient_name", SortForm.TEXT),
        0x00100020: ("patient_id", SortForm.TEXT),
        0x0020000D: ("study_instance_uid", SortForm.UID),
        0x00200010: ("study_id", SortForm.TEXT),
        0x00201206: ("series_count", SortForm.COUNT),
        0x00201208: ("instance_count", SortForm.COUNT),
    }
)
_SERIES_COLUMNS: Final[Mapping[int, tuple[str, SortForm]]] = MappingProxyType(
    {
        0x00080060: ("modality", SortForm.TEXT),
        0x0020000E: ("series_instance_uid", SortForm.UID),
        0x00200011: ("series_number", SortForm.NULLABLE),
        0x00201209: ("instance_count", SortForm.COUNT),
    }
)
_UNSORTABLE_VRS: Final = frozenset({"SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT", "LT", "ST", "UT"})


def plan_order(query: SearchQuery) -> tuple[SortKey, ...]:
    """Return what an answer is sorted by, down to an id or UID that no two rows share.

    Raises:
        InvalidParameterError: `orderby` names an attribute that this search cannot be sorted by.
    """
    if not query.order:
        return DEFAULT_ORDER[query.level]
    keys = tuple(_sort_key(key, query) for key in query.order)
    match query.level:
        case Level.STUDY:
            last = STUDY_ID if not keys[-1].descending else _STUDY_ID_DESCENDING
            return (*keys, last)
        case Level.SERIES if all(key.source is Source.STUDY for key in keys):
            # Study after study, so that a page need not sort all series.
            last = STUDY_ID if not keys[-1].descending else _STUDY_ID_DESCENDING
            return (*keys, last, _SERIES_NUMBER, SERIES_ID)
        case Level.SERIES:
            return (*keys, SERIES_ID)
        case Level.INSTANCE:
            return keys if any(key.source is Source.INSTANCE for key in keys) else (*keys, _OWN_UID)


def goes_by_study(order: tuple[SortKey, ...]) -> int:
    """Count the leading keys that put studies into a total order; 0 when rows of studies lie apart."""
    for number, key in enumerate(order, 1):
        if key.source is not Source.STUDY:
            return 0
        if key.column == "id":
            return number
    return 0


def _sort_key(key: OrderKey, query: SearchQuery) -> SortKey:
    path, tag = key.path, key.path.tag
    if len(path.steps) == 1 and path.steps[0].private_creator is None:
        if tag in _STUDY_COLUMNS:
            return SortKey(Source.STUDY, *_STUDY_COLUMNS[tag], key.descending)
        if tag in _SERIES_COLUMNS and query.level is not Level.STUDY:
            return SortKey(Source.SERIES, *_SERIES_COLUMNS[tag], key.descending)
        if query.level is Level.INSTANCE and tag == SOP_INSTANCE_UID:
            return SortKey(Source.INSTANCE, "sop_instance_uid", SortForm.UID, key.descending)
    if _lies_in_columns(path, query):
        number = path.vr in NUMBER_VRS | RANGE_VRS
        return SortKey(
            Source.SEGMENT, "", SortForm.NULLABLE if number else SortForm.TEXT, key.descending, str(path.steps[0])
        )
    raise InvalidParameterError("orderby", accepted=_accepted(query))


def _lies_in_columns(path: AttributePath, query: SearchQuery) -> bool:
    if query.level is not Level.INSTANCE or len(path.steps) != 1 or path.vr in _UNSORTABLE_VRS:
        return False
    # Columns of segments are opened one by one, which only the instances of one series are few enough for.
    return path.tag == INSTANCE_NUMBER or query.series_instance_uid is not None


def _accepted(query: SearchQuery) -> str:
    tags = list(_STUDY_COLUMNS)
    if query.level is not Level.STUDY:
        tags += _SERIES_COLUMNS
    if query.level is Level.INSTANCE:
        tags += [SOP_INSTANCE_UID, INSTANCE_NUMBER]
    names = ", ".join(keyword_of(tag) or "" for tag in tags)
    return names + (
        ", within one series any number, date, name or short text outside of sequences"
        if query.level is Level.INSTANCE
        else ""
    )
