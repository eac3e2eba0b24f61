"""Sessions of browsers: a cookie that proves that its holder has shown the key, and until when.

Nothing is kept about a session, so every server process knows every one, also after a restart. What that costs:
a session ends by its time or with the key, and signing out only makes the browser forget it.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass

# Eleven digits of seconds last until the year 5138.
_TOKEN = re.compile(r"([0-9]{1,11})\.([0-9a-f]{64})")

# Somebody who holds a cookie can try keys against it without asking us; this makes each try cost some 30 ms and 16 MiB.
_SCRYPT_COST = 2**14
# Processes on other machines know a session that has begun a moment ago by a clock ahead of theirs.
_CLOCK_SKEW_SECONDS = 60
_PURPOSE = b"dicomweb-archive: sessions of browsers, 1"


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes session tokens and recognises them: the time of their end, and an HMAC-SHA256 (RFC 2104) of it.

    Args:
        secret: key of the HMAC; see `of_key`.
        seconds: how long a session lasts.
    """

    secret: bytes
    seconds: int

    @classmethod
    def of_key(cls, api_key: str, *, seconds: int) -> "Sessions":
        """Derive the secret from the archive's key: the same in all processes, another with another key."""
        secret = hashlib.scrypt(api_key.encode(), salt=_PURPOSE, n=_SCRYPT_COST, r=8, p=1, dklen=32)
        return cls(secret, seconds)

    def begin(self, now: float) -> str:
        """Return the token of a session that begins now; `now` in seconds of Unix time."""
        end = str(int(now) + self.seconds)
        return f"{end}.{self._proof(end)}"

    def is_valid(self, token: str, now: float) -> bool:
        """Tell whether the token is one of ours and its time has not come."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return False
        end, proof = found.groups()
        is_ours = hmac.compare_digest(proof, self._proof(end))
        # A shorter lifetime holds for sessions that have begun before it, too.
        return is_ours and now < int(end) <= now + self.seconds + _CLOCK_SKEW_SECONDS

    def _proof(self, end: str) -> str:
        return hmac.digest(self.secret, end.encode(), "sha256").hex()
