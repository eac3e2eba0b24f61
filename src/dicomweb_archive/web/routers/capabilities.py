"""Retrieve Capabilities: a client asks what the services can do (PS3.18 8.9)."""

from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.web.capabilities import describe_capabilities
from dicomweb_archive.web.conditional import CACHE_CONTROL, is_unchanged, unchanged
from dicomweb_archive.web.dependencies import DICOMWEB, asked_root_of, get_principal, root_of
from dicomweb_archive.web.representations import accept_parameter, negotiate
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.wire.media_types import CAPABILITIES_OFFERS, JSON
from dicomweb_archive.wire.roots import PUBLISHED
from dicomweb_archive.wire.wadl import encode_wadl_json, encode_wadl_xml


async def retrieve_capabilities(request: Request) -> Response:
    """Describe resources, methods, parameters and media types.

    Of what is published without credentials, like the description of the API.
    """
    if asked_root_of(request) is not PUBLISHED:
        # Of a collection or submission that is not for this caller not even that it is there.
        await get_principal(request)
    offer = negotiate(request, CAPABILITIES_OFFERS, parameter=accept_parameter(request))
    base = root_of(request).url
    description = describe_capabilities(request.app.openapi(), base)
    data = encode_wadl_json(description) if offer.type == JSON else encode_wadl_xml(description)
    headers = {
        "allow": "GET, HEAD, OPTIONS",
        "cache-control": CACHE_CONTROL,
        "content-location": f"{base}/",
        "etag": f'"{blake2b(data, digest_size=16).hexdigest()}"',
        "vary": "Accept",
    }
    if is_unchanged(request, headers["etag"]):
        return unchanged(headers)
    return Response(data, media_type=offer.type, headers=headers)


_METHODS = ["GET", "OPTIONS"]

routes = [
    ResourceRoute(f"{DICOMWEB}/", retrieve_capabilities, methods=_METHODS, name="retrieve_capabilities"),
    # Clients differ in whether the base URI has a slash.
    ResourceRoute(DICOMWEB, retrieve_capabilities, methods=_METHODS, name="retrieve_capabilities_of_base"),
]
