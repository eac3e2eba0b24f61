"""STOW-RS: store instances (PS3.18 10.5)."""

import asyncio
from collections.abc import Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.dicom.status import StoreOutcome
from dicomweb_archive.dicom.xml_model import encode_native_xml
from dicomweb_archive.web.dependencies import (
    DICOMWEB,
    Services,
    asked_root_of,
    base_url_of,
    get_principal,
    get_services,
    root_of,
)
from dicomweb_archive.web.representations import accept_parameter, negotiate
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.web.store_payloads import announced_bytes, open_payload
from dicomweb_archive.wire import store_response
from dicomweb_archive.wire.media_types import DICOM_XML, STORE_RESPONSE_OFFERS, Offer
from dicomweb_archive.wire.multipart import PartFraming
from dicomweb_archive.wire.resources import ServiceRoot, parse_uid
from dicomweb_archive.wire.roots import AskedRoot, RootKind

# Outcomes of so many instances are written in a millisecond.
_FEW = 64


async def store(request: Request) -> Response:
    """Store the instances of the payload, into one study when the path names it."""
    services = get_services(request)
    principal = await get_principal(request)
    study = request.path_params.get("study")
    if study is not None:
        study = parse_uid(study, "study")
    offer = negotiate(request, STORE_RESPONSE_OFFERS, parameter=accept_parameter(request))
    parts = open_payload(request, services)
    destination = await services.store.destination_of(principal, asked_root_of(request))
    await services.store.ensure_room(principal, announced_bytes(request))
    async with services.admission.turn():
        outcomes = await services.store.store_instances(parts, principal, destination, study_instance_uid=study)
    _count(services, outcomes)
    root = root_of(request)
    waiting = _waiting_root(request, outcomes)
    headers = _headers(outcomes, root, waiting, study)
    # Thousands of outcomes take a second, which nobody else should wait.
    status_code, body, media_type = (
        await asyncio.to_thread(_represent, outcomes, root, waiting, offer)
        if len(outcomes) > _FEW
        else _represent(outcomes, root, waiting, offer)
    )
    return Response(body, status_code=status_code, headers=headers, media_type=media_type)


def _represent(
    outcomes: Sequence[StoreOutcome], root: ServiceRoot, waiting: ServiceRoot | None, offer: Offer
) -> tuple[int, bytes, str]:
    """Write the answer: its status, its bytes and their type."""
    status_code, document = store_response.build(outcomes, root, waiting)
    if offer.type != DICOM_XML:
        return status_code, orjson.dumps(document), offer.type
    text = encode_native_xml(document)
    if not offer.multipart:
        return status_code, text, offer.type
    framing = PartFraming(offer.type)
    body = framing.head(offer.type, length=len(text)) + text + framing.TAIL + framing.closing()
    return status_code, body, framing.content_type


def _count(services: Services, outcomes: Sequence[StoreOutcome]) -> None:
    for outcome in outcomes:
        known = "known" if outcome.already_stored else "stored"
        services.metrics.instances.labels(known if outcome.is_stored else "refused").inc()


def _waiting_root(request: Request, outcomes: Sequence[StoreOutcome]) -> ServiceRoot | None:
    """Return the root of the submission in which some of the instances wait; a request has one at most."""
    name = next((outcome.waits_in for outcome in outcomes if outcome.waits_in is not None), None)
    if name is None:
        return None
    return ServiceRoot(base_url_of(request) + AskedRoot(RootKind.SUBMISSION, name).path)


def _headers(
    outcomes: Sequence[StoreOutcome], root: ServiceRoot, waiting: ServiceRoot | None, study: str | None
) -> dict[str, str]:
    """Say where the new resources are (PS3.18 Table 10.5.3-2): what is published, else what waits."""
    stored = [outcome for outcome in outcomes if outcome.is_stored and outcome.study_instance_uid is not None]
    published = {outcome.study_instance_uid for outcome in stored if outcome.waits_in is None}
    headers = {}
    if stored:
        below = root if published or waiting is None else waiting
        studies = published or {outcome.study_instance_uid for outcome in stored}
        only = study or (next(iter(studies)) if len(studies) == 1 else None)
        location = below.study(only) if only else f"{below.url}/studies"
        headers = {"location": location, "content-location": location}
    if any(not outcome.is_stored for outcome in outcomes):
        headers["warning"] = root.warning("Some instances were not stored")
    elif waiting is not None:
        headers["warning"] = waiting.warning("Some instances wait for review in a submission")
    return headers


routes = [
    ResourceRoute(f"{DICOMWEB}/studies", store, methods=["POST"], name="store_instances"),
    ResourceRoute(f"{DICOMWEB}/studies/{{study}}", store, methods=["POST"], name="store_instances_of_study"),
]
