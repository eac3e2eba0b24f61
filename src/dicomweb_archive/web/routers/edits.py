"""Edits of a submission as resources of our own: tried, begun, watched, told change by change, and taken back."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from dicomweb_archive.dicom.editing.planning import ChangeKind
from dicomweb_archive.dicom.editing.rules import EditAction
from dicomweb_archive.dicom.editing.unfit import Unfit
from dicomweb_archive.dicom.held_attributes import held_attribute
from dicomweb_archive.index.curation.edits.records import Edit, EditedInstance, EditState
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.edits.preview import EditPreview
from dicomweb_archive.services.edits.service import BegunEdit
from dicomweb_archive.web.conditional import expected_revision, revision_tag
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import IF_MATCH, json_router
from dicomweb_archive.wire.edit_rules import read_rules

router = json_router("submissions")

_EDITS: Final = "/submissions/{submission}/edits"
_EDIT: Final = f"{_EDITS}/{{edit}}"
_UID: Final = "^[0-9.]{1,64}$"

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
SubmissionName = Annotated[str, Path(max_length=64, pattern="^[a-z0-9]+$")]
EditId = Annotated[int, Path(ge=1, lt=2**63)]
# PostgreSQL has no place for NUL in a text.
Text = Annotated[str, Field(max_length=65_536, pattern="^[^\\x00]*$")]
Name = Annotated[str, Field(min_length=1, max_length=1024, pattern="^[^\\x00]*$")]
Reason = Annotated[str, Field(min_length=1, max_length=4000, pattern="^[^\\x00]*$")]


class ConditionDocument(BaseModel):
    """What must hold of an attribute: one of the four tests. In the sequences of the rule, the same item counts."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    attribute: Name
    is_: list[Text] | None = Field(default=None, alias="is", max_length=1000, description="It has one of these values.")
    is_not: list[Text] | None = Field(default=None, max_length=1000, description="It has none of these values.")
    contains: Text | None = Field(default=None, description="What occurs in its text.")
    present: bool | None = Field(default=None, description="Whether it is there, with a value or without.")


class RuleDocument(BaseModel):
    """One correction; values are texts as the inventory has them, several joined by a backslash."""

    model_config = ConfigDict(extra="forbid")
    attribute: Name = Field(
        description="Its `name` in the inventory, or keywords and tags joined by dots; in sequences, of each item."
    )
    creators: dict[Name, Name] | None = Field(
        default=None, max_length=100, description="Of the private blocks in the paths, as the inventory gives them."
    )
    action: EditAction
    value: Text | None = Field(default=None, description="Of `set`; empty: the attribute is there without a value.")
    map: dict[Text, Text | None] | None = Field(
        default=None, max_length=10_000, description="Of `map`: from what to what; null: the attribute is removed."
    )
    find: Text | None = Field(default=None, description="Of `replace`: replaced wherever it occurs, as it is written.")
    replacement: Text | None = None
    vr: str | None = Field(default=None, pattern="^[A-Z]{2}$", description="Of a private attribute that is unknown.")
    when: list[ConditionDocument] | None = Field(default=None, max_length=100, description="All of it must hold.")


class RulesDocument(BaseModel):
    """Corrections, each of which sees what those before it have made."""

    model_config = ConfigDict(extra="forbid")
    rules: list[RuleDocument] = Field(min_length=1, max_length=100)


class BeginEdit(RulesDocument):
    """Corrections that are to be applied, and why."""

    reason: Reason


class UndoEdit(BaseModel):
    """Why an edit is taken back."""

    model_config = ConfigDict(extra="forbid")
    reason: Reason


class ChangeDocument(BaseModel):
    """What becomes of one attribute."""

    attribute: str = Field(description="Its name in the inventory.")
    path: str = Field(description="Tags joined by dots.")
    keyword: str | None
    vr: str
    kind: ChangeKind
    before: str | None = Field(description="Null where it is not there, binary or a sequence.")
    after: str | None


class TalliedChangeDocument(ChangeDocument):
    """What becomes of one value of an attribute, wherever it is the same."""

    instances: int


