"""The change feed: what happened to the published archive, for whoever keeps something of theirs in step with it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field

from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.changes import LONGEST_WAIT_SECONDS, PlacedChange
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router
from dicomweb_archive.wire.feed_places import LONGEST_PLACE

router = json_router("changes")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]


class ChangeResource(BaseModel):
    """Something that happened."""

    place: str = Field(description="Names this change for ever; as `since`, the changes behind it follow.")
    kind: str = Field(description="What happened, e.g. `instances_stored`, `study_published`, `study_deleted`.")
    at: datetime
    collection: str | None = Field(description="Accession of the collection that the study belongs to.")
    study_instance_uid: str | None
    series_instance_uids: Sequence[str] = Field(description="Series that it is about, as far as they are still there.")
    sop_instance_uid: str | None = Field(description="The instance, when it is about one.")
    instances: int | None = Field(description="How many instances were added or taken away.")


class ChangeFeed(BaseModel):
    """Changes in the order in which they count; nothing is ever put between those that were read."""

    changes: Sequence[ChangeResource]
    next: str = Field(description="What to give as `since` next.")
    next_url: str


@router.get("/changes")
async def list_changes(
    request: Request,
    services: ServicesOf,
    principal: PrincipalOf,
    since: Annotated[
        str | None,
        Query(
            max_length=LONGEST_PLACE,
            description="A place that this feed has named, or `now`; without it the feed begins with the first change.",
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    wait: Annotated[
        float,
        Query(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait for a change when there is none."),
    ] = 0,
) -> ChangeFeed:
    """Say what happened behind a place, of what the principal may see; fewer than `limit` is all there was."""
    page = await services.changes.changes(since, principal, limit=limit, wait_seconds=wait)
    query = urlencode({"since": page.next, "limit": limit} | ({"wait": wait} if wait else {}))
    return ChangeFeed(
        changes=[_resource(placed) for placed in page.changes],
        next=page.next,
        next_url=f"{base_url_of(request)}/changes?{query}",
    )


def _resource(placed: PlacedChange) -> ChangeResource:
    change = placed.change
    return ChangeResource(
        place=placed.place,
        kind=change.kind,
        at=change.at,
        collection=change.collection,
        study_instance_uid=change.study_instance_uid,
        series_instance_uids=list(change.series_instance_uids),
        sop_instance_uid=change.sop_instance_uid,
        instances=change.instances,
    )
