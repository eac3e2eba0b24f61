"""Checks of submissions as resources of our own: run, listed, waived."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from dicomweb_archive.checks.catalogue import CHECK_SETS, CHECKS
from dicomweb_archive.checks.findings import FindingLevel, Severity
from dicomweb_archive.index.curation.findings import CheckRun, FindingFilter, KeptFinding
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.checks.service import RUN_CHECKS
from dicomweb_archive.web.conditional import CACHE_CONTROL
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router

router = json_router("checks")

_SUBMISSION = "/submissions/{submission}"
_UID = "^[0-9.]{1,64}$"

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
SubmissionName = Annotated[str, Path(max_length=64, pattern="^[a-z0-9]+$")]
FindingId = Annotated[int, Path(ge=1, lt=2**63)]


class CheckDocument(BaseModel):
    """A check, as findings name it."""

    number: int
    name: str
    version: int
    summary: str
    reads_files: bool = Field(description="It reads each stored file, and not only what the index keeps of it.")


class CheckSetDocument(BaseModel):
    """Checks that are run together."""

    name: str
    version: int
    summary: str
    checks: list[str]
    lenient: list[str] = Field(description="Those that warn here where they block elsewhere.")


class CatalogueDocument(BaseModel):
    """Every check that there is, and the sets of them."""

    checks: list[CheckDocument]
    sets: list[CheckSetDocument]


class AskForChecks(BaseModel):
    """Which checks are to be run."""

    model_config = ConfigDict(extra="forbid")
    check_set: Literal["structural", "public_release"] | None = Field(
        default=None, description="That of the collection when it is left out."
    )
    read_files: bool | None = Field(
        default=None,
        description="Also run the checks that read each stored file; left out: with `public_release`.",
    )


NOTHING_ASKED = AskForChecks()


class AskedDocument(BaseModel):
    """A run of checks that was asked for."""

    job: int
    url: str = Field(description="Where its progress is shown.")


class RunDocument(BaseModel):
    """A run of checks that is over."""

    id: int
    check_set: str
    set_version: int
    read_files: bool
    actor: str
    started_at: datetime
    finished_at: datetime
    series: int
    instances: int
    is_stale: bool = Field(description="What it has looked at was edited or replaced since it began.")


class RunsDocument(BaseModel):
    """The last runs over a submission, the newest first."""

    runs: list[RunDocument]


class WaiverDocument(BaseModel):
    """Why a finding does not count."""

    by: str
    at: datetime
    reason: str


class FindingDocument(BaseModel):
    """What a check has to say; no value of a data set but UIDs is in it."""

    id: int
    check: str
    version: int = Field(description="Of the check.")
    severity: Severity
    message: str
    level: FindingLevel
    study_instance_uid: str | None
    series_instance_uid: str | None
    sop_instance_uid: str | None = Field(description="The instance, or one of several.")
    path: str | None = Field(description="Of the attribute that it is about: tags joined by dots.")
    instances: int = Field(description="How many instances it is about.")
    run: int | None = Field(description="The run that has found it; null: it was found while storing.")
    found_at: datetime
    waiver: WaiverDocument | None


class CountDocument(BaseModel):
    """How many findings there are, and how many of them are not waived."""

    open: int
    total: int


class FindingsDocument(BaseModel):
    """A page of findings, those that block first."""

    findings: list[FindingDocument]
    total: int = Field(description="How many match.")
    counts: dict[Severity, CountDocument] = Field(description="Of all findings of the submission.")


class Waive(BaseModel):
    """Why a finding is not to count."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=2000, pattern="^[^\\x00]*$")


@router.get("/checks")
async def list_checks(response: Response) -> CatalogueDocument:
    """List every check and the sets in which they are run."""
    response.headers["cache-control"] = CACHE_CONTROL
    checks = [
        CheckDocument(**{name: getattr(each, name) for name in CheckDocument.model_fields}) for each in CHECKS.values()
    ]
    sets = [
        CheckSetDocument(
            name=each.name,
            version=each.version,
            summary=each.summary,
            checks=[name for name in CHECKS if name in each.checks],
            lenient=sorted(each.lenient),
        )
        for each in CHECK_SETS.values()
    ]
    return CatalogueDocument(checks=checks, sets=sets)