class EditedInstanceDocument(BaseModel):
    """What becomes of one instance."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    changes: list[ChangeDocument]


class AuditedInstanceDocument(EditedInstanceDocument):
    """What has become of one instance."""

    digest_before: str = Field(description="BLAKE3 of its bytes.")
    digest_after: str | None
    problem: Unfit | None = Field(description="Why it was left as it is.")


class PreviewDocument(BaseModel):
    """What rules would do; nothing was changed."""

    looked_at: int = Field(description="Instances that were looked at.")
    complete: bool = Field(description="All of them, and all different changes are told apart.")
    studies: int
    series: int
    instances: int = Field(description="How many would be changed.")
    unfit: dict[Unfit, int] = Field(
        description="How many could not, and why; of those in a series that are edited alike one file is tried."
    )
    distinct: int = Field(description="How many different changes there are.")
    changes: list[TalliedChangeDocument] = Field(description="The most frequent ones.")
    sample: list[EditedInstanceDocument] = Field(description="An instance of each of some series.")


class EditDocument(BaseModel):
    """An edit of a submission."""

    id: int
    url: str
    state: EditState
    rules: list[dict[str, Any]] = Field(
        description="None of an edit that takes another one back, or has changed what was purged."
    )
    reason: str
    undoes: int | None = Field(description="The edit that this one takes back.")
    undone_by: int | None
    actor: str
    created_at: datetime
    finished_at: datetime | None
    instances: int = Field(description="How many it has changed.")
    unfit: int = Field(description="How many it was meant for and has left as they are.")


class BegunEditDocument(EditDocument):
    """An edit that was just begun."""

    revision: int = Field(description="Of the submission, from now on.")
    job: str = Field(description="URL of the job that applies it.")


class EditsDocument(BaseModel):
    """Edits of a submission, the newest first."""

    edits: list[EditDocument]
    next: int | None = Field(description="`before` of the edits behind these; null when there are none.")


class ChangesDocument(BaseModel):
    """What an edit has made of each value, the most frequent first."""

    total: int
    changes: list[TalliedChangeDocument]
    next: int | None = Field(description="`offset` of the changes behind these; null when there are none.")


class EditedInstancesDocument(BaseModel):
    """Instances that an edit was meant for, in the order of their UIDs."""

    instances: list[AuditedInstanceDocument]
    next: str | None = Field(description="`since` of the instances behind these; null when there are none.")


@router.post(f"{_EDITS}/preview")
async def preview_edit(
    submission: SubmissionName, services: ServicesOf, principal: PrincipalOf, asked: RulesDocument
) -> PreviewDocument:
    """Say what rules would do to a submission, without changing anything."""
    found = await services.submissions.find(principal, submission)
    rules = read_rules([_said(rule) for rule in asked.rules])
    return _preview(await services.edits.preview(principal, found, rules))


@router.post(_EDITS, status_code=202, openapi_extra=IF_MATCH)
async def begin_edit(
    submission: SubmissionName,
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: BeginEdit,
) -> BegunEditDocument:
    """Apply rules to all instances of a submission in review, as a job; pixels stay byte for byte.

    UIDs are never edited. What is edited has to be checked again before it can be approved.
    """
    found = await services.submissions.find(principal, submission)
    rules = read_rules([_said(rule) for rule in asked.rules])
    revision = expected_revision(request)
    return _begun(
        request, response, submission, await services.edits.begin(principal, found, revision, rules, asked.reason)
    )


@router.post(f"{_EDIT}/undo", status_code=202, openapi_extra=IF_MATCH)
async def undo_edit(
    submission: SubmissionName,
    edit: EditId,
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: UndoEdit,
) -> BegunEditDocument:
    """Take an edit back, by an edit of its own: what nothing has changed since becomes what it was."""
    found = await services.submissions.find(principal, submission)
    revision = expected_revision(request)
    return _begun(
        request, response, submission, await services.edits.undo(principal, found, revision, edit, asked.reason)
    )


@router.get(_EDITS)
async def list_edits(
    submission: SubmissionName,
    request: Request,
    services: ServicesOf,
    principal: PrincipalOf,
    before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> EditsDocument:
    """List the edits of a submission, the newest first; for curators."""
    found = await services.submissions.find(principal, submission)
    edits = await services.edits.list(principal, found, before=before, limit=limit)
    documents = [EditDocument(**_members(request, submission, each)) for each in edits]
    return EditsDocument(edits=documents, next=edits[-1].id if len(edits) == limit else None)


@router.get(_EDIT)
async def get_edit(
    submission: SubmissionName, edit: EditId, request: Request, services: ServicesOf, principal: PrincipalOf
) -> EditDocument:
    """Return an edit, and how far it has come; for curators."""
    found = await services.submissions.find(principal, submission)
    return EditDocument(**_members(request, submission, await services.edits.find(principal, found, edit)))


@router.get(f"{_EDIT}/changes")
async def list_changes(
    submission: SubmissionName,
    edit: EditId,
    services: ServicesOf,
    principal: PrincipalOf,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> ChangesDocument:
    """List what an edit has made of each value, the most frequent first; for curators. Long ones end a page early."""
    found = await services.submissions.find(principal, submission)
    changes, total = await services.edits.changes(principal, found, edit, limit=limit, offset=offset)
    listed = [
        TalliedChangeDocument(
            **_change(each.path, each.vr, each.kind, each.before, each.after), instances=each.instances
        )
        for each in changes
    ]
    behind = offset + len(listed)
    return ChangesDocument(total=total, changes=listed, next=behind if listed and behind < total else None)


@router.get(f"{_EDIT}/instances")
async def list_edited_instances(
    submission: SubmissionName,
    edit: EditId,
    services: ServicesOf,
    principal: PrincipalOf,
    instance: Annotated[str | None, Query(pattern=_UID, description="Its SOP Instance UID.")] = None,
    unfit: Annotated[bool | None, Query(description="Only those that were left as they are, or were not.")] = None,
    since: Annotated[str, Query(max_length=64, pattern="^[0-9.]*$", description="UID behind which to begin.")] = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> EditedInstancesDocument:
    """List the instances that an edit was meant for, each with what it was before; for curators."""
    found = await services.submissions.find(principal, submission)
    rows, following = await services.edits.instances(
        principal, found, edit, after=since, sop_instance_uid=instance, unfit=unfit, limit=limit
    )
    return EditedInstancesDocument(instances=[_audited(row) for row in rows], next=following)


def _said(rule: RuleDocument) -> dict[str, Any]:
    return rule.model_dump(by_alias=True)


def _begun(request: Request, response: Response, submission: str, begun: BegunEdit) -> BegunEditDocument:
    members = _members(request, submission, begun.edit)
    response.headers["location"] = members["url"]
    response.headers["etag"] = revision_tag(begun.revision)
    job = f"{base_url_of(request)}/jobs/{begun.job.id}"
    return BegunEditDocument(**members, revision=begun.revision, job=job)


def _members(request: Request, submission: str, edit: Edit) -> dict[str, Any]:
    url = f"{base_url_of(request)}/submissions/{submission}/edits/{edit.id}"
    return {"url": url} | {name: getattr(edit, name) for name in EditDocument.model_fields if name != "url"}


def _preview(preview: EditPreview) -> PreviewDocument:
    changes = [
        TalliedChangeDocument(**_change(*change), instances=count)
        for change, count in preview.changes.most_common(1000)
    ]
    sample = [
        EditedInstanceDocument(
            study_instance_uid=each.study_instance_uid,
            series_instance_uid=each.series_instance_uid,
            sop_instance_uid=each.sop_instance_uid,
            changes=[ChangeDocument(**_change(*change)) for change in each.changes],
        )
        for each in preview.sample
    ]
    return PreviewDocument(
        looked_at=preview.looked_at,
        complete=preview.complete,
        studies=preview.studies,
        series=preview.series,
        instances=preview.instances,
        unfit=dict(preview.unfit),
        distinct=len(preview.changes),
        changes=changes,
        sample=sample,
    )


def _audited(row: EditedInstance) -> AuditedInstanceDocument:
    return AuditedInstanceDocument(
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        changes=[ChangeDocument(**_change(*change)) for change in row.changes],
        digest_before=row.digest_before.hex(),
        digest_after=None if row.digest_after is None else row.digest_after.hex(),
        problem=Unfit(row.problem) if row.problem else None,
    )


def _change(
    name: str | None, vr: str | None, kind: str | None, before: str | None, after: str | None
) -> Mapping[str, Any]:
    assert name is not None
    attribute = held_attribute(name)
    return {
        "attribute": name,
        "path": attribute.path,
        "keyword": attribute.keyword,
        "vr": vr,
        "kind": kind,
        "before": before,
        "after": after,
    }
