"""Merging segments: the rows of several segments of one series become those of one, without reading a value again.

Everything here is pure. The instances of the parts follow each other, so the one at a position of a part lies at
the sum of what comes before it and that position.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from dicomweb_archive.index.segments.building import VARYING_LIMIT, take_large
from dicomweb_archive.index.segments.document import Content, decode_document, encode_document
from dicomweb_archive.index.segments.locations import join_locations
from dicomweb_archive.index.segments.spacing import joined_spacing
from dicomweb_archive.index.segments.terms import DISTINCT_LIMIT, LAST_CHARACTER, TERMS_LIMIT, TEXT_LIMIT, step_mark


class KnownTerm(NamedTuple):
    """What the dictionary knows of a term."""

    hash: int
    path_id: int
    text: str
    number: float | None


class ZoneBounds(NamedTuple):
    """A zone of a segment; see `terms.ZoneRow`."""

    path_id: int
    low: float | None
    high: float | None
    low_text: str | None
    high_text: str | None
    spacing: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """A segment as its rows have it."""

    instance_count: int
    terms: Sequence[int]
    zones: Sequence[ZoneBounds]
    common: str
    columns: str
    document: bytes
    locations: bytes
    large: str | None = None
    varying: Sequence[int] = ()


def merge_segments(parts: Sequence[SegmentPart], known: Iterable[KnownTerm]) -> SegmentPart | None:
    """Merge segments whose instances say the same of study and series; `None` when they are too much for one.

    Args:
        known: the dictionary's rows of all their terms.
    """
    terms, zones = _terms_and_zones(parts, known)
    document = _document(parts)
    if document is None or len(terms) > TERMS_LIMIT:
        return None
    common, columns, large = _rechecks(parts)
    varying = [*columns, *(step for step, form in large.items() if "varying" in form)]
    return SegmentPart(
        instance_count=sum(part.instance_count for part in parts),
        terms=terms,
        zones=zones,
        common=orjson.dumps(common).decode(),
        columns=orjson.dumps(columns).decode(),
        varying=sorted(map(step_mark, varying)),
        document=document,
        locations=join_locations([part.locations for part in parts]),
        large=orjson.dumps(large).decode() if large else None,
    )


def _terms_and_zones(parts: Sequence[SegmentPart], known: Iterable[KnownTerm]) -> tuple[list[int], list[ZoneBounds]]:
    """Unite the terms; a path that has more values now than a segment lists becomes a zone."""
    terms = {term for part in parts for term in part.terms}
    zones: dict[int, list[ZoneBounds]] = {}
    for part in parts:
        for zone in part.zones:
            zones.setdefault(zone.path_id, []).append(zone)
    values: dict[int, list[KnownTerm]] = {}
    for term in known:
        # The empty value is a term beside a zone too.
        if term.text:
            values.setdefault(term.path_id, []).append(term)
    for path_id, found in values.items():
        if path_id in zones or len(found) > DISTINCT_LIMIT:
            terms.difference_update(term.hash for term in found)
            zones.setdefault(path_id, [])
    united = [_united(path_id, zones[path_id], values.get(path_id, [])) for path_id in sorted(zones)]
    return sorted(terms), united


def _united(path_id: int, zones: Sequence[ZoneBounds], values: Sequence[KnownTerm]) -> ZoneBounds:
    numbers = [value.number for value in values if value.number is not None and math.isfinite(value.number)]
    lows = numbers + [zone.low for zone in zones if zone.low is not None]
    highs = numbers + [zone.high for zone in zones if zone.high is not None]
    low, high = (min(lows), max(highs)) if lows else (None, None)
    if len(numbers) == len(values) and all(zone.low_text is None for zone in zones):
        spacing = joined_spacing([(zone.low, zone.spacing) for zone in zones], numbers)
        return ZoneBounds(path_id, low, high, None, None, spacing)
    if any(zone.low_text is None for zone in zones):
        # One of them holds numbers only and does not know how they were written.
        return ZoneBounds(path_id, low, high, "", LAST_CHARACTER)
    lowest = min([value.text for value in values] + [zone.low_text or "" for zone in zones])
    highest = max([_upper(value.text) for value in values] + [zone.high_text or "" for zone in zones])
    return ZoneBounds(path_id, low, high, lowest, highest)


def _upper(text: str) -> str:
    # The dictionary may hold a prefix alone, which lies below the value that it stands for.
    return text + LAST_CHARACTER if len(text) >= TEXT_LIMIT else text


def _rechecks(parts: Sequence[SegmentPart]) -> tuple[dict[str, Any], dict[str, list[Any]], dict[str, Any]]:
    """Return the forms for re-checks: what is common to all instances, columns by position, long sequences."""
    forms = [(*_form(part), part.instance_count) for part in parts]
    steps = dict.fromkeys(step for common, columns, _ in forms for step in (*common, *columns))
    shared: dict[str, Any] = {}
    varying: dict[str, list[Any]] = {}
    for step in steps:
        values: list[Any] = []
        for common, columns, count in forms:
            values += columns[step] if step in columns else [common.get(step)] * count
        if values[0] is not None and values.count(values[0]) == len(values):
            shared[step] = values[0]
        else:
            varying[step] = values
    return shared, varying, take_large(shared, varying, {step for part in parts for step in _large(part)})


def _form(part: SegmentPart) -> tuple[dict[str, Any], dict[str, Any]]:
    common, columns = orjson.loads(part.common), orjson.loads(part.columns)
    for step, form in _large(part).items():
        if "shared" in form:
            common[step] = form["shared"]
        else:
            columns[step] = form["varying"]
    return common, columns


def _large(part: SegmentPart) -> dict[str, Any]:
    return orjson.loads(part.large) if part.large else {}


def _document(parts: Sequence[SegmentPart]) -> bytes | None:
    """Join the documents line by line; `None` when more varies than a segment may hold."""
    documents: list[Mapping[bytes, Content]] = [dict(decode_document(part.document).lines) for part in parts]
    lines: list[tuple[int, Content]] = []
    varying_bytes = 0
    for tag in sorted({tag for document in documents for tag in document}):
        texts: list[bytes] = []
        for part, document in zip(parts, documents, strict=True):
            content = document.get(tag, b"")
            texts += [content] * part.instance_count if isinstance(content, bytes) else content
        if texts.count(texts[0]) == len(texts):
            lines.append((int(tag, 16), texts[0]))
            continue
        varying_bytes += sum(map(len, texts))
        lines.append((int(tag, 16), texts))
    return encode_document(lines) if varying_bytes <= VARYING_LIMIT else None
