"""The inventory of a submission: its attributes and their values, so that they are looked through by value."""

from typing import Annotated, Final

from fastapi import Depends, Path, Query, Response
from pydantic import BaseModel, Field

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.curation.element_values import is_path
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.inventory import InventoryLine, InventoryPage
from dicomweb_archive.web.conditional import CACHE_CONTROL
from dicomweb_archive.web.dependencies import Services, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router

_LONGEST_PATH: Final = 1024
_MOST_ATTRIBUTES: Final = 1000
_MOST_VALUES: Final = 10_000

router = json_router("submissions")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
SubmissionName = Annotated[str, Path(max_length=64, pattern="^[a-z0-9]+$")]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]


class ValueDocument(BaseModel):
    """A value of an attribute."""

    value: str | None = Field(
        description="As in the file, several joined by a backslash; empty: the attribute has none; null: it is binary."
    )
    instances: int
    series: int


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
    values: list[ValueDocument]


class InventoryDocument(BaseModel):
    """Attributes of a submission, by path."""

    total: int = Field(description="How many attributes pass the filter.")
    instances: int
    series: int
    complete: bool = Field(description="All instances were looked through, all attributes told apart.")
    attributes: list[AttributeDocument]


@router.get("/submissions/{submission}/inventory")
async def list_inventory(
    submission: SubmissionName,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    prefix: Annotated[str, Query(max_length=200, description="What the path begins with, in tags or keywords.")] = "",
    q: Annotated[str, Query(max_length=200, description="What occurs in path, keyword, name or creator.")] = "",
    values: Annotated[int, Query(ge=0, le=1000, description="How many values of each attribute are shown.")] = 10,
    limit: Annotated[int, Query(ge=1, le=_MOST_ATTRIBUTES)] = 200,
    offset: Offset = 0,
) -> InventoryDocument:
    """List the attributes of what is in a submission, each with its most frequent values."""
    found = await services.submissions.find(principal, submission)
    page = await services.inventory.list_attributes(
        found.space_id, prefix=prefix, text=q, values=values, limit=limit, offset=offset
    )
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
        raise InvalidParameterError("attribute", accepted="the name of an attribute, as the inventory gives it")
    return _answer(
        response, await services.inventory.list_values(found.space_id, attribute, limit=limit, offset=offset)
    )


def _answer(response: Response, page: InventoryPage) -> InventoryDocument:
    response.headers["cache-control"] = CACHE_CONTROL
    return InventoryDocument(
        total=page.total,
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
        values=[ValueDocument(value=each.text, instances=each.instances, series=each.series) for each in line.values],
    )
