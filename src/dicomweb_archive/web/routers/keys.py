"""Keys as resources of our own: given, listed and taken back by admins and managers."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import Depends, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dicomweb_archive.index.writing.keys import ListedKey
from dicomweb_archive.services.access import Principal, Role
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router

USUAL_DAYS: Final = 365
"""How long a key counts of whose end nothing is said."""

router = json_router("keys")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
Accession = Annotated[str, Field(max_length=64, pattern="^[A-Za-z0-9._-]+$")]
KeyId = Annotated[str, Path(pattern="^[a-z2-7]{12}$", description="The public part of a key, between its underscores.")]


class NewKeyOrder(BaseModel):
    """A key to be given."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(
        min_length=1,
        max_length=64,
        description="Stands in the log of events for whatever is done with it; keys of one name are one principal.",
    )
    roles: list[Role] = Field(min_length=1, max_length=len(Role), description="Managers give the first three.")
    collections: list[Accession] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="Accessions, where the roles count; left out: in all collections.",
    )
    expires_at: AwareDatetime | None = Field(
        None, description=f"When it ends; null: never; left out: in {USUAL_DAYS} days."
    )


class KeyDocument(BaseModel):
    """A key as it can be shown; the key itself is no part of it."""

    id: str
    name: str
    roles: list[Role]
    collections: list[str] | None = Field(description="Accessions; null: in all collections.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Exact to ten minutes.")


class GivenKeyDocument(KeyDocument):
    """A key that was just given."""

    key: str = Field(description="The key itself, for `Authorization: Bearer KEY`; it is shown this once.")


class KeyList(BaseModel):
    """Some of the keys, by name."""

    keys: list[KeyDocument]
    total: int = Field(description="How many there are that the caller may give and take back.")


@router.post("/keys", status_code=201)
async def give_key(
    request: Request, response: Response, services: ServicesOf, principal: PrincipalOf, wanted: NewKeyOrder
) -> GivenKeyDocument:
    """Give a key to a person or program: an admin any, a manager those of readers, submitters and curators.

    A manager of some collections gives keys for these.
    """
    expires_at = wanted.expires_at
    if "expires_at" not in wanted.model_fields_set:
        expires_at = datetime.now(UTC) + timedelta(days=USUAL_DAYS)
    given = await services.key_management.give(
        principal, wanted.name, wanted.roles, accessions=wanted.collections, expires_at=expires_at
    )
    shown = await services.key_management.find(principal, given.key.public_id)
    response.headers["location"] = f"{base_url_of(request)}/keys/{given.key.public_id}"
    response.headers["cache-control"] = "no-store"
    return GivenKeyDocument(key=given.text, **_document(shown).model_dump())


@router.get("/keys")
async def list_keys(
    services: ServicesOf,
    principal: PrincipalOf,
    ended: Annotated[bool, Query(description="Also those that were taken back or have expired.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> KeyList:
    """List the keys that the caller may give and take back, by name."""
    found, total = await services.key_management.listed(principal, ended=ended, limit=limit, offset=offset)
    return KeyList(keys=[_document(each) for each in found], total=total)


@router.get("/keys/{key}")
async def show_key(key: KeyId, services: ServicesOf, principal: PrincipalOf) -> KeyDocument:
    """Show what is known of a key, also of one that counts no more."""
    return _document(await services.key_management.find(principal, key))


@router.delete("/keys/{key}", status_code=204)
async def revoke_key(key: KeyId, services: ServicesOf, principal: PrincipalOf) -> None:
    """Take a key back: it opens nothing within seconds, nor do sessions of browsers that were begun with it."""
    await services.key_management.revoke(principal, key)


def _document(key: ListedKey) -> KeyDocument:
    return KeyDocument(
        id=key.public_id,
        name=key.name,
        # A later release may know more of them.
        roles=[role for role in Role if role.value in key.roles],
        collections=None if key.accessions is None else list(key.accessions),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )
