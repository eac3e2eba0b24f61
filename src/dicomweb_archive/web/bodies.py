"""Small request bodies, read whole."""

from starlette.requests import Request

from dicomweb_archive.errors import RequestTooLargeError, UnsupportedMediaTypeError
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.streams import request_chunks
from dicomweb_archive.wire.media_types import JSON


async def json_body(request: Request, *, at_most: int) -> bytes:
    """Read a body of JSON.

    Raises:
        UnsupportedMediaTypeError: it is something else, or compressed.
        RequestTooLargeError: it has more than `at_most` bytes.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON or request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaTypeError("the body is JSON here, not compressed", supported=(JSON,))
    return await whole_body(request, at_most=at_most)


async def whole_body(request: Request, *, at_most: int, what: str = "body") -> bytes:
    """Read a small body whole, at the pace that the settings want.

    Raises:
        RequestTooLargeError: it has more than `at_most` bytes.
        RequestTimeoutError: it comes too slowly.
    """
    limits = get_services(request).body_limits
    body = bytearray()
    async for chunk in request_chunks(
        request.receive,
        idle_timeout_seconds=limits.idle_timeout_seconds,
        minimum_bytes_per_second=limits.minimum_bytes_per_second,
    ):
        body += chunk
        if len(body) > at_most:
            raise RequestTooLargeError(f"the {what} may have at most {at_most} bytes")
    return bytes(body)
