"""Pictures on the wire: the headers that go with them, and 304 instead of drawing what the client has."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.services.pictures import Drawing
from dicomweb_archive.web.conditional import CACHE_CONTROL, is_unchanged, unchanged
from dicomweb_archive.web.dependencies import root_of


async def picture_response(request: Request, drawing: Drawing, warnings: Sequence[str]) -> Response:
    """Answer with a picture, whole."""
    headers = {"etag": drawing.etag, "cache-control": CACHE_CONTROL, "vary": "Accept"}
    if is_unchanged(request, drawing.etag):
        return unchanged(headers)
    response = Response(await drawing.draw(), media_type=drawing.media_type, headers=headers)
    for warning in warnings:
        response.headers.append("warning", root_of(request).warning(warning))
    return response
