"""Series of a submission, read by the same search that viewers use, and put below their studies."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import orjson
from starlette.requests import Request

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.pages import datasets
from dicomweb_archive.web.pages.curation.visit import Visit
from dicomweb_archive.wire.search_parameters import parse_search

SERIES_PAGE: Final = 36
"""Series on a page; each is a picture that the archive may have to draw."""

_STUDY, _SERIES, _NUMBER, _INSTANCES = "0020000D", "0020000E", "00200011", "00201209"
_FIELDS: Final = ("includefield", "00100010,00100020,0008103E,00180015,00081030,00080020,00201209")
_ORDER: Final = ("orderby", "StudyInstanceUID,SeriesNumber,SeriesInstanceUID")


@dataclass(frozen=True, slots=True)
class SeriesCard:
    """One series as a page of pictures shows it."""

    study_instance_uid: str
    series_instance_uid: str
    label: str
    description: str
    modality: str
    body_part: str
    instances: int
    has_pictures: bool


@dataclass(frozen=True, slots=True)
class StudyGroup:
    """The series of one study that are on the page."""

    study_instance_uid: str
    patient_name: str
    patient_id: str
    day: str
    description: str
    series: Sequence[SeriesCard]


@dataclass(frozen=True, slots=True)
class SeriesPage:
    """Some of the series; `total` is how many there are."""

    studies: Sequence[StudyGroup]
    shown: int
    total: int


async def list_series(request: Request, seen: Visit, *, offset: int) -> SeriesPage:
    """List series of a submission, study by study."""
    pairs = [_FIELDS, _ORDER, ("limit", str(SERIES_PAGE)), ("offset", str(offset)), ("count", "exact")]
    rows, remaining = await find(request, seen, pairs, Level.SERIES)
    studies = [_group(uid, list(series)) for uid, series in groupby(rows, lambda row: datasets.text_of(row, _STUDY))]
    return SeriesPage(studies, len(rows), offset + len(rows) + remaining)


async def find(
    request: Request, seen: Visit, pairs: Sequence[tuple[str, str]], level: Level
) -> tuple[Sequence[datasets.DataSet], int]:
    """Search a submission, and tell how many match behind this page."""
    services = get_services(request)
    query = parse_search(pairs, level, limits=services.search_limits[level]).query
    page = await services.search.search(query, seen.inside, seen.root)
    return [row async for row in _read(page.rows)], page.remaining


async def _read(rows: AsyncIterator[bytes]) -> AsyncIterator[datasets.DataSet]:
    async for row in rows:
        yield orjson.loads(row)


def _group(uid: str, rows: Sequence[datasets.DataSet]) -> StudyGroup:
    first = rows[0]
    return StudyGroup(
        study_instance_uid=uid,
        patient_name=datasets.name_of(first, datasets.PATIENT_NAME),
        patient_id=datasets.text_of(first, datasets.PATIENT_ID),
        day=datasets.day_of(first, datasets.STUDY_DATE),
        description=datasets.text_of(first, datasets.STUDY_DESCRIPTION),
        series=list(_cards(uid, rows)),
    )


def _cards(study: str, rows: Sequence[datasets.DataSet]) -> Iterator[SeriesCard]:
    for row in rows:
        modality = datasets.text_of(row, "00080060")
        yield SeriesCard(
            study_instance_uid=study,
            series_instance_uid=datasets.text_of(row, _SERIES),
            label=f"Series {datasets.text_of(row, _NUMBER)}".strip(),
            description=datasets.text_of(row, datasets.SERIES_DESCRIPTION),
            modality=modality,
            body_part=datasets.text_of(row, datasets.BODY_PART_EXAMINED),
            instances=int(datasets.text_of(row, _INSTANCES) or 0),
            has_pictures=datasets.has_pictures([modality]),
        )
