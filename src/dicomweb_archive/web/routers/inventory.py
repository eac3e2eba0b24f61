"""The inventory of a submission: its attributes and their values, looked through and approved by value."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.curation.element_values import is_path
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.inventory.lines import AttributeFilter, InventoryLine, InventoryPage, Value
from dicomweb_archive.services.inventory.service import ApprovalOutcome
from dicomweb_archive.web.conditional import CACHE_CONTROL
from dicomweb_archive.web.dependencies import Services, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router

_LONGEST_PATH: Final = 1024
_MOST_ATTRIBUTES: Final = 1000
_MOST_VALUES: Final = 10_000
_ACCEPTED: Final = "the name of an attribute, as the inventory gives it"

router = json_router("submissions")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
SubmissionName = Annotated[str, Path(max_length=64, pattern="^[a-z0-9]+$")]
ChosenValue = Annotated[str, Field(max_length=2000)]
# PostgreSQL has no place for NUL in a text.
Comment = Annotated[str, Field(max_length=4000, pattern="^[^\\x00]*$", description="For who reads the trail.")]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]


class ApprovalDocument(BaseModel):
    """Who has found a value right, and when."""

    by: str
    at: datetime


class ValueDocument(BaseModel):
    """A value of an attribute."""

    value: str | None = Field(
        description="As in the file, several joined by a backslash; empty: the attribute has none; null: it is binary."
    )
    instances: int
    series: int
    approval: ApprovalDocument | None = Field(description="Null: nobody has approved it; empty values need nobody to.")


class AttributeDocument(BaseModel):
    """An attribute, nested ones too, and its values, the most frequent first."""

    name: str = Field(description="By which its values are asked for.")
    path: str = Field(description="Tags joined by dots, as a search writes it.")
    creators: dict[str, str] = Field(description="Creators of the private blocks in the path.")
    keyword: str | None
    vr: str
    instances: int = Field(description="How many have it, with a value or without.")
    series: int
    distinct: int = Field(description="How many values are told apart.")
    more: bool = Field(description="There are further ones, which are not told apart.")
    approved: bool = Field(description="All its values are approved, or it has none.")
    values: list[ValueDocument]


class InventoryDocument(BaseModel):
    """Attributes of a submission, by path."""

    total: int = Field(description="How many attributes pass the filter.")
    undecided: int = Field(description="How many of all attributes have a value that nobody has approved.")
    content: str = Field(description="Stands for all bytes of the submission; approvals name it.")
    instances: int
    series: int
    complete: bool = Field(description="All instances were looked through, all attributes told apart.")
    attributes: list[AttributeDocument]


class ChosenAttribute(BaseModel):
    """An attribute, values of which are meant."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=_LONGEST_PATH, description="As the inventory has it.")
    values: list[ChosenValue | None] | None = Field(
        default=None,
        min_length=1,
        max_length=_MOST_VALUES,
        description="As the inventory has them; null for binary ones. Left out: all values that the attribute has.",
    )


class RevokeApproval(BaseModel):
    """Values that are not approved any more."""

    model_config = ConfigDict(extra="forbid")
    attributes: list[ChosenAttribute] = Field(min_length=1, max_length=_MOST_ATTRIBUTES)
    comment: Comment = ""


class ApproveValues(RevokeApproval):
    """Values that are right as they are."""

    content: str = Field(max_length=128, description="Of the inventory in which they were looked at.")


class OutcomeDocument(BaseModel):
    """What became of it."""

    values: int = Field(description="How many values are decided otherwise now; those not told apart count as one.")
    undecided: int = Field(description="How many of all attributes have a value that nobody has approved.")


