"""System resources: where things are, health, metrics."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from dicomweb_archive import __version__
from dicomweb_archive.services.access import Role, require_everywhere
from dicomweb_archive.web.dependencies import DICOMWEB, Services, base_url_of, get_principal, get_services

router = APIRouter(tags=["system"])

ServicesOf = Annotated[Services, Depends(get_services)]


class Pointer(BaseModel):
    """Where the archive's doors are."""

    name: Literal["dicomweb-archive"] = "dicomweb-archive"
    version: str
    dicomweb: str = Field(description="Base URI of the DICOMweb services (PS3.18 8.2).")
    documentation: str
    description: str = Field(description="OpenAPI description of every route.")


class Liveness(BaseModel):
    """The process runs."""

    status: Literal["alive"] = "alive"


class ReadinessReport(BaseModel):
    """Whether requests should be sent to this process, and what is missing."""

    status: Literal["ready", "degraded", "unavailable"] = Field(
        description="`degraded`: reads are served, stores are refused for want of room."
    )
    database: bool
    storage: bool
    room: bool = Field(description="Free space is above the watermark.")


@router.head("/", include_in_schema=False)
@router.get("/")
async def pointer(request: Request, response: Response) -> Pointer:
    """Point a program to the DICOMweb root and the API pages; a browser gets the home page at the same address."""
    response.headers["vary"] = "Accept"
    base = base_url_of(request)
    return Pointer(
        version=__version__,
        dicomweb=f"{base}{DICOMWEB}",
        documentation=f"{base}/docs",
        description=f"{base}/openapi.json",
    )


@router.get("/health/live")
async def live() -> Liveness:
    """Say that the event loop turns; a supervisor restarts the process when this fails."""
    return Liveness()


@router.get("/health/ready", responses={503: {"model": ReadinessReport}})
async def ready(services: ServicesOf, response: Response) -> ReadinessReport:
    """Say whether database and storage answer; a balancer sends requests elsewhere while this is 503."""
    found = await services.health.readiness()
    if not found.ready:
        response.status_code = 503
    status: Literal["ready", "degraded", "unavailable"] = "degraded" if found.ready else "unavailable"
    if found.ready and found.room:
        status = "ready"
    return ReadinessReport(status=status, database=found.database, storage=found.storage, room=found.room)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(services: ServicesOf, request: Request) -> Response:
    """Give Prometheus the figures of all server processes.

    They count what is stored and asked for in quarantine too, so they are for who manages the whole archive.
    """
    require_everywhere(await get_principal(request), Role.MANAGER)
    return Response(services.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
