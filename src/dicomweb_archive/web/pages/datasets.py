"""Data sets in the DICOM JSON model, written for people (PS3.18 Annex F)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from dicomweb_archive.web.pages.formats import format_day

DataSet = Mapping[str, Any]

STUDY_DATE, STUDY_TIME, ACCESSION_NUMBER = "00080020", "00080030", "00080050"
STUDY_ID, STUDY_DESCRIPTION, REFERRING_PHYSICIAN_NAME = "00200010", "00081030", "00080090"
PATIENT_NAME, PATIENT_ID, PATIENT_BIRTH_DATE, PATIENT_SEX = "00100010", "00100020", "00100030", "00100040"
SERIES_DESCRIPTION, BODY_PART_EXAMINED = "0008103E", "00180015"

_DAY = re.compile(r"([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})")
_TIME = re.compile(r"([0-9]{2}):?([0-9]{2}).*")

WITHOUT_PICTURES: Final = frozenset(
    {"SR", "KO", "PR", "DOC", "ECG", "EPS", "HD", "RESP", "AU", "PLAN", "REG", "FID", "RWV", "SMR", "ASMT", "EEG"}
    | {"RTPLAN", "RTRECORD", "RTSTRUCT", "RTINTENT", "RTRAD", "RTSEGANN", "TG", "SEG", "M3D", "ANN", "EMG", "EOG"}
)
"""Modalities of which no picture says more than their name (PS3.3 C.7.3.1.1.1)."""


def text_of(data_set: DataSet, tag: str) -> str:
    """Return the values of an attribute as one line, nothing when it is absent or empty."""
    element = data_set.get(tag)
    return ", ".join(value_texts(element)) if element else ""


def value_texts(element: Mapping[str, Any]) -> list[str]:
    """Return the values of an element as texts; items of sequences and bulk values are only counted or named."""
    if "BulkDataURI" in element:
        return ["(kept in the file)"]
    if "InlineBinary" in element:
        return [f"({len(element['InlineBinary']) * 3 // 4} bytes)"]
    values = element.get("Value", ())
    if element.get("vr") == "SQ":
        return [f"({len(values)} item{'s' if len(values) != 1 else ''})"]
    return ["" if value is None else _value_text(value) for value in values]


def _value_text(value: object) -> str:
    return format_name(value) if isinstance(value, dict) else str(value)


def format_name(groups: Mapping[str, str]) -> str:
    """Write a person name as people do: `Doe, Jane`, other scripts behind it in brackets (PS3.5 6.2.1)."""
    written = [_one_group(groups.get(name, "")) for name in ("Alphabetic", "Ideographic", "Phonetic")]
    first, *others = [name for name in written if name] or [""]
    return f"{first} ({'; '.join(others)})" if others else first


def _one_group(text: str) -> str:
    family, given, middle, prefix, suffix = (*(part.strip() for part in text.split("^", 4)), "", "", "", "", "")[:5]
    person = " ".join(part for part in (prefix, given, middle) if part)
    return ", ".join(part for part in (family, person, suffix.replace("^", " ").strip()) if part)


def name_of(data_set: DataSet, tag: str) -> str:
    """Return the first name of an attribute, nothing when it is absent or empty."""
    for value in (data_set.get(tag) or {}).get("Value", ()):
        if isinstance(value, dict):
            return format_name(value)
    return ""


def day_of(data_set: DataSet, tag: str) -> str:
    """Return a date as people write it, or as it stands when it is no date (PS3.5 6.2, DA)."""
    text = text_of(data_set, tag)
    found = _DAY.fullmatch(text.strip())
    if found is None:
        return text
    try:
        return format_day(date(*map(int, found.groups())))
    except ValueError:
        return text


def time_of(data_set: DataSet, tag: str) -> str:
    """Return a time to the minute, or as it stands when it is none (PS3.5 6.2, TM)."""
    text = text_of(data_set, tag)
    found = _TIME.fullmatch(text.strip())
    return text if found is None else f"{found[1]}:{found[2]}"


def has_pictures(modalities: Iterable[str]) -> bool:
    """Tell whether something of these modalities is worth a thumbnail."""
    return any(modality not in WITHOUT_PICTURES for modality in modalities)


def list_of(data_set: DataSet, tag: str) -> Sequence[str]:
    """Return the values of an attribute as texts."""
    element = data_set.get(tag)
    return value_texts(element) if element else ()