@router.post(f"{_SUBMISSION}/checks", status_code=202)
async def run_checks(
    submission: SubmissionName,
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: AskForChecks = NOTHING_ASKED,
) -> AskedDocument:
    """Ask for checks to be run over a submission; what they found before is replaced when they are through."""
    found = await services.submissions.find(principal, submission)
    services.checks.require_curator(principal, found)
    check_set = await services.checks.check_set(found, asked.check_set)
    job = await services.jobs.enqueue(
        RUN_CHECKS,
        {"submission": found.name, "check_set": check_set.name, "read_files": asked.read_files},
        principal,
        collection_id=found.collection_id,
        subject=f"/submissions/{found.name}",
        # Whoever asks twice for the same gets the same job.
        key=f"{found.name} {check_set.name} {asked.read_files}",
    )
    url = f"{base_url_of(request)}/jobs/{job.id}"
    response.headers["location"] = url
    return AskedDocument(job=job.id, url=url)


@router.get(f"{_SUBMISSION}/checks")
async def list_runs(
    submission: SubmissionName, response: Response, services: ServicesOf, principal: PrincipalOf
) -> RunsDocument:
    """List the last runs of checks over a submission, the newest first."""
    found = await services.submissions.find(principal, submission)
    response.headers["cache-control"] = CACHE_CONTROL
    return RunsDocument(runs=[_run(each) for each in await services.checks.runs(found)])


@router.get(f"{_SUBMISSION}/findings")
async def list_findings(
    submission: SubmissionName,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    severity: Severity | None = None,
    check: Annotated[str | None, Query(max_length=64, pattern="^[a-z0-9_]+$")] = None,
    study: Annotated[str | None, Query(pattern=_UID)] = None,
    series: Annotated[str | None, Query(pattern=_UID)] = None,
    waived: Annotated[bool | None, Query(description="Only those that are waived, or are not.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> FindingsDocument:
    """List what checks have to say of a submission, what blocks it first."""
    found = await services.submissions.find(principal, submission)
    asked = FindingFilter(severity, check, study, series, waived)
    findings, total, counts = await services.checks.list(found, asked, limit=limit, offset=offset)
    response.headers["cache-control"] = CACHE_CONTROL
    return FindingsDocument(
        findings=[_finding(each) for each in findings],
        total=total,
        counts={each: CountDocument(open=count.open, total=count.total) for each, count in counts.items()},
    )


@router.post(f"{_SUBMISSION}/findings/{{finding}}/waive")
async def waive_finding(
    submission: SubmissionName, finding: FindingId, services: ServicesOf, principal: PrincipalOf, asked: Waive
) -> FindingDocument:
    """Say why a finding does not count; a finding that is waived keeps nothing from being published."""
    found = await services.submissions.find(principal, submission)
    return _finding(await services.checks.waive(principal, found, finding, asked.reason))


@router.post(f"{_SUBMISSION}/findings/{{finding}}/revoke-waiver")
async def revoke_waiver(
    submission: SubmissionName, finding: FindingId, services: ServicesOf, principal: PrincipalOf
) -> FindingDocument:
    """Let a waived finding count again."""
    found = await services.submissions.find(principal, submission)
    return _finding(await services.checks.revoke(principal, found, finding))


def _run(run: CheckRun) -> RunDocument:
    return RunDocument(**{name: getattr(run, name) for name in RunDocument.model_fields})


def _finding(kept: KeptFinding) -> FindingDocument:
    found, waiver = kept.finding, kept.waiver
    return FindingDocument(
        id=kept.id,
        check=found.check,
        version=found.version,
        severity=found.severity,
        message=found.message,
        level=found.level,
        study_instance_uid=found.study_instance_uid or None,
        series_instance_uid=found.series_instance_uid or None,
        sop_instance_uid=found.sop_instance_uid or None,
        path=found.path or None,
        instances=found.instances,
        run=kept.run_id,
        found_at=kept.found_at,
        waiver=None if waiver is None else WaiverDocument(by=waiver.by, at=waiver.at, reason=waiver.reason),
    )
