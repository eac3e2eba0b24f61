"""The query string of a list of attributes: filter and page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.query_strings import single_parameters, unsigned, warnings_of_unknown

MOST_TAGS: Final = 10_000
"""Largest page, and default: an archive holds some hundreds to some thousands of attributes."""

_MOST_TEXT: Final = 200
_KNOWN: Final = ("prefix", "q", "limit", "offset", "accept", "charset")


@dataclass(frozen=True, slots=True)
class TagRequest:
    """Which attributes to list: those whose path begins with `prefix` and that have `text` in their names."""

    prefix: str = ""
    text: str = ""
    limit: int = MOST_TAGS
    offset: int = 0
    accept: str | None = None
    warnings: tuple[str, ...] = ()


def parse_tags(pairs: Sequence[tuple[str, str]]) -> TagRequest:
    """Understand the parameters of a list of attributes.

    Raises:
        InvalidParameterError: one is repeated or has a value that does not fit.
    """
    given = single_parameters(pairs)
    for name in ("prefix", "q"):
        if len(given.get(name, "")) > _MOST_TEXT:
            raise InvalidParameterError(name, accepted=f"at most {_MOST_TEXT} characters")
    return TagRequest(
        prefix=given.get("prefix", ""),
        text=given.get("q", ""),
        limit=min(unsigned("limit", given.get("limit", str(MOST_TAGS)), most=2**31 - 1), MOST_TAGS),
        offset=unsigned("offset", given.get("offset", "0"), most=10_000_000),
        accept=given.get("accept"),
        warnings=warnings_of_unknown(name for name in given if name not in _KNOWN),
    )
