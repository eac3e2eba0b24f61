"""Sessions of browsers: a cookie that proves that its holder has shown a key, which one, and until when it counts.

Nothing is kept about a session, so every server process knows every one, also after a restart. What that costs:
a session ends by its time or with its key, and signing out only makes the browser forget it.
"""

import hmac
import re
from dataclasses import dataclass
from typing import NamedTuple

# Eleven digits of seconds last until the year 5138.
_TOKEN = re.compile(r"([0-9]{1,11})\.([a-z0-9]{1,20})\.([0-9a-f]{64})\.([0-9a-f]{64})")

# Processes on other machines know a session that has begun a moment ago by a clock ahead of theirs.
_CLOCK_SKEW_SECONDS = 60


class Carried(NamedTuple):
    """What a session carries of the key that was shown: its id, and the share that only who had the key has."""

    key_id: str
    share: bytes


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes session tokens and reads them: end, key and share, and an HMAC-SHA256 (RFC 2104) of them.

    The share proves that a key was shown, and the HMAC that the time is ours. So who reads the database can make
    no session, and who has found a cookie cannot make it last.

    Args:
        secret: key of the HMAC, the same in all processes of an archive.
        seconds: how long a session lasts.
    """

    secret: bytes
    seconds: int

    def begin(self, key_id: str, share: bytes, now: float) -> str:
        """Return the token of a session that begins now; `now` in seconds of Unix time."""
        content = f"{int(now) + self.seconds}.{key_id}.{share.hex()}"
        return f"{content}.{self._proof(content)}"

    def read(self, token: str, now: float) -> Carried | None:
        """Return what a token carries when it is one of ours and its time has not come."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        end, key_id, share, proof = found.groups()
        is_ours = hmac.compare_digest(proof, self._proof(f"{end}.{key_id}.{share}"))
        # A shorter lifetime holds for sessions that have begun before it, too.
        if not is_ours or not now < int(end) <= now + self.seconds + _CLOCK_SKEW_SECONDS:
            return None
        return Carried(key_id, bytes.fromhex(share))

    def _proof(self, content: str) -> str:
        return hmac.digest(self.secret, content.encode(), "sha256").hex()
