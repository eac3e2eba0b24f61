"""Facets: how often values occur among what matches; resources of our own beside QIDO-RS."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.dicom.facets import Facet, FacetValue
from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.search.facets import Facets
from dicomweb_archive.services.access import Role, require
from dicomweb_archive.web.conditional import CACHE_CONTROL
from dicomweb_archive.web.dependencies import DICOMWEB, get_principal, get_services, root_of
from dicomweb_archive.web.disconnects import WhileClientWaits
from dicomweb_archive.web.representations import negotiate
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.wire.csv_table import csv_lines
from dicomweb_archive.wire.facet_parameters import parse_facets
from dicomweb_archive.wire.media_types import CSV, JSON, Offer
from dicomweb_archive.wire.query_strings import split_query

OFFERS = (Offer(JSON), Offer(CSV))

_HEADINGS = ("field", "value", "upto", "count")


def _counts(level: Level) -> Callable[[Request], Awaitable[Response]]:
    async def count(request: Request) -> Response:
        """Count the values of the fields in everything that matches."""
        services = get_services(request)
        principal = await get_principal(request)
        # Before a word about the parameters: who may not read is told nothing else.
        require(principal, Role.READER)
        limits = services.search_limits[level]
        asked = parse_facets(split_query(request.scope["query_string"], limits), level, limits=limits)
        offer = negotiate(request, OFFERS, parameter=asked.search.accept)
        async with WhileClientWaits(request.receive):
            found = await services.facets.count(asked.search.query, principal, asked.fields, limit=asked.limit)
        if offer.type == CSV:
            lines = [_HEADINGS, *_lines(found)]
            response = Response(csv_lines(lines), media_type=f"{CSV}; charset=utf-8; header=present")
            response.headers["content-disposition"] = 'attachment; filename="facets.csv"'
        else:
            response = Response(orjson.dumps(_document(level, found)), media_type=JSON)
        response.headers["cache-control"] = CACHE_CONTROL
        response.headers["vary"] = "Accept"
        for warning in asked.search.warnings:
            response.headers.append("warning", root_of(request).warning(warning))
        return response

    return count


def _document(level: Level, found: Facets) -> dict[str, Any]:
    return {"level": level, "total": found.total, "facets": list(map(_facet, found.facets))}


def _facet(facet: Facet) -> dict[str, Any]:
    return {
        "field": facet.field.name,
        "vr": facet.vr,
        "distinct": facet.distinct,
        "values": list(map(_value, facet.values)),
    }


def _value(value: FacetValue) -> dict[str, Any]:
    return {
        "value": value.value,
        **({} if value.upto is None else {"upto": value.upto}),
        "count": value.count,
    }


def _lines(found: Facets) -> Iterator[list[str]]:
    for facet in found.facets:
        for value in facet.values:
            upto = "" if value.upto is None else str(value.upto)
            yield [facet.field.name, str(value.value), upto, str(value.count)]


routes = [
    ResourceRoute(f"{DICOMWEB}/studies/facets", _counts(Level.STUDY), name="count_studies"),
    ResourceRoute(f"{DICOMWEB}/series/facets", _counts(Level.SERIES), name="count_series"),
    ResourceRoute(f"{DICOMWEB}/instances/facets", _counts(Level.INSTANCE), name="count_instances"),
]
