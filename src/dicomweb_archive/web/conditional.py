"""Conditional requests and content codings (RFC 9110 12.5.3, 13.1.2)."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import PreconditionFailedError, PreconditionRequiredError

_QUALITY = re.compile(r"1(?:\.0{0,3})?|0(?:\.[0-9]{0,10})?|\.[0-9]{1,10}")

_LONGEST_KEPT = 1024

_REVISION = re.compile(r'"([0-9]{1,18})"')

CACHE_CONTROL = "private, no-cache"
"""Answers may be kept, but only for the one who asked, and used only after asking whether they still hold."""


def is_unchanged(request: Request, etag: str) -> bool:
    """Tell whether the client has this representation already; tags are compared weakly."""
    lines = request.headers.getlist("if-none-match")
    if not lines:
        return False
    # Our tags hold no comma, so a plain split reads every list that could name one of them.
    known = {tag.strip().removeprefix("W/") for tag in ",".join(lines).split(",")}
    return "*" in known or etag.removeprefix("W/") in known


def revision_tag(revision: int) -> str:
    """Return the ETag of one revision of a resource that is changed by revision."""
    return f'"{revision}"'


def expected_revision(request: Request) -> int | None:
    """Return the revision that a change is meant for, from If-Match (RFC 9110 13.1.1); `None`: `*`, whatever it is.

    Raises:
        PreconditionRequiredError: there is no If-Match.
        PreconditionFailedError: it names something that is no one revision of ours, so it cannot be the present one.
    """
    text = ",".join(request.headers.getlist("if-match")).strip()
    if not text:
        message = "a change says of which revision it is meant: send the ETag that you have read as If-Match, or *"
        raise PreconditionRequiredError(message)
    if text == "*":
        return None
    found = _REVISION.fullmatch(text)
    if found is None:
        raise PreconditionFailedError("If-Match does not name one revision of this resource; read it again")
    return int(found[1])


def unchanged(headers: Mapping[str, str]) -> Response:
    """Answer that the client's copy still holds."""
    return Response(status_code=304, headers=dict(headers))


def accepts_gzip(request: Request) -> bool:
    """Tell whether the client takes gzip; a client that says nothing gets the plain bytes."""
    return preferred_coding(request, ("gzip",)) is not None


def preferred_coding(request: Request, codings: Sequence[str]) -> str | None:
    """Choose the coding that the client likes best, `None` for the plain bytes; of equal ones the first.

    What is named counts, whatever is said of the rest; of the rest gzip is chosen, which every program knows.
    """
    header = ",".join(request.headers.getlist("accept-encoding"))
    # Clients of a kind send the same header with each request.
    choose = _kept_choice if len(header) <= _LONGEST_KEPT else _choice
    return choose(header, tuple(codings))


def _choice(header: str, codings: tuple[str, ...]) -> str | None:
    weights: dict[str, float] = {}
    for member in header.lower().split(","):
        coding, _, parameters = member.partition(";")
        weights[coding.strip().removeprefix("x-")] = _weight(parameters)
    rest = weights.get("*", 0.0)
    liked = {coding: weights.get(coding, rest if coding == "gzip" else 0.0) for coding in codings}
    best = max(codings, key=lambda coding: liked[coding])
    return best if liked[best] > 0 and liked[best] >= weights.get("identity", 0.0) else None


_kept_choice = lru_cache(maxsize=256)(_choice)


def _weight(parameters: str) -> float:
    """Read `q=`; what has another grammar is left out of account, as if it were not there."""
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    found = _QUALITY.fullmatch(value.strip())
    return float(found[0]) if found else 1.0
