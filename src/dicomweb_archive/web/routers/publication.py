"""Publishing and its reverse: what was approved becomes part of the archive, what must not be seen leaves it."""

from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dicomweb_archive.index.curation.submissions import SubmissionState
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.publishing_job import begin_publishing
from dicomweb_archive.services.submissions.transitions import Reason
from dicomweb_archive.web.conditional import expected_revision, revision_tag
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import IF_MATCH, json_router

router = json_router("submissions")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
SubmissionName = Annotated[str, Path(max_length=64, pattern="^[a-z0-9]+$")]


def _without_nul(text: str) -> str:
    if "\0" in text:
        # PostgreSQL has no place for it in a text.
        message = "a text holds the character NUL"
        raise ValueError(message)
    return text


Uid = Annotated[str, Field(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$")]
Prose = Annotated[str, Field(max_length=4000), AfterValidator(_without_nul)]


class PublishingDocument(BaseModel):
    """A submission that is being published."""

    submission: str = Field(description="URL of the submission.")
    state: SubmissionState
    revision: int
    job: str = Field(description="URL of the job: how far it has come, and what came of it.")


class PublishStudies(BaseModel):
    """What of a submission is published."""

    model_config = ConfigDict(extra="forbid")
    studies: list[Uid] | None = Field(
        default=None, min_length=1, max_length=10_000, description="Study Instance UIDs; all of it when left out."
    )


class ForeseenStudyDocument(BaseModel):
    """What publishing would do with a study."""

    study: str
    instances: int
    size_bytes: int
    published: int = Field(description="Instances that would become part of the archive.")
    same: int = Field(description="Instances that the archive has already, byte for byte.")
    conflicts: int = Field(description="Instances whose UID it has otherwise; they would be kept as conflicts.")
    joins: bool = Field(description="Whether the archive has a study of this UID, which would grow.")
    is_elsewhere: bool = Field(description="Whether that is in another collection: then nothing would be published.")


class ForeseenDocument(BaseModel):
    """What publishing a submission would do, some studies at a time."""

    studies: list[ForeseenStudyDocument]
    total: int = Field(description="How many studies the submission has.")
    undecided_conflicts: int = Field(description="What it keeps as conflicts already, and nobody has decided on.")
    next: str | None = Field(description="`since` of the studies behind these; null when there are none.")


ALL_STUDIES = PublishStudies()


@router.get("/submissions/{submission}/publish")
async def foresee_publishing(
    submission: SubmissionName,
    services: ServicesOf,
    principal: PrincipalOf,
    since: Annotated[str, Query(max_length=64, pattern=r"^[0-9.]*$")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ForeseenDocument:
    """Say what publishing would do, and change nothing: what is new, what is there already, what contradicts."""
    foreseen = await services.publishing.foresee(principal, submission, after=since, limit=limit)
    studies = [
        ForeseenStudyDocument(
            study=each.study_instance_uid,
            **{name: getattr(each, name) for name in ForeseenStudyDocument.model_fields if name != "study"},
        )
        for each in foreseen.studies
    ]
    return ForeseenDocument(
        studies=studies,
        total=foreseen.total,
        undecided_conflicts=foreseen.undecided,
        next=studies[-1].study if len(studies) == limit else None,
    )


@router.post("/submissions/{submission}/publish", status_code=202, openapi_extra=IF_MATCH)
async def publish_submission(
    submission: SubmissionName,
    request: Request,
    response: Response,
    services: ServicesOf,
    principal: PrincipalOf,
    asked: PublishStudies = ALL_STUDIES,
) -> PublishingDocument:
    """Publish what an approved submission holds, or some studies of it; each study appears whole.

    Where the archive has other bytes under the same UIDs, they stay, and what came is kept as a conflict. A study that
    it has in another collection stays, and the submission is approved still. Asked for again while it is going on,
    this answers with the same job; while other studies of it are being published, that is a conflict.
    """
    begun, job = await begin_publishing(
        services.publishing,
        services.jobs.put,
        principal,
        submission,
        expected_revision(request),
        studies=asked.studies,
    )
    base = base_url_of(request)
    response.headers["location"] = f"{base}/jobs/{job.id}"
    response.headers["etag"] = revision_tag(begun.revision)
    return PublishingDocument(
        submission=f"{base}/submissions/{begun.name}",
        state=begun.state,
        revision=begun.revision,
        job=f"{base}/jobs/{job.id}",
    )


class WithdrawStudy(BaseModel):
    """Which study is withdrawn, and why."""

    model_config = ConfigDict(extra="forbid")
    study: Uid = Field(description="Its Study Instance UID.")
    reason: Reason = Field(description="Whoever asks for the study is told.")
    comment: Prose = Field(default="", description="For who reads the trail.")


class WithdrawalDocument(BaseModel):
    """What became of a study that was withdrawn."""

    study: str
    reason: Reason
    instances: int
    submission: str = Field(description="URL of the submission in which it waits for a decision.")
    dicomweb: str = Field(description="Base URI of the DICOMweb services that show it to curators.")


@router.post("/withdrawals", status_code=201)
async def withdraw_study(
    request: Request, response: Response, services: ServicesOf, principal: PrincipalOf, asked: WithdrawStudy
) -> WithdrawalDocument:
    """Withdraw a published study: it is gone at once, with the reason, and in review in a submission of its own.

    Nothing is lost: it can be published again, or rejected.
    """
    withdrawn = await services.withdrawing.withdraw(principal, asked.study, asked.reason, asked.comment)
    url = f"{base_url_of(request)}/submissions/{withdrawn.submission.name}"
    response.headers["location"] = url
    return WithdrawalDocument(
        study=asked.study,
        reason=asked.reason,
        instances=withdrawn.instances,
        submission=url,
        dicomweb=f"{url}/dicom-web",
    )