@router.get("/submissions/{submission}/inventory")
async def list_inventory(
    submission: SubmissionName,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    prefix: Annotated[str, Query(max_length=200, description="What the path begins with, in tags or keywords.")] = "",
    q: Annotated[str, Query(max_length=200, description="What occurs in path, keyword, name or creator.")] = "",
    undecided: Annotated[bool, Query(description="Only those with a value that nobody has approved.")] = False,
    values: Annotated[int, Query(ge=0, le=1000, description="How many values of each attribute are shown.")] = 10,
    limit: Annotated[int, Query(ge=1, le=_MOST_ATTRIBUTES)] = 200,
    offset: Offset = 0,
) -> InventoryDocument:
    """List the attributes of what is in a submission, each with its most frequent values."""
    found = await services.submissions.find(principal, submission)
    asked = AttributeFilter(prefix, q, undecided)
    page = await services.inventory.list_attributes(found, asked, values=values, limit=limit, offset=offset)
    return _answer(response, page)


@router.get("/submissions/{submission}/inventory/values")
async def list_inventory_values(
    submission: SubmissionName,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    attribute: Annotated[str, Query(max_length=_LONGEST_PATH, description="Its `name` in the inventory.")],
    limit: Annotated[int, Query(ge=1, le=_MOST_VALUES)] = 1000,
    offset: Offset = 0,
) -> InventoryDocument:
    """List the values of one attribute, the most frequent first."""
    found = await services.submissions.find(principal, submission)
    if not is_path(attribute):
        raise InvalidParameterError("attribute", accepted=_ACCEPTED)
    return _answer(response, await services.inventory.list_values(found, attribute, limit=limit, offset=offset))


@router.post("/submissions/{submission}/inventory/approve")
async def approve_values(
    submission: SubmissionName, services: ServicesOf, principal: PrincipalOf, asked: ApproveValues
) -> OutcomeDocument:
    """Say that values are right as they are, of some attributes or of all; for curators.

    Values count wherever they are. What comes or changes later is not approved by it: 412 when it has already.
    """
    found = await services.submissions.find(principal, submission)
    wanted = _wanted(asked.attributes)
    return _outcome(
        await services.inventory.approve(principal, found, wanted, content=asked.content, comment=asked.comment)
    )


@router.post("/submissions/{submission}/inventory/revoke-approval")
async def revoke_value_approval(
    submission: SubmissionName, services: ServicesOf, principal: PrincipalOf, asked: RevokeApproval
) -> OutcomeDocument:
    """Take approvals of values back; for curators."""
    found = await services.submissions.find(principal, submission)
    wanted = _wanted(asked.attributes)
    return _outcome(await services.inventory.revoke_approval(principal, found, wanted, comment=asked.comment))


def _wanted(chosen: list[ChosenAttribute]) -> dict[str, list[str | None] | None]:
    wanted = {each.name: each.values for each in chosen}
    if not all(map(is_path, wanted)):
        raise InvalidParameterError("attributes", accepted=_ACCEPTED)
    if len(wanted) != len(chosen):
        raise InvalidParameterError("attributes", accepted="each attribute once")
    return wanted


def _outcome(outcome: ApprovalOutcome) -> OutcomeDocument:
    return OutcomeDocument(values=outcome.values, undecided=outcome.undecided)


def _answer(response: Response, page: InventoryPage) -> InventoryDocument:
    response.headers["cache-control"] = CACHE_CONTROL
    return InventoryDocument(
        total=page.total,
        undecided=page.undecided,
        content=page.content,
        instances=page.instances,
        series=page.series,
        complete=page.complete,
        attributes=[_document(line) for line in page.lines],
    )


def _document(line: InventoryLine) -> AttributeDocument:
    attribute = line.attribute
    return AttributeDocument(
        name=line.name,
        path=attribute.path,
        creators=dict(attribute.creators),
        keyword=attribute.keyword,
        vr=line.vr,
        instances=line.instances,
        series=line.series,
        distinct=line.distinct,
        more=line.is_cut,
        approved=line.is_approved,
        values=list(map(_value, line.values)),
    )


def _value(value: Value) -> ValueDocument:
    by = value.approval
    approval = None if by is None else ApprovalDocument(by=by.by, at=by.at)
    return ValueDocument(value=value.text, instances=value.instances, series=value.series, approval=approval)
