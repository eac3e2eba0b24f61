"""The page for operators: how the archive is, and what to do about it."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import DatabaseUnavailableError, QueryTooExpensiveError
from dicomweb_archive.index.reading.overview import Summary
from dicomweb_archive.observability import BlockTotals, RouteTotal
from dicomweb_archive.services.access import Principal, Role, require_everywhere
from dicomweb_archive.services.health import Readiness
from dicomweb_archive.services.status import Figures
from dicomweb_archive.web.dependencies import Services, get_principal, get_services
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.pages.rendering import has_viewer, render
from dicomweb_archive.web.routing import PageRoute

_ROUTES_SHOWN: Final = 12
_MANY_PACKS: Final = 1000
_FEW_INSTANCES: Final = 10
_MANY_REQUESTS: Final = 100


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that an operator should know, and the way out."""

    level: Literal["bad", "warn", "note"]
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that the page shows; what the database would say is missing while it does not answer."""

    readiness: Readiness
    free_bytes: int | None
    watermark_bytes: int
    figures: Figures | None
    summary: Summary | None
    totals: Sequence[RouteTotal]
    blocks: BlockTotals

    @property
    def requests(self) -> int:
        """Requests answered since the archive was started."""
        return sum(total.requests for total in self.totals)

    @property
    def failures(self) -> int:
        """Those of them that failed on our side."""
        return sum(total.failures for total in self.totals)


async def show_status(request: Request) -> Response:
    """Show how the archive is."""
    services = get_services(request)
    principal = await get_principal(request)
    require_everywhere(principal, Role.MANAGER)
    found = await _look(services, principal)
    return await render(
        request,
        "status.html",
        200 if found.readiness.ready else 503,
        found=found,
        advice=list(_advice(found, is_open=services.access.is_open, viewer=has_viewer(request))),
        totals=found.totals[:_ROUTES_SHOWN],
        workers=services.status.workers,
        uptime=(datetime.now(UTC) - services.status.started_at).total_seconds(),
    )


async def _look(services: Services, principal: Principal) -> Findings:
    readiness, free_bytes, totals, blocks = await asyncio.gather(
        services.health.readiness(),
        services.health.free_bytes(),
        asyncio.to_thread(services.metrics.totals),
        asyncio.to_thread(services.metrics.block_totals),
    )
    figures = summary = None
    if readiness.database:
        try:
            figures = await services.status.figures(principal)
            summary = (await services.overview.summary(principal)).value
        except (DatabaseUnavailableError, QueryTooExpensiveError):
            # The page is for such moments: it shows the rest.
            figures = None
    watermark = services.health.free_space_watermark_bytes
    return Findings(readiness, free_bytes, watermark, figures, summary, totals, blocks)


def _advice(found: Findings, *, is_open: bool, viewer: bool) -> Iterator[Advice]:
    yield from _failures(found)
    yield from _room(found)
    if _has_small_packs(found):
        text = "Senders store few instances at a time. A request with a whole series makes one pack and is faster."
        yield Advice("note", "Packs are small", text)
    if is_open:
        text = (
            "Whoever reaches this address may store and delete. Set DICOMWEB_ARCHIVE_API_KEY, or "
            "DICOMWEB_ARCHIVE_AUTHENTICATION=keys and make keys with `dicomweb-archive keys create`."
        )
        yield Advice("note", "No key is asked for", text)
    if not viewer:
        text = "`dicomweb-archive viewer install` puts it beside the archive; start the archive anew afterwards."
        yield Advice("note", "No viewer is installed", text)


def _has_small_packs(found: Findings) -> bool:
    if found.figures is None or found.summary is None:
        return False
    packs = found.figures.packs.packs
    return packs > _MANY_PACKS and found.summary.instances < packs * _FEW_INSTANCES


def _failures(found: Findings) -> Iterator[Advice]:
    if not found.readiness.database:
        text = (
            "Nothing can be searched, stored or retrieved. See whether PostgreSQL runs and takes connections, and "
            "whether DICOMWEB_ARCHIVE_DATABASE_URL still names it."
        )
        yield Advice("bad", "The database does not answer", text)
    elif found.figures is None:
        yield Advice("warn", "The database is slow", "It could not be measured in time; see what else runs on it.")
    if not found.readiness.storage:
        text = "Images can be neither stored nor retrieved. See whether the folder of the objects is mounted."
        yield Advice("bad", "The object store does not answer", text)
    if found.blocks.disk_failures:
        text = (
            "What is read from the bucket is kept in memory only while its disk is full or fails. The log has the "
            "reason; see DICOMWEB_ARCHIVE_BLOCK_CACHE_DIR."
        )
        yield Advice("warn", "The block cache could not use its disk", text)
    if found.requests > _MANY_REQUESTS and found.failures * 100 > found.requests:
        text = "More than one request in a hundred failed on our side. The log has each under its request id."
        yield Advice("warn", "Requests fail", text)


def _room(found: Findings) -> Iterator[Advice]:
    free, watermark = found.free_bytes, found.watermark_bytes
    if not found.readiness.storage or free is None:
        return
    if not found.readiness.room:
        text = (
            "Stores are refused with 507 until more is free than the watermark; reading goes on. Make room on the "
            "volume of the objects, or move it to a larger one."
        )
        yield Advice("bad", "No room is left to store", text)
    elif free < 5 * watermark:
        text = "Less than five times the watermark is free. Plan for a larger volume before stores are refused."
        yield Advice("warn", "Room is getting short", text)


routes = [PageRoute("/status", as_page(show_status), name="status_page")]
