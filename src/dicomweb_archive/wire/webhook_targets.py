"""Targets of webhooks: which URLs may be written to, by the names that an operator has allowed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from dicomweb_archive.errors import InvalidParameterError

LONGEST_URL: Final = 2000
NOT_ALLOWED_ANY_MORE: Final = "its host is not allowed by the settings any more"

# No user, no fragment, no backslash and nothing but visible ASCII: a URL that two programs read alike.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:[/?][!\"$-\[\]-~]*)?)",
    flags=re.ASCII,
)
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """A URL that may be written to.

    Attributes:
        path: with the query, as it is sent.
        may_be_private: its name may lead to an address of a network of one's own.
    """

    scheme: str
    host: str
    port: int
    path: str
    may_be_private: bool

    @property
    def authority(self) -> str:
        """The host as a request names it (RFC 9110 7.2)."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _AllowedHost:
    name: str
    port: int | None
    is_private: bool

    def allows(self, scheme: str, host: str, port: int) -> bool:
        # What crosses the open network is encrypted; within one's own that is for the operator to say.
        if scheme != "https" and not self.is_private:
            return False
        is_named = host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name
        return is_named and port == (self.port or _PORTS[scheme])


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The names to which webhooks may lead; none unless somebody has named them."""

    _hosts: tuple[_AllowedHost, ...] = ()

    @classmethod
    def of(cls, hosts: Iterable[str], private_hosts: Iterable[str]) -> Self:
        """Read names as settings have them: `name` or `name:port`, the public ones also `*.name`."""
        return cls((*(_allowed(each, False) for each in hosts), *(_allowed(each, True) for each in private_hosts)))

    def target(self, url: str) -> WebhookTarget:
        """Read a URL that may be written to.

        Raises:
            InvalidParameterError: it is no such URL, or its host is not allowed.
        """
        found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
        if found is None:
            raise InvalidParameterError("url", accepted="like https://host/path, without a user and a fragment")
        scheme, host = found["scheme"], found["host"]
        port = int(found["port"] or _PORTS[scheme])
        allowing = [each for each in self._hosts if each.allows(scheme, host, port)]
        if not allowing:
            accepted = "a host that the settings WEBHOOK_HOSTS or WEBHOOK_PRIVATE_HOSTS name, by https if not private"
            raise InvalidParameterError("url", accepted=accepted)
        path = found["path"]
        return WebhookTarget(
            scheme,
            host,
            port,
            path if path.startswith("/") else f"/{path}",
            any(each.is_private for each in allowing),
        )


def _allowed(text: str, is_private: bool) -> _AllowedHost:
    name, _, port = text.partition(":")
    return _AllowedHost(name, int(port) if port else None, is_private)
