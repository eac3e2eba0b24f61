"""Segments: instances of one series indexed together; what they share is kept once, the rest as columns.

Everything here is pure: instances go in, the rows of one segment come out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter

import orjson

from dicomweb_archive.dicom.attributes import TIMEZONE_OFFSET
from dicomweb_archive.dicom.instance import Attributes, Element, ScannedInstance
from dicomweb_archive.dicom.time_zones import zone_text
from dicomweb_archive.index.segments.document import SOP_INSTANCE_UID, Content, encode_document
from dicomweb_archive.index.segments.level_rows import (
    SERIES_ROW_TAGS,
    STUDY_ROW_TAGS,
    facts_of,
    level_attributes,
)
from dicomweb_archive.index.segments.locations import encode_locations, layouts_of
from dicomweb_archive.index.segments.terms import (
    SEQUENCE_LIMIT,
    Recheck,
    SegmentTerms,
    TermCollector,
    step_mark,
    step_name,
)

UNIQUE_TAGS = frozenset({SOP_INSTANCE_UID, 0x0020000D, 0x0020000E})
"""SOP, study and series instance UID: columns of their tables, so neither terms nor re-checks."""

FACTS_LIMIT = 4
"""Instances of one request that disagree about their study or series are split up to this many segments."""

VARYING_LIMIT = 8 * 1024 * 1024
"""Most bytes of JSON that vary within one segment; what is equal is kept once and does not count."""

_VRS_WITH_ZONE = frozenset({"DT", "SQ"})
"""What may hold date-times, which are in the zone of their data set."""

_JSON = attrgetter("json")
_DELTA = attrgetter("scanned.delta")
_LEVEL_TAGS = STUDY_ROW_TAGS | SERIES_ROW_TAGS


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance whose bytes lie in a pack: what the scanner read, where it lies, and its content digest.

    Attributes:
        byte_offset: of the first byte of the Part 10 file in the pack.
        digest: BLAKE3-256 of the bytes as they were received.
    """

    scanned: ScannedInstance
    byte_offset: int
    byte_length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class LevelFacts:
    """What one instance says about its study and its series."""

    study: bytes
    series: bytes


@dataclass(frozen=True, slots=True)
class SegmentContent:
    """The rows of one segment, before they have ids.

    Attributes:
        study_attributes, series_attributes: JSON objects that most of its instances agree on.
        common, columns: JSON for re-checks: by path step, the values shared, and lists by position.
        large: JSON of the same for sequences that are too long to be read with the others: by path step an
            object with `shared` or `varying`; `None` where there are none.
        varying: marks of the steps that vary (`terms.step_mark`).
    """

    instances: tuple[StoredInstance, ...]
    study_attributes: bytes
    study_facts: int
    series_attributes: bytes
    series_facts: int
    common: str
    columns: str
    large: str | None
    varying: list[int]
    document: bytes
    locations: bytes
    terms: SegmentTerms


def build_segments(instances: Sequence[StoredInstance], secret: bytes, *, timezone: str = "") -> list[SegmentContent]:
    """Build the segments of instances of one series that share a base; mostly one.

    Args:
        timezone: offset from UTC of date-times where neither they nor their data set tell one.

    Costs 19 to 24 microseconds of processor time an instance in segments of 200, 0.7 to 0.9 ms for a lone one
    (benchmarks/index, busy machine).
    """
    return [build_segment(part, secret, timezone=timezone) for part in split_instances(instances)]


def split_instances(instances: Sequence[StoredInstance]) -> list[list[StoredInstance]]:
    """Split where instances disagree about study or series (votes count segments), and by volume."""
    varying = _varying_tags(instances)
    if _LEVEL_TAGS.isdisjoint(varying):
        return _split_by_volume(instances, varying)
    facts = [_level_facts(stored.scanned) for stored in instances]
    # Where each instance says something else about its series, those that agree about the study go together.
    for said in (facts, [each.study for each in facts]):
        if len(set(said)) <= FACTS_LIMIT:
            groups: dict[object, list[StoredInstance]] = {}
            for stored, key in zip(instances, said, strict=True):
                groups.setdefault(key, []).append(stored)
            return [part for group in groups.values() for part in _split_by_volume(group, varying)]
    return _split_by_volume(instances, varying)


