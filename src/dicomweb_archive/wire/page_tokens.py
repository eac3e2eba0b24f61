"""Page tokens: where the next page of a search begins, sealed so that only the archive that made one can read it.

A token holds sort values, such as a patient's name, and stands in URLs. So it is encrypted, not only signed: the
HMAC-SHA256 of the contents is their proof and the start of the key stream, as in SIV mode (RFC 5297).
"""

import base64
import binascii
import hmac
import json
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

from dicomweb_archive.dicom.query import SearchQuery
from dicomweb_archive.errors import InvalidParameterError

LONGEST_TOKEN: Final = 8 * 1024

_FORMAT: Final = b"1"
_PROOF_BYTES: Final = 16
_DIGEST_BYTES: Final = 12
_BLOCK_BYTES: Final = 32

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
        contents = _FORMAT + _digest(query) + json.dumps(last, ensure_ascii=False, separators=(",", ":")).encode()
        proof = self._proof(contents)
        return base64.urlsafe_b64encode(proof + self._covered(contents, proof)).rstrip(b"=").decode()

    def open(self, query: SearchQuery, token: str) -> SortValues:
        """Read a token that this archive has made for this search.

        Raises:
            InvalidParameterError: it is forged, made by another archive or version of it, or for another search.
        """
        proof, covered = _decode(token)
        contents = self._covered(covered, proof)
        head = _FORMAT + _digest(query)
        if not hmac.compare_digest(self._proof(contents), proof) or not contents.startswith(head):
            raise _unfit()
        return tuple(json.loads(contents[len(head) :]))

    @cached_property
    def _keys(self) -> tuple[bytes, bytes]:
        proof, cover = (hmac.digest(self.secret, b"page_token " + use, "sha256") for use in (b"proof", b"cover"))
        return proof, cover

    def _proof(self, contents: bytes) -> bytes:
        return hmac.digest(self._keys[0], contents, "sha256")[:_PROOF_BYTES]

    def _covered(self, contents: bytes, start: bytes) -> bytes:
        """Cover contents with the key stream that begins with `start`, or uncover them."""
        blocks = range(-(-len(contents) // _BLOCK_BYTES))
        stream = b"".join(hmac.digest(self._keys[1], start + b"%d" % number, "sha256") for number in blocks)
        return bytes(one ^ other for one, other in zip(contents, stream, strict=False))


def _digest(query: SearchQuery) -> bytes:
    asked: list[Any] = [getattr(query, field.name) for field in fields(query) if field.name not in _FREE]
    return blake2b(repr(asked).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def _decode(token: str) -> tuple[bytes, bytes]:
    if len(token) > LONGEST_TOKEN:
        raise _unfit()
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _unfit() from None
    return raw[:_PROOF_BYTES], raw[_PROOF_BYTES:]


def _unfit() -> InvalidParameterError:
    return InvalidParameterError("page_token", accepted="one that a page of the same search has named; begin anew")
