"""Sign in and out with a browser: a key, typed once, for the cookie of a session."""

import asyncio
import logging
import re
import time

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.errors import ForbiddenError, UnauthenticatedError
from dicomweb_archive.web.authentication import SIGN_IN, cookie_name, is_from_own_page
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.forms import read_form
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.pages.rendering import render
from dicomweb_archive.web.routing import PageRoute

logger = logging.getLogger(__name__)

_MAX_PATH = 2048
# Browsers take a backslash for a slash and leave tabs and line ends out: `/\host` and `//host` name another host.
_LOCAL_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")


class _WrongKeys:
    """Slows down who tries keys: an answer to a wrong one takes a while, and few are under way at once.

    A right key is neither slowed nor counted. A limit on all would let anybody keep everybody out, and one that a
    right key passes limits nobody who guesses by the thousand: against that a long random key helps, here as with
    the Authorization header. So this only keeps a guesser from filling logs and connections.
    """

    def __init__(self, *, seconds: float, at_once: int) -> None:
        self._seconds = seconds
        self._at_once = at_once
        self._waiting = 0

    async def slow_down(self) -> bool:
        """Wait, and return true; or return false at once when too many are waiting."""
        if self._waiting >= self._at_once:
            return False
        self._waiting += 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._waiting -= 1
        return True


_wrong_keys = _WrongKeys(seconds=0.5, at_once=20)


def local_path(text: str, root_path: str = "") -> str:
    """Return where to go after signing in: a path of this archive, its home page when `text` is none."""
    home = f"{root_path}/"
    is_ours = len(text) <= _MAX_PATH and _LOCAL_PATH.fullmatch(text) is not None and text.startswith(home)
    return text if is_ours else home


async def show_form(request: Request) -> Response:
    """Show the form, or say that it is not needed."""
    asked_for = request.query_params.get("next", "")
    came_from = request.headers.get("sec-fetch-site", "unknown")
    # Who follows a link from elsewhere is signed in perhaps: a strict cookie is not sent then, but from our own page.
    response = await _page(request, asked_for, may_be_signed_in=bool(asked_for) and came_from == "unknown")
    if asked_for and came_from == "cross-site":
        # Whoever has no cookie is sent back here once, from our own page.
        response.headers["refresh"] = f"0;url={local_path(asked_for, _root_path(request))}"
    return response


async def sign_in(request: Request) -> Response:
    """Begin a session for who has a key, and go on to the page that was asked for."""
    services = get_services(request)
    form = await read_form(request)
    asked_for = form.get("next")
    if services.sessions is None:
        return await _page(request, asked_for)
    try:
        holder = await services.keys.identify(form.get("key").strip().encode())
    except UnauthenticatedError:
        return await _refuse(request, asked_for)
    logger.info("a browser was signed in", extra={"key_id": holder.key_id})
    response = RedirectResponse(local_path(asked_for, _root_path(request)), 303, {"cache-control": "no-store"})
    response.set_cookie(
        cookie_name(services.addresses),
        services.sessions.begin(holder.key_id, holder.share, time.time()),
        max_age=services.sessions.seconds,
        path=_root_path(request) or "/",
        secure=services.addresses.is_secure,
        httponly=True,
        samesite="strict",
    )
    return response


async def sign_out(request: Request) -> Response:
    """Make the browser forget its session."""
    addresses = get_services(request).addresses
    if not is_from_own_page(request, addresses):
        message = "signing out is done with the button on the archive's pages"
        raise ForbiddenError(message)
    response = RedirectResponse(f"{_root_path(request)}/", 303, {"cache-control": "no-store"})
    response.delete_cookie(
        cookie_name(addresses),
        path=_root_path(request) or "/",
        secure=addresses.is_secure,
        httponly=True,
        samesite="strict",
    )
    return response


async def _refuse(request: Request, asked_for: str) -> Response:
    logger.warning("a browser was not signed in: wrong key")
    if await _wrong_keys.slow_down():
        response = await _page(request, asked_for, 401, error="This key is not known, or counts no more.")
        response.headers["www-authenticate"] = 'Bearer realm="dicomweb-archive"'
    else:
        response = await _page(
            request, asked_for, 429, error="Too many wrong keys are being tried. Try again in a moment."
        )
        response.headers["retry-after"] = "2"
    return response


async def _page(
    request: Request, asked_for: str, status: int = 200, *, error: str | None = None, may_be_signed_in: bool = False
) -> Response:
    back = local_path(asked_for, _root_path(request))
    return await render(request, "sign_in.html", status, back=back, error=error, may_be_signed_in=may_be_signed_in)


def _root_path(request: Request) -> str:
    root_path: str = request.scope.get("root_path", "")
    return root_path


routes = [
    PageRoute(SIGN_IN, as_page(show_form), name="sign_in_form"),
    PageRoute(SIGN_IN, as_page(sign_in), methods=["POST"], name="sign_in"),
    PageRoute("/sign-out", as_page(sign_out), methods=["POST"], name="sign_out"),
]
