"""Page tokens: where the next page of a search begins, sealed so that only the archive that made one can read it.

A token holds sort values, such as a patient's name, and stands in URLs.
"""

import json
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

from dicomweb_archive.dicom.query import SearchQuery
from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.sealed_text import Sealing

LONGEST_TOKEN: Final = 8 * 1024

_FORMAT: Final = b"1"
_DIGEST_BYTES: Final = 12

# A page may have another size and other fields than the one before it; what matches and in which order may not change.
_FREE: Final = frozenset({"limit", "offset", "include", "include_all", "relational", "after", "counting"})

SortValues = tuple[str | int | float, ...]
"""The sort values of a row, in the order of the keys."""


@dataclass(frozen=True)
class PageTokens:
    """Seals and opens page tokens with a secret of the archive."""

    secret: bytes

    def seal(self, query: SearchQuery, last: SortValues) -> str:
        """Write the token that goes on behind a row of this search."""
        values = json.dumps(last, ensure_ascii=False, separators=(",", ":")).encode()
        return self._sealing.seal(_FORMAT + _digest(query) + values)

    def open(self, query: SearchQuery, token: str) -> SortValues:
        """Read a token that this archive has made for this search.

        Raises:
            InvalidParameterError: it is forged, made by another archive or version of it, or for another search.
        """
        contents = self._sealing.open(token) if len(token) <= LONGEST_TOKEN else None
        head = _FORMAT + _digest(query)
        if contents is None or not contents.startswith(head):
            raise InvalidParameterError(
                "page_token", accepted="one that a page of the same search has named; begin anew"
            )
        return tuple(json.loads(contents[len(head) :]))

    @cached_property
    def _sealing(self) -> Sealing:
        return Sealing(self.secret, b"page_token")


def _digest(query: SearchQuery) -> bytes:
    asked: list[Any] = [getattr(query, field.name) for field in fields(query) if field.name not in _FREE]
    return blake2b(repr(asked).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
