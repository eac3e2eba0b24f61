"""The query string of a search: from its bytes to a SearchQuery (PS3.18 8.3.4, 10.6.1).

Our extensions: any attribute may be a key or a field at any level, however deep in sequences; a UID list may
also be separated by backslashes, as viewers send it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dicomweb_archive.dicom.attributes import INSTANCE_AVAILABILITY, TIMEZONE_OFFSET, level_of
from dicomweb_archive.dicom.matching import offset_seconds
from dicomweb_archive.dicom.query import (
    AttributePath,
    Counting,
    Empty,
    Fuzzy,
    InZone,
    Key,
    Level,
    Matching,
    OrderKey,
    SearchQuery,
    SingleValue,
    Universal,
    WildCard,
    Zones,
)
from dicomweb_archive.dicom.query_filter import Expression
from dicomweb_archive.dicom.tags import is_private_creator, may_have_several_values
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError
from dicomweb_archive.wire.attribute_paths import AttributeNames, UnknownAttributeError, harmless
from dicomweb_archive.wire.date_time_pairs import DATE_TIME_PAIRS, combine_date_times
from dicomweb_archive.wire.filter_expression import LANGUAGES, parse_filter
from dicomweb_archive.wire.match_values import (
    EMPTY_VALUE,
    SEVERAL_VALUES_VRS,
    ValueLimits,
    parse_all_values,
    parse_matching,
)
from dicomweb_archive.wire.search_order import parse_counting, parse_order

_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_UINT = re.compile(r"[0-9]{1,10}")
_ZONE = re.compile(r"[+-](?:0[0-9]|1[0-4])[0-5][0-9]")
_MOST_UINT: Final = 2**31 - 1
_MOST_WARNINGS: Final = 10
_LONG_TEXTS: Final = (
    "Of long texts wild cards match the first 512 characters; those of more than 1024 bytes may not be searched at all."
)
_LONG_TEXT_VRS: Final = frozenset({"LT", "ST", "UC", "UR", "UT"})
_SEARCHED_BYTES: Final = 1024
_AS_WRITTEN: Final = (
    "TimezoneOffsetFromUTC was not applied to times in sequences and to dates that make no interval with a time."
)
_SEVERAL_VALUES: Final = (
    "A value with a backslash stands for several, which match nothing here without multiplevaluematching=true."
)
OF_OTHER_LEVELS: Final = "Fields that are known of single series or instances only have been left out of this answer."
_UNMATCHABLE_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})

_FUZZY: Final = (
    "Fuzzy matching of person names has been performed: each word of a key was looked for at the beginning of the "
    "words of a name, in any order and component group, without regard to case, accents and width, and with Latin, "
    "Cyrillic and Greek letters made alike."
)
_NOT_FUZZY: Final = "Only literal matching has been performed for a person name with wild cards or without letters."


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Bounds of a search request, and what the archive's settings say of how it is read.

    Attributes:
        refuse_unsupported: an unsupported parameter is an error instead of a warning.
        timezone: offset from UTC of stored dates and times whose data set does not tell its own.
    """

    default_limit: int = 1000
    max_limit: int = 5000
    max_offset: int = 10_000_000
    query_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024
    parameters: int = 200
    keys: int = 400
    fields: int = 500
    depth: int = 16
    values: ValueLimits = field(default_factory=ValueLimits)
    table_rows: int = 1_000_000
    refuse_unsupported: bool = False
    timezone: str = "+0000"

    def of_tables(self) -> "SearchLimits":
        """Return the bounds of an answer as a table, which is streamed and read whole."""
        return replace(self, default_limit=self.table_rows, max_limit=self.table_rows)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search as it was asked for.

    Attributes:
        warnings: texts for `Warning: 299` headers; they name parameters, never values.
        accept: the `accept` parameter (PS3.18 8.3.3.1).
        page_token: where to go on, as the page before has said.
    """

    query: SearchQuery
    warnings: tuple[str, ...] = ()
    accept: str | None = None
    page_token: str | None = None


def split_query(query_string: bytes, limits: SearchLimits = SearchLimits()) -> list[tuple[str, str]]:
    """Split a raw query string into decoded names and values (PS3.18 8.3.1); a plus sign stays one but in a filter.

    Raises:
        InvalidParameterError: it is too long, or a name or value is wrongly percent-encoded, not UTF-8, or
            holds NUL. The parameter is named unless its name is the trouble.
    """
    if len(query_string) > limits.query_bytes:
        raise InvalidParameterError("the query string", accepted=f"at most {limits.query_bytes} bytes")
    pieces = [piece for piece in query_string.split(b"&") if piece]
    if len(pieces) > limits.parameters:
        raise InvalidParameterError("the query string", accepted=f"at most {limits.parameters} parameters")
    pairs = []
    for piece in pieces:
        raw_name, _, raw_value = piece.partition(b"=")
        name = _decode(raw_name, "a parameter name")
        if name == "filter":
            # Ours, and full of blanks, which browsers and many libraries write so.
            raw_value = raw_value.replace(b"+", b" ")
        pairs.append((name, _decode(raw_value, harmless(name) or "a parameter")))
    return pairs


def parse_search(
    pairs: Sequence[tuple[str, str]],
    level: Level,
    *,
    study_instance_uid: str | None = None,
    series_instance_uid: str | None = None,
    relational: bool = False,
    limits: SearchLimits = SearchLimits(),
) -> SearchRequest:
    """Understand the parameters of a search (PS3.18 8.3.4).

    Unknown parameters are ignored with a warning (8.3), or refused where the archive is set so. The page size is
    cut to the largest one allowed.

    Raises:
        InvalidParameterError: a known parameter is repeated or has a value that does not fit, or one that is not
            supported is refused.
        InvalidMatchError: the same, of a matching parameter.
    """
    reading = _Reading(limits)
    keys = reading.read(pairs)
    zones = reading.zones()
    plain, combined = combine_date_times(keys, zones)
    if zones is not None and _has_times_as_written(plain):
        reading.warnings.append(_AS_WRITTEN)
    if any(map(_may_miss_long_texts, keys)):
        reading.warnings.append(_LONG_TEXTS)
    if any(not _is_answered(path, level) for path in reading.include.values()):
        reading.warnings.append(OF_OTHER_LEVELS)
    return SearchRequest(
        SearchQuery(
            level,
            plain,
            combined,
            study_instance_uid=study_instance_uid,
            series_instance_uid=series_instance_uid,
            include=tuple(reading.include.values()),
            include_all=reading.include_all,
            limit=min(reading.limit, limits.max_limit),
            offset=reading.offset,
            relational=relational,
            fuzzy=reading.fuzzy,
            order=reading.order,
            counting=reading.counting,
            filter=reading.filter(),
        ),
        tuple(reading.warnings),
        reading.accept,
        reading.page_token,
    )


def _decode(raw: bytes, name: str) -> str:
    if raw.count(b"%") != len(_PERCENT.findall(raw)):
        raise InvalidParameterError(name, accepted="percent-encoding with two hexadecimal digits")
    try:
        text = _PERCENT.sub(lambda found: bytes.fromhex(found[1].decode()), raw).decode("utf-8")
    except UnicodeDecodeError:
        # Without a cause: the exception's text would repeat the value.
        raise InvalidParameterError(name, accepted="UTF-8") from None
    if "\0" in text:
        raise InvalidParameterError(name, accepted="text without NUL")
    return text


@dataclass(slots=True)
class _Reading:
    """What has been read of a query string so far."""

    limits: SearchLimits
    limit: int = field(init=False)
    offset: int = 0
    include: dict[str, AttributePath] = field(default_factory=dict)
    include_all: bool = False
    order: tuple[OrderKey, ...] = ()
    counting: Counting = Counting.BOUNDED
    page_token: str | None = None
    accept: str | None = None
    warnings: list[str] = field(default_factory=list)
    zone: str = ""
    empty_values: bool = False
    all_values: bool = False
    filtering: dict[str, str] = field(default_factory=dict)
    names: AttributeNames = field(init=False)
    fields: int = 0
    fuzzy: bool = False

    def __post_init__(self) -> None:
        self.limit = self.limits.default_limit

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Key]:
        """Read all parameters; returns the matching keys."""
        self._check_repetition(pairs)
        self.names = AttributeNames(pairs, depth=self.limits.depth)
        attributes = [(name, value) for name, value in pairs if not self._read_control(name, value)]
        for name, value in pairs:
            if name == "includefield":
                self._read_fields(value)
        keys = self._read_keys(attributes)
        seen: set[str] = set()
        for path, _ in keys:
            if str(path) in seen:
                raise InvalidParameterError("an attribute given twice", accepted="each attribute once")
            seen.add(str(path))
        if self.page_token is not None and any(name == "offset" for name, _ in pairs):
            raise InvalidParameterError("offset", accepted="no offset beside page_token, which says where to go on")
        found = [Key(path, matching) for path, matchings in keys for matching in matchings]
        if sum(len(key.matching.words) if isinstance(key.matching, Fuzzy) else 1 for key in found) > self.limits.keys:
            raise InvalidParameterError("the search", accepted=f"at most {self.limits.keys} values and words in all")
        return found

    def filter(self) -> Expression | None:
        """Read the boolean filter (an extension: OGC CQL2)."""
        language = self.filtering.get("filter-lang", LANGUAGES[0])
        text = self.filtering.get("filter")
        if text is None:
            return None
        return parse_filter(text, language, depth=self.limits.depth)

    def _check_repetition(self, pairs: Sequence[tuple[str, str]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen and name != "includefield":
                raise InvalidParameterError(harmless(name) or "a parameter", accepted="each parameter once")
            seen.add(name)

    def _read_control(self, name: str, value: str) -> bool:
        """Read a parameter that is no attribute; tells whether it was one."""
        match name:
            case "accept":
                self.accept = value
            case "charset":
                if value.lower() not in ("utf-8", "utf8"):
                    raise InvalidParameterError(name, accepted="UTF-8")
            case "filter" | "filter-lang":
                self.filtering[name] = value
            case "includefield":
                pass
            case "fuzzymatching":
                self.fuzzy = _parse_switch(name, value)
            case "emptyvaluematching":
                self.empty_values = _parse_switch(name, value)
            case "multiplevaluematching":
                self.all_values = _parse_switch(name, value)
            case _:
                return self._read_paging(name, value)
        return True

    def _read_paging(self, name: str, value: str) -> bool:
        """Read a parameter that says which part of the results is wanted, and in which order."""
        match name:
            case "limit":
                self.limit = _parse_uint(name, value, _MOST_UINT)
            case "offset":
                self.offset = _parse_uint(name, value, self.limits.max_offset)
            case "orderby":
                self.order = parse_order(value, self.names)
            case "count":
                self.counting = parse_counting(value)
            case "page_token":
                self.page_token = value
            case _:
                return False
        return True

    def _read_fields(self, value: str) -> None:
        names = value.split(",", self.limits.fields)
        self.fields += len(names)
        if self.fields > self.limits.fields:
            raise InvalidParameterError("includefield", accepted=f"at most {self.limits.fields} attributes")
        for name in names:
            if not name:
                raise InvalidParameterError("includefield", accepted="keywords, tags or all, separated by commas")
            if name == "all":
                self.include_all = True
                continue
            try:
                path = self.names.parse(name)
            except (UnknownAttributeError, InvalidMatchError):
                self._warn_ignored(name, "field")
            else:
                self.include.setdefault(str(path), path)

    def _read_keys(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[AttributePath, tuple[Matching, ...]]]:
        keys = []
        creators: list[tuple[AttributePath, str, str]] = []
        for name, value in pairs:
            try:
                path = self.names.parse(name)
            except UnknownAttributeError:
                self._warn_ignored(name, "parameter")
                continue
            if self.empty_values and value == EMPTY_VALUE:
                keys.append((path, name, value))
            elif path.tag == TIMEZONE_OFFSET and value:
                self._read_zone(name, value)
            elif path.steps[-1].private_creator is None and is_private_creator(path.tag):
                creators.append((path, name, value))
            elif path.vr in _UNMATCHABLE_VRS and value.strip("* "):
                self._warn_ignored(name, "parameter")
            else:
                keys.append((path, name, value))
        # A creator that only tells a block apart is no condition of its own: blocks differ between data sets.
        keys += [entry for entry in creators if entry[0].tag not in self.names.used_creators]
        read = [(path, self._matchings(path, name, value)) for path, name, value in keys]
        self._say_what_was_fuzzy(read)
        return read

    def _matchings(self, path: AttributePath, name: str, value: str) -> tuple[Matching, ...]:
        if self.empty_values and value == EMPTY_VALUE:
            return (Empty(),)
        limits = self.limits.values
        if "\\" in value and path.vr in SEVERAL_VALUES_VRS:
            if self.all_values:
                if not may_have_several_values(path.tag):
                    raise InvalidMatchError(name, accepted="one value, which is all that the attribute may have")
                return parse_all_values(path.vr, name, value, limits=limits, fuzzy=self.fuzzy)
            # No value holds a backslash (PS3.5 6.2). Viewers send on what they were shown of several values.
            self.warnings.append(_SEVERAL_VALUES)
        zone = self.zone or self.limits.timezone.replace("+0000", "")
        return parse_matching(path.vr, name, value, limits=limits, zone=zone, fuzzy=self.fuzzy)

    def _say_what_was_fuzzy(self, keys: Sequence[tuple[AttributePath, tuple[Matching, ...]]]) -> None:
        """Tell how person names are matched, where they were asked for fuzzily (PS3.18 8.3.4.2)."""
        if not self.fuzzy:
            return
        matchings = [each for path, found in keys if path.vr == "PN" for each in found]
        # A private attribute may turn out to be a name where the archive looks it up.
        private = any(path.vr == "UN" and not isinstance(found[0], Universal) for path, found in keys)
        if private or any(isinstance(each, Fuzzy) for each in matchings):
            self.warnings.append(_FUZZY)
        if any(not isinstance(each, Fuzzy | Universal | Empty) for each in matchings):
            self.warnings.append(_NOT_FUZZY)

    def _read_zone(self, name: str, value: str) -> None:
        """Take the request's time zone; it is not a key (PS3.18 8.3.4.1.1)."""
        if not _ZONE.fullmatch(value):
            raise InvalidMatchError(name, accepted="an offset +HHMM or -HHMM")
        self.zone = value

    def zones(self) -> Zones | None:
        """Return the zone of the request, if it has told one, and that of the archive."""
        request, archive = offset_seconds(self.zone), offset_seconds(self.limits.timezone)
        return None if request is None else Zones(request, archive or 0)

    def _warn_ignored(self, name: str, what: str) -> None:
        text = warn_ignored(name, self.limits) if what == "parameter" else _ignored(name, what)
        if len(self.warnings) >= _MOST_WARNINGS:
            text = "Further parameters or fields are not supported and have been ignored."
        if text not in self.warnings:
            self.warnings.append(text)


