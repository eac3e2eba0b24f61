"""Conflicts of a submission on pages: what came under a taken UID, and how it differs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.dicom.differences import Difference
from dicomweb_archive.dicom.instance import BULK_MARKER, Element
from dicomweb_archive.dicom.tags import format_tag, keyword_of
from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import number_of, require_known
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, render_submission, visit
from dicomweb_archive.web.pages.datasets import value_texts
from dicomweb_archive.web.pages.problems import as_page

PAGE: Final = 100
_MOST_ID: Final = 2**63 - 1
_LONGEST: Final = 4096
_SHOWN: Final = 240


@dataclass(frozen=True, slots=True)
class DifferenceLine:
    """An attribute that two instances do not have alike; `None`: it is missing."""

    tag: str
    name: str
    standing: str | None
    conflict: str | None


async def show_conflicts(request: Request) -> Response:
    """List the conflicts of a submission."""
    seen = await visit(request)
    require_known(request, ("since",))
    since = number_of(request, "since", at_most=_MOST_ID)
    found, _ = await get_services(request).conflicts.list(seen.principal, seen.submission.name, after=since, limit=PAGE)
    following = found[-1].id if len(found) == PAGE else None
    return await render_submission(request, seen, "conflicts.html", conflicts=found, since=since, following=following)


async def show_conflict(request: Request) -> Response:
    """Show a conflict beside the instance that has its UID."""
    seen = await visit(request)
    require_known(request, ())
    text = request.path_params["conflict"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFoundError("There is no such conflict")
    compared = await get_services(request).conflicts.compare(seen.principal, seen.submission.name, int(text))
    return await render_submission(
        request,
        seen,
        "conflict.html",
        conflict=compared.conflict,
        differences=[_line(each) for each in compared.attributes],
        bulk=[keyword_of(tag) or format_tag(tag) for tag in compared.bulk],
    )


def _line(found: Difference) -> DifferenceLine:
    tag = format_tag(found.tag)
    return DifferenceLine(tag, keyword_of(found.tag) or "", _shown(found.first), _shown(found.second))


def _shown(element: Element | None) -> str | None:
    if element is None:
        return None
    if len(element.json) > _LONGEST or BULK_MARKER.encode() in element.json:
        return "(too long to be shown)"
    read: Mapping[str, Any] = orjson.loads(element.json)
    text = " \\ ".join(value_texts(read))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


routes = [
    BrowserRoute(f"{SUBMISSION}/conflicts", as_page(show_conflicts), name="conflicts_page"),
    BrowserRoute(f"{SUBMISSION}/conflicts/{{conflict}}", as_page(show_conflict), name="conflict_page"),
]
