"""Routes of JSON resources of our own, by FastAPI: bodies are bounded and watched before they are parsed."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from dicomweb_archive.errors import ForbiddenError
from dicomweb_archive.services.access import Role, require
from dicomweb_archive.web.authentication import SAFE_METHODS, is_from_own_page
from dicomweb_archive.web.bodies import json_body
from dicomweb_archive.web.conditional import CACHE_CONTROL
from dicomweb_archive.web.dependencies import get_principal, get_services

LARGEST_BODY: Final = 4 * 1024 * 1024
"""Bytes of a JSON body that is read whole; lists that may be longer have a stream of their own."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

PROBLEM_RESPONSES: Mapping[int | str, dict[str, Any]] = {
    status: {
        "description": "Something is wrong with the request." if status == "4XX" else "Something went wrong here.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status in ("4XX", "5XX")
}
"""What the description says of errors; each one is a problem (RFC 9457)."""


IF_MATCH: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "required": True,
            "schema": {"type": "string"},
            "description": "ETag of the revision that the change is meant for, or `*` for whichever there is.",
        }
    ]
}
"""What the description says of a change by revision (`openapi_extra`)."""


class JsonRoute(APIRoute):
    """A route whose body, when the request has one, is JSON of at most `LARGEST_BODY` bytes.

    FastAPI would read a body of any length, at any pace, and answer 405 to HEAD where GET is (RFC 9110 9.3.2).
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match HEAD where GET is; the server leaves the body out."""
        match, child_scope = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL and self._is_head(scope) else match), child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that matches."""
        await (self.app if self._is_head(scope) else super().handle)(scope, receive, send)

    def _is_head(self, scope: Scope) -> bool:
        return scope["method"] == "HEAD" and "GET" in (self.methods or ())

    def get_route_handler(self) -> Handler:
        """Return FastAPI's own handler behind one that has read the body."""
        handle = super().get_route_handler()

        async def read_first(request: Request) -> Response:
            await _refuse_strangers(request)
            if _has_body(request):
                body = await json_body(request, at_most=LARGEST_BODY)
                request = await self.prepare(Request(request.scope, _Replay(request, body).receive), body)
            else:
                _refuse_other_pages(request)
            answer = await handle(request)
            # Trails and conflicts tell of patients; who asks for them may be known by a cookie.
            answer.headers.setdefault("cache-control", CACHE_CONTROL)
            return answer

        return read_first

    async def prepare(self, request: Request, body: bytes) -> Request:
        """Return the request that FastAPI reads the body of; routes of long bodies parse them here, in a thread."""
        return request


class _Replay:
    """Hands out a body that has been read already, and then what comes of the connection."""

    def __init__(self, request: Request, body: bytes) -> None:
        self._request = request
        self._body: bytes | None = body

    async def receive(self) -> Message:
        if self._body is None:
            return await self._request.receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _refuse_strangers(request: Request) -> None:
    """Read nothing for callers who have no business here; which role is needed is for the handler to say.

    Raises:
        UnauthenticatedError, ForbiddenError: the caller has no role at all, or none that changes anything.
    """
    principal = await get_principal(request)
    least = Role.READER if request.method in SAFE_METHODS else Role.SUBMITTER
    if not principal.roles or (least is Role.SUBMITTER and least not in principal.roles):
        require(principal, least)


def _refuse_other_pages(request: Request) -> None:
    """Keep pages elsewhere from changing something where no key is asked for.

    A body of JSON is sent for them only when we allow it (CORS); a request without a body is sent at once.

    Raises:
        ForbiddenError: a browser says that a page has sent this which is neither ours nor of an origin in the settings.
    """
    if request.method in SAFE_METHODS or "authorization" in request.headers:
        return
    services = get_services(request)
    is_of_page = "sec-fetch-site" in request.headers or "origin" in request.headers
    is_let_in = request.headers.get("origin") in services.cors_origins or is_from_own_page(request, services.addresses)
    if is_of_page and not is_let_in:
        message = "pages of other origins change nothing here without `Authorization: Bearer KEY`"
        raise ForbiddenError(message)


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def json_router(tag: str) -> APIRouter:
    """Make a router of JSON resources; its operations stand below `tag` in the description."""
    return APIRouter(tags=[tag], route_class=JsonRoute, responses=dict(PROBLEM_RESPONSES))