def warn_ignored(name: str, limits: SearchLimits) -> str:
    """Return the warning about a parameter that is not supported (PS3.18 8.3).

    Raises:
        InvalidParameterError: the archive is set to refuse it.
    """
    if limits.refuse_unsupported:
        raise InvalidParameterError(harmless(name) or "a parameter", accepted="only what is supported")
    return _ignored(name, "parameter")


def _ignored(name: str, what: str) -> str:
    named = f"The {what} {name}" if harmless(name) else f"A {what}"
    return f"{named} is not supported and has been ignored."


def _is_answered(path: AttributePath, level: Level) -> bool:
    """Tell whether answers of a level may hold an attribute (PS3.18 10.6.3.3)."""
    step = path.steps[0]
    if level is Level.INSTANCE or step.tag == INSTANCE_AVAILABILITY:
        return True
    known = level_of(step.tag)
    return step.private_creator is None and (known is Level.STUDY or known is level)


def _may_miss_long_texts(key: Key) -> bool:
    """Tell whether a key asks for what is not searched: the end of a long text, or one that is bulk data."""
    if key.path.vr not in _LONG_TEXT_VRS:
        return False
    match key.matching:
        case WildCard():
            return True
        case SingleValue(text):
            return len(text.encode()) > _SEARCHED_BYTES
        case _:
            return False


def _has_times_as_written(keys: Sequence[Key]) -> bool:
    """Tell whether the request's zone was not applied to a time, or to a date that belongs to one."""
    asked = [key for key in keys if not isinstance(key.matching, Universal | Empty)]
    in_zone = {key.path.tag for key in asked if isinstance(key.matching, InZone)}
    return any(
        (key.path.vr == "TM" and key.path.tag not in in_zone)
        or (len(key.path.steps) == 1 and DATE_TIME_PAIRS.get(key.path.tag) in in_zone)
        for key in asked
    )


def _parse_switch(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise InvalidParameterError(name, accepted="true or false")
    return value == "true"


def _parse_uint(name: str, value: str, most: int) -> int:
    if not _UINT.fullmatch(value) or int(value) > most:
        raise InvalidParameterError(name, accepted=f"a whole number from 0 to {most}")
    return int(value)
