"""QIDO-RS: search for studies, series and instances (PS3.18 10.6)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.search.execution import SearchPage
from dicomweb_archive.services.access import Role, require
from dicomweb_archive.web.bodies import json_body
from dicomweb_archive.web.conditional import CACHE_CONTROL
from dicomweb_archive.web.dependencies import DICOMWEB, get_principal, get_services, location_of, root_of
from dicomweb_archive.web.disconnects import WhileClientWaits
from dicomweb_archive.web.representations import collected_or_streamed, json_array, xml_parts
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.web.tables import answer_table, columns_for, negotiate_table
from dicomweb_archive.wire.media_types import SEARCH_OFFERS, TABLE_OFFERS, Offer
from dicomweb_archive.wire.multipart import PartFraming
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.resources import parse_uid
from dicomweb_archive.wire.search_body import join_body, read_search_body
from dicomweb_archive.wire.search_parameters import parse_search

_OFFERS = (*SEARCH_OFFERS, *TABLE_OFFERS)


def _searches(level: Level, *, relational: bool = False) -> Callable[[Request], Awaitable[Response]]:
    async def search(request: Request) -> Response:
        """Search at the level and below the study or series that the path names."""
        services = get_services(request)
        principal = await get_principal(request)
        # Before the parameters and any body are read: who may not search is told nothing else.
        require(principal, Role.READER)
        limits = services.search_limits[level]
        pairs = split_query(request.scope["query_string"], limits)
        if request.method == "POST":
            pairs = join_body(pairs, read_search_body(await json_body(request, at_most=limits.body_bytes), limits))
        offer = negotiate_table(request, _OFFERS, parameter=dict(pairs).get("accept"))
        as_table = offer in TABLE_OFFERS
        asked = parse_search(
            pairs,
            level,
            study_instance_uid=_uid(request, "study"),
            series_instance_uid=_uid(request, "series"),
            relational=relational,
            limits=limits.of_tables() if as_table else limits,
        )
        columns = columns_for(asked.query) if as_table else ()
        async with WhileClientWaits(request.receive):
            page = await services.search.search(asked.query, principal, root_of(request), page_token=asked.page_token)
            response = await (
                answer_table(page.rows, columns, offer, name=level) if as_table else _data_sets(page.rows, offer)
            )
        warnings = list(asked.warnings)
        if page.remaining or page.uncounted:
            warnings.append(_remaining(page))
        response.headers["cache-control"] = CACHE_CONTROL
        response.headers["vary"] = "Accept"
        for warning in warnings:
            response.headers.append("warning", root_of(request).warning(warning))
        token = await services.search.next_token(asked.query, page)
        if token is not None:
            response.headers["link"] = _next_link(request, token)
        return response

    return search


async def _data_sets(rows: AsyncIterator[bytes], offer: Offer) -> Response:
    if not offer.multipart:
        return await collected_or_streamed(json_array(rows), media_type=offer.type)
    first = await anext(rows, None)
    if first is None:
        # A multipart payload has one part at least (RFC 2046 5.1.1), so nothing can only be said by the status.
        return Response(status_code=204)
    rows = _again(first, rows)
    framing = PartFraming(offer.type)
    return await collected_or_streamed(xml_parts(rows, framing), media_type=framing.content_type)


async def _again(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for row in rest:
        yield row


def _uid(request: Request, name: str) -> str | None:
    text = request.path_params.get(name)
    return None if text is None else parse_uid(text, name)


def _remaining(page: SearchPage) -> str:
    """Say how many results are left (PS3.18 8.3.4.4.1), and when the count stopped at its cap or was left out."""
    if page.uncounted:
        return "There are additional results that can be requested"
    more = "more than " if page.capped else ""
    return f"There are {more}{page.remaining} additional results that can be requested"


def _next_link(request: Request, token: str) -> str:
    """Write the Link to the next page (RFC 8288): the same search, from behind the last row of this page."""
    asked = request.scope["query_string"].decode("latin-1").split("&")
    kept = [pair for pair in asked if pair and pair.partition("=")[0] not in ("offset", "page_token")]
    query = "&".join([*map(_in_header, kept), f"page_token={token}"])
    return f'<{location_of(request)}?{query}>; rel="next"'


def _in_header(text: str) -> str:
    """Encode what may stand in a query string that was sent, but not between the angle brackets of a header."""
    return quote(text, safe=_UNCHANGED, encoding="latin-1")


_UNCHANGED: Final = "%!$&'()*+,-./:;=?@_~"

_STUDY = f"{DICOMWEB}/studies/{{study}}"

_RESOURCES = (
    (f"{DICOMWEB}/studies", _searches(Level.STUDY), "search_studies"),
    (f"{_STUDY}/series", _searches(Level.SERIES), "search_series"),
    (f"{_STUDY}/series/{{series}}/instances", _searches(Level.INSTANCE), "search_instances"),
    (f"{_STUDY}/instances", _searches(Level.INSTANCE, relational=True), "search_instances_of_study"),
    (f"{DICOMWEB}/series", _searches(Level.SERIES, relational=True), "search_all_series"),
    (f"{DICOMWEB}/instances", _searches(Level.INSTANCE, relational=True), "search_all_instances"),
)

routes = [
    *(ResourceRoute(path, search, name=name) for path, search, name in _RESOURCES),
    # The same with parameters in a body, which may be longer than an address (an extension).
    *(
        ResourceRoute(f"{path}/search", search, methods=["POST"], name=f"post_{name}")
        for path, search, name in _RESOURCES
    ),
]
