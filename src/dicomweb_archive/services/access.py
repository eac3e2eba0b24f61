"""Access: who is calling, what they may do, and which rows they may see."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dicomweb_archive.errors import ForbiddenError, UnauthenticatedError
from dicomweb_archive.index.access import Visibility


class Role(StrEnum):
    """What a principal may do; each role but the two first includes all before it."""

    READER = "reader"
    """Search and retrieve what is published."""
    SUBMITTER = "submitter"
    """Store, and see what oneself has stored."""
    CURATOR = "curator"
    """See, check, correct and decide on what waits in quarantine."""
    MANAGER = "manager"
    """Set up collections, withdraw and delete."""
    ADMIN = "admin"
    """Give and take keys, purge."""


class PrincipalKind(StrEnum):
    """How a principal is known to us."""

    ANONYMOUS = "anonymous"
    KEY_HOLDER = "key_holder"


EVERY_ROLE = frozenset(Role)

PUBLISHED = Visibility()
_SEES_EMBARGOED = Visibility(see_embargoed=True)

_INCLUDES = {
    Role.CURATOR: frozenset({Role.READER, Role.SUBMITTER, Role.CURATOR}),
    Role.MANAGER: EVERY_ROLE - {Role.ADMIN},
    Role.ADMIN: EVERY_ROLE,
}


def with_included(roles: Iterable[Role]) -> frozenset[Role]:
    """Return the roles and all that they include."""
    return frozenset().union(*(_INCLUDES.get(role, frozenset({role})) for role in roles))


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a request is made for.

    Attributes:
        name: goes into events, so it never holds a credential.
        roles: with those that they include.
        collections: ids of the collections in which the roles count; `None`: in all of them.
        sees: which rows may be seen through the root that was asked; a predicate of each statement.
    """

    name: str
    kind: PrincipalKind
    roles: frozenset[Role]
    collections: frozenset[int] | None = None
    sees: Visibility = PUBLISHED

    def has(self, role: Role, collection_id: int) -> bool:
        """Tell whether the principal has a role in a collection."""
        return role in self.roles and (self.collections is None or collection_id in self.collections)


ANONYMOUS = Principal("anonymous", PrincipalKind.ANONYMOUS, frozenset({Role.READER}))
EVERYBODY = Principal(ANONYMOUS.name, ANONYMOUS.kind, EVERY_ROLE, sees=_SEES_EMBARGOED)
"""Whoever calls an archive without a key."""
STRANGER = Principal(ANONYMOUS.name, ANONYMOUS.kind, frozenset())
"""A caller without the key of an archive that shows nothing without it."""
KEY_HOLDER = Principal("key", PrincipalKind.KEY_HOLDER, EVERY_ROLE, sees=_SEES_EMBARGOED)
"""Whoever holds the static key of the settings."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Who is who in this archive: a static key, or nobody in particular.

    Attributes:
        api_key: the key that gives every role; `None` opens the archive to all (settings allow that on
            loopback only).
        anonymous_read: whether a caller without a key may search and retrieve.
    """

    api_key: str | None = None
    anonymous_read: bool = True

    def anonymous(self) -> Principal:
        """Return the principal of a caller without credentials."""
        if self.api_key is None:
            return EVERYBODY
        return ANONYMOUS if self.anonymous_read else STRANGER

    def identify(self, key: bytes) -> Principal:
        """Return the principal who holds `key`; the comparison takes the same time wherever it differs.

        Raises:
            UnauthenticatedError: it is no key of this archive.
        """
        if self.api_key is None or not hmac.compare_digest(key, self.api_key.encode()):
            message = "the key in the Authorization header is not known; leave the header out or send a valid key"
            raise UnauthenticatedError(message)
        return KEY_HOLDER


def require(principal: Principal, role: Role) -> None:
    """Let the principal pass only with this role.

    Raises:
        UnauthenticatedError: credentials might help.
        ForbiddenError: they would not.
    """
    if role in principal.roles:
        return
    if principal.kind is PrincipalKind.ANONYMOUS:
        message = f"this needs the role {role.value}; send a key as `Authorization: Bearer KEY`"
        raise UnauthenticatedError(message)
    message = f"this needs the role {role.value}, which your key does not give"
    raise ForbiddenError(message)


def require_everywhere(principal: Principal, role: Role) -> None:
    """Let the principal pass only with this role in every collection: what is asked for is of the whole archive.

    Raises:
        UnauthenticatedError: credentials might help.
        ForbiddenError: they would not.
    """
    require(principal, role)
    if principal.collections is not None:
        message = f"this needs the role {role.value} in every collection, and your key gives it in some"
        raise ForbiddenError(message)
