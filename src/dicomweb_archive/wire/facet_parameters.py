"""The query string of facets: fields, bins, how many values, and every key of a search."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from dicomweb_archive.dicom.facets import Calendar, FacetField
from dicomweb_archive.dicom.query import Level
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError
from dicomweb_archive.wire.attribute_paths import AttributeNames, UnknownAttributeError
from dicomweb_archive.wire.query_strings import single_parameters, unsigned
from dicomweb_archive.wire.search_limits import SearchLimits
from dicomweb_archive.wire.search_parameters import SearchRequest, parse_search
from dicomweb_archive.wire.search_warnings import OF_OTHER_LEVELS, warn_ignored

MOST_FIELDS: Final = 20
MOST_VALUES: Final = 1000
DEFAULT_VALUES: Final = 20

_OWN: Final = ("field", "limit", "interval")
_OF_PAGES: Final = ("count", "includefield", "offset", "orderby", "page_token")
"""Parameters of a search that say what a page of it holds; facets have no pages."""
_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_UNCOUNTED: Final = frozenset({0x00080018})


@dataclass(frozen=True, slots=True)
class FacetRequest:
    """Facets as they were asked for: of what is found, which fields, and how many values of each."""

    search: SearchRequest
    fields: tuple[FacetField, ...]
    limit: int


def parse_facets(
    pairs: Sequence[tuple[str, str]],
    level: Level,
    *,
    limits: SearchLimits,
) -> FacetRequest:
    """Understand the parameters of facets.

    Those of pages are ignored with a warning (PS3.18 8.3), or refused where the archive is set so.

    Raises:
        InvalidParameterError: a known parameter is repeated or has a value that does not fit.
        InvalidMatchError: the same, of a matching parameter.
    """
    own = single_parameters([pair for pair in pairs if pair[0] in _OWN])
    names = [name for name in own.get("field", "").split(",") if name]
    if not 1 <= len(names) <= MOST_FIELDS:
        raise InvalidParameterError("field", accepted=f"1 to {MOST_FIELDS} attributes, separated by commas")
    intervals = _intervals(own.get("interval", ""), names)
    attributes = AttributeNames(pairs, depth=limits.depth)
    fields = {name: _field(name, attributes, intervals.get(name)) for name in names}
    # Asked for as fields, so that a creator which only they need is no condition.
    searched = [pair for pair in pairs if pair[0] not in (*_OWN, *_OF_PAGES)]
    searched += [("includefield", name) for name in fields]
    limit = unsigned("limit", own.get("limit", str(DEFAULT_VALUES)), most=MOST_VALUES)
    if not limit:
        raise InvalidParameterError("limit", accepted=f"a whole number from 1 to {MOST_VALUES}")
    search = parse_search(searched, level, relational=True, limits=limits)
    # Values are counted wherever they are; nothing is left out here.
    warnings = [text for text in search.warnings if text != OF_OTHER_LEVELS]
    given = {name for name, _ in pairs}
    warnings += [warn_ignored(name, limits) for name in _OF_PAGES if name in given]
    search = replace(search, warnings=tuple(warnings))
    return FacetRequest(search, tuple(fields.values()), limit)


def _field(name: str, attributes: AttributeNames, interval: Calendar | float | None) -> FacetField:
    try:
        path = attributes.parse(name)
    except (UnknownAttributeError, InvalidMatchError):
        accepted = "keywords, tags or dotted paths, private ones together with their creator"
        raise InvalidParameterError("field", accepted=accepted) from None
    if path.tag in _UNCOUNTED and len(path.steps) == 1:
        raise InvalidParameterError("field", accepted="attributes that several instances may share")
    return FacetField(path, name, interval)


def _intervals(text: str, names: Sequence[str]) -> dict[str, Calendar | float]:
    """Read `StudyDate:year,SliceThickness:0.5`."""
    intervals = {}
    for part in text.split(",") if text else ():
        name, _, width = part.rpartition(":")
        if name not in names:
            raise InvalidParameterError("interval", accepted="FIELD:WIDTH with one of the fields, separated by commas")
        intervals[name] = _width(width)
    return intervals


def _width(text: str) -> Calendar | float:
    if text in (Calendar.YEAR, Calendar.MONTH):
        return Calendar(text)
    width = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not width > 0:
        raise InvalidParameterError("interval", accepted="year or month for dates, a positive number for numbers")
    return width
