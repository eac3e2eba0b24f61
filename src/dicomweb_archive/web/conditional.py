"""Conditional requests and content codings (RFC 9110 12.5.3, 13.1.2)."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

CACHE_CONTROL = "private, no-cache"
"""Answers may be kept, but only for the one who asked, and used only after asking whether they still hold."""


def is_unchanged(request: Request, etag: str) -> bool:
    """Tell whether the client has this representation already; tags are compared weakly."""
    # Our tags hold no comma, so a plain split reads every list that could name one of them.
    known = {tag.strip().removeprefix("W/") for tag in ",".join(request.headers.getlist("if-none-match")).split(",")}
    return "*" in known or etag.removeprefix("W/") in known


def unchanged(headers: Mapping[str, str]) -> Response:
    """Answer that the client's copy still holds."""
    return Response(status_code=304, headers=dict(headers))


def accepts_gzip(request: Request) -> bool:
    """Tell whether the client takes gzip; a client that says nothing gets the plain bytes."""
    accepted: dict[str, bool] = {}
    for member in ",".join(request.headers.getlist("accept-encoding")).lower().split(","):
        coding, _, parameters = member.partition(";")
        accepted[coding.strip()] = not _is_zero(parameters)
    # What is named counts, whatever is said of the rest.
    named = next((name for name in ("gzip", "x-gzip", "*") if name in accepted), None)
    return named is not None and accepted[named]


def _is_zero(parameters: str) -> bool:
    name, _, value = parameters.partition("=")
    return name.strip() == "q" and value.strip().rstrip("0") in ("", ".", "0.")
