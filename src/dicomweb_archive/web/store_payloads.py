"""Payloads of store requests: their heads judged, their parts as they arrive (PS3.18 10.5.1)."""

from collections.abc import AsyncIterator

from starlette.requests import Request

from dicomweb_archive.errors import InvalidRequestError, RequestTooLargeError, UnsupportedMediaTypeError
from dicomweb_archive.web.dependencies import Services
from dicomweb_archive.web.streams import request_chunks
from dicomweb_archive.wire.multipart import (
    Event,
    MultipartLimits,
    PartBegin,
    PartData,
    PartEnd,
    PartHead,
    PartReader,
    parse_multipart_related,
)

_PART10 = "application/dicom"
_SUPPORTED = (f'multipart/related; type="{_PART10}"', _PART10)


def open_payload(request: Request, services: Services) -> AsyncIterator[Event]:
    """Judge the head of the request and return its parts, of which none has been read yet.

    Raises:
        UnsupportedMediaTypeError: the payload is not Part 10 (PS3.18 10.5.1.4).
        InvalidRequestError: the head is malformed.
        RequestTooLargeError: the one instance is announced as larger than allowed.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        # A compressed payload could be of any size, and images gain nothing by it.
        raise UnsupportedMediaTypeError("Content-Encoding is not taken here; send the payload as it is")
    limits = services.body_limits
    content_type = request.headers.get("content-type")
    if content_type is None:
        raise UnsupportedMediaTypeError("the payload needs a Content-Type", supported=_SUPPORTED)
    chunks = request_chunks(
        request.receive,
        idle_timeout_seconds=limits.idle_timeout_seconds,
        minimum_bytes_per_second=limits.minimum_bytes_per_second,
    )
    if content_type.partition(";")[0].strip().lower() == _PART10:
        if announced_bytes(request) > limits.instance_bytes:
            raise _too_large(limits.instance_bytes)
        parts = _single_part(chunks)
    else:
        parts = _several_parts(chunks, content_type, limits.multipart)
    return _bounded(parts, limits.instance_bytes)


def announced_bytes(request: Request) -> int:
    """Return the length that the request announces, 0 when it announces none."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() and len(text) <= 20 else 0


def _several_parts(chunks: AsyncIterator[bytes], content_type: str, limits: MultipartLimits) -> AsyncIterator[Event]:
    related = parse_multipart_related(content_type, limits)
    if related.type not in ("", _PART10):
        raise UnsupportedMediaTypeError("only Part 10 instances can be stored", supported=_SUPPORTED)
    return _read_parts(chunks, PartReader(related.boundary, limits))


async def _read_parts(chunks: AsyncIterator[bytes], reader: PartReader) -> AsyncIterator[Event]:
    async for chunk in chunks:
        for event in reader.feed(chunk):
            yield event
    reader.finish()


async def _bounded(parts: AsyncIterator[Event], instance_bytes: int) -> AsyncIterator[Event]:
    size = 0
    async for event in parts:
        if isinstance(event, PartData):
            size += len(event.data)
            if size > instance_bytes:
                raise _too_large(instance_bytes)
        else:
            size = 0
        yield event


def _too_large(instance_bytes: int) -> RequestTooLargeError:
    return RequestTooLargeError(f"an instance may have at most {instance_bytes} bytes")


async def _single_part(chunks: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    """Present a body that is one instance like a part."""
    empty = True
    yield PartBegin(PartHead({"content-type": _PART10}))
    async for chunk in chunks:
        empty = False
        yield PartData(chunk)
    if empty:
        raise InvalidRequestError("the payload is empty")
    yield PartEnd()
