"""Hosts: the names that an archive answers to, so that no page of the web can pass for one of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from dicomweb_archive.web.addresses import sound_host
from dicomweb_archive.web.errors import MISDIRECTED, problem_response

_LOCAL = "localhost"
_EVERY = "*"
_DETAIL = (
    "the archive does not go by the name that it was asked by; it answers to localhost, to IP addresses, and to the "
    "names in DICOMWEB_ARCHIVE_ALLOWED_HOSTS and DICOMWEB_ARCHIVE_PUBLIC_URL"
)


@dataclass(frozen=True, slots=True)
class HostRule:
    """Tells whether a request was sent to a name that is ours.

    What is not reached from elsewhere is reached by the browsers on this machine, and these run scripts of every
    page. A script reads and changes only what is of its page's origin, which has a name and no address: whoever
    owns the name can first lead it to the page, and then to us ("DNS rebinding"). So without a key names count
    only when nobody else can own them: `localhost` and what is below it (RFC 6761 6.3), and those that are set.
    """

    names: frozenset[str]

    def allows(self, fields: Sequence[str]) -> bool:
        """Judge the `Host` headers of a request; none at all come from old programs, and from no browser."""
        if not fields:
            return True
        host = sound_host(fields)
        if host is None:
            return False
        if host.startswith("["):
            return True
        name = host.partition(":")[0].removesuffix(".")
        return name in self.names or name == _LOCAL or name.endswith(f".{_LOCAL}") or _is_address(name)


def host_rule(allowed: Iterable[str], public_url: str | None, *, has_key: bool) -> HostRule | None:
    """Return the rule by the settings; None where every name is answered to.

    Args:
        allowed: names in lower case, or `*` for every one.
        public_url: address of the archive, whose name is one of ours.
        has_key: a name is no way in where a key is asked for, so names are checked only when some are set.
    """
    names = frozenset(allowed)
    if _EVERY in names or (has_key and not names):
        return None
    public = urlsplit(public_url or "").hostname
    return HostRule(names | {public} if public else names)


class HostGuard:
    """Refuses requests to names that are not ours, before anything else looks at them (RFC 9110 15.5.20)."""

    def __init__(self, app: ASGIApp, rule: HostRule) -> None:
        self.app = app
        self.rule = rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes unseen."""
        if scope["type"] == "http":
            fields = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if not self.rule.allows(fields):
                await problem_response(MISDIRECTED, _DETAIL)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _is_address(name: str) -> bool:
    try:
        IPv4Address(name)
    except AddressValueError:
        return False
    return True
