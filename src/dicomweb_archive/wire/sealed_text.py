"""Sealed text: what a client carries for us in a URL, such that only the archive that made it can read or make it.

It is encrypted, not only signed: the HMAC-SHA256 of the contents is their proof and the start of the key stream, as in
SIV mode (RFC 5297). The same contents have the same text.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_PROOF_BYTES: Final = 16
_BLOCK_BYTES: Final = 32


@dataclass(frozen=True)
class Sealing:
    """Seals and opens texts of one purpose with a secret of the archive."""

    secret: bytes
    purpose: bytes

    def seal(self, contents: bytes) -> str:
        """Write contents as a text of URL-safe characters."""
        proof = self._proof(contents)
        return base64.urlsafe_b64encode(proof + self._covered(contents, proof)).rstrip(b"=").decode()

    def open(self, text: str) -> bytes | None:
        """Read the contents of a text; `None` when this archive has not sealed it for this purpose."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        proof, covered = raw[:_PROOF_BYTES], raw[_PROOF_BYTES:]
        contents = self._covered(covered, proof)
        return contents if hmac.compare_digest(self._proof(contents), proof) else None

    @cached_property
    def _keys(self) -> tuple[bytes, bytes]:
        proof, cover = (hmac.digest(self.secret, self.purpose + b" " + use, "sha256") for use in (b"proof", b"cover"))
        return proof, cover

    def _proof(self, contents: bytes) -> bytes:
        return hmac.digest(self._keys[0], contents, "sha256")[:_PROOF_BYTES]

    def _covered(self, contents: bytes, start: bytes) -> bytes:
        """Cover contents with the key stream that begins with `start`, or uncover them."""
        blocks = range(-(-len(contents) // _BLOCK_BYTES))
        stream = b"".join(hmac.digest(self._keys[1], start + b"%d" % number, "sha256") for number in blocks)
        return bytes(one ^ other for one, other in zip(contents, stream, strict=False))
