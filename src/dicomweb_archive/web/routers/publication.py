"""Publishing: what was approved becomes part of the archive, by a job that can be watched."""

from typing import Annotated

from fastapi import Depends, Path, Request, Response
from pydantic import BaseModel, Field

from dicomweb_archive.index.curation.submissions import SubmissionState
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.publishing_job import PUBLISH_SUBMISSION, publishing_arguments
from dicomweb_archive.web.conditional import expected_revision, revision_tag
from dicomweb_archive.web.dependencies import Services, base_url_of, get_principal, get_services
from dicomweb_archive.web.json_routes import json_router

router = json_router("submissions")

ServicesOf = Annotated[Services, Depends(get_services)]
PrincipalOf = Annotated[Principal, Depends(get_principal)]
SubmissionName = Annotated[str, Path(max_length=64, pattern="^[a-z0-9]+$")]


class PublishingDocument(BaseModel):
    """A submission that is being published."""

    submission: str = Field(description="URL of the submission.")
    state: SubmissionState
    revision: int
    job: str = Field(description="URL of the job: how far it has come, and what came of it.")


@router.post("/submissions/{submission}/publish", status_code=202)
async def publish_submission(
    submission: SubmissionName, request: Request, response: Response, services: ServicesOf, principal: PrincipalOf
) -> PublishingDocument:
    """Publish what an approved submission holds; each study appears whole.

    What cannot be published, because the archive has other bytes under its UIDs, stays, and the submission is
    approved still. Asked for again while it is going on, this answers with the same job.
    """
    begun = await services.publishing.begin(principal, submission, expected_revision(request))
    job = await services.jobs.enqueue(
        PUBLISH_SUBMISSION,
        publishing_arguments(begun),
        principal,
        collection_id=begun.collection_id,
        subject=f"/submissions/{begun.name}",
        key=begun.name,
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