def _split_by_volume(instances: Sequence[StoredInstance], varying: set[int]) -> list[list[StoredInstance]]:
    shared = sum(len(e.json) for tag, e in instances[0].scanned.base.items() if tag in varying)
    # At most what the base has of them, and what the instance has instead.
    if shared * len(instances) + _delta_bytes(instances) <= VARYING_LIMIT:
        return [list(instances)]
    sizes = [shared + _delta_bytes([stored]) for stored in instances]
    parts: list[list[StoredInstance]] = [[]]
    volume = 0
    for stored, size in zip(instances, sizes, strict=True):
        volume += size
        if volume > VARYING_LIMIT and parts[-1]:
            parts.append([])
            volume = size
        parts[-1].append(stored)
    return parts


def _delta_bytes(instances: Sequence[StoredInstance]) -> int:
    # Hot path: no loop of ours over all that differs.
    elements = chain.from_iterable([stored.scanned.delta.values() for stored in instances])
    return sum(map(len, map(_JSON, filter(None, elements))))


def build_segment(instances: Sequence[StoredInstance], secret: bytes, *, timezone: str = "") -> SegmentContent:
    """Build one segment; its positions are the order of `instances`.

    Hot path (benchmarks/index): elements shared with the base are handled once, whatever the number.
    """
    builder = _Builder(instances, timezone=timezone)
    base = instances[0].scanned.base
    for tag in sorted(base.keys() | builder.varying):
        builder.add(tag)
    facts = builder.majority()
    varying = sorted(map(step_mark, builder.columns))
    large = take_large(builder.common, builder.columns, builder.large)
    return SegmentContent(
        instances=tuple(instances),
        study_attributes=facts.study,
        study_facts=facts_of(facts.study),
        series_attributes=facts.series,
        series_facts=facts_of(facts.series),
        common=orjson.dumps(builder.common).decode(),
        columns=orjson.dumps(builder.columns).decode(),
        large=orjson.dumps(large).decode() if large else None,
        varying=varying,
        document=encode_document(builder.lines),
        locations=encode_locations(layouts_of([stored.scanned for stored in instances])),
        terms=builder.collector.finish(secret),
    )


def take_large(
    common: dict[str, Recheck], columns: dict[str, list[Recheck | None]], steps: Iterable[str]
) -> dict[str, dict[str, Recheck | list[Recheck | None]]]:
    """Take long sequences out of what is common and out of the columns, so that other re-checks stay cheap."""
    return {
        step: {"shared": common.pop(step)} if step in common else {"varying": columns.pop(step)}
        for step in sorted(steps)
    }


