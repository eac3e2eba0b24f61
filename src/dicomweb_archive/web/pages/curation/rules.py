"""Edits by rules with conditions: written into a form, tried, and applied when that was seen and a reason is given."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicomweb_archive.dicom.editing.rules import EditRules
from dicomweb_archive.dicom.held_attributes import held_attribute
from dicomweb_archive.errors import ConflictError, InvalidRequestError, PreconditionFailedError
from dicomweb_archive.index.curation.edits.records import EDITABLE_STATES
from dicomweb_archive.services.edits.preview import EditPreview
from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.disconnects import WhileClientWaits
from dicomweb_archive.web.errors import problem_of
from dicomweb_archive.web.forms import Form, read_form, require_own_page
from dicomweb_archive.web.pages.curation.parameters import require_known, text_of
from dicomweb_archive.web.pages.curation.rule_form import (
    DEEDS,
    MOST_CONDITIONS,
    MOST_FIELDS,
    MOST_RULES,
    TESTS,
    ConditionRow,
    RuleRow,
    read_rows,
    rules_of,
    told,
    without_blank,
)
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, Visit, render_submission, visit
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.routing import PageRoute
from dicomweb_archive.wire.edit_rules import read_rules

# What the form suggests; it takes every other attribute as well.
_OFTEN_EDITED: Final = (
    "AccessionNumber", "BodyPartExamined", "DeviceSerialNumber", "ImageComments", "InstitutionAddress",
    "InstitutionName", "Laterality", "Modality", "OperatorsName", "PatientAddress", "PatientBirthDate",
    "PatientComments", "PatientID", "PatientName", "PatientSex", "PerformedProcedureStepDescription",
    "PerformingPhysicianName", "ProtocolName", "ReferringPhysicianName", "RequestedProcedureDescription",
    "SeriesDescription", "StationName", "StudyDate", "StudyDescription", "StudyID",
)  # fmt: skip
_LONGEST_REASON: Final = 4000
_LARGEST_FORM: Final = 400_000
_SHOWN: Final = 200
_NOTHING: Final = Form({})


async def edit_by_rules(request: Request) -> Response:
    """Show the form of an edit, longer when that is asked for, with what it would do, or apply it."""
    seen = await visit(request)
    get_services(request).checks.require_curator(seen.principal, seen.submission)
    if request.method != "POST":
        require_known(request, ("attribute",))
        return await _render(request, seen, [RuleRow(text_of(request, "attribute"))])
    require_own_page(request)
    form = await read_form(request, at_most=_LARGEST_FORM, fields=MOST_FIELDS)
    rows = read_rows(form)
    if more := form.get("more"):
        return await _render(request, seen, *_longer(rows, more))
    rows = without_blank(rows)
    try:
        rules = read_rules(rules_of(rows))
    except (ConflictError, InvalidRequestError) as error:
        return await _render(request, seen, rows, status=problem_of(error).status, problem=told(str(error)))
    if form.get("step") != "apply":
        return await _try(request, seen, rows, rules)
    try:
        return await _apply(request, seen, form, rules)
    except (ConflictError, InvalidRequestError, PreconditionFailedError) as error:
        refused = problem_of(error).status, str(error)
        return await _try(request, await visit(request), rows, rules, form, *refused)


async def _try(
    request: Request,
    seen: Visit,
    rows: Sequence[RuleRow],
    rules: EditRules,
    typed: Form = _NOTHING,
    status: int = 200,
    problem: str = "",
) -> Response:
    async with WhileClientWaits(request.receive):
        preview = await get_services(request).edits.preview(seen.principal, seen.submission, rules)
    return await _render(request, seen, rows, status=status, preview=preview, typed=typed, problem=problem)


async def _apply(request: Request, seen: Visit, form: Form, rules: EditRules) -> Response:
    reason = form.text("reason", at_most=_LONGEST_REASON)
    revision = form.numbers("revision")
    if not reason or not revision:
        raise InvalidRequestError("say why it is edited")
    begun = await get_services(request).edits.begin(seen.principal, seen.submission, revision[0], rules, reason)
    path = f"{request.scope.get('root_path', '')}/submissions/{seen.submission.name}"
    return RedirectResponse(f"{path}/edits/{begun.edit.id}", 303, {"cache-control": "no-store"})


def _longer(rows: Sequence[RuleRow], more: str) -> tuple[Sequence[RuleRow], str]:
    """Return the rows with a blank one more, and the name of its first field: of a rule, or of a condition in one."""
    number = int(more) if more.isascii() and more.isdecimal() and len(more) < 3 else 0
    if not 0 < number <= len(rows):
        return [*rows, RuleRow()][:MOST_RULES], f"rule-{min(len(rows) + 1, MOST_RULES)}"
    row = rows[number - 1]
    when = (*row.when, ConditionRow())[:MOST_CONDITIONS]
    return [*rows[: number - 1], replace(row, when=when), *rows[number:]], f"rule-{number}-{len(when)}"


async def _render(
    request: Request,
    seen: Visit,
    rows: Sequence[RuleRow],
    focused: str = "",
    *,
    status: int = 200,
    preview: EditPreview | None = None,
    typed: Form = _NOTHING,
    problem: str = "",
) -> Response:
    return await render_submission(
        request,
        seen,
        "rules.html",
        status,
        rows=rows or [RuleRow()],
        focused=focused,
        deeds=DEEDS,
        tests=TESTS,
        most_rules=MOST_RULES,
        most_conditions=MOST_CONDITIONS,
        keywords=_OFTEN_EDITED,
        is_editable=seen.submission.state in EDITABLE_STATES,
        preview=preview,
        changes=preview.changes.most_common(_SHOWN) if preview else (),
        held=held_attribute,
        typed=typed,
        problem=problem,
    )


routes = [PageRoute(f"{SUBMISSION}/edits/new", as_page(edit_by_rules), methods=["GET", "POST"], name="rules_form")]
