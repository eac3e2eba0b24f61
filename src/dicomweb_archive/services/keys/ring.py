"""The keys that count, as each server process knows them: who holds a key, and until when.

A process has all of them and asks for them again every other second while any is used. So a key that was taken back
ends within seconds in all processes, and one that nobody knows costs as much as one that counts: no answer, however
long it takes, tells which ids there are, and nobody can make us ask the database by guessing.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from dicomweb_archive.errors import DatabaseUnavailableError, UnauthenticatedError
from dicomweb_archive.index.writing.keys import KeyIndex, UsableKey
from dicomweb_archive.services.access import KEY_HOLDER, AccessPolicy, Principal, Role
from dicomweb_archive.services.keys.text import KeyText, digest_of, parse_key

FRESH_SECONDS = 2.0
"""How long a process goes by what it knows."""

NOTED_SECONDS = 600.0
"""How exact the time of a key's last use is; a note with each request would make all of them wait for one row."""

STATIC_ID = "static"
"""Stands for the id of the static key, which no key of the table can have."""

# Somebody who holds a cookie can try keys against it without asking us, and the static key may have been chosen by a
# human being; this makes each try cost some 30 ms and 16 MiB.
_SCRYPT_COST = 2**14
_PURPOSE = b"dicomweb-archive: sessions of browsers, 1"

_KNOWN_ROLES = frozenset(role.value for role in Role)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has shown a key, and what a session of a browser carries of it."""

    principal: Principal
    key_id: str
    share: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    digest: bytes
    ends: float
    used: float


_NOBODY = _Entry(KEY_HOLDER, bytes(32), 0, 0)


class KeyRing:
    """Tells who holds a key.

    Args:
        index: where the keys are kept.
        policy: what a key is needed for.
        static_key: the key of the settings, which gives every role.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        index: KeyIndex,
        policy: AccessPolicy,
        static_key: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy
        self._index = index
        self._static_key = None if static_key is None else static_key.encode()
        share = b"" if static_key is None else _slow_share(static_key)
        self._static_holder = Holder(KEY_HOLDER, STATIC_ID, share)
        self._clock = clock
        self._rows: tuple[UsableKey, ...] = ()
        self._entries: Mapping[str, _Entry] = {}
        self._noted: dict[str, float] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def identify(self, key: bytes) -> Holder:
        """Return who holds `key`; the comparisons take the same time wherever it differs.

        Raises:
            UnauthenticatedError: it is no key of this archive, or it counts no more.
            DatabaseUnavailableError: nobody can tell now.
        """
        if self._static_key is not None and hmac.compare_digest(key, self._static_key):
            return self._static_holder
        parsed = parse_key(key)
        principal = None if parsed is None else await self._look_up(parsed)
        if parsed is None or principal is None:
            message = (
                "the key in the Authorization header is not known or counts no more; leave the header out or send "
                "a valid key"
            )
            raise UnauthenticatedError(message)
        return Holder(principal, parsed.public_id, parsed.share)

    async def recognise(self, key_id: str, share: bytes) -> Principal | None:
        """Return who has begun a session that carries `share`; None when the key counts no more.

        Raises:
            DatabaseUnavailableError: nobody can tell now.
        """
        if key_id == STATIC_ID:
            knows = self._static_key is not None and hmac.compare_digest(share, self._static_holder.share)
            return KEY_HOLDER if knows else None
        return await self._look_up(KeyText(key_id, share))

    async def _look_up(self, shown: KeyText) -> Principal | None:
        now = self._clock()
        if not self._is_fresh(now):
            await self._ask_again()
        entry = self._entries.get(shown.public_id, _NOBODY)
        is_right = hmac.compare_digest(digest_of(shown.share), entry.digest)
        if not is_right or entry.ends <= now:
            return None
        if now - self._noted.get(shown.public_id, entry.used) >= NOTED_SECONDS:
            await self._note_use(shown.public_id, now)
        return entry.principal

    def _is_fresh(self, now: float) -> bool:
        # A clock that was set back must not make what is known last.
        return 0 <= now - self._asked_at < FRESH_SECONDS

    async def _ask_again(self) -> None:
        async with self._asking:
            # Whoever has waited for the lock is served by who has held it.
            now = self._clock()
            if self._is_fresh(now):
                return
            rows = await self._index.usable()
            if rows != self._rows:
                self._entries = {row.public_id: self._entry_of(row) for row in rows}
                self._noted = {known: at for known, at in self._noted.items() if known in self._entries}
                self._rows = rows
            # From before the question: what was taken back while it was asked may be missing in the answer.
            self._asked_at = now

    def _entry_of(self, row: UsableKey) -> _Entry:
        # A later release may know more roles, and its keys must not lock out the holders of others.
        roles = [Role(role) for role in row.roles if role in _KNOWN_ROLES]
        return _Entry(
            self.policy.holder(row.name, roles, row.collections),
            row.digest,
            float("inf") if row.expires_at is None else row.expires_at.timestamp(),
            float("-inf") if row.last_used_at is None else row.last_used_at.timestamp(),
        )

    async def _note_use(self, public_id: str, now: float) -> None:
        # First, so that of many requests at once one writes.
        self._noted[public_id] = now
        # A note is no reason to refuse anybody, where the database can only be read for instance.
        with suppress(DatabaseUnavailableError):
            await self._index.note_use(public_id, resolution_seconds=NOTED_SECONDS)


def _slow_share(static_key: str) -> bytes:
    return hashlib.scrypt(static_key.encode(), salt=_PURPOSE, n=_SCRYPT_COST, r=8, p=1, dklen=32)