@dataclass(slots=True)
class _Builder:
    """The segment as it grows, one tag after the other."""

    instances: Sequence[StoredInstance]
    varying: set[int] = field(init=False)
    collector: TermCollector = field(default_factory=TermCollector)
    lines: list[tuple[int, Content]] = field(default_factory=list)
    common: dict[str, Recheck] = field(default_factory=dict)
    columns: dict[str, list[Recheck | None]] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    timezone: str = ""
    _base: Attributes = field(init=False)
    _deltas: list[Mapping[int, Element | None]] = field(init=False)
    _creators_vary: bool = field(init=False)
    _zones_vary: bool = field(init=False)

    def __post_init__(self) -> None:
        self._base = self.instances[0].scanned.base
        self._deltas = [stored.scanned.delta for stored in self.instances]
        self.varying = _varying_tags(self.instances)
        self._zones_vary = TIMEZONE_OFFSET in self.varying
        self.collector.zone = zone_text(self._base) or self.timezone.replace("+0000", "")
        self._creators_vary = any(tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF for tag in self.varying)

    def add(self, tag: int) -> None:
        """Take in one tag of all instances: its line, its terms and its form for re-checks."""
        if tag not in self.varying:
            element = self._base[tag]
            self.lines.append((tag, element.json))
            if (self._creators_vary and tag & 0x10000) or (self._zones_vary and element.vr in _VRS_WITH_ZONE):
                self._add_column(tag, [element] * len(self.instances))
            else:
                self._add_common(tag, element)
            return
        shared = self._base.get(tag)
        column = [delta.get(tag, shared) for delta in self._deltas]
        try:
            # Hot path: most columns have no gaps, and then nothing of ours runs for each instance.
            texts = list(map(_JSON, column))
        except AttributeError:
            texts = [b"" if element is None else element.json for element in column]
        distinct = dict(zip(texts, column, strict=True))
        if distinct.keys() == {b""}:
            return
        self.lines.append((tag, texts[0] if len(distinct) == 1 else texts))
        if self._is_plain(tag):
            self._add_texts(tag, texts, distinct)
        else:
            self._add_column(tag, column)

    def _is_plain(self, tag: int) -> bool:
        """Tell whether the path of a tag, and what its values mean, are the same in all instances."""
        if self._zones_vary or (self._creators_vary and tag & 0x10000):
            return False
        step = step_name(tag, self._base)
        return step not in self.columns and step not in self.common

    def _add_texts(self, tag: int, texts: Sequence[bytes], distinct: Mapping[bytes, Element | None]) -> None:
        """Take in a column by its distinct texts; hot path (benchmarks/index)."""
        if tag in UNIQUE_TAGS:
            return
        step = step_name(tag, self._base)
        elements = [element for element in distinct.values() if element is not None]
        if max(map(len, distinct)) > SEQUENCE_LIMIT:
            for element in elements:
                self._note_large(step, element)
        forms = dict(zip(map(_JSON, elements), self.collector.add_all(step, elements), strict=True))
        first = forms.get(texts[0])
        if len(forms) == len(distinct) and all(form == first for form in forms.values()):
            # Written differently, and meaning the same.
            self.common[step] = forms[texts[0]]
        else:
            self.columns[step] = list(map(forms.get, texts))

    def _add_common(self, tag: int, element: Element) -> None:
        if tag in UNIQUE_TAGS:
            return
        step = step_name(tag, self._base)
        if step in self.columns:
            # A second private block of the same creator: the same path, and here it varies.
            self._add_column(tag, [element] * len(self.instances))
            return
        self._note_large(step, element)
        self.common[step] = self.common.get(step, []) + self.collector.add(step, element)

    def _add_column(self, tag: int, column: Sequence[Element | None]) -> None:
        if tag in UNIQUE_TAGS:
            return
        # Only a creator that varies gives instances different paths for one tag.
        varies = self._creators_vary and bool(tag & 0x10000)
        step = step_name(tag, self._base)
        rechecks: dict[tuple[str, bytes, str], Recheck] = {}
        for position, element in enumerate(column):
            if element is None:
                continue
            if varies:
                step = self._step(tag, position)
            if self._zones_vary:
                self.collector.zone = self._zone(position)
            key = step, element.json, self.collector.zone
            if key not in rechecks:
                self._note_large(step, element)
                rechecks[key] = self.collector.add(step, element)
            values = self.columns.get(step) or self._new_column(step)
            known = values[position]
            values[position] = rechecks[key] if known is None else known + rechecks[key]
        if not varies:
            self._settle(step)

    def _note_large(self, step: str, element: Element) -> None:
        if element.vr == "SQ" and len(element.json) > SEQUENCE_LIMIT:
            self.large.add(step)

    def _new_column(self, step: str) -> list[Recheck | None]:
        values = self.columns[step] = [self.common.pop(step, None)] * len(self.instances)
        return values

    def _settle(self, step: str) -> None:
        """Move a column that turned out equal in all instances to what is common."""
        values = self.columns.get(step)
        if values is not None and values[0] is not None and values.count(values[0]) == len(values):
            self.common[step] = values[0]
            del self.columns[step]

    def _zone(self, position: int) -> str:
        element = _element(self.instances[position].scanned, TIMEZONE_OFFSET)
        return zone_text({} if element is None else {TIMEZONE_OFFSET: element}) or self.timezone.replace("+0000", "")

    def _step(self, tag: int, position: int) -> str:
        creator = tag & 0xFFFF0000 | tag >> 8 & 0xFF
        element = _element(self.instances[position].scanned, creator)
        return step_name(tag, {} if element is None else {creator: element})

    def majority(self) -> LevelFacts:
        """Return what most instances say about the study, and about the series; of equals, what was said first."""
        if self.varying.isdisjoint(_LEVEL_TAGS):
            return _level_facts(self.instances[0].scanned)
        facts = [_level_facts(stored.scanned) for stored in self.instances]
        return LevelFacts(_most_common(each.study for each in facts), _most_common(each.series for each in facts))


def _most_common(said: Iterable[bytes]) -> bytes:
    return Counter(said).most_common(1)[0][0]


def _varying_tags(instances: Iterable[StoredInstance]) -> set[int]:
    return set[int]().union(*map(_DELTA, instances))


def _element(scanned: ScannedInstance, tag: int) -> Element | None:
    return scanned.delta[tag] if tag in scanned.delta else scanned.base.get(tag)


def _level_facts(scanned: ScannedInstance) -> LevelFacts:
    here = _LEVEL_TAGS & (scanned.base.keys() | scanned.delta.keys())
    elements = {tag: _element(scanned, tag) for tag in here}
    texts: Mapping[int, bytes] = {tag: e.json for tag, e in elements.items() if e is not None}
    return LevelFacts(study=level_attributes(texts, STUDY_ROW_TAGS), series=level_attributes(texts, SERIES_ROW_TAGS))
