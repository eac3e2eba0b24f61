"""WADO-RS: instances, metadata, frames and bulkdata (PS3.18 10.4)."""

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import NotAcceptableError
from dicomweb_archive.index.reading.metadata_answers import Coding, MetadataAnswer
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Role, require
from dicomweb_archive.services.representation import Representation
from dicomweb_archive.web.bodies import json_body
from dicomweb_archive.web.conditional import CACHE_CONTROL, is_unchanged, preferred_coding, unchanged
from dicomweb_archive.web.dependencies import DICOMWEB, get_principal, get_services, location_of, root_of, scope_of
from dicomweb_archive.web.payloads import payload_response
from dicomweb_archive.web.representations import (
    WholeResponse,
    accept_header,
    accept_parameter,
    collected_or_streamed,
    negotiate,
    split_array,
    xml_parts,
)
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.web.streams import ByteStreamResponse
from dicomweb_archive.wire.media_types import METADATA_OFFERS, Acceptable, bulkdata_offers, parse_accept
from dicomweb_archive.wire.metadata_fields import format_metadata_fields, parse_metadata_fields
from dicomweb_archive.wire.multipart import PartFraming
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.resources import parse_bulk_path, parse_frames
from dicomweb_archive.wire.series_list import MOST_BYTES, read_series_list


async def retrieve_instances(request: Request) -> Response:
    """Retrieve the instances of a study or series, or one instance."""
    services = get_services(request)
    asked = scope_of(request), await get_principal(request), _accepted(request), root_of(request)
    try:
        answer = await services.retrieve.retrieve_instances(*asked)
    except NotAcceptableError:
        # Octets of a study, series or instance are its bulkdata, from the time before /bulkdata (PS3.18 10.4.4).
        if not asked[2].rank(bulkdata_offers(single=False)):
            raise
        answer = await services.bulkdata.retrieve_bulkdata(*asked)
    return await _respond(request, answer)


async def retrieve_series_list(request: Request) -> Response:
    """Retrieve the series that the body lists as one archive (an extension of ours)."""
    services, principal = get_services(request), await get_principal(request)
    # Before any body is read: who may not retrieve is told nothing else.
    require(principal, Role.READER)
    listed = read_series_list(await json_body(request, at_most=MOST_BYTES))
    series = [Scope(study, series) for study, series in listed]
    answer = await services.retrieve.retrieve_series_list(series, principal, _accepted(request))
    return await payload_response(request, answer, {})


async def retrieve_frames(request: Request) -> Response:
    """Retrieve frames of an instance."""
    services = get_services(request)
    answer = await services.retrieve.retrieve_frames(
        scope_of(request),
        parse_frames(request.path_params["frames"]),
        await get_principal(request),
        _accepted(request),
        root_of(request),
    )
    return await _respond(request, answer)


async def retrieve_bulkdata(request: Request) -> Response:
    """Retrieve one bulk value of an instance."""
    services = get_services(request)
    answer = await services.bulkdata.retrieve_value(
        scope_of(request),
        parse_bulk_path(request.path_params["path"]),
        await get_principal(request),
        _accepted(request),
        root_of(request),
    )
    return await _respond(request, answer)


async def retrieve_all_bulkdata(request: Request) -> Response:
    """Retrieve all bulk values of a study, a series or an instance."""
    services = get_services(request)
    answer = await services.bulkdata.retrieve_bulkdata(
        scope_of(request), await get_principal(request), _accepted(request), root_of(request)
    )
    return await _respond(request, answer)


async def retrieve_pixel_data(request: Request) -> Response:
    """Retrieve the pixel data of a study, a series or an instance."""
    services = get_services(request)
    answer = await services.bulkdata.retrieve_pixel_data(
        scope_of(request), await get_principal(request), _accepted(request), root_of(request)
    )
    return await _respond(request, answer)


