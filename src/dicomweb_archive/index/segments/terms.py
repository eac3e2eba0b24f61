"""Terms: what a segment is found by, one keyed 64-bit hash for each distinct value of each attribute.

A term says that some instance of the segment has this value at this path. Paths are the names of
`dicom.query.AttributePath`: tags joined by `.`, private ones by creator. See `docs/design/0004-tag-index.md`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, islice
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.comparable_values import MatchValue, normalise, with_zone
from dicomweb_archive.dicom.instance import Attributes, Element, Value
from dicomweb_archive.index.segments.spacing import spacing_of

DISTINCT_LIMIT = 32
"""A path with more distinct values than this in one segment becomes a zone (its bounds) instead of terms."""

TERMS_LIMIT = 20_000
"""Most terms of one segment. Attributes at the top go first; what is beyond is found by other keys only."""

PATH_LIMIT = 512
"""Longest path that is indexed, in characters: a B-tree entry has to fit into a third of a page."""

TEXT_LIMIT = 512
"""Longest text kept in the dictionary and in zones; the hash covers the whole value."""

LAST_CHARACTER = "\U0010ffff"
"""Sorts behind every other: a prefix with it is an upper bound of all that begins so."""

SEQUENCE_LIMIT = 64 * 1024
"""Sequences whose JSON is longer than this are kept apart from what most re-checks read (bytes)."""

_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
# Only short values are remembered between segments, so that the memory for it is bounded.
_SHORT = 64
_VRS_OF_THEIR_OWN = _BINARY_VRS | {"DT", "SQ"}
_SHORT_JSON_BYTES = 192
_EMPTY_JSON_BYTES = len(b'{"vr":"XX"}')
_EMPTY = (MatchValue("", None),)
_KIND = attrgetter("vr", "is_bulk")
_JSON = attrgetter("json")
_HASH = attrgetter("hash")

RecheckValue: TypeAlias = "str | float | dict[str, list[RecheckValue]] | None"
Recheck: TypeAlias = list[RecheckValue]
"""The values of one element as they are compared: texts, numbers, or items of the same form.

`None` stands for a value that is there but cannot be compared (bulk, binary): it only tells that the attribute is
not empty.
"""

LONG_TEXT = "\uffff"
"""Names the digest that stands beside the first characters of a long text; in no text, for it is no character."""


class TermRow(NamedTuple):
    """One distinct value as the dictionary keeps it; `text` is at most `TEXT_LIMIT` characters."""

    hash: int
    path: str
    text: str
    number: float | None


class ZoneRow(NamedTuple):
    """Bounds of the values of one path in a segment; every number lies in `low..high`, every text in the others.

    Texts have no bounds when all values are numbers, numbers none when there are none. With a `spacing` every value
    is `low` and a whole multiple of it (`segments/spacing.py`).
    """

    path: str
    low: float | None
    high: float | None
    low_text: str | None
    high_text: str | None
    spacing: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentTerms:
    """Everything that a segment is found by; `paths` gives the VR of each path that occurs."""

    hashes: list[int]
    dictionary: list[TermRow]
    zones: list[ZoneRow]
    paths: dict[str, str]


def _term_row(secret: bytes, path: str, text: str, number: float | None) -> TermRow:
    return TermRow(term_hash(secret, path, text), path, text[:TEXT_LIMIT], number)


_short_term_row = lru_cache(maxsize=1 << 16)(_term_row)


def _forms(vr: str, values: tuple[Value, ...]) -> tuple[tuple[MatchValue, ...], Recheck]:
    """Return what the values of one element are found by, and what they are compared by; both must not be changed."""
    found: list[MatchValue] = []
    recheck: Recheck = []
    for value in values:
        if value is None or not isinstance(value, str | int | float):
            continue
        for match in normalise(vr, value):
            text, number = match
            if not text:
                continue
            found.append(match)
            if number is not None and math.isfinite(number):
                recheck.append(number)
            elif len(text) < TEXT_LIMIT:
                recheck.append(text)
            else:
                recheck += [text[:TEXT_LIMIT], equality_form(text)]
    return tuple(found) or _EMPTY, recheck


# The same elements come back in most instances and most series; a look-up costs a tenth of normalising.
_short_forms = lru_cache(maxsize=1 << 15)(_forms)


def term_hash(secret: bytes, path: str, text: str) -> int:
    """Hash one value of one path to a signed 64-bit term.

    Keyed, so that nobody outside can craft two values that collide; computed, so that storing needs no look-up
    and a rebuilt archive has the same terms.
    """
    digest = blake2b(f"{path}\0{text}".encode(), digest_size=8, key=secret).digest()
    return int.from_bytes(digest, "big", signed=True)


def step_mark(step: str) -> int:
    """Hash the first step of a path to 32 bits: what a segment lists its varying attributes by.

    Two steps of one hash cost a search a needless look at the columns, nothing more.
    """
    return int.from_bytes(blake2b(step.encode(), digest_size=4).digest(), "big", signed=True)


def step_name(tag: int, attributes: Attributes) -> str:
    """Name one step of a path; a private element goes by its creator's name, not its block (PS3.5 7.8.1)."""
    if not tag & 0x10000 or tag & 0xFFFF < 0x1000:
        return f"{tag:08X}"
    creator = attributes.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF)
    name = creator_name(creator)
    return f"{tag:08X}" if name is None else str(PathStep(tag, name))


def creator_name(element: Element | None) -> str | None:
    """Return the name in a private creator element, cleaned like every other text."""
    if element is None or not element.values or not isinstance(element.values[0], str):
        return None
    cleaned = normalise("LO", element.values[0])
    return cleaned[0].text if cleaned else None


