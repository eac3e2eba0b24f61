"""The home page: what is in the archive, and a search for studies."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.errors import InvalidParameterError, QueryTooExpensiveError
from dicomweb_archive.index.reading.overview import LatestStudy
from dicomweb_archive.services.access import Principal, Role
from dicomweb_archive.web.dependencies import get_principal, get_services, root_of
from dicomweb_archive.web.disconnects import WhileClientWaits
from dicomweb_archive.web.pages import datasets
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.pages.rendering import render
from dicomweb_archive.web.pages.search_form import MOST_CONDITIONS, PAGE_SIZES, Condition, SearchForm, read_form
from dicomweb_archive.wire.search_parameters import parse_search

_LATEST: Final = 5
_FIELDS: Final = ("includefield", "00081030,00080061,00201206,00201208")
COMMON_KEYWORDS: Final = (
    "AccessionNumber", "BodyPartExamined", "ContrastBolusAgent", "ConvolutionKernel", "EchoTime", "FlipAngle",
    "FrameOfReferenceUID", "ImageType", "InstitutionName", "KVP", "Laterality", "MagneticFieldStrength",
    "Manufacturer", "ManufacturerModelName", "PatientAge", "PatientBirthDate", "PatientSex", "PixelSpacing",
    "ProtocolName", "ReferringPhysicianName", "RepetitionTime", "SeriesDescription", "SeriesInstanceUID",
    "SliceThickness", "SOPClassUID", "SOPInstanceUID", "StationName", "StudyDescription", "StudyID",
    "StudyInstanceUID", "ViewPosition",
)  # fmt: skip
"""What the form suggests; it takes every other attribute as well."""

_TOO_BROAD: Final = "This search takes too long; narrow it, for example by dates or a modality"


@dataclass(frozen=True, slots=True)
class StudyLine:
    """One study in the table of results."""

    study_instance_uid: str
    patient_name: str
    patient_id: str
    day: str
    time: str
    modalities: Sequence[str]
    description: str
    accession_number: str
    series: int
    instances: int
    size_bytes: int | None
    has_pictures: bool


@dataclass(frozen=True, slots=True)
class Results:
    """One page of what was found.

    Attributes:
        total: how many match; at least so many when `capped`.
        reading: how the patient's text was taken, see `SearchForm`.
    """

    lines: Sequence[StudyLine] = ()
    total: int = 0
    capped: bool = False
    reading: str = ""


async def home(request: Request) -> Response:
    """Show what the archive holds and one page of a search."""
    services = get_services(request)
    principal = await get_principal(request)
    form = read_form(request.query_params, services.search_limits[Level.STUDY])
    async with WhileClientWaits(request.receive):
        results, held, latest, free_bytes = await asyncio.gather(
            _search(request, form, principal),
            services.overview.summary(principal),
            services.overview.latest(principal, _LATEST),
            # What waits takes room too, so whoever does not manage all of it is not told how much is left.
            services.health.free_bytes() if _manages_all(principal) else _untold(),
        )
    if not form.conditions or request.query_params.get("more"):
        form.conditions.append(Condition())
    return await render(
        request,
        "home.html",
        form=form,
        results=results,
        summary=held.value,
        latest=[_latest_line(study) for study in latest],
        free_bytes=free_bytes,
        page_sizes=PAGE_SIZES,
        most_conditions=MOST_CONDITIONS,
        keywords=COMMON_KEYWORDS,
        dicomweb=root_of(request).url,
    )


def _manages_all(principal: Principal) -> bool:
    return Role.MANAGER in principal.roles and principal.collections is None


async def _untold() -> None:
    return None


async def _search(request: Request, form: SearchForm, principal: Principal) -> Results:
    """Search by the first reading of the form that finds anything."""
    results = Results()
    if not form.is_valid:
        return results
    try:
        for reading, pairs in form.searches():
            results = await _run(request, reading, [*pairs, _FIELDS], principal)
            if results.total:
                break
    except QueryTooExpensiveError:
        form.errors["form"] = _TOO_BROAD
    except InvalidParameterError as error:
        # Only the index knows what can be matched in an attribute without an entry in the dictionary.
        form.errors["form"] = str(error)
    return results


async def _run(request: Request, reading: str, pairs: list[tuple[str, str]], principal: Principal) -> Results:
    services = get_services(request)
    limits = services.search_limits[Level.STUDY]
    query = parse_search(pairs, Level.STUDY, limits=limits).query
    page = await services.search.search(query, principal, root_of(request))
    found = [orjson.loads(row) async for row in page.rows]
    sizes = await services.overview.sizes(principal, [datasets.text_of(study, "0020000D") for study in found])
    lines = [_line(study, sizes.get(datasets.text_of(study, "0020000D"))) for study in found]
    behind = query.offset + len(lines) if lines else 0
    return Results(lines, behind + page.remaining, page.capped, reading)


def _line(study: datasets.DataSet, size_bytes: int | None) -> StudyLine:
    modalities = datasets.list_of(study, "00080061")
    return StudyLine(
        study_instance_uid=datasets.text_of(study, "0020000D"),
        patient_name=datasets.name_of(study, datasets.PATIENT_NAME),
        patient_id=datasets.text_of(study, datasets.PATIENT_ID),
        day=datasets.day_of(study, datasets.STUDY_DATE),
        time=datasets.time_of(study, datasets.STUDY_TIME),
        modalities=modalities,
        description=datasets.text_of(study, datasets.STUDY_DESCRIPTION),
        accession_number=datasets.text_of(study, datasets.ACCESSION_NUMBER),
        series=int(datasets.text_of(study, "00201206") or 0),
        instances=int(datasets.text_of(study, "00201208") or 0),
        size_bytes=size_bytes,
        has_pictures=datasets.has_pictures(modalities),
    )


def _latest_line(study: LatestStudy) -> dict[str, object]:
    return {
        "study_instance_uid": study.study_instance_uid,
        "patient_name": datasets.name_of(study.attributes, datasets.PATIENT_NAME),
        "patient_id": datasets.text_of(study.attributes, datasets.PATIENT_ID),
        "modalities": study.modalities,
        "instances": study.instance_count,
        "created_at": study.created_at,
    }


routes = [BrowserRoute("/", as_page(home), name="home")]
