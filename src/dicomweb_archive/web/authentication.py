"""Credentials of a request -> Principal: a key in the Authorization header, else the cookie of a session."""

import time
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.errors import ForbiddenError, UnauthenticatedError
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.keys.ring import KeyRing
from dicomweb_archive.web.addresses import Addresses
from dicomweb_archive.web.sessions import Sessions

SIGN_IN = "/sign-in"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 9.2.1)."""


async def principal_of(request: Request, keys: KeyRing, sessions: Sessions | None, addresses: Addresses) -> Principal:
    """Tell who calls, from `Authorization: Bearer KEY` (RFC 6750 2.1) or from the cookie of a session.

    Wrong credentials in the header are refused even where none are needed, or a typing error would pass
    unnoticed. A session that has ended is nobody's fault: its holder is anonymous again.

    Raises:
        UnauthenticatedError: another scheme, or a key that is not known.
        ForbiddenError: a session is used from a page that is not ours.
        DatabaseUnavailableError: nobody can tell now whether the key counts.
    """
    header = request.headers.get("authorization")
    if header is None:
        signed_in = None if sessions is None else await _signed_in(request, keys, sessions, addresses)
        if signed_in is None:
            return keys.policy.anonymous()
        _refuse_other_origins(request, addresses)
        return signed_in
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer":
        message = "only the Bearer scheme is known; send `Authorization: Bearer KEY`"
        raise UnauthenticatedError(message)
    # Header bytes reach us decoded as Latin-1.
    return (await keys.identify(key.strip().encode("latin-1"))).principal


async def _signed_in(request: Request, keys: KeyRing, sessions: Sessions, addresses: Addresses) -> Principal | None:
    """Return who has begun the session whose cookie the request brings, if it has not ended."""
    token = request.cookies.get(cookie_name(addresses)) if "cookie" in request.headers else None
    carried = None if token is None else sessions.read(token, time.time())
    return None if carried is None else await keys.recognise(carried.key_id, carried.share)


def cookie_name(addresses: Addresses) -> str:
    """Return the name of the cookie; its prefix makes browsers hold it to its attributes (RFC 6265bis 4.1.3)."""
    if not addresses.is_secure:
        return "dicomweb-archive-session"
    # `__Host-` wants the path `/`, where our neighbours behind the same proxy would be sent it.
    return f"{'__Secure-' if addresses.root_path else '__Host-'}dicomweb-archive-session"


def is_from_own_page(request: Request, addresses: Addresses) -> bool:
    """Tell whether a page of our own origin has sent the request, as browsers say and pages cannot.

    `Sec-Fetch-Site` comes with https and from this machine only; `Origin` is its elder (Fetch 3.1.1).
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("origin") == addresses.origin_of(request)


def _refuse_other_origins(request: Request, addresses: Addresses) -> None:
    """Keep pages elsewhere from storing and deleting in the name of who is signed in (CSRF).

    `SameSite=Strict` keeps the cookie back in most cases; sites of one domain, and other ports of one host, are
    the same site however little they trust each other.
    """
    if request.method in SAFE_METHODS or is_from_own_page(request, addresses):
        return
    message = (
        "being signed in counts for changes from the archive's own pages only, and this request does not say that it "
        "comes from one; programs send `Authorization: Bearer KEY`"
    )
    raise ForbiddenError(message)


def sign_in_redirect(request: Request) -> Response:
    """Send a browser to sign in, and back here afterwards."""
    query: bytes = request.scope["query_string"]
    back = quote(request.scope["path"]).encode() + (b"?" + query if query else b"")
    root_path: str = request.scope.get("root_path", "")
    return RedirectResponse(f"{root_path}{SIGN_IN}?next={quote(back)}", 303, {"cache-control": "no-store"})
