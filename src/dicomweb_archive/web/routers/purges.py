"""Purges: what must leave no trace, taken away by admins."""

from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.transitions import Reason
from dicomweb_archive.web.dependencies import Services, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router

router = json_router("curation")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
Uid = Annotated[str, Field(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$")]


class PurgeOrder(BaseModel):
    """What is to be purged, and why."""

    model_config = ConfigDict(extra="forbid")
    study: Uid = Field(description="Study Instance UID.")
    series: Uid | None = Field(default=None, description="Series Instance UID, for one series of it.")
    instance: Uid | None = Field(default=None, description="SOP Instance UID, for one instance of that series.")
    reason: Reason

    @model_validator(mode="after")
    def _is_a_path(self) -> "PurgeOrder":
        if self.instance is not None and self.series is None:
            message = "an instance is named with its series"
            raise ValueError(message)
        return self


class PurgeDocument(BaseModel):
    """What a purge has done."""

    instances: int = Field(description="How many there were; none when an earlier purge was brought to its end.")
    objects: int = Field(description="How many objects were deleted.")
    rewritten: int = Field(description="How many packs were written anew without it.")
    damaged: int = Field(description="Instances beside it whose bytes were not those stored; they are as they were.")
    missing: int = Field(description="Objects that the store does not have, or not now; ask again when they are back.")
    tombstones: list[str] = Field(description="Keys of the objects that say what was purged.")


@router.post("/purges")
async def purge(request: Request, services: ServicesOf, principal: PrincipalOf, asked: PurgeOrder) -> PurgeDocument:
    """Purge a study, series or instance from the archive and every submission: its rows and its bytes.

    Nothing brings it back. After an error, ask again: that brings the purge to its end.
    """
    scope = Scope(asked.study, asked.series, asked.instance)
    report = await services.purge.purge(scope, principal, asked.reason.value)
    return PurgeDocument(
        instances=report.instances,
        objects=report.objects,
        rewritten=report.rewritten,
        damaged=report.damaged,
        missing=report.missing,
        tombstones=list(report.tombstones),
    )
