"""Addresses: what the URLs in answers begin with, and which origin a request was sent to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import urlsplit

from starlette.requests import Request

_LONGEST = len("name:65535") + 253
# Underscores are no part of host names but of container names, which are used as such.
_NAME = re.compile(r"(?=.{1,253}(?::|\Z))[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?(?::([0-9]{1,5}))?", re.IGNORECASE)
_BRACKETED = re.compile(r"\[([0-9a-f:.]{2,45})\](?::([0-9]{1,5}))?", re.IGNORECASE)
_PORT = re.compile(r":[0-9]+\Z")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Tells what address a client has used, so that it can follow the URLs of its answer.

    With a public URL in the settings that one counts alone. Without one the `Host` header does, if it is a sound
    host and port; it reaches the archive from whatever name, tunnel or published port the client came through.
    A client can forge it, and gets its own answer with the forged name in it: caches keep answers by their URL,
    host included, ours by the root, and no answer of ours may be kept for others (`Cache-Control: private`). So a
    forger harms nobody else. `Forwarded` and `X-Forwarded-*` are never read: a proxy that does not set them lets
    those of the client through, and a proxy's public address is a setting.

    A host without a port means port 80 (RFC 9110 7.2), as every browser knows. Of programs the most used one for
    DICOMweb in Python leaves the port out whatever it is (dicomweb-client 0.61, `DICOMwebClient._http_get`), so for
    them the port that we listen on is added.

    Args:
        configured: address of the archive's root by the settings, without a slash at the end.
        root_path: the path that `configured` ends with, or nothing.
        follow_host: whether the address that the client has used goes before.
    """

    configured: str
    root_path: str = ""
    follow_host: bool = False

    def base_of(self, request: Request) -> str:
        """Return the address of the archive's root, without a slash at the end."""
        host = sound_host(request.headers.getlist("host")) if self.follow_host else None
        if host is None:
            return self.configured
        is_short = _PORT.search(host) is None and not request.headers.get("user-agent", "").startswith("Mozilla/")
        return f"http://{host}{self._listening_port if is_short else ''}{self.root_path}"

    def origin_of(self, request: Request) -> str:
        """Return the origin of our own pages for this client, as browsers write it (RFC 6454 6.2)."""
        parts = urlsplit(self.base_of(request))
        return f"{parts.scheme}://{parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme])}"

    @property
    def _listening_port(self) -> str:
        found = _PORT.search(self.configured.removesuffix(self.root_path))
        return found[0] if found and found[0] != _DEFAULT_PORTS["http"] else ""

    @property
    def is_secure(self) -> bool:
        """Whether clients are known to come by TLS."""
        return self.configured.startswith("https://")


def sound_host(fields: Sequence[str]) -> str | None:
    """Return the one `Host` of a request, in lower case, or nothing when it is not a host and perhaps a port.

    What passes goes into headers and JSON as it is, so the grammar is a narrow one (RFC 9110 7.2; RFC 3986 3.2.2
    without percent-encoding, user information and future address literals).
    """
    # Two of them are a mistake or an attempt to mean different things to different readers (RFC 9112 3.2).
    return _checked(fields[0]) if len(fields) == 1 and len(fields[0]) <= _LONGEST else None


@lru_cache(maxsize=256)
def _checked(text: str) -> str | None:
    bracketed = _BRACKETED.fullmatch(text)
    found = bracketed or _NAME.fullmatch(text)
    if found is None or int(found[found.re.groups] or 0) > 65535:
        return None
    if bracketed:
        try:
            IPv6Address(bracketed[1])
        except AddressValueError:
            return None
    return text.lower()
