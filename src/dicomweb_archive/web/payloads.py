"""Payloads of retrieve transactions on the wire: whole, a range of them, or the word that the client has them."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import PreconditionFailedError
from dicomweb_archive.services.representation import Representation
from dicomweb_archive.web.conditional import CACHE_CONTROL, is_unchanged, unchanged
from dicomweb_archive.web.streams import ByteStreamResponse
from dicomweb_archive.wire.byte_ranges import parse_range


async def payload_response(request: Request, answer: Representation, described: Mapping[str, str]) -> Response:
    """Answer with a payload, or the one range of it that is asked for (RFC 9110 14).

    Args:
        described: header fields beside those of the answer, names in lower case.

    Raises:
        PreconditionFailedError: the client has it already, and has not only asked to read it.
        RangeNotSatisfiableError: the range holds none of the bytes.
    """
    headers = {name.lower(): value for name, value in answer.headers.items()}
    headers |= {"cache-control": CACHE_CONTROL, "vary": "Accept", **described}
    if "etag" in headers and is_unchanged(request, headers["etag"]):
        await answer.chunks.aclose()
        if request.method not in ("GET", "HEAD"):
            message = "the client has this representation already, by its If-None-Match"
            raise PreconditionFailedError(message)
        return unchanged(headers)
    if answer.ranged is None or answer.content_length is None:
        return _whole(answer, headers)
    headers["accept-ranges"] = "bytes"
    wanted = _wanted_range(request, headers.get("etag"), answer.content_length)
    if wanted is None:
        return _whole(answer, headers)
    await answer.chunks.aclose()
    start, stop = wanted
    headers["content-range"] = f"bytes {start}-{stop - 1}/{answer.content_length}"
    return ByteStreamResponse(
        answer.ranged(start, stop),
        content_length=stop - start,
        media_type=answer.content_type,
        headers=headers,
        status_code=206,
    )


def _whole(answer: Representation, headers: Mapping[str, str]) -> Response:
    return ByteStreamResponse(
        answer.chunks, content_length=answer.content_length, media_type=answer.content_type, headers=headers
    )


def _wanted_range(request: Request, etag: str | None, length: int) -> tuple[int, int] | None:
    """Return the range asked for, `None` for the whole: also when what the client has a part of is another now."""
    text = request.headers.get("range")
    # Of HEAD a range means nothing (RFC 9110 14.2).
    if text is None or request.method != "GET":
        return None
    condition = request.headers.get("if-range")
    # Compared strongly, so a weak tag never holds; nor does a date, because we tell none (RFC 9110 13.1.5).
    if condition is not None and (condition.strip() != etag or condition.startswith("W/")):
        return None
    return parse_range(text, length)
