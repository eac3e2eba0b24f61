"""Access: who is calling, what they may do, and which rows they may see."""

import hmac
from dataclasses import dataclass
from enum import StrEnum

from dicomweb_archive.errors import ForbiddenError, UnauthenticatedError
from dicomweb_archive.index.access import Visibility


class Role(StrEnum):
    """What a principal may do."""

    READER = "reader"
    """Search and retrieve."""
    WRITER = "writer"
    """Store."""
    MANAGER = "manager"
    """Delete."""


class PrincipalKind(StrEnum):
    """How a principal is known to us."""

    ANONYMOUS = "anonymous"
    KEY_HOLDER = "key_holder"


EVERY_ROLE = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a request is made for; `name` goes into events, so it never holds a credential."""

    name: str
    kind: PrincipalKind
    roles: frozenset[Role]


ANONYMOUS = Principal("anonymous", PrincipalKind.ANONYMOUS, frozenset({Role.READER}))
EVERYBODY = Principal(ANONYMOUS.name, ANONYMOUS.kind, EVERY_ROLE)
"""Whoever calls an archive without a key."""
STRANGER = Principal(ANONYMOUS.name, ANONYMOUS.kind, frozenset())
"""A caller without the key of an archive that shows nothing without it."""
KEY_HOLDER = Principal("key", PrincipalKind.KEY_HOLDER, EVERY_ROLE)


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


_MANAGERS_SEE = Visibility(see_embargoed=True)
_OTHERS_SEE = Visibility()


def visibility_of(principal: Principal) -> Visibility:
    """Return which rows the principal may see; the index makes it a predicate of each statement."""
    return _MANAGERS_SEE if Role.MANAGER in principal.roles else _OTHERS_SEE
