"""The keys of a search: parameters that are attributes, with the switches that say how they match (PS3.18 8.3.4.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.dicom.attribute_path import AttributePath
from dicomweb_archive.dicom.attributes import TIMEZONE_OFFSET
from dicomweb_archive.dicom.matching_keys import (
    Empty,
    Fuzzy,
    InZone,
    Key,
    Matching,
    SingleValue,
    Universal,
    WildCard,
    Zones,
)
from dicomweb_archive.dicom.tags import is_private_creator, may_have_several_values
from dicomweb_archive.dicom.time_zones import offset_seconds
from dicomweb_archive.errors import InvalidMatchError
from dicomweb_archive.wire.attribute_paths import AttributeNames, UnknownAttributeError
from dicomweb_archive.wire.date_time_pairs import DATE_TIME_PAIRS
from dicomweb_archive.wire.match_values import EMPTY_VALUE, SEVERAL_VALUES_VRS, parse_all_values, parse_matching
from dicomweb_archive.wire.search_limits import SearchLimits
from dicomweb_archive.wire.search_warnings import FUZZY, NOT_FUZZY, SEVERAL_VALUES, Warnings

_ZONE = re.compile(r"[+-](?:0[0-9]|1[0-4])[0-5][0-9]")
_LONG_TEXT_VRS: Final = frozenset({"LT", "ST", "UC", "UR", "UT"})
_SEARCHED_BYTES: Final = 1024
_UNMATCHABLE_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})


@dataclass(slots=True)
class KeyReader:
    """Reads the keys of one search.

    Attributes:
        zone: the time zone of the request, once it has been read.
    """

    limits: SearchLimits
    names: AttributeNames
    warnings: Warnings
    fuzzy: bool = False
    empty_values: bool = False
    all_values: bool = False
    zone: str = ""

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[AttributePath, tuple[Matching, ...]]]:
        """Read the parameters that are attributes, each with all that it asks for.

        Raises:
            InvalidMatchError: a value does not fit its attribute.
            InvalidParameterError: a parameter that is not supported is refused.
        """
        keys = []
        creators: list[tuple[AttributePath, str, str]] = []
        for name, value in pairs:
            try:
                path = self.names.parse(name)
            except UnknownAttributeError:
                self.warnings.ignored(name, "parameter")
                continue
            if self.empty_values and value == EMPTY_VALUE:
                keys.append((path, name, value))
            elif path.tag == TIMEZONE_OFFSET and value:
                self._read_zone(name, value)
            elif path.steps[-1].private_creator is None and is_private_creator(path.tag):
                creators.append((path, name, value))
            elif path.vr in _UNMATCHABLE_VRS and value.strip("* "):
                self.warnings.ignored(name, "parameter")
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
            self.warnings.texts.append(SEVERAL_VALUES)
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
            self.warnings.texts.append(FUZZY)
        if any(not isinstance(each, Fuzzy | Universal | Empty) for each in matchings):
            self.warnings.texts.append(NOT_FUZZY)

    def _read_zone(self, name: str, value: str) -> None:
        """Take the request's time zone; it is not a key (PS3.18 8.3.4.1.1)."""
        if not _ZONE.fullmatch(value):
            raise InvalidMatchError(name, accepted="an offset +HHMM or -HHMM")
        self.zone = value

    def zones(self) -> Zones | None:
        """Return the zone of the request, if it has told one, and that of the archive."""
        request, archive = offset_seconds(self.zone), offset_seconds(self.limits.timezone)
        return None if request is None else Zones(request, archive or 0)


def may_miss_long_texts(key: Key) -> bool:
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


def has_times_as_written(keys: Sequence[Key]) -> bool:
    """Tell whether the request's zone was not applied to a time, or to a date that belongs to one."""
    asked = [key for key in keys if not isinstance(key.matching, Universal | Empty)]
    in_zone = {key.path.tag for key in asked if isinstance(key.matching, InZone)}
    return any(
        (key.path.vr == "TM" and key.path.tag not in in_zone)
        or (len(key.path.steps) == 1 and DATE_TIME_PAIRS.get(key.path.tag) in in_zone)
        for key in asked
    )
