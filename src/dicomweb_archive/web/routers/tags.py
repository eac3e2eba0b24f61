"""Which attributes there are: a resource of our own beside QIDO-RS."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.services.tags import Tag, TagPage
from dicomweb_archive.web.conditional import CACHE_CONTROL
from dicomweb_archive.web.dependencies import DICOMWEB, get_principal, get_services, root_of
from dicomweb_archive.web.representations import negotiate
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.wire.csv_table import csv_lines
from dicomweb_archive.wire.media_types import CSV, JSON, Offer
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.resources import parse_uid
from dicomweb_archive.wire.tag_parameters import parse_tags

OFFERS = (Offer(JSON), Offer(CSV))

_HEADINGS = ("path", "keyword", "name", "vr", "private_creator", "series", "varies", "varies_in")


async def _list_tags(request: Request) -> Response:
    """List the attributes of the archive, or of the study that the path names."""
    principal = await get_principal(request)
    asked = parse_tags(split_query(request.scope["query_string"]))
    offer = negotiate(request, OFFERS, parameter=asked.accept)
    named = request.path_params.get("study")
    page = await get_services(request).tags.list_tags(
        principal,
        None if named is None else parse_uid(named, "study"),
        prefix=asked.prefix,
        text=asked.text,
        limit=asked.limit,
        offset=asked.offset,
    )
    if offer.type == CSV:
        lines = ([_text(value) for value in _row(tag).values()] for tag in page.tags)
        response = Response(csv_lines([_HEADINGS, *lines]), media_type=f"{CSV}; charset=utf-8; header=present")
        response.headers["content-disposition"] = 'attachment; filename="tags.csv"'
    else:
        response = Response(orjson.dumps(_document(page)), media_type=JSON)
    response.headers["cache-control"] = CACHE_CONTROL
    response.headers["vary"] = "Accept"
    for warning in asked.warnings:
        response.headers.append("warning", root_of(request).warning(warning))
    return response


def _document(page: TagPage) -> dict[str, Any]:
    return {
        "total": page.total,
        "series": page.series,
        "complete": page.complete,
        "tags": [{**_row(tag), "creators": dict(tag.attribute.creators)} for tag in page.tags],
    }


def _row(tag: Tag) -> dict[str, Any]:
    attribute = tag.attribute
    values = (
        attribute.path,
        attribute.keyword,
        attribute.name,
        tag.vr,
        attribute.private_creator,
        tag.series,
        tag.varies_in > 0,
        tag.varies_in,
    )
    return dict(zip(_HEADINGS, values, strict=True))


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


routes = [
    ResourceRoute(f"{DICOMWEB}/tags", _list_tags, name="list_tags"),
    ResourceRoute(f"{DICOMWEB}/studies/{{study}}/tags", _list_tags, name="list_tags_of_study"),
]
