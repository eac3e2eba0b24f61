"""Pictures on the wire: the headers that go with them, and answers that need no drawing."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.services.pictures import Drawing
from dicomweb_archive.services.representation import Representation
from dicomweb_archive.web.conditional import CACHE_CONTROL, is_unchanged, unchanged
from dicomweb_archive.web.dependencies import root_of


async def picture_response(
    request: Request, drawing: Drawing, warnings: Sequence[str], described: Mapping[str, str] | None = None
) -> Response:
    """Answer with a picture, whole; it is drawn only for a client that does not have it and wants its bytes.

    Args:
        described: further header fields, names in lower case.
    """
    headers = {"etag": drawing.etag, "cache-control": CACHE_CONTROL, "vary": "Accept", **(described or {})}
    if is_unchanged(request, drawing.etag):
        return unchanged(headers)
    if request.method == "HEAD":
        response = _head(drawing, headers)
    else:
        response = Response(await drawing.draw(), media_type=drawing.media_type, headers=headers)
    warn(request, response, warnings)
    return response


def warn(request: Request, response: Response, warnings: Sequence[str]) -> None:
    """Add what the client is to be told beside the answer."""
    for warning in warnings:
        response.headers.append("warning", root_of(request).warning(warning))


def warnings_of_others(answer: Drawing | Representation, *, asked: bool) -> tuple[str, ...]:
    """Say of a report, document or video that what was `asked` of a picture is ignored."""
    media_type = answer.media_type if isinstance(answer, Drawing) else answer.content_type
    if not asked or media_type.startswith(("image/", "multipart/")):
        return ()
    return ("This is no picture: parameters of pictures have been ignored.",)


def _head(drawing: Drawing, headers: Mapping[str, str]) -> Response:
    """Answer without drawing: a length that only drawing tells may be left out (RFC 9110 9.3.2)."""
    response = Response(media_type=drawing.media_type, headers=headers)
    del response.headers["content-length"]
    if drawing.length is not None:
        response.headers["content-length"] = str(drawing.length)
    return response