def equality_form(text: str) -> RecheckValue:
    """Return what a text is compared by as a whole in re-checks: itself, or its digest when it is long.

    The digest is an object, so that it neither equals a text nor comes before or after one.
    """
    if len(text) < TEXT_LIMIT:
        return text
    return {LONG_TEXT: [blake2b(text.encode(), digest_size=16).hexdigest()]}


class TermCollector:
    """Gathers the distinct values of one segment, and hands out each element in the form for re-checks."""

    def __init__(self) -> None:
        self.zone = ""
        """Offset from UTC that date-times without one of their own have (PS3.3 C.12.1.1.8)."""
        self._distinct: dict[str, dict[str, float | None]] = {}
        self._vrs: dict[str, str] = {}

    def add(self, path: str, element: Element) -> Recheck:
        """Collect an element and all below it.

        Returns:
            its values for re-checks, `[]` when it is present but empty, `[None]` when its value cannot be
            matched (bulk, binary, a path beyond the limit).
        """
        if element.is_bulk or len(path) > PATH_LIMIT:
            return [None]
        if element.vr == "SQ":
            return self._add_sequence(path, element)
        if element.vr in _BINARY_VRS and len(element.json) > _EMPTY_JSON_BYTES:
            return [None]
        distinct = self._distinct_of(path, element.vr)
        values = element.values
        if self.zone and element.vr == "DT":
            values = tuple(with_zone(value, self.zone) if isinstance(value, str) else value for value in values)
        is_short = len(element.json) <= _SHORT_JSON_BYTES
        found, recheck = (_short_forms if is_short else _forms)(element.vr, values)
        distinct.update(found)
        return recheck

    def add_all(self, path: str, elements: Sequence[Element]) -> list[Recheck]:
        """Collect elements of one path, one call of `add` for each; hot path (benchmarks/index)."""
        (vr, is_bulk), *others = set(map(_KIND, elements))
        if (
            others
            or is_bulk
            or vr in _VRS_OF_THEIR_OWN
            or len(path) > PATH_LIMIT
            or max(map(len, map(_JSON, elements))) > _SHORT_JSON_BYTES
        ):
            return [self.add(path, element) for element in elements]
        pairs = [_short_forms(vr, element.values) for element in elements]
        self._distinct_of(path, vr).update(chain.from_iterable([found for found, _ in pairs]))
        return [recheck for _, recheck in pairs]

    def finish(self, secret: bytes) -> SegmentTerms:
        """Turn what was collected into terms, zones and dictionary rows."""
        result = SegmentTerms([], [], [], {})
        unlisted: dict[str, list[str]] = {}
        for path in sorted(self._distinct, key=lambda path: (path.count("."), path)):
            distinct = self._distinct[path]
            if len(distinct) - ("" in distinct) > DISTINCT_LIMIT:
                result.zones.append(_zone(path, distinct))
                if self._vrs[path] == "PN":
                    unlisted[path] = list(filter(None, distinct))
                distinct = {text: number for text, number in distinct.items() if not text}
            if len(result.hashes) + len(distinct) > TERMS_LIMIT:
                break
            result.paths[path] = self._vrs[path]
            for text, number in distinct.items():
                row = (_short_term_row if len(text) <= _SHORT else _term_row)(secret, path, text, number)
                result.dictionary.append(row)
                result.hashes.append(row.hash)
        result.zones[:] = [zone for zone in result.zones if zone.path in result.paths]
        listed = {path: names for path, names in unlisted.items() if path in result.paths}
        result.dictionary.extend(_name_rows(secret, listed))
        result.hashes.sort()
        result.dictionary.sort(key=_HASH)
        return result

    def _distinct_of(self, path: str, vr: str) -> dict[str, float | None]:
        distinct = self._distinct.get(path)
        if distinct is None:
            distinct = self._distinct[path] = {}
            self._vrs[path] = vr
        return distinct

    def _add_sequence(self, path: str, element: Element) -> Recheck:
        items: Recheck = []
        for item in element.values:
            if item is None or isinstance(item, str | int | float):
                continue
            form: dict[str, Recheck] = {}
            for tag, inner in item.items():
                step = step_name(tag, item)
                # Two private blocks of one creator have the same path.
                form[step] = form.get(step, []) + self.add(f"{path}.{step}", inner)
            items.append(form)
        if not items:
            self._distinct_of(path, "SQ")[""] = None
        return items


def _name_rows(secret: bytes, unlisted: dict[str, list[str]]) -> list[TermRow]:
    """Give rows of the dictionary to names that are no terms of the segment: fuzzy matching looks up every name."""
    names = ((path, text) for path, texts in unlisted.items() for text in texts)
    return [_term_row(secret, path, text, None) for path, text in islice(names, TERMS_LIMIT)]


def _zone(path: str, distinct: dict[str, float | None]) -> ZoneRow:
    """Bound the values of a path; the empty value stays a term and does not count."""
    texts = [text for text in distinct if text]
    numbers = [n for n in distinct.values() if n is not None and math.isfinite(n)]
    low, high = (min(numbers), max(numbers)) if numbers else (None, None)
    if len(numbers) == len(texts):
        return ZoneRow(path, low, high, None, None, spacing_of(numbers))
    highest = max(texts)
    if len(highest) > TEXT_LIMIT:
        # A prefix alone would lie below the value that it stands for.
        highest = highest[:TEXT_LIMIT] + LAST_CHARACTER
    return ZoneRow(path, low, high, min(texts)[:TEXT_LIMIT], highest)
