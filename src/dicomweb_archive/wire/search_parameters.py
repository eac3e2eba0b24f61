"""The parameters of a search: from names and values to a SearchQuery (PS3.18 8.3.4, 10.6.1).

Our extensions: any attribute may be a key or a field at any level, however deep in sequences; a UID list may
also be separated by backslashes, as viewers send it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.dicom.attribute_path import AttributePath
from dicomweb_archive.dicom.attributes import INSTANCE_AVAILABILITY, level_of
from dicomweb_archive.dicom.free_text import Phrase
from dicomweb_archive.dicom.matching_keys import Fuzzy, Key
from dicomweb_archive.dicom.query import Counting, Level, OrderKey, SearchQuery
from dicomweb_archive.dicom.query_filter import Expression
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError
from dicomweb_archive.wire.attribute_paths import AttributeNames, UnknownAttributeError, harmless
from dicomweb_archive.wire.date_time_pairs import combine_date_times
from dicomweb_archive.wire.filter_expression import LANGUAGES, parse_filter
from dicomweb_archive.wire.free_text import LEFT_OUT, parse_text
from dicomweb_archive.wire.query_strings import unsigned
from dicomweb_archive.wire.search_keys import KeyReader, has_times_as_written, may_miss_long_texts
from dicomweb_archive.wire.search_limits import DEFAULT_LIMITS, SearchLimits
from dicomweb_archive.wire.search_order import parse_counting, parse_order
from dicomweb_archive.wire.search_warnings import AS_WRITTEN, LONG_TEXTS, OF_OTHER_LEVELS, Warnings

_MOST_UINT: Final = 2**31 - 1


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


def parse_search(
    pairs: Sequence[tuple[str, str]],
    level: Level,
    *,
    study_instance_uid: str | None = None,
    series_instance_uid: str | None = None,
    relational: bool = False,
    limits: SearchLimits = DEFAULT_LIMITS,
) -> SearchRequest:
    """Understand the parameters of a search (PS3.18 8.3.4).

    Unknown parameters are ignored with a warning (8.3), or refused where the archive is set so. The page size is
    cut to the largest one allowed.

    Raises:
        InvalidParameterError: a known parameter is repeated or has a value that does not fit, or one that is not
            supported is refused.
        InvalidMatchError: the same, of a matching parameter.
    """
    reading = _Reading(pairs, limits)
    keys = reading.read()
    zones = reading.keys.zones()
    plain, combined = combine_date_times(keys, zones)
    if zones is not None and has_times_as_written(plain):
        reading.warnings.texts.append(AS_WRITTEN)
    if any(map(may_miss_long_texts, keys)):
        reading.warnings.texts.append(LONG_TEXTS)
    if any(not _is_answered(path, level) for path in reading.include.values()):
        reading.warnings.texts.append(OF_OTHER_LEVELS)
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
            fuzzy=reading.keys.fuzzy,
            order=reading.order,
            counting=reading.counting,
            filter=reading.filter(),
            text=reading.text,
        ),
        tuple(reading.warnings.texts),
        reading.accept,
        reading.page_token,
    )


@dataclass(slots=True)
class _Reading:
    """What has been read of a query string so far."""

    pairs: Sequence[tuple[str, str]]
    limits: SearchLimits
    names: AttributeNames = field(init=False)
    keys: KeyReader = field(init=False)
    warnings: Warnings = field(init=False)
    limit: int = field(init=False)
    offset: int = 0
    include: dict[str, AttributePath] = field(default_factory=dict)
    include_all: bool = False
    order: tuple[OrderKey, ...] = ()
    counting: Counting = Counting.BOUNDED
    page_token: str | None = None
    accept: str | None = None
    filtering: dict[str, str] = field(default_factory=dict)
    text: tuple[Phrase, ...] = ()
    fields: int = 0

    def __post_init__(self) -> None:
        self.limit = self.limits.default_limit
        self.warnings = Warnings(self.limits)
        self.names = AttributeNames(self.pairs, depth=self.limits.depth)
        self.keys = KeyReader(self.limits, self.names, self.warnings)

    def read(self) -> list[Key]:
        """Read all parameters; returns the matching keys."""
        self._check_repetition()
        attributes = [(name, value) for name, value in self.pairs if not self._read_control(name, value)]
        for name, value in self.pairs:
            if name == "includefield":
                self._read_fields(value)
        keys = self.keys.read(attributes)
        seen: set[str] = set()
        for path, _ in keys:
            if str(path) in seen:
                raise InvalidParameterError("an attribute given twice", accepted="each attribute once")
            seen.add(str(path))
        if self.page_token is not None and any(name == "offset" for name, _ in self.pairs):
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

    def _check_repetition(self) -> None:
        seen: set[str] = set()
        for name, _ in self.pairs:
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
            case "text":
                self.text, shortened = parse_text(value)
                self.warnings.texts += [LEFT_OUT] if shortened else []
            case "includefield":
                pass
            case "fuzzymatching":
                self.keys.fuzzy = _parse_switch(name, value)
            case "emptyvaluematching":
                self.keys.empty_values = _parse_switch(name, value)
            case "multiplevaluematching":
                self.keys.all_values = _parse_switch(name, value)
            case _:
                return self._read_paging(name, value)
        return True

    def _read_paging(self, name: str, value: str) -> bool:
        """Read a parameter that says which part of the results is wanted, and in which order."""
        match name:
            case "limit":
                self.limit = unsigned(name, value, most=_MOST_UINT)
            case "offset":
                self.offset = unsigned(name, value, most=self.limits.max_offset)
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
                self.warnings.ignored(name, "field")
            else:
                self.include.setdefault(str(path), path)


def _is_answered(path: AttributePath, level: Level) -> bool:
    """Tell whether answers of a level may hold an attribute (PS3.18 10.6.3.3)."""
    step = path.steps[0]
    if level is Level.INSTANCE or step.tag == INSTANCE_AVAILABILITY:
        return True
    known = level_of(step.tag)
    return step.private_creator is None and (known is Level.STUDY or known is level)


def _parse_switch(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise InvalidParameterError(name, accepted="true or false")
    return value == "true"
