"""Conflicts of a submission as resources of our own: what came under a UID that was taken."""

from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from dicomweb_archive.dicom.instance import BULK_MARKER, Element
from dicomweb_archive.dicom.tags import format_tag, keyword_of
from dicomweb_archive.index.curation.conflict_decisions.rulings import Ruling, Selection
from dicomweb_archive.index.curation.conflicts import Conflict, ConflictDecision
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.transitions import Reason
from dicomweb_archive.web.conditional import expected_revision, revision_tag
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import IF_MATCH, json_router
from dicomweb_archive.wire.resources import ServiceRoot
from dicomweb_archive.wire.roots import PUBLISHED, AskedRoot, RootKind

router = json_router("submissions")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
SubmissionName = Annotated[str, Path(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]

ConflictId = Annotated[int, Path(ge=1, lt=2**63)]
Uid = Annotated[str, Field(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$")]
Prose = Annotated[str, Field(max_length=4000, pattern="^[^\\x00]*$")]

_LONGEST = 4096
"""Bytes of JSON of a value that is shown whole."""


class ConflictDocument(BaseModel):
    """An instance that is kept beside another of its SOP Instance UID."""

    id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    size_bytes: int
    digest: str = Field(description="BLAKE3 of its bytes as they are kept.")
    received_by: str
    received_at: datetime
    decision: ConflictDecision | None = Field(
        description="Null while nobody has decided. After `replace` this is what stood before."
    )
    decided_by: str | None
    decided_at: datetime | None
    reason: str = Field(description="Of the decision, or empty.")
    is_kept: bool = Field(description="Whether its bytes are still there.")
    standing: str | None = Field(description="URL of the instance that has the UID, where it may be seen.")


class ConflictsDocument(BaseModel):
    """A part of the conflicts of a submission, in the order in which they came."""

    conflicts: list[ConflictDocument]
    total: int
    next: int | None = Field(description="`since` of the conflicts behind these; null when there are none.")


class DifferenceDocument(BaseModel):
    """An attribute that the two instances do not have alike, in the DICOM JSON model (PS3.18 F.2)."""

    tag: str
    keyword: str | None
    standing: Any = Field(description="Null where it is missing; without Value where that is long.")
    conflict: Any


class ComparisonDocument(BaseModel):
    """A conflict beside the instance that has its UID."""

    conflict: ConflictDocument
    differences: list[DifferenceDocument]
    bulk: list[str] = Field(description="Tags of bulk values whose bytes differ; 7FE00010 are pixel data.")


class DecideConflict(BaseModel):
    """What becomes of a conflict, and why."""

    model_config = ConfigDict(extra="forbid")
    decision: ConflictDecision
    reason: Reason | None = Field(default=None, description="Needed to reject.")
    comment: Prose = Field(default="", description="For who reads the trail.")

    def ruling(self, principal: Principal) -> Ruling:
        """Return it as that of a principal."""
        reason = "" if self.reason is None else self.reason.value
        return Ruling(self.decision, principal.name, reason, self.comment)


class DecideConflicts(DecideConflict):
    """What becomes of undecided conflicts, and of which; all of the submission when nothing names any."""

    conflicts: list[Annotated[int, Field(ge=1, lt=2**63)]] | None = Field(default=None, min_length=1, max_length=10_000)
    study: Uid | None = Field(default=None, description="Study Instance UID.")
    series: Uid | None = Field(default=None, description="Series Instance UID.")


class DecidingDocument(BaseModel):
    """A decision on many conflicts that is being carried out."""

    submission: str = Field(description="URL of the submission.")
    revision: int
    job: str = Field(description="URL of the job: its result says how many were decided on, and what keeps others.")


@router.get("/submissions/{submission}/conflicts")
async def list_conflicts(
    submission: SubmissionName,
    request: Request,
    services: ServicesOf,
    principal: PrincipalOf,
    undecided: Annotated[
        bool | None, Query(description="Only those that nobody has decided on, or the others.")
    ] = None,
    since: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> ConflictsDocument:
    """List what came under a SOP Instance UID that other bytes have; nothing of it is lost or overwrites them."""
    found, total = await services.conflicts.list(principal, submission, after=since, limit=limit, undecided=undecided)
    documents = [_document(request, submission, each) for each in found]
    following = documents[-1].id if len(documents) == limit else None
    return ConflictsDocument(conflicts=documents, total=total, next=following)


@router.get("/submissions/{submission}/conflicts/{conflict}")
async def compare_conflict(
    submission: SubmissionName,
    conflict: ConflictId,
    request: Request,
    services: ServicesOf,
    principal: PrincipalOf,
) -> ComparisonDocument:
    """Compare a conflict with the instance that has its UID, attribute by attribute."""
    compared = await services.conflicts.compare(principal, submission, conflict)
    return ComparisonDocument(
        conflict=_document(request, submission, compared.conflict),
        differences=[
            DifferenceDocument(
                tag=format_tag(found.tag),
                keyword=keyword_of(found.tag),
                standing=_shown(found.first),
                conflict=_shown(found.second),
            )
            for found in compared.attributes
        ],
        bulk=[format_tag(tag) for tag in compared.bulk],
    )


@router.post("/submissions/{submission}/conflicts/decisions", status_code=202, openapi_extra=IF_MATCH)
async def decide_conflicts(
    submission: SubmissionName,
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: DecideConflicts,
) -> DecidingDocument:
    """Decide on many conflicts, as a job: what stands stays, or what came takes its place, some hundred at once.

    `keep` and `reject` leave what stands; `replace` puts what came in its place and keeps what stood beside.
    """
    ids = None if asked.conflicts is None else tuple(sorted(set(asked.conflicts)))
    chosen = Selection(ids, asked.study, asked.series)
    begun, job = await services.conflict_decisions.begin(
        principal, submission, expected_revision(request), chosen, asked.ruling(principal)
    )
    base = base_url_of(request)
    response.headers["location"] = f"{base}/jobs/{job.id}"
    response.headers["etag"] = revision_tag(begun.revision)
    return DecidingDocument(
        submission=f"{base}/submissions/{begun.name}", revision=begun.revision, job=f"{base}/jobs/{job.id}"
    )


@router.post("/submissions/{submission}/conflicts/{conflict}/decision", openapi_extra=IF_MATCH)
async def decide_conflict(
    submission: SubmissionName,
    conflict: ConflictId,
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: DecideConflict,
) -> ConflictDocument:
    """Decide on a conflict at once; `replace` of one that has replaced what stood takes that back.

    The submission has another revision then, which the ETag tells.
    """
    moved, decided = await services.conflict_decisions.decide(
        principal, submission, conflict, expected_revision(request), asked.ruling(principal)
    )
    response.headers["etag"] = revision_tag(moved.revision)
    return _document(request, submission, decided)


def _document(request: Request, submission: str, conflict: Conflict) -> ConflictDocument:
    standing = conflict.standing
    url = None
    if standing is not None:
        asked = PUBLISHED if standing.is_published else AskedRoot(RootKind.SUBMISSION, submission)
        root = ServiceRoot(base_url_of(request) + asked.path)
        url = root.instance(standing.study_instance_uid, standing.series_instance_uid, conflict.sop_instance_uid)
    named = ("id", "study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid")
    more = ("transfer_syntax_uid", "size_bytes", "received_by", "received_at")
    decision = ("decision", "decided_by", "decided_at", "reason")
    return ConflictDocument(
        **{name: getattr(conflict, name) for name in named + more + decision},
        digest=conflict.digest.hex(),
        is_kept=conflict.place is not None,
        standing=url,
    )


def _shown(element: Element | None) -> dict[str, Any] | None:
    if element is None:
        return None
    # Its bulk values have no URL: what is a conflict is no resource of DICOMweb.
    if len(element.json) > _LONGEST or BULK_MARKER.encode() in element.json:
        return {"vr": element.vr}
    shown: dict[str, Any] = orjson.loads(element.json)
    return shown
