"""The text of a key, and what of it is kept: nothing that it could be made of again.

A key is `dwa_`, its id and its secret. The id is public: it names the key in lists, events and cookies. From the
secret comes a *share*, which is all that sessions of browsers carry, and from the share the digest that is kept. So a
database or a backup that gets lost opens nothing, not even as a session. The prefix lets programs find keys that were
published by mistake, and with the underscores a double click selects the whole.
"""

import base64
import hashlib
import re
import secrets
from typing import NamedTuple

PREFIX = "dwa"
"""What every key begins with."""

_ID_CHARACTERS = 12
_SECRET_BITS = 256
_SECRET_CHARACTERS = 52
_KEY = re.compile(
    f"{PREFIX}_([a-z2-7]{{{_ID_CHARACTERS}}})_([a-z2-7]{{{_SECRET_CHARACTERS}}})".encode(), flags=re.DOTALL
)
_PURPOSE = b"dicomweb-archive: share of a session, 1 "


class KeyText(NamedTuple):
    """A key taken apart."""

    public_id: str
    share: bytes


def new_key() -> tuple[str, KeyText]:
    """Make a key that nobody can guess: the text, to be shown once, and what it is known by."""
    public_id = _letters(secrets.token_bytes(8))[:_ID_CHARACTERS]
    secret = _letters(secrets.token_bytes(_SECRET_BITS // 8))
    text = f"{PREFIX}_{public_id}_{secret}"
    return text, KeyText(public_id, _share_of(secret.encode()))


def parse_key(key: bytes) -> KeyText | None:
    """Take a key apart; None where it is none of ours by its form alone."""
    found = _KEY.fullmatch(key)
    return None if found is None else KeyText(found[1].decode(), _share_of(found[2]))


def digest_of(share: bytes) -> bytes:
    """Return what is kept of a key. A slow hash would not help: there are too many secrets to try any."""
    return hashlib.sha256(share).digest()


def _share_of(secret: bytes) -> bytes:
    return hashlib.sha256(_PURPOSE + secret).digest()


def _letters(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
