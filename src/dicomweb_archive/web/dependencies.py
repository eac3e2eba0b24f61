"""What routes are handed: the services of this process and the principal of the request."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.observability import Metrics
from dicomweb_archive.services.access import AccessPolicy, Principal
from dicomweb_archive.services.admission import Admission
from dicomweb_archive.services.bulkdata import BulkdataService
from dicomweb_archive.services.changes import ChangeService
from dicomweb_archive.services.checks.service import CheckService
from dicomweb_archive.services.collections import CollectionService
from dicomweb_archive.services.composition.service import CompositionService
from dicomweb_archive.services.delete import DeleteService
from dicomweb_archive.services.edits.service import EditService
from dicomweb_archive.services.facets import FacetService
from dicomweb_archive.services.health import HealthService
from dicomweb_archive.services.inventory.service import InventoryService
from dicomweb_archive.services.jobs.service import JobService
from dicomweb_archive.services.keys.managing import KeyManagement
from dicomweb_archive.services.keys.ring import KeyRing
from dicomweb_archive.services.overview import OverviewService
from dicomweb_archive.services.purge import PurgeService
from dicomweb_archive.services.rendered import RenderService
from dicomweb_archive.services.retrieve import RetrieveService
from dicomweb_archive.services.roots import RootService
from dicomweb_archive.services.search import SearchService
from dicomweb_archive.services.status import StatusService
from dicomweb_archive.services.store import StoreService
from dicomweb_archive.services.submissions.conflict_decisions import ConflictDecisionService
from dicomweb_archive.services.submissions.conflicts import ConflictService
from dicomweb_archive.services.submissions.decisions import DecisionService
from dicomweb_archive.services.submissions.manifests import ManifestService
from dicomweb_archive.services.submissions.publishing import PublishingService
from dicomweb_archive.services.submissions.submissions import SubmissionService
from dicomweb_archive.services.submissions.withdrawing import WithdrawingService
from dicomweb_archive.services.tags import TagService
from dicomweb_archive.services.thumbnails import ThumbnailService
from dicomweb_archive.services.uri import UriService
from dicomweb_archive.services.webhooks.service import WebhookService
from dicomweb_archive.web.addresses import Addresses
from dicomweb_archive.web.authentication import principal_of
from dicomweb_archive.web.routing import ASKED_ROOT
from dicomweb_archive.web.sessions import Sessions
from dicomweb_archive.web.viewer.files import ViewerFiles
from dicomweb_archive.wire import roots
from dicomweb_archive.wire.multipart import MultipartLimits
from dicomweb_archive.wire.resources import ServiceRoot, parse_uid
from dicomweb_archive.wire.search_limits import SearchLimits

DICOMWEB = roots.DICOMWEB
"""Path of the DICOMweb services below the archive's root (PS3.18 8.2: the base URI), as routes are written."""

_ROOT = "dicomweb_archive.root"
"""Where the scope of a request keeps what builds its URLs, once they are asked for."""

WADO_URI = "/wado"
"""Path of the URI service below the archive's root (PS3.18 9.1), where viewers expect it."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds of request bodies."""

    idle_timeout_seconds: float
    minimum_bytes_per_second: int
    instance_bytes: int
    multipart: MultipartLimits


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that routes call, built once in `app.py`."""

    addresses: Addresses
    cors_origins: frozenset[str]
    access: AccessPolicy
    keys: KeyRing
    key_management: KeyManagement
    sessions: Sessions | None
    metrics: Metrics
    health: HealthService
    store: StoreService
    roots: RootService
    submissions: SubmissionService
    decisions: DecisionService
    conflicts: ConflictService
    conflict_decisions: ConflictDecisionService
    manifests: ManifestService
    admission: Admission
    checks: CheckService
    composition: CompositionService
    publishing: PublishingService
    withdrawing: WithdrawingService
    search: SearchService
    facets: FacetService
    tags: TagService
    retrieve: RetrieveService
    bulkdata: BulkdataService
    rendered: RenderService
    thumbnails: ThumbnailService
    uri: UriService
    delete: DeleteService
    purge: PurgeService
    overview: OverviewService
    status: StatusService
    jobs: JobService
    changes: ChangeService
    webhooks: WebhookService
    collections: CollectionService
    inventory: InventoryService
    edits: EditService
    body_limits: BodyLimits
    search_limits: Mapping[Level, SearchLimits]
    viewer: ViewerFiles | None


def get_services(request: Request) -> Services:
    """Return the services of this process."""
    services: Services = request.scope["app"].state.services
    return services


def base_url_of(request: Request) -> str:
    """Return the archive's root as the client addresses it, without a slash at the end; see `Addresses`."""
    return get_services(request).addresses.base_of(request)


def asked_root_of(request: Request) -> roots.AskedRoot:
    """Return the root that the path of this request begins with: that of what is published, if with no other."""
    asked: roots.AskedRoot = request.scope.get(ASKED_ROOT, roots.PUBLISHED)
    return asked


def root_of(request: Request) -> ServiceRoot:
    """Return what builds the URLs of resources in the answer to this request, below the root that was asked."""
    root: ServiceRoot | None = request.scope.get(_ROOT)
    if root is None:
        root = request.scope[_ROOT] = ServiceRoot(base_url_of(request) + asked_root_of(request).path)
    return root


def location_of(request: Request) -> str:
    """Return the URL of the resource that was asked for; its path is one that we have read and found sound."""
    path: str = request.scope["path"]
    below = path.removeprefix(request.scope.get("root_path", "")).removeprefix(asked_root_of(request).path)
    return root_of(request).url + below


async def get_principal(request: Request) -> Principal:
    """Return who is calling, and what they see and may do through the root that the path begins with.

    Raises:
        NotFoundError: there is no such root, or nothing in it is for this principal.
        UnauthenticatedError: the credentials are not known, or the root is nothing for callers without any.
    """
    services = get_services(request)
    principal = await principal_of(request, services.keys, services.sessions, services.addresses)
    return await services.roots.through(principal, asked_root_of(request))


def scope_of(request: Request) -> Scope:
    """Return which study, series or instance the path names.

    Raises:
        InvalidRequestError: one of the identifiers is no UID.
    """
    named = request.path_params
    return Scope(
        parse_uid(named["study"], "study"),
        parse_uid(named["series"], "series") if "series" in named else None,
        parse_uid(named["instance"], "instance") if "instance" in named else None,
    )
