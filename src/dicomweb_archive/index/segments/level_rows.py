"""Study and series rows: the attributes of a level as one JSON object, their hash, and the columns read from it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from dicomweb_archive.dicom.attributes import PATIENT_LEVEL, SERIES_LEVEL, STUDY_LEVEL
from dicomweb_archive.dicom.comparable_values import MatchValue, normalise
from dicomweb_archive.dicom.instance import BULK_MARKER
from dicomweb_archive.index.segments.name_words import words_text

STUDY_ROW_TAGS = frozenset(PATIENT_LEVEL | STUDY_LEVEL)
SERIES_ROW_TAGS = frozenset(SERIES_LEVEL)

NO_NUMBER = -1.0
"""Stands for a missing date or time, so that every order is total and keyset pages need no special case."""

_ELEMENT_LIMIT = 64 * 1024
_COLUMN_LIMIT = 512
_MARKER = BULK_MARKER.encode()
_INT4_LIMIT = 2**31

_STUDY_DATE, _STUDY_TIME, _ACCESSION_NUMBER = 0x00080020, 0x00080030, 0x00080050
_REFERRING_PHYSICIAN_NAME, _PATIENT_NAME, _PATIENT_ID = 0x00080090, 0x00100010, 0x00100020
_STUDY_ID, _MODALITY, _SERIES_NUMBER = 0x00200010, 0x00080060, 0x00200011


@dataclass(frozen=True, slots=True)
class StudyColumns:
    """What a study is sorted and most often searched by, in the normal form of `dicom/comparable_values.py`."""

    patient_id: str
    patient_name: str
    study_date: float
    study_time: float
    accession_number: str
    study_id: str
    referring_physician_name: str
    patient_name_words: str
    referring_physician_name_words: str


@dataclass(frozen=True, slots=True)
class SeriesColumns:
    """What a series is sorted and most often searched by."""

    modality: str
    series_number: int | None


def level_attributes(texts: Mapping[int, bytes], tags: frozenset[int]) -> bytes:
    """Join the elements of one level to a JSON object, keys ascending.

    Bulk values, whose URL belongs to one instance, and values too large for a row of a search are left out.
    """
    members = [
        b'"%08X":%b' % (tag, text)
        for tag, text in sorted(texts.items())
        if tag in tags and len(text) <= _ELEMENT_LIMIT and _MARKER not in text
    ]
    # A line feed is white space between members, and inside strict JSON text it is nowhere else: searches cut
    # these objects at it instead of parsing them.
    return b"{" + b",\n".join(members) + b"}"


def facts_of(attributes: bytes) -> int:
    """Hash a level's attributes: instances with equal facts need no vote."""
    return int.from_bytes(blake2b(attributes, digest_size=8).digest(), "big", signed=True)


def study_columns(attributes: bytes) -> StudyColumns:
    """Read the columns of a study row from its attributes."""
    elements = orjson.loads(attributes)
    patient_name, referring = _name(elements, _PATIENT_NAME), _name(elements, _REFERRING_PHYSICIAN_NAME)
    return StudyColumns(
        patient_id=_text(elements, _PATIENT_ID),
        patient_name=patient_name,
        study_date=_number(elements, _STUDY_DATE),
        study_time=_number(elements, _STUDY_TIME),
        accession_number=_text(elements, _ACCESSION_NUMBER),
        study_id=_text(elements, _STUDY_ID),
        referring_physician_name=referring,
        patient_name_words=words_text(patient_name),
        referring_physician_name_words=words_text(referring),
    )


def series_columns(attributes: bytes) -> SeriesColumns:
    """Read the columns of a series row from its attributes."""
    elements = orjson.loads(attributes)
    number = _number(elements, _SERIES_NUMBER, missing=math.inf)
    return SeriesColumns(
        modality=_text(elements, _MODALITY),
        series_number=int(number) if -_INT4_LIMIT <= number < _INT4_LIMIT else None,
    )


def _matches(elements: Mapping[str, Any], tag: int) -> tuple[MatchValue, ...]:
    """Return the first non-empty value as it is matched; a person name gives one for each group."""
    element = elements.get(f"{tag:08X}", {})
    for value in element.get("Value", ()):
        if isinstance(value, dict):
            value = "=".join(value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic"))
        if value is not None and (found := tuple(m for m in normalise(element["vr"], value) if m.text)):
            return found
    return ()


def _text(elements: Mapping[str, Any], tag: int) -> str:
    found = _matches(elements, tag)
    return found[0].text[:_COLUMN_LIMIT] if found else ""


def _name(elements: Mapping[str, Any], tag: int) -> str:
    return "=".join(match.text for match in _matches(elements, tag))[:_COLUMN_LIMIT]


def _number(elements: Mapping[str, Any], tag: int, *, missing: float = NO_NUMBER) -> float:
    found = _matches(elements, tag)
    number = found[0].number if found else None
    return missing if number is None else number
