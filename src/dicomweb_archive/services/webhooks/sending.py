"""Sending a message to a target: to an address that was looked at, and never on to another place."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

import httpx

from dicomweb_archive.wire.webhook_targets import WebhookTarget

TIMEOUT_SECONDS: Final = 15.0
"""From looking a name up to the head of the answer; a receiver that has more to do answers first."""

_AGENT: Final = "dicomweb-archive"
_TELLS_WHEN: Final = frozenset({429, 503})
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt.

    Attributes:
        problem: why it has failed, in words of ours; `None`: the message was taken.
        retry_after_seconds: when the target wants to be asked again.
        is_gone: it wants nothing any more.
    """

    problem: str | None = None
    retry_after_seconds: float = 0
    is_gone: bool = False


Post: TypeAlias = Callable[[bytes, Mapping[str, str]], Awaitable[Answer]]
"""Sends a body with headers to the one target that it was opened for."""

Sender: TypeAlias = Callable[[WebhookTarget], AbstractAsyncContextManager[Post]]

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks up the addresses of a name."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name.

    Raises:
        OSError: it is not known.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        # Longer than a name can be.
        raise socket.gaierror from error
    return [str(address[0]) for *_, address in found]


@asynccontextmanager
async def open_target(
    target: WebhookTarget,
    *,
    resolve: Resolve = look_up,
    trust: ssl.SSLContext | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> AsyncIterator[Post]:
    """Open a target for some messages.

    A transport for each target: one that had several would take a connection that was made under another name with the
    same address. It knows no proxy and reads no answer beyond its head. A client would read more of the head than we
    need, such as cookies and where a redirect leads, stumble over what it finds there, and log the URL.
    """
    async with httpx.AsyncHTTPTransport(verify=trust or _trust(), trust_env=False) as transport:

        async def post(body: bytes, headers: Mapping[str, str]) -> Answer:
            try:
                async with asyncio.timeout(timeout_seconds):
                    address = await _address_of(target, resolve)
                    return await _post(transport, target, address, body, headers)
            except _RefusedAddressError:
                return Answer("its name leads to an address that is not allowed")
            except socket.gaierror:
                return Answer("its name is not known")
            except TimeoutError:
                return Answer(f"it did not answer within {timeout_seconds:g} seconds")
            except (OSError, httpx.HTTPError) as error:
                is_broken = isinstance(error, httpx.ProtocolError)
                return Answer("what it answered is not HTTP" if is_broken else "it could not be reached")

        yield post


def is_allowed_address(text: str, *, may_be_private: bool) -> bool:
    """Tell whether an address may be written to.

    Addresses that stand for another one in an older protocol are judged by that one.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_allowed_address(str(inner), may_be_private=may_be_private)
    # Addresses of the link serve the machine itself: clouds keep its credentials there.
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    is_own = address.is_private or any(address in network for network in _OWN_NETWORKS)
    return may_be_private if is_own else address.is_global


class _RefusedAddressError(Exception):
    """A name leads where it must not; an outcome and no ArchiveError."""


async def _address_of(target: WebhookTarget, resolve: Resolve) -> str:
    """Return an address to connect to; looked at here and used as it is, so that no second look-up says another."""
    found = await resolve(target.host, target.port)
    # One bad address is enough: who answers with several can also choose which of them is used.
    if not found or not all(is_allowed_address(each, may_be_private=target.may_be_private) for each in found):
        raise _RefusedAddressError
    return found[0]


async def _post(
    transport: httpx.AsyncHTTPTransport,
    target: WebhookTarget,
    address: str,
    body: bytes,
    headers: Mapping[str, str],
) -> Answer:
    host = f"[{address}]" if ":" in address else address
    request = httpx.Request(
        "POST",
        f"{target.scheme}://{host}:{target.port}{target.path}",
        content=body,
        headers={**headers, "host": target.authority, "user-agent": _AGENT},
        # The certificate has to be that of the name.
        extensions={"sni_hostname": target.host},
    )
    answer = await transport.handle_async_request(request)
    try:
        return _judged(answer)
    finally:
        await answer.aclose()


def _judged(answer: httpx.Response) -> Answer:
    status = answer.status_code
    if answer.is_success:
        return Answer()
    if answer.is_redirect:
        return Answer(f"it answered {status}, and redirects are not followed")
    wait = answer.headers.get("retry-after", "") if status in _TELLS_WHEN else ""
    # At most some days, whatever the number.
    seconds = float(wait[:6]) if wait.isascii() and wait.isdigit() else 0.0
    return Answer(f"it answered {status}", seconds, status == _GONE)


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Networks of one's own, too, of which Python says something else or nothing: shared address space (RFC 6598), local
# NAT64 (RFC 8215), site-local addresses (RFC 3879) and IPv4 within IPv6 of old (RFC 4291 2.5.5.1).
_OWN_NETWORKS: Final = tuple(map(ipaddress.ip_network, ("100.64.0.0/10", "64:ff9b:1::/48", "fec0::/10", "::/96")))


@cache
def _trust() -> ssl.SSLContext:
    """Trust what this machine trusts, a certificate authority of one's own too, and what everybody trusts."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context
