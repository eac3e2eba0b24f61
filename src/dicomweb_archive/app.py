"""The composition root: settings -> stores -> services -> the HTTP application."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp

from dicomweb_archive import __version__
from dicomweb_archive.background import (
    at_work,
    check_service,
    conflict_decision_service,
    edit_service,
    inventory_service,
    open_runner,
    submission_service,
)
from dicomweb_archive.dicom.query import Level
from dicomweb_archive.errors import SetupError
from dicomweb_archive.index.curation.collection_index import CollectionIndex
from dicomweb_archive.index.curation.conflicts import ConflictIndex
from dicomweb_archive.index.curation.findings import FindingIndex
from dicomweb_archive.index.curation.foresight import Foresight
from dicomweb_archive.index.curation.manifests import ManifestIndex
from dicomweb_archive.index.curation.purging import Purging
from dicomweb_archive.index.curation.submissions import SubmissionIndex
from dicomweb_archive.index.curation.withdrawal import Withdrawal
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.figures import FiguresIndex
from dicomweb_archive.index.events.feed import FeedIndex
from dicomweb_archive.index.events.sealing import Sealer
from dicomweb_archive.index.events.webhooks import WebhookIndex
from dicomweb_archive.index.jobs.listing import JobList
from dicomweb_archive.index.reading.documents import MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.reading.overview import OverviewIndex
from dicomweb_archive.index.reading.representatives import RepresentativeIndex
from dicomweb_archive.index.reading.roots import RootIndex
from dicomweb_archive.index.reading.study_details import StudyDetailsIndex
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.search.facets import FacetIndex
from dicomweb_archive.index.upkeep.held_paths import HeldPathsIndex
from dicomweb_archive.index.writing.keys import KeyIndex
from dicomweb_archive.index.writing.publication import Publication
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal
from dicomweb_archive.observability import Metrics
from dicomweb_archive.services.access import AccessPolicy, Role
from dicomweb_archive.services.admission import Admission
from dicomweb_archive.services.bulkdata import BulkdataService
from dicomweb_archive.services.changes import ChangeService
from dicomweb_archive.services.collections import CollectionService
from dicomweb_archive.services.composition.limits import CompositionLimits
from dicomweb_archive.services.composition.service import CompositionService
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.services.delete import DeleteService
from dicomweb_archive.services.destinations import Destinations
from dicomweb_archive.services.drawing import DrawingThread
from dicomweb_archive.services.facets import FacetService
from dicomweb_archive.services.health import HealthService
from dicomweb_archive.services.jobs.runner import JobRunner
from dicomweb_archive.services.jobs.service import JobService
from dicomweb_archive.services.keys.giving import KeyService
from dicomweb_archive.services.keys.managing import KeyManagement
from dicomweb_archive.services.keys.ring import KeyRing
from dicomweb_archive.services.overview import OverviewService
from dicomweb_archive.services.own_objects import open_own_objects
from dicomweb_archive.services.pictures import Pictures
from dicomweb_archive.services.purge import PurgeService
from dicomweb_archive.services.rendered import RenderService
from dicomweb_archive.services.retrieve import RetrieveService
from dicomweb_archive.services.roots import RootService
from dicomweb_archive.services.search import SearchService
from dicomweb_archive.services.status import StatusService
from dicomweb_archive.services.store import StoreLimits, StoreService
from dicomweb_archive.services.submissions.conflicts import ConflictService
from dicomweb_archive.services.submissions.decisions import DecisionService
from dicomweb_archive.services.submissions.kept_files import KeptFiles
from dicomweb_archive.services.submissions.manifests import ManifestService
from dicomweb_archive.services.submissions.publishing import PublishingService
from dicomweb_archive.services.submissions.withdrawing import WithdrawingService
from dicomweb_archive.services.tags import TagService
from dicomweb_archive.services.thumbnails import ThumbnailService
from dicomweb_archive.services.uri import UriService
from dicomweb_archive.services.webhooks.service import WebhookService
from dicomweb_archive.settings import Settings
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.blocks.cache import BlockCache, BlockSettings
from dicomweb_archive.storage.blocks.store import BlockStore
from dicomweb_archive.web import errors, middleware
from dicomweb_archive.web.addresses import Addresses
from dicomweb_archive.web.dependencies import BodyLimits, Services
from dicomweb_archive.web.door import Door
from dicomweb_archive.web.hosts import HostGuard, host_rule
from dicomweb_archive.web.openapi import document as openapi
from dicomweb_archive.web.pages import assets, collections, curation, home, status, study, webhooks
from dicomweb_archive.web.routers import (
    capabilities,
    delete,
    facets,
    rendered,
    retrieve,
    search,
    sign_in,
    store,
    tags,
    thumbnails,
    uri,
    viewer,
)
from dicomweb_archive.web.sessions import Sessions
from dicomweb_archive.web.viewer.files import ViewerFiles, read_viewer
from dicomweb_archive.wire.multipart import MultipartLimits
from dicomweb_archive.wire.search_limits import SearchLimits
from dicomweb_archive.wire.webhook_targets import AllowedHosts

# A bucket lets each pack wait for some 10 ms, whatever is in it, and takes many side by side.
_CONVOYS_TO_BUCKETS = 8


def create_app(settings: Settings) -> FastAPI:
    """Build the application; what it needs is opened when it starts and closed when it ends."""
    metrics = Metrics()
    app = FastAPIOffline(
        title=openapi.TITLE,
        version=__version__,
        lifespan=_lifespan(settings, metrics),
        # Its traces would hold paths and queries, with the names and identifiers in them.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        # The redirect would be built from the Host header as it came, checked by nobody (see `web/addresses.py`).
        redirect_slashes=False,
    )
    # Many requests a second first: routes are tried in order. `/studies/facets` would be taken for a study.
    for router in (facets, retrieve, thumbnails, rendered, uri, search, store, delete, tags, capabilities):
        app.router.routes.extend(router.routes)
    for page in (home, collections, curation, study, status, webhooks, assets, viewer, sign_in):
        app.router.routes.extend(page.routes)
    # Not by `include_router`, behind which nobody sees what methods a path knows.
    for described in openapi.JSON_ROUTERS:
        app.router.routes.extend(described.router.routes)
    openapi.install(app)
    errors.install(app)
    app.middleware_stack = _rooms_before(app, settings, metrics)
    return app


def _rooms_before(app: FastAPI, settings: Settings, metrics: Metrics) -> ASGIApp:
    """Return what each request passes before a handler, innermost first: the framework's own is behind the door."""
    behind = ExceptionMiddleware(AsyncExitStackMiddleware(app.router), app.exception_handlers)
    rooms: ASGIApp = Door(behind, app.routes)
    if settings.cors_origins:
        rooms = CORSMiddleware(
            rooms,
            allow_origins=settings.cors_origins,
            allow_methods=middleware.ALLOWED_METHODS,
            allow_headers=middleware.ALLOWED_HEADERS,
            expose_headers=middleware.EXPOSED_HEADERS,
        )
    rule = host_rule(settings.allowed_hosts, settings.public_url, has_key=not settings.is_open)
    if rule is not None:
        rooms = HostGuard(rooms, rule)
    return middleware.RequestRecorder(
        rooms, metrics=metrics, cross_origin=bool(settings.cors_origins), root_path=settings.root_path
    )