async def retrieve_metadata(request: Request) -> Response:
    """Retrieve the metadata of a study, a series or an instance."""
    services = get_services(request)
    offer = negotiate(request, METADATA_OFFERS, parameter=accept_parameter(request))
    query = request.scope["query_string"]
    fields = parse_metadata_fields(split_query(query)) if query else None
    answer = await services.retrieve.retrieve_metadata(
        scope_of(request), await get_principal(request), root_of(request), fields=fields
    )
    # Documents in XML are another representation, so they have another tag.
    etag = f'{answer.etag[:-1]}/xml"' if offer.multipart else answer.etag
    headers = {"etag": etag, "cache-control": CACHE_CONTROL, "vary": "Accept, Accept-Encoding"}
    selection = "" if fields is None else f"?includefield={format_metadata_fields(fields)}"
    headers["content-location"] = location_of(request) + selection
    if is_unchanged(request, etag):
        return unchanged(headers)
    if offer.multipart:
        framing = PartFraming(offer.type)
        parts = xml_parts(split_array(answer.encoded(Coding.IDENTITY)), framing)
        return await collected_or_streamed(parts, media_type=framing.content_type, headers=headers)
    return await _json(request, answer, offer.type, headers)


async def _json(request: Request, answer: MetadataAnswer, media_type: str, headers: dict[str, str]) -> Response:
    coding = Coding(preferred_coding(request, (Coding.ZSTD, Coding.GZIP)) or Coding.IDENTITY)
    if coding is not Coding.IDENTITY:
        headers["content-encoding"] = str(coding)
    pieces = await answer.whole(coding)
    if pieces is not None:
        return WholeResponse(pieces, media_type=media_type, headers=headers)
    length = await answer.length(coding)
    return ByteStreamResponse(answer.encoded(coding), content_length=length, media_type=media_type, headers=headers)


def _accepted(request: Request) -> Acceptable:
    return parse_accept(accept_header(request), accept_parameter(request))


async def _respond(request: Request, answer: Representation) -> Response:
    return await payload_response(request, answer, {"content-location": location_of(request)})


_STUDY = f"{DICOMWEB}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"

# Viewers ask for frames by the thousand, so these come first.
routes = [
    ResourceRoute(f"{_INSTANCE}/frames/{{frames}}", retrieve_frames, name="retrieve_frames"),
    ResourceRoute(_INSTANCE, retrieve_instances, name="retrieve_instance"),
    ResourceRoute(f"{_SERIES}/metadata", retrieve_metadata, name="retrieve_series_metadata"),
    ResourceRoute(f"{_SERIES}/bulkdata", retrieve_all_bulkdata, name="retrieve_series_bulkdata"),
    ResourceRoute(f"{_SERIES}/pixeldata", retrieve_pixel_data, name="retrieve_series_pixel_data"),
    ResourceRoute(f"{_INSTANCE}/bulkdata/{{path:path}}", retrieve_bulkdata, name="retrieve_bulkdata"),
    ResourceRoute(f"{_INSTANCE}/metadata", retrieve_metadata, name="retrieve_instance_metadata"),
    ResourceRoute(f"{_INSTANCE}/bulkdata", retrieve_all_bulkdata, name="retrieve_instance_bulkdata"),
    ResourceRoute(f"{_INSTANCE}/pixeldata", retrieve_pixel_data, name="retrieve_instance_pixel_data"),
    ResourceRoute(_SERIES, retrieve_instances, name="retrieve_series"),
    ResourceRoute(f"{_STUDY}/metadata", retrieve_metadata, name="retrieve_study_metadata"),
    ResourceRoute(f"{_STUDY}/bulkdata", retrieve_all_bulkdata, name="retrieve_study_bulkdata"),
    ResourceRoute(f"{_STUDY}/pixeldata", retrieve_pixel_data, name="retrieve_study_pixel_data"),
    ResourceRoute(_STUDY, retrieve_instances, name="retrieve_study"),
    ResourceRoute(f"{DICOMWEB}/series/zip", retrieve_series_list, methods=["POST"], name="retrieve_series_list"),
]
