"""Access: who is calling, what they may do, and which rows they may see."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dicomweb_archive.errors import ArchiveError, ForbiddenError, UnauthenticatedError
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


ANONYMOUS = Principal("anonymous", PrincipalKind.ANONYMOUS, frozenset({Role.READER}), collections=frozenset())
EVERYBODY = Principal(ANONYMOUS.name, ANONYMOUS.kind, EVERY_ROLE, sees=_SEES_EMBARGOED)
"""Whoever calls an archive that asks for no key."""
STRANGER = Principal(ANONYMOUS.name, ANONYMOUS.kind, frozenset())
"""A caller without a key of an archive that shows nothing without one."""
KEY_HOLDER = Principal("key", PrincipalKind.KEY_HOLDER, EVERY_ROLE, sees=_SEES_EMBARGOED)
"""Whoever holds the static key of the settings."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What a key is needed for in this archive.

    Attributes:
        is_open: everybody may do everything; settings allow that on loopback, elsewhere only when they are told.
        anonymous_read: whether a caller without a key may search and retrieve.
    """

    is_open: bool = True
    anonymous_read: bool = True

    def anonymous(self) -> Principal:
        """Return the principal of a caller without credentials."""
        if self.is_open:
            return EVERYBODY
        return ANONYMOUS if self.anonymous_read else STRANGER

    @staticmethod
    def holder(name: str, roles: Iterable[Role], collections: Iterable[int] | None) -> Principal:
        """Return the principal who holds a key that was given out under `name`."""
        held = with_included(roles)
        within = None if collections is None else frozenset(collections)
        # A role in some collections is no word about the embargoes of others.
        sees = Visibility(see_embargoed=Role.MANAGER in held and within is None)
        return Principal(name, PrincipalKind.KEY_HOLDER, held, within, sees)


def require(principal: Principal, role: Role, collection_id: int | None = None) -> None:
    """Let the principal pass only with this role: in this collection, or in any where none is named.

    Where none is named, what is done keeps to the collections of the principal; see also `require_everywhere`.

    Raises:
        UnauthenticatedError: credentials might help.
        ForbiddenError: they would not.
    """
    is_held = role in principal.roles if collection_id is None else principal.has(role, collection_id)
    if not is_held:
        raise _refusal(principal, role, where="" if collection_id is None else " in this collection")


def require_everywhere(principal: Principal, role: Role) -> None:
    """Let the principal pass only with this role in every collection: for what concerns the archive as a whole.

    Raises:
        UnauthenticatedError, ForbiddenError: see `require`.
    """
    if role not in principal.roles or principal.collections is not None:
        raise _refusal(principal, role, where=" in every collection")


def _refusal(principal: Principal, role: Role, *, where: str) -> ArchiveError:
    if principal.kind is PrincipalKind.ANONYMOUS:
        message = f"this needs the role {role.value}; send a key as `Authorization: Bearer KEY`"
        return UnauthenticatedError(message)
    message = f"this needs the role {role.value}{where}, which your key does not give"
    return ForbiddenError(message)
