"""Payloads of store requests: their heads judged, their parts as they arrive (PS3.18 10.5.1)."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

from dicomweb_archive.errors import InvalidRequestError, RequestTooLargeError, UnsupportedMediaTypeError
from dicomweb_archive.web.dependencies import Services
from dicomweb_archive.web.streams import request_chunks
from dicomweb_archive.wire.content_codings import Inflate, content_coding
from dicomweb_archive.wire.multipart import (
    Event,
    PartBegin,
    PartData,
    PartEnd,
    PartHead,
    PartReader,
    parse_multipart_related,
)
from dicomweb_archive.wire.store_metadata import METADATA_FORMATS

_PART10 = "application/dicom"
_RELATED = ("", _PART10, *METADATA_FORMATS)
_SUPPORTED = tuple(form for kind in _RELATED[1:] for form in (f'multipart/related; type="{kind}"', kind))


def open_payload(request: Request, services: Services) -> AsyncIterator[Event]:
    """Judge the head of the request and return its parts, of which none has been read yet.

    Raises:
        UnsupportedMediaTypeError: the payload is neither Part 10 nor metadata (PS3.18 10.5.1.4).
        InvalidRequestError: the head is malformed.
        RequestTooLargeError: the one instance is announced as larger than allowed.
    """
    coding = content_coding(request.headers.get("content-encoding", ""))
    limits = services.body_limits
    content_type = request.headers.get("content-type")
    if content_type is None:
        raise UnsupportedMediaTypeError("the payload needs a Content-Type", supported=_SUPPORTED)
    chunks = request_chunks(
        request.receive,
        idle_timeout_seconds=limits.idle_timeout_seconds,
        minimum_bytes_per_second=limits.minimum_bytes_per_second,
    )
    if coding is not None:
        chunks = _inflated(chunks, Inflate(coding))
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _PART10 or kind in METADATA_FORMATS:
        if announced_bytes(request) > limits.instance_bytes:
            raise _too_large(limits.instance_bytes)
        parts = _single_part(chunks, kind)
    else:
        related = parse_multipart_related(content_type, limits.multipart)
        kind = related.type
        if kind not in _RELATED:
            raise UnsupportedMediaTypeError("the parts are of a kind that cannot be stored", supported=_SUPPORTED)
        parts = _read_parts(chunks, PartReader(related.boundary, limits.multipart))
    parts = _bounded(parts, limits.instance_bytes)
    if kind not in METADATA_FORMATS:
        return parts
    # A part may be named many times, so that an instance is longer than all that came.
    return _bounded(services.composition.compose(parts), limits.instance_bytes)


def announced_bytes(request: Request) -> int:
    """Return the length that the request announces, 0 when it announces none."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() and len(text) <= 20 else 0


async def _inflated(chunks: AsyncIterator[bytes], inflate: Inflate) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        pieces = inflate.feed(chunk)
        # Some KiB may become many MiB, so that each piece is a thread's work.
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    inflate.finish()


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


async def _single_part(chunks: AsyncIterator[bytes], kind: str) -> AsyncIterator[Event]:
    """Present a body that is one instance, or metadata alone, like a part."""
    empty = True
    yield PartBegin(PartHead({"content-type": kind}))
    async for chunk in chunks:
        empty = False
        yield PartData(chunk)
    if empty:
        raise InvalidRequestError("the payload is empty")
    yield PartEnd()
