"""The contact sheet of a series: small pictures of all its instances, and of the frames of those that have many."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.web.pages import datasets
from dicomweb_archive.web.pages.curation.parameters import number_of, require_known
from dicomweb_archive.web.pages.curation.series_cards import find
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, render_submission, visit
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.routing import PageRoute
from dicomweb_archive.wire.resources import parse_uid

SHEET_PAGE: Final = 60
MOST_FRAMES: Final = 12

_FIELDS: Final = ("includefield", "00280008,00080060,00100010,00200011,0008103E")
_ORDER: Final = ("orderby", "InstanceNumber,SOPInstanceUID")
_INSTANCE, _NUMBER, _FRAMES = "00080018", "00200013", "00280008"


@dataclass(frozen=True, slots=True)
class Tile:
    """One small picture; `frame` is `None` where the instance has no others."""

    sop_instance_uid: str
    label: str
    frame: int | None = None


async def show_sheet(request: Request) -> Response:
    """Show the pictures of a series, in the order of its instances."""
    seen = await visit(request)
    require_known(request, ("offset",))
    study = parse_uid(request.path_params["study"], "study")
    series = parse_uid(request.path_params["series"], "series")
    offset = number_of(request, "offset")
    pairs = [
        ("StudyInstanceUID", study), ("SeriesInstanceUID", series), _FIELDS, _ORDER,
        ("limit", str(SHEET_PAGE)), ("offset", str(offset)), ("count", "exact"),
    ]  # fmt: skip
    rows, remaining = await find(request, seen, pairs, Level.INSTANCE)
    if not rows and not offset:
        raise NotFoundError("The submission has no such series")
    first = rows[0] if rows else {}
    return await render_submission(
        request,
        seen,
        "sheet.html",
        study=study,
        series=series,
        label=f"Series {datasets.text_of(first, '00200011')}".strip(),
        description=datasets.text_of(first, datasets.SERIES_DESCRIPTION),
        modality=datasets.text_of(first, "00080060"),
        patient_name=datasets.name_of(first, datasets.PATIENT_NAME),
        has_pictures=datasets.has_pictures([datasets.text_of(first, "00080060")]),
        tiles=[tile for row in rows for tile in _tiles(row)],
        shown=len(rows),
        total=offset + len(rows) + remaining,
        offset=offset,
        page_size=SHEET_PAGE,
    )


def _tiles(row: datasets.DataSet) -> Iterator[Tile]:
    uid, number = datasets.text_of(row, _INSTANCE), datasets.text_of(row, _NUMBER)
    label = f"Instance {number}" if number else "Instance without a number"
    text = datasets.text_of(row, _FRAMES)
    frames = int(text) if text.isdecimal() else 1
    if frames < 2:
        yield Tile(uid, label)
        return
    shown = min(frames, MOST_FRAMES)
    for step in range(shown):
        frame = 1 + step * (frames - 1) // (shown - 1)
        yield Tile(uid, f"{label}, frame {frame} of {frames}", frame)


routes = [
    PageRoute(f"{SUBMISSION}/studies/{{study}}/series/{{series}}", as_page(show_sheet), name="contact_sheet_page")
]
