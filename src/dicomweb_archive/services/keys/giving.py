"""Giving keys out and taking them back, as an operator does."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.writing.keys import EVERY_KEY, KeyIndex, KeyReach, ListedKey, NewKey
from dicomweb_archive.services.access import ANONYMOUS, KEY_HOLDER, Role
from dicomweb_archive.services.keys.text import digest_of, new_key

OPERATOR = "operator"
"""Who works on the machine itself, in events."""

_NAME = re.compile(r"\w[\w .@+-]{0,62}[\w.]|\w")
# In events these are others.
_TAKEN_NAMES = frozenset({ANONYMOUS.name, KEY_HOLDER.name, OPERATOR, "archive", "system", "worker"})


@dataclass(frozen=True, slots=True)
class GivenKey:
    """A key that was just made; this is the one time that its text can be seen."""

    text: str
    key: NewKey


@dataclass(frozen=True, slots=True)
class KeyService:
    """Gives keys out, lists them and takes them back."""

    index: KeyIndex

    async def create(
        self,
        name: str,
        roles: Collection[Role],
        *,
        accessions: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        actor: str = OPERATOR,
        reach: KeyReach = EVERY_KEY,
    ) -> GivenKey:
        """Give a key to whoever goes by `name`: in events, and in what one has sent oneself.

        Several keys may have one name; that is how a key is changed for another.

        Raises:
            InvalidParameterError: the name or the end does not fit, or there is no such role or collection.
            ConflictError: somebody beyond the reach of whoever gives the key goes by this name.
        """
        if not _NAME.fullmatch(name) or name.lower() in _TAKEN_NAMES:
            accepted = "up to 64 letters, digits, blanks and .@+-_, and none of " + ", ".join(sorted(_TAKEN_NAMES))
            raise InvalidParameterError("name", accepted=accepted)
        if not roles:
            raise InvalidParameterError("roles", accepted="one or more of " + ", ".join(Role))
        if accessions is not None and Role.ADMIN in roles:
            raise InvalidParameterError("collections", accepted="none for an admin, who may give keys for all of them")
        if expires_at is not None and not _is_to_come(expires_at):
            raise InvalidParameterError("expires_at", accepted="a time to come")
        text, parsed = new_key()
        ordered = tuple(role.value for role in Role if role in roles)
        within = None if accessions is None else tuple(accessions)
        key = NewKey(parsed.public_id, digest_of(parsed.share), name, ordered, within, expires_at)
        await self.index.create(key, actor=actor, reach=reach)
        return GivenKey(text, key)

    async def listed(self, *, ended: bool = False) -> tuple[ListedKey, ...]:
        """Return the keys that count; with `ended` also those that were taken back or have come to their end."""
        return await self.index.listed(ended=ended)

    async def revoke(self, public_id: str, *, actor: str = OPERATOR) -> bool:
        """Take a key back, and with it the sessions begun with it; return false when that was done before.

        Raises:
            NotFoundError: there is no such key.
        """
        return await self.index.revoke(public_id, actor=actor)


def _is_to_come(moment: datetime) -> bool:
    try:
        return moment.astimezone(UTC) > datetime.now(UTC)
    except OverflowError:
        # In a year that only its own time zone has.
        return False
