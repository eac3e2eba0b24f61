"""Keys by HTTP: given, listed and taken back by admins, and by managers as far as their own rights go."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dicomweb_archive.errors import ConflictError, ForbiddenError, NotFoundError
from dicomweb_archive.index.writing.keys import EVERY_KEY, KeyReach, ListedKey
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.keys.giving import GivenKey, KeyService

GIVEN_BY_MANAGERS: Final = (Role.READER, Role.SUBMITTER, Role.CURATOR)
"""Roles that a manager may give: whoever could give more would have more."""


@dataclass(frozen=True, slots=True)
class KeyManagement:
    """Gives keys and takes them back on behalf of a principal; keys beyond its reach do not exist for it.

    Attributes:
        is_open: this archive asks nobody for a key.
    """

    keys: KeyService
    is_open: bool

    async def give(
        self,
        principal: Principal,
        name: str,
        roles: Sequence[Role],
        *,
        accessions: Sequence[str] | None,
        expires_at: datetime | None,
    ) -> GivenKey:
        """Give a key; its text can be seen in this answer and never again.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may give no keys, or none with such roles.
            InvalidParameterError: see `KeyService.create`; also a collection in which the principal gives none.
            ConflictError: somebody beyond the principal's reach goes by this name, or nobody is asked for a key.
        """
        reach = _reach_of(principal)
        if self.is_open:
            # Whoever passes by could leave a key behind that opens the archive when it asks for keys one day.
            message = "this archive asks nobody for a key; `dicomweb-archive keys create` gives some before it does"
            raise ConflictError(message)
        if reach.roles is not None and not set(roles) <= set(reach.roles):
            message = f"a manager gives the roles {', '.join(GIVEN_BY_MANAGERS)}; others are given by an admin"
            raise ForbiddenError(message)
        return await self.keys.create(
            name, roles, accessions=accessions, expires_at=expires_at, actor=principal.name, reach=reach
        )

    async def listed(
        self, principal: Principal, *, ended: bool, limit: int, offset: int
    ) -> tuple[Sequence[ListedKey], int]:
        """Return some of the keys in the order of their names, and how many there are.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal gives no keys.
        """
        reach = _reach_of(principal)
        found = await self.keys.index.listed(ended=ended, reach=reach, limit=limit, offset=offset)
        return found, await self.keys.index.count(ended=ended, reach=reach)

    async def find(self, principal: Principal, public_id: str) -> ListedKey:
        """Return a key, whether it counts still or not.

        Raises:
            NotFoundError: there is none of this id within the principal's reach.
            UnauthenticatedError, ForbiddenError: see `listed`.
        """
        found = await self.keys.index.find(public_id, _reach_of(principal))
        if found is None:
            raise NotFoundError("There is no such key")
        return found

    async def revoke(self, principal: Principal, public_id: str) -> None:
        """Take a key back; one that was taken back before stays so.

        Raises:
            NotFoundError, UnauthenticatedError, ForbiddenError: see `find`.
        """
        found = await self.find(principal, public_id)
        await self.keys.revoke(found.public_id, actor=principal.name)


def _reach_of(principal: Principal) -> KeyReach:
    require(principal, Role.MANAGER)
    if Role.ADMIN in principal.roles and principal.collections is None:
        return EVERY_KEY
    return KeyReach(tuple(role.value for role in GIVEN_BY_MANAGERS), principal.collections)
