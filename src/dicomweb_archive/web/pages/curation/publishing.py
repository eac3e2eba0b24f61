"""Publishing study by study: what would come of each, and those that are chosen become part of the archive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.errors import InvalidParameterError, InvalidRequestError
from dicomweb_archive.index.curation.foresight import ForeseenStudy
from dicomweb_archive.index.curation.submissions import SubmissionState
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages import datasets
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.deciding import REFUSALS, publish
from dicomweb_archive.web.pages.curation.parameters import require_known, uid_of
from dicomweb_archive.web.pages.curation.series_cards import find
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, render_submission, visit
from dicomweb_archive.web.pages.curation.wording import PUBLISH
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.routing import PageRoute
from dicomweb_archive.wire.resources import is_uid

PAGE: Final = 50
_STUDY: Final = "0020000D"
_FIELDS: Final = ("includefield", "00100010,00100020,00080020,00081030")
_LONGEST_TEXT: Final = 4000
_LARGEST_FORM: Final = 48_000
_NOTHING: Final = Form({})


@dataclass(frozen=True, slots=True)
class StudyLine:
    """A study that waits, as people know it, and what would come of it."""

    foreseen: ForeseenStudy
    patient_name: str
    patient_id: str
    day: str
    description: str


async def show_publishing(request: Request) -> Response:
    """Show what publishing would do with each study of a submission."""
    return await _render(request, await visit(request))


async def publish_chosen(request: Request) -> Response:
    """Publish the studies that are chosen, each whole, by a job."""
    seen = await visit(request)
    path = f"{request.scope.get('root_path', '')}/submissions/{seen.submission.name}"
    if request.method != "POST":
        return _to(f"{path}/publish")
    require_own_page(request)
    form = await read_form(request, at_most=_LARGEST_FORM, fields=PAGE + 4)
    try:
        chosen, revision = _chosen(form), form.numbers("revision")
        if not chosen or not revision:
            raise InvalidRequestError("no study is chosen")
        comment = form.text("comment", at_most=_LONGEST_TEXT)
        await publish(request, seen, revision[0], comment, chosen)
    except REFUSALS as error:
        # As it stands now, which may be the very reason.
        return await _render(request, await visit(request), problem_of(error).status, typed=form, problem=str(error))
    return _to(f"{path}?done={PUBLISH}")


async def _render(
    request: Request, seen: Visit, status: int = 200, *, typed: Form = _NOTHING, problem: str = ""
) -> Response:
    require_known(request, ("since",))
    since = uid_of(request, "since")
    foreseen = await get_services(request).publishing.foresee(
        seen.principal, seen.submission.name, after=since, limit=PAGE
    )
    lines = await _lines(request, seen, foreseen.studies)
    return await render_submission(
        request,
        seen,
        "publish.html",
        status,
        lines=lines,
        total=foreseen.total,
        undecided=foreseen.undecided,
        is_approved=seen.submission.state is SubmissionState.APPROVED,
        since=since,
        following=foreseen.studies[-1].study_instance_uid if len(foreseen.studies) == PAGE else None,
        typed=typed,
        problem=problem,
    )


async def _lines(request: Request, seen: Visit, foreseen: Sequence[ForeseenStudy]) -> Sequence[StudyLine]:
    uids = [each.study_instance_uid for each in foreseen]
    known: Mapping[str, datasets.DataSet] = {}
    if uids:
        pairs = [("StudyInstanceUID", ",".join(uids)), _FIELDS, ("limit", str(len(uids)))]
        rows, _ = await find(request, seen, pairs, Level.STUDY)
        known = {datasets.text_of(row, _STUDY): row for row in rows}
    # A study may come or go between the two questions.
    return [_line(each, known.get(each.study_instance_uid, {})) for each in foreseen]


def _line(foreseen: ForeseenStudy, row: datasets.DataSet) -> StudyLine:
    return StudyLine(
        foreseen,
        patient_name=datasets.name_of(row, datasets.PATIENT_NAME),
        patient_id=datasets.text_of(row, datasets.PATIENT_ID),
        day=datasets.day_of(row, datasets.STUDY_DATE),
        description=datasets.text_of(row, datasets.STUDY_DESCRIPTION),
    )


def _chosen(form: Form) -> Sequence[str]:
    chosen = form.fields.get("study", ())
    if not all(map(is_uid, chosen)):
        raise InvalidParameterError("study", accepted="UIDs of studies, as the page has them")
    return chosen


def _to(address: str) -> Response:
    return RedirectResponse(address, 303, {"cache-control": "no-store"})


routes = [
    BrowserRoute(f"{SUBMISSION}/publish", as_page(show_publishing), name="publish_page"),
    PageRoute(f"{SUBMISSION}/publish-chosen", as_page(publish_chosen), methods=["GET", "POST"], name="publish_form"),
]
