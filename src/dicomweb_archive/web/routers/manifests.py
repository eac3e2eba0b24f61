"""Manifests of submissions as resources of our own: announced, and compared with what has come."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import orjson
from fastapi import Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.curation.manifests import Manifest, Standing, Totals
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.manifests import StandingsPage
from dicomweb_archive.web.conditional import CACHE_CONTROL, expected_revision, revision_tag
from dicomweb_archive.web.dependencies import Services, get_principal, get_services
from dicomweb_archive.web.json_routes import IF_MATCH, JsonRoute, json_router

MOST_INSTANCES: Final = 50_000
"""Instances that a manifest may name; the length of its body bounds those with digests to some 20,000."""

_FIRST: Final = 100
_UID: Final = r"^[0-9]+(\.[0-9]+)*$"

router = json_router("submissions")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
SubmissionName = Annotated[str, Path(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Count = Annotated[int, Field(ge=0, lt=2**31)]


class AnnouncedInstance(BaseModel):
    """An instance that is to come."""

    model_config = ConfigDict(extra="forbid")
    sop_instance_uid: str = Field(max_length=64, pattern=_UID)
    digest: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="BLAKE3 (256 bits, hexadecimal) of its Part 10 file; left out, any bytes will do.",
    )


_INSTANCES: Final = TypeAdapter(list[AnnouncedInstance])
# Some milliseconds of validation; and of many mistakes the first ones tell enough.
_AT_ONCE: Final = 500
_TOLD: Final = 20


class TotalsDocument(BaseModel):
    """How much is announced; of what is left out nothing is said."""

    model_config = ConfigDict(extra="forbid")
    studies: Count | None = None
    series: Count | None = None
    instances: Count | None = None
    size_bytes: int | None = Field(default=None, ge=0, lt=2**63)


NO_TOTALS = TotalsDocument()


class ManifestDocument(BaseModel):
    """What a submitter announces."""

    model_config = ConfigDict(extra="forbid")
    totals: TotalsDocument = NO_TOTALS
    instances: list[AnnouncedInstance] = Field(
        default=[], max_length=MOST_INSTANCES, description="Empty: only the totals are compared."
    )


class HeldDocument(BaseModel):
    """What is in the submission."""

    studies: int
    series: int
    instances: int
    size_bytes: int


class StandingDocument(BaseModel):
    """An instance that does not stand as it was announced."""

    sop_instance_uid: str
    standing: Standing


class ComparedDocument(BaseModel):
    """What was announced, beside what is in the submission now."""

    set_by: str
    set_at: datetime
    fingerprint: str = Field(
        description="SHA-256 (hexadecimal) of a line `UID DIGEST` for each instance that was announced, in the order "
        "of UIDs, `-` where no digest was; by it a sender knows its own manifest again."
    )
    agrees: bool = Field(description="Nothing is missing, unexpected or differing, and the totals are those announced.")
    totals: TotalsDocument
    held: HeldDocument
    expected: int = Field(description="Instances that were announced by their UIDs.")
    there: int = Field(description="Those of them that are there, with the bytes that were announced.")
    missing: int
    unexpected: int
    differing: int
    instances: list[StandingDocument] = Field(description="The first that do not stand as announced, by UID.")
    next: str | None = Field(description="`since` of those behind these; null when there are none.")


class _ParsedRequest(Request):
    """A request whose body has been read as a document."""

    document: ManifestDocument

    async def json(self) -> ManifestDocument:
        return self.document


class ManifestRoute(JsonRoute):
    """The route of a body with tens of thousands of instances, which others would wait for were it read at once."""

    async def prepare(self, request: Request, body: bytes) -> Request:
        """Read the body in a thread; FastAPI takes the document as it is."""
        parsed = _ParsedRequest(request.scope, request.receive)
        parsed.document = await asyncio.to_thread(read_manifest, body)
        return parsed


def read_manifest(body: bytes) -> ManifestDocument:
    """Read a manifest in steps of a millisecond or two, between which other threads go on.

    Raises:
        RequestValidationError: it is no manifest; of many reasons the first are told.
    """
    try:
        said: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body",)}]) from None
    instances = said.pop("instances", []) if isinstance(said, dict) else []
    if not isinstance(instances, list) or len(instances) > MOST_INSTANCES:
        raise RequestValidationError([{"type": "list", "loc": ("body", "instances")}])
    document = _validated(ManifestDocument.model_validate, said)
    for start in range(0, len(instances), _AT_ONCE):
        some = instances[start : start + _AT_ONCE]
        document.instances += _validated(_INSTANCES.validate_python, some, "instances", start=start)
    return document


_Read = TypeVar("_Read")


def _validated(validate: Callable[[Any], _Read], said: Any, *where: str, start: int = 0) -> _Read:
    try:
        return validate(said)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[:_TOLD]
        places = [tuple(start + at if isinstance(at, int) else at for at in each["loc"]) for each in found]
        told = [{**each, "loc": ("body", *where, *place)} for each, place in zip(found, places, strict=True)]
        raise RequestValidationError(told) from None


async def set_manifest(
    submission: SubmissionName,
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: ManifestDocument,
) -> ComparedDocument:
    """Announce what an open submission will hold, in the place of what was announced; If-Match names its revision."""
    manifest = await asyncio.to_thread(_manifest_of, asked)
    revision = expected_revision(request)
    page = await services.manifests.put(principal, submission, revision, manifest, limit=_FIRST)
    return _answer(response, page, _FIRST)


router.add_api_route(
    "/submissions/{submission}/manifest",
    set_manifest,
    methods=["PUT"],
    openapi_extra=IF_MATCH,
    route_class_override=ManifestRoute,
)


def _manifest_of(asked: ManifestDocument) -> Manifest:
    instances = {
        each.sop_instance_uid: None if each.digest is None else bytes.fromhex(each.digest) for each in asked.instances
    }
    if len(instances) < len(asked.instances):
        raise InvalidParameterError("instances", accepted="each SOP Instance UID once")
    return Manifest(Totals(**asked.totals.model_dump()), instances)


@router.get("/submissions/{submission}/manifest")
async def compare_manifest(
    submission: SubmissionName,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    standing: Annotated[Standing | None, Query(description="List only these.")] = None,
    since: Annotated[str, Query(max_length=64, pattern="^[0-9.]*$", description="UID behind which to begin.")] = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = _FIRST,
) -> ComparedDocument:
    """Compare what was announced with what is in the submission now; what was published has left it."""
    page = await services.manifests.compare(principal, submission, standing, after=since, limit=limit)
    return _answer(response, page, limit)


def _answer(response: Response, page: StandingsPage, limit: int) -> ComparedDocument:
    response.headers["etag"] = revision_tag(page.revision)
    response.headers["cache-control"] = CACHE_CONTROL
    compared = page.compared
    found = compared.for_check()
    listed = [StandingDocument(sop_instance_uid=uid, standing=standing) for uid, standing in page.instances]
    return ComparedDocument(
        set_by=compared.set_by,
        set_at=compared.set_at,
        fingerprint=compared.fingerprint,
        agrees=not (found.missing or found.unexpected or found.other_bytes or found.other_totals),
        totals=TotalsDocument(**{name: getattr(compared.totals, name) for name in TotalsDocument.model_fields}),
        held=HeldDocument(**{name: getattr(compared.held, name) for name in HeldDocument.model_fields}),
        expected=compared.named,
        there=compared.there,
        missing=compared.missing,
        unexpected=compared.unexpected,
        differing=compared.differing,
        instances=listed,
        next=listed[-1].sop_instance_uid if len(listed) == limit else None,
    )
