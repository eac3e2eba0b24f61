"""STOW-RS: store instances (PS3.18 10.5)."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.dicom.status import StoreOutcome
from dicomweb_archive.dicom.xml_model import encode_native_xml
from dicomweb_archive.errors import InvalidRequestError, RequestTooLargeError, UnsupportedMediaTypeError
from dicomweb_archive.web.dependencies import DICOMWEB, Services, get_principal, get_services, root_of
from dicomweb_archive.web.representations import accept_parameter, negotiate
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.web.streams import request_chunks
from dicomweb_archive.wire import store_response
from dicomweb_archive.wire.media_types import DICOM_XML, STORE_RESPONSE_OFFERS, Offer
from dicomweb_archive.wire.multipart import (
    Event,
    MultipartLimits,
    PartBegin,
    PartData,
    PartEnd,
    PartFraming,
    PartHead,
    PartReader,
    parse_multipart_related,
)
from dicomweb_archive.wire.resources import ServiceRoot, parse_uid

_PART10 = "application/dicom"
# Outcomes of so many instances are written in a millisecond.
_FEW = 64
_SUPPORTED = (f'multipart/related; type="{_PART10}"', _PART10)


async def store(request: Request) -> Response:
    """Store the instances of the payload, into one study when the path names it."""
    services = get_services(request)
    principal = await get_principal(request)
    study = request.path_params.get("study")
    if study is not None:
        study = parse_uid(study, "study")
    offer = negotiate(request, STORE_RESPONSE_OFFERS, parameter=accept_parameter(request))
    parts = _open_payload(request, services)
    await services.store.ensure_room(principal, _announced_bytes(request))
    outcomes = await services.store.store_instances(parts, principal, study_instance_uid=study)
    _count(services, outcomes)
    root = root_of(request)
    headers = _headers(outcomes, root, study)
    # Thousands of outcomes take a second, which nobody else should wait.
    status_code, body, media_type = (
        await asyncio.to_thread(_represent, outcomes, root, offer)
        if len(outcomes) > _FEW
        else _represent(outcomes, root, offer)
    )
    return Response(body, status_code=status_code, headers=headers, media_type=media_type)


def _represent(outcomes: Sequence[StoreOutcome], root: ServiceRoot, offer: Offer) -> tuple[int, bytes, str]:
    """Write the answer: its status, its bytes and their type."""
    status_code, document = store_response.build(outcomes, root)
    if offer.type != DICOM_XML:
        return status_code, orjson.dumps(document), offer.type
    text = encode_native_xml(document)
    if not offer.multipart:
        return status_code, text, offer.type
    framing = PartFraming(offer.type)
    body = framing.head(offer.type, length=len(text)) + text + framing.TAIL + framing.closing()
    return status_code, body, framing.content_type


def _open_payload(request: Request, services: Services) -> AsyncIterator[Event]:
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
        if _announced_bytes(request) > limits.instance_bytes:
            raise _too_large(limits.instance_bytes)
        parts = _single_part(chunks)
    else:
        parts = _several_parts(chunks, content_type, limits.multipart)
    return _bounded(parts, limits.instance_bytes)


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


def _announced_bytes(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() and len(text) <= 20 else 0


def _count(services: Services, outcomes: Sequence[StoreOutcome]) -> None:
    for outcome in outcomes:
        known = "known" if outcome.already_stored else "stored"
        services.metrics.instances.labels(known if outcome.is_stored else "refused").inc()


def _headers(outcomes: Sequence[StoreOutcome], root: ServiceRoot, study: str | None) -> dict[str, str]:
    """Say where the new resources are (PS3.18 Table 10.5.3-2)."""
    stored = {o.study_instance_uid for o in outcomes if o.is_stored and o.study_instance_uid is not None}
    headers = {}
    if stored:
        only = study or (next(iter(stored)) if len(stored) == 1 else None)
        location = root.study(only) if only else f"{root.url}/studies"
        headers = {"location": location, "content-location": location}
    if any(not outcome.is_stored for outcome in outcomes):
        headers["warning"] = root.warning("Some instances were not stored")
    return headers


routes = [
    ResourceRoute(f"{DICOMWEB}/studies", store, methods=["POST"], name="store_instances"),
    ResourceRoute(f"{DICOMWEB}/studies/{{study}}", store, methods=["POST"], name="store_instances_of_study"),
]
