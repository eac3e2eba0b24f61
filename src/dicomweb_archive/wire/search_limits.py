"""Bounds of a search request."""

from dataclasses import dataclass, field, replace
from typing import Final

from dicomweb_archive.wire.match_values import ValueLimits


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


DEFAULT_LIMITS: Final = SearchLimits()