def _lifespan(
    settings: Settings, metrics: Metrics
) -> Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, object] | None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, metrics) as services:
            app.state.services = services
            yield

    return lifespan


@asynccontextmanager
async def open_services(settings: Settings, metrics: Metrics) -> AsyncIterator[Services]:
    """Open database, object store and decoding pool, and build the services on them.

    Raises:
        SetupError: no database is named, or something cannot be used as it is.
        DatabaseUnavailableError: the database does not answer.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(await _open_database(settings))
        objects = await _open_cached(settings, metrics, database)
        stack.push_async_callback(objects.close)
        decoding = DecodingPool(
            workers=settings.decode_workers,
            timeout_seconds=settings.decode_timeout_seconds,
            memory_bytes=settings.decode_memory_bytes,
        )
        stack.push_async_callback(decoding.close)
        drawing = DrawingThread(timeout_seconds=settings.decode_timeout_seconds)
        stack.callback(drawing.close)
        viewer_files = await asyncio.to_thread(_read_viewer, settings)
        runner = open_runner(settings, database, objects)
        key_index = KeyIndex(database)
        keys = await asyncio.to_thread(_key_ring, settings, key_index)
        sessions = await _open_sessions(settings, key_index)
        services = _build_services(
            settings, metrics, database, objects, decoding, drawing, viewer_files, runner, keys, sessions
        )
        stack.push_async_callback(services.overview.close)
        stack.push_async_callback(services.tags.close)
        stack.push_async_callback(services.status.close)
        stack.push_async_callback(services.changes.close)
        if settings.job_slots:
            await stack.enter_async_context(at_work(runner, services.changes.sealer))
        yield services


async def _open_database(settings: Settings) -> Database:
    if settings.database_url is None:
        message = "no database is named; set DICOMWEB_ARCHIVE_DATABASE_URL, or start with `dicomweb-archive serve`"
        raise SetupError(message)
    return await Database.open(
        settings.database_url.get_secret_value(),
        point_connections=settings.database_connections,
        search_connections=settings.search_connections,
        search_timeout_seconds=settings.search_timeout_seconds,
    )


async def _open_cached(settings: Settings, metrics: Metrics, database: Database) -> ObjectStore:
    """Open the store, and the block cache before it where objects lie in a bucket: a folder has the page cache."""
    store = await open_own_objects(settings, database)
    if settings.object_bucket is None or not (settings.block_cache_memory_bytes or settings.block_cache_disk_bytes):
        return store
    bounds = BlockSettings(
        namespace=f"{settings.s3_endpoint_url or ''} {settings.object_store_url}",
        memory_bytes=settings.block_cache_memory_bytes,
        disk_bytes=settings.block_cache_disk_bytes,
        folder=settings.block_cache_folder,
    )
    return BlockStore(store, await BlockCache.open(store, bounds, metrics.blocks))


def _read_viewer(settings: Settings) -> ViewerFiles | None:
    folder = settings.viewer_folder
    return None if folder is None else read_viewer(folder, f"{settings.root_path}/ohif/")


def _build_services(
    settings: Settings,
    metrics: Metrics,
    database: Database,
    objects: ObjectStore,
    decoding: DecodingPool,
    drawing: DrawingThread,
    viewer_files: ViewerFiles | None,
    runner: JobRunner,
    keys: KeyRing,
    sessions: Sessions | None,
) -> Services:
    instances = InstanceIndex(database, meters=metrics.locations)
    metadata = MetadataIndex(database, kept_root=settings.service_root)
    pictures = Pictures(instances, objects, decoding, drawing)
    removal = Removal(database, instances, timezone=settings.timezone)
    search_index = SearchIndex(database)
    checks_service = check_service(database, objects)
    edits_service = edit_service(database, objects, runner.wake)
    submission_index = SubmissionIndex(database)
    conflict_index = ConflictIndex(database)
    inventory = inventory_service(database)
    submissions_service = submission_service(database, checks_service, edits_service, inventory, runner.wake)
    store_limits = StoreLimits(
        hold_bytes=settings.hold_instance_bytes,
        pack_bytes=settings.pack_bytes,
        pack_instances=settings.pack_instances,
        free_space_watermark_bytes=settings.free_space_watermark_bytes,
        convoys_at_once=1 if settings.object_bucket is None else _CONVOYS_TO_BUCKETS,
    )
    return Services(
        addresses=Addresses(settings.base_url, settings.root_path, follow_host=settings.public_url is None),
        cors_origins=frozenset(settings.cors_origins),
        access=keys.policy,
        roots=RootService(RootIndex(database), is_public=Role.READER in keys.policy.anonymous().roles),
        keys=keys,
        key_management=KeyManagement(KeyService(KeyIndex(database)), keys.policy.is_open),
        sessions=sessions,
        metrics=metrics,
        health=HealthService(database, objects, settings.free_space_watermark_bytes),
        store=StoreService(
            Register(database, timezone=settings.timezone),
            objects,
            store_limits,
            Destinations(submission_index),
            conflict_index,
            FindingIndex(database),
        ),
        submissions=submissions_service,
        decisions=DecisionService(submissions_service, runner.queue),
        conflicts=ConflictService(submissions_service, conflict_index, KeptFiles(objects)),
        conflict_decisions=conflict_decision_service(settings, database, objects, submissions_service, instances),
        manifests=ManifestService(submissions_service, ManifestIndex(database)),
        checks=checks_service,
        publishing=PublishingService(
            submissions_service,
            Publication(database, instances, timezone=settings.timezone),
            objects,
            Foresight(database),
        ),
        withdrawing=WithdrawingService(Withdrawal(database, instances, timezone=settings.timezone)),
        admission=Admission(most=settings.store_requests, wait_seconds=settings.store_wait_seconds),
        composition=CompositionService(
            decoding,
            settings.data_dir,
            CompositionLimits(
                instances=settings.max_request_parts, watermark_bytes=settings.free_space_watermark_bytes
            ),
        ),
        tags=TagService(HeldPathsIndex(database)),
        facets=FacetService(FacetIndex(database, search_index)),
        search=SearchService(search_index),
        retrieve=RetrieveService(instances, metadata, objects, decoding),
        bulkdata=BulkdataService(instances, objects, decoding),
        rendered=RenderService(pictures, metadata),
        thumbnails=ThumbnailService(RepresentativeIndex(database), instances, pictures),
        uri=UriService(instances),
        delete=DeleteService(removal, objects),
        purge=PurgeService(Purging(database, removal), objects),
        overview=OverviewService(OverviewIndex(database), StudyDetailsIndex(database)),
        edits=edits_service,
        inventory=inventory,
        collections=CollectionService(CollectionIndex(database), settings.accession_prefix),
        status=StatusService(FiguresIndex(database), settings.workers),
        webhooks=WebhookService(
            WebhookIndex(database),
            FeedIndex(database),
            AllowedHosts.of(settings.webhook_hosts, settings.webhook_private_hosts),
        ),
        changes=ChangeService(FeedIndex(database), Sealer(database)),
        jobs=JobService(runner.queue, JobList(database), runner.kinds, runner.wake),
        body_limits=BodyLimits(
            idle_timeout_seconds=settings.body_idle_timeout_seconds,
            minimum_bytes_per_second=settings.body_minimum_bytes_per_second,
            instance_bytes=settings.max_instance_bytes,
            multipart=MultipartLimits(parts=settings.max_request_parts),
        ),
        search_limits=_search_limits(settings),
        viewer=viewer_files,
    )


def _key_ring(settings: Settings, index: KeyIndex) -> KeyRing:
    static_key = None if settings.api_key is None else settings.api_key.get_secret_value()
    policy = AccessPolicy(is_open=settings.is_open, anonymous_read=settings.anonymous_read)
    return KeyRing(index, policy, static_key)


async def _open_sessions(settings: Settings, index: KeyIndex) -> Sessions | None:
    if settings.is_open:
        return None
    return Sessions(await index.session_secret(), int(settings.session_hours * 3600))


def _search_limits(settings: Settings) -> dict[Level, SearchLimits]:
    largest = {
        Level.STUDY: settings.search_max_studies,
        Level.SERIES: settings.search_max_instances,
        Level.INSTANCE: settings.search_max_instances,
    }
    return {
        level: SearchLimits(
            default_limit=min(settings.search_default_limit, most),
            max_limit=most,
            table_rows=settings.export_rows_max,
            timezone=settings.timezone,
            refuse_unsupported=settings.unsupported_parameters == "refuse",
        )
        for level, most in largest.items()
    }
