"""Webhooks: whom the archive tells of changes by itself, for managers of the collections that they are about."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from dicomweb_archive.index.events.webhooks import WebhookState
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.webhooks.service import NOW, PlacedWebhook
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router
from dicomweb_archive.wire.feed_places import LONGEST_PLACE
from dicomweb_archive.wire.webhook_messages import format_secret
from dicomweb_archive.wire.webhook_targets import LONGEST_URL

router = json_router("webhooks")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
WebhookId = Annotated[str, Path(max_length=32, pattern="^[a-z2-7]+$")]
Accession = Annotated[str, Field(max_length=64, pattern="^[A-Za-z0-9._-]+$")]


class NewWebhookDocument(BaseModel):
    """Where changes are to be sent, and of what."""

    model_config = ConfigDict(extra="forbid")
    url: str = Field(
        max_length=LONGEST_URL,
        description="Its host is one that the settings `WEBHOOK_HOSTS` or `WEBHOOK_PRIVATE_HOSTS` name.",
    )
    collections: list[Accession] | None = Field(
        default=None, max_length=1000, description="Accessions; null: of all collections, restricted ones too."
    )
    since: Annotated[str, Field(max_length=LONGEST_PLACE)] | None = Field(
        default=NOW, description="A place that the change feed has named, or `now`; null: from the first change on."
    )


class WebhookDocument(BaseModel):
    """A webhook, and how it is with it."""

    id: str
    resource: str = Field(description="URL of this document.")
    url: str
    collections: Sequence[str] | None
    state: WebhookState
    place: str = Field(description="Everything up to it was delivered.")
    failures: int = Field(description="Attempts that have failed since the last that has not.")
    problem: str | None = Field(description="Why the last attempt has failed.")
    next_attempt_at: datetime | None = Field(description="When it is tried again, after a failure.")
    delivered_at: datetime | None = Field(description="When a message was taken last.")
    created_by: str
    created_at: datetime


class MadeWebhookDocument(WebhookDocument):
    """A webhook that was just made."""

    secret: str = Field(description="What its messages are signed with; shown this once.")


class TestedDocument(BaseModel):
    """What came of a message that was sent to try a webhook."""

    problem: str | None = Field(description="Why it was not taken; null when it was.")


class WebhooksDocument(BaseModel):
    """The webhooks of the collections that the caller manages."""

    webhooks: list[WebhookDocument]


@router.post("/webhooks", status_code=201)
async def create_webhook(
    request: Request, response: Response, services: ServicesOf, principal: PrincipalOf, asked: NewWebhookDocument
) -> MadeWebhookDocument:
    """Have changes sent to a URL, signed as Standard Webhooks has it; each at least once, in order."""
    made = await services.webhooks.create(principal, asked.url, asked.collections, asked.since)
    document = _document(request, made)
    response.headers["location"] = document.resource
    response.headers["cache-control"] = "no-store"
    return MadeWebhookDocument(**document.model_dump(), secret=format_secret(made.webhook.secret))


@router.get("/webhooks")
async def list_webhooks(request: Request, services: ServicesOf, principal: PrincipalOf) -> WebhooksDocument:
    """List webhooks, and whether their targets take what they are sent."""
    return WebhooksDocument(webhooks=[_document(request, each) for each in await services.webhooks.listed(principal)])


@router.get("/webhooks/{webhook}")
async def show_webhook(
    request: Request, services: ServicesOf, principal: PrincipalOf, webhook: WebhookId
) -> WebhookDocument:
    """Show a webhook."""
    return _document(request, await services.webhooks.find(principal, webhook))


@router.delete("/webhooks/{webhook}", status_code=204)
async def delete_webhook(services: ServicesOf, principal: PrincipalOf, webhook: WebhookId) -> None:
    """End a webhook for good."""
    await services.webhooks.delete(principal, webhook)


@router.post("/webhooks/{webhook}/test")
async def test_webhook(services: ServicesOf, principal: PrincipalOf, webhook: WebhookId) -> TestedDocument:
    """Send a signed message of the type `test` now, whatever the state is, and say whether it was taken."""
    return TestedDocument(problem=await services.webhooks.test(principal, webhook))


@router.post("/webhooks/{webhook}/revive")
async def revive_webhook(
    request: Request, services: ServicesOf, principal: PrincipalOf, webhook: WebhookId
) -> WebhookDocument:
    """Try again now, also when it is dead; it goes on from where it was."""
    return _document(request, await services.webhooks.revive(principal, webhook))


def _document(request: Request, placed: PlacedWebhook) -> WebhookDocument:
    webhook = placed.webhook
    is_tried_again = webhook.state is WebhookState.ACTIVE and webhook.failures > 0
    return WebhookDocument(
        id=webhook.public_id,
        resource=f"{base_url_of(request)}/webhooks/{webhook.public_id}",
        url=webhook.url,
        collections=webhook.accessions,
        state=webhook.state,
        place=placed.place,
        failures=webhook.failures,
        problem=webhook.problem,
        next_attempt_at=webhook.next_attempt_at if is_tried_again else None,
        delivered_at=webhook.delivered_at,
        created_by=webhook.created_by,
        created_at=webhook.created_at,
    )
