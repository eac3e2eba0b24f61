"""Who am I: the principal of a request, so that programs and pages can offer what will not be refused."""

from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, Field

from dicomweb_archive.services.access import PrincipalKind, Role
from dicomweb_archive.web.authentication import principal_of
from dicomweb_archive.web.dependencies import Services, get_services
from dicomweb_archive.web.json_routes import json_router

router = json_router("system")

ServicesOf = Annotated[Services, Depends(get_services)]


class PrincipalDocument(BaseModel):
    """Who asks, and what they may do where."""

    name: str = Field(description="As it stands in events and trails; `anonymous` without a key.")
    kind: PrincipalKind
    roles: list[Role] = Field(description="With those that they include, the least first.")
    collections: list[str] | None = Field(
        description="Accessions of the collections in which the roles count; null: in all of them."
    )
    reads_open_collections: bool = Field(description="What is published in open collections may be read as well.")
    asked_for_keys: bool = Field(description="False: this archive lets everybody do everything.")


@router.get("/principal")
async def show_principal(request: Request, services: ServicesOf) -> PrincipalDocument:
    """Say who the caller is, by the key or session that the request carries, and which roles count where."""
    # As it is known by its key alone: what a root adds is no right of its own.
    principal = await principal_of(request, services.keys, services.sessions, services.addresses)
    return PrincipalDocument(
        name=principal.name,
        kind=principal.kind,
        roles=[role for role in Role if role in principal.roles],
        collections=await services.collections.accessions_of(principal),
        reads_open_collections=Role.READER in services.access.anonymous().roles,
        asked_for_keys=not services.access.is_open,
    )
