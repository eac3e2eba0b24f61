"""What is kept of an instance's bytes, and their digest, which says whether two are the same."""

from collections.abc import Sequence

from blake3 import blake3

from dicomweb_archive.storage.base import Buffer

PREAMBLE_BYTES = 128
_NEUTRAL_PREAMBLE = bytes(PREAMBLE_BYTES)


class Content:
    """An instance as it is kept, fed in pieces: as it came, but for a preamble that must be neutralised.

    The digest is of the kept bytes: sending an instance again, and storing anew what the archive gave out, are the
    same instance either way, and a pack can be checked against the index.
    """

    def __init__(self, *, neutralise_preamble: bool) -> None:
        self._to_neutralise = PREAMBLE_BYTES if neutralise_preamble else 0
        self._hash = blake3()

    def keep(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Take the next pieces and return what is kept of them."""
        kept: list[Buffer] = []
        for piece in pieces:
            zeros = min(self._to_neutralise, len(piece))
            if zeros:
                self._to_neutralise -= zeros
                kept.append(_NEUTRAL_PREAMBLE[:zeros])
            kept.append(memoryview(piece)[zeros:] if zeros else piece)
        for piece in kept:
            self._hash.update(piece)
        return kept

    def digest(self) -> bytes:
        """Return the BLAKE3-256 of everything kept so far."""
        return self._hash.digest()


def digest_of(data: Buffer, *, neutralise_preamble: bool) -> bytes:
    """Return the digest of a whole instance as it is, or would be, kept."""
    content = Content(neutralise_preamble=neutralise_preamble)
    content.keep([data])
    return content.digest()
