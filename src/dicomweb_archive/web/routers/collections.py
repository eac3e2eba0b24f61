"""Collections: JSON resources of our own, whose published part is at `/collections/{accession}/dicom-web`."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dicomweb_archive.dicom.acceptance import AcceptanceRules
from dicomweb_archive.dicom.uid_names import UidType, uid_of
from dicomweb_archive.index.curation.collection_index import CollectionFields
from dicomweb_archive.index.curation.collections import Collection, CollectionAccess, CollectionPolicy
from dicomweb_archive.services.access import Principal
from dicomweb_archive.web.conditional import CACHE_CONTROL, expected_revision, is_unchanged, revision_tag, unchanged
from dicomweb_archive.web.dependencies import DICOMWEB, Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import IF_MATCH, json_router
from dicomweb_archive.wire.licences import LONGEST_LICENCE, parse_licence
from dicomweb_archive.wire.rule_attributes import (
    LONGEST_ATTRIBUTE,
    parse_decided_attribute,
    parse_private_attribute,
    parse_rule_attribute,
)

MOST_COLLECTIONS: Final = 1000
"""Largest page."""

router = json_router("collections")

ServicesOf = Annotated[Services, Depends(get_services)]
Caller = Annotated[Principal, Depends(get_principal)]
# PostgreSQL has no place for NUL in a text.
Accession = Annotated[
    str,
    Path(max_length=64, pattern="^[^\\x00]*$", description="Name of the collection, e.g. `COL-000123` or `default`."),
]


def _uid(kind: UidType) -> Callable[[str], str]:
    def check(text: str) -> str:
        uid = uid_of(text, kind)
        if uid is None:
            message = f"no UID or keyword of a {kind.value}"
            raise ValueError(message)
        return uid

    return check


# Without control characters; those of a description may be line ends and tabs.
_LINE = r"^[^\x00-\x1f\x7f]*$"
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"

Title = Annotated[str, Field(min_length=1, max_length=200, pattern=_LINE)]
Line = Annotated[str, Field(max_length=500, pattern=_LINE)]
Text = Annotated[str, Field(max_length=20_000, pattern=_TEXT)]
Licence = Annotated[
    str,
    Field(max_length=LONGEST_LICENCE, description="SPDX expression, e.g. `CC-BY-4.0`; empty: none is given."),
    AfterValidator(parse_licence),
]
SopClass = Annotated[str, Field(max_length=100), AfterValidator(_uid(UidType.SOP_CLASS))]
TransferSyntax = Annotated[str, Field(max_length=100), AfterValidator(_uid(UidType.TRANSFER_SYNTAX))]
Site = Annotated[str, Field(min_length=1, max_length=200, pattern=_LINE), AfterValidator(str.strip)]
Attribute = Annotated[str, Field(max_length=LONGEST_ATTRIBUTE), AfterValidator(parse_rule_attribute)]
PrivateAttribute = Annotated[str, Field(max_length=LONGEST_ATTRIBUTE), AfterValidator(parse_private_attribute)]
DecidedAttribute = Annotated[str, Field(max_length=LONGEST_ATTRIBUTE), AfterValidator(parse_decided_attribute)]
CheckSet = Literal["structural", "public_release"]


class Rules(BaseModel):
    """What the collection takes; a list that is empty lets everything pass."""

    model_config = ConfigDict(extra="forbid")

    sop_classes: list[SopClass] = Field(default=[], max_length=1000, description="UIDs, or keywords of PS3.6.")
    transfer_syntaxes: list[TransferSyntax] = Field(
        default=[], max_length=100, description="UIDs, or keywords of PS3.6."
    )
    sites: list[Site] = Field(default=[], max_length=1000, description="Names of sites, as submissions give them.")
    attributes: list[Attribute] = Field(
        default=[],
        max_length=2000,
        description="Standard attributes that instances may hold: keywords, tags, or paths of them; a single one at "
        "any place. Others are stored, and named by check 17.",
    )
    safe_private: list[PrivateAttribute] = Field(
        default=[],
        max_length=2000,
        description='Private attributes, as `0019"CREATOR"0C`, that check 18 takes for safe besides those of PS3.15.',
    )
    approved_values: list[DecidedAttribute] = Field(
        default=[],
        max_length=2000,
        description="Attributes, standard or private, all values of which have to be approved in the inventory before "
        "a submission is approved; a single one at any place, `*`: all attributes.",
    )


class CollectionChange(BaseModel):
    """What is to be different; what is not named stays, also among the rules (RFC 7396)."""

    model_config = ConfigDict(extra="forbid")

    title: Title = ""
    description: Text = ""
    contact: Line = Field("", description="Whom to ask: a helpdesk, an address.")
    licence: Licence = ""
    access: CollectionAccess = Field(
        CollectionAccess.OPEN, description="`restricted`: to principals with a role in it."
    )
    policy: CollectionPolicy = Field(
        CollectionPolicy.AUTOMATIC,
        description="`automatic`: what passes the check set is published at once; `curated`: when a curator says so.",
    )
    check_set: CheckSet = "structural"
    rules: Rules = Rules()
    closed: bool = Field(False, description="It takes nothing more; what is published stays.")


class NewCollection(CollectionChange):
    """A collection to be made; its accession is given to it."""

    title: Title


class CollectionDocument(BaseModel):
    """A collection; its ETag is that of a change."""

    accession: str
    title: str
    description: str
    contact: str
    licence: str
    access: CollectionAccess
    policy: CollectionPolicy
    check_set: str
    rules: Rules
    created_at: datetime
    changed_at: datetime
    closed_at: datetime | None = Field(description="Since when it takes nothing more.")
    dicomweb: str = Field(description="Base URI of the DICOMweb services of what is published of it.")


class CollectionList(BaseModel):
    """Some of the collections, by accession."""

    total: int = Field(description="How many there are that the caller may see.")
    collections: list[CollectionDocument]


@router.get("/collections")
async def list_collections(
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: Caller,
    limit: Annotated[int, Query(ge=1, le=MOST_COLLECTIONS)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> CollectionList:
    """List the collections that the caller may see; a browser gets a page."""
    page = await services.collections.list_collections(principal, limit=limit, offset=offset)
    response.headers.update(_headers())
    return CollectionList(total=page.total, collections=[_document(request, each) for each in page.collections])


@router.post("/collections", status_code=201)
async def create_collection(
    request: Request, response: Response, services: ServicesOf, principal: Caller, wanted: NewCollection
) -> CollectionDocument:
    """Make a collection; it is given an accession that was never given before."""
    present = CollectionFields(title=wanted.title)
    collection = await services.collections.create(principal, _applied(wanted)(present))
    response.headers.update(_headers(collection))
    response.headers["location"] = f"{base_url_of(request)}/collections/{collection.accession}"
    return _document(request, collection)


@router.get(
    "/collections/{accession}",
    response_model=CollectionDocument,
    responses={304: {"description": "The client has this revision."}},
)
async def show_collection(
    request: Request, response: Response, services: ServicesOf, principal: Caller, accession: Accession
) -> Response | CollectionDocument:
    """Show a collection; a browser gets a page."""
    collection = await services.collections.show(principal, accession)
    headers = _headers(collection)
    if is_unchanged(request, headers["etag"]):
        return unchanged(headers)
    response.headers.update(headers)
    return _document(request, collection)


@router.patch("/collections/{accession}", openapi_extra=IF_MATCH)
async def change_collection(
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: Caller,
    accession: Accession,
    wanted: CollectionChange,
) -> CollectionDocument:
    """Change, close or reopen a collection; If-Match names the revision that the change is meant for."""
    revision = expected_revision(request)
    collection = await services.collections.change(principal, accession, _applied(wanted), revision=revision)
    response.headers.update(_headers(collection))
    return _document(request, collection)


def _applied(wanted: CollectionChange) -> Callable[[CollectionFields], CollectionFields]:
    """Return what a body makes of a collection: only what it names is replaced."""
    named: dict[str, Any] = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    rules: Rules | None = named.pop("rules", None)
    listed = {} if rules is None else {name: frozenset(getattr(rules, name)) for name in rules.model_fields_set}

    def change(present: CollectionFields) -> CollectionFields:
        return replace(present, **named, rules=replace(present.rules, **listed))

    return change


def _headers(collection: Collection | None = None) -> dict[str, str]:
    headers = {"cache-control": CACHE_CONTROL, "vary": "Accept"}
    return headers if collection is None else {**headers, "etag": revision_tag(collection.revision)}


def _document(request: Request, collection: Collection) -> CollectionDocument:
    return CollectionDocument(
        accession=collection.accession,
        title=collection.title,
        description=collection.description,
        contact=collection.contact,
        licence=collection.licence,
        access=collection.access,
        policy=collection.policy,
        check_set=collection.check_set,
        rules=_rules(collection.rules),
        created_at=collection.created_at,
        changed_at=collection.changed_at,
        closed_at=collection.closed_at,
        dicomweb=f"{base_url_of(request)}/collections/{collection.accession}{DICOMWEB}",
    )


def _rules(rules: AcceptanceRules) -> Rules:
    # They were checked when they were written.
    return Rules.model_construct(
        sop_classes=sorted(rules.sop_classes),
        transfer_syntaxes=sorted(rules.transfer_syntaxes),
        sites=sorted(rules.sites),
        attributes=sorted(rules.attributes),
        safe_private=sorted(rules.safe_private),
        approved_values=sorted(rules.approved_values),
    )
