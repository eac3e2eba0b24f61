"""Manifests of submissions: what is announced before it is sent, and compared with what has come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dicomweb_archive.errors import ConflictError, NotFoundError, PreconditionFailedError
from dicomweb_archive.index.curation.manifests import ComparedManifest, Manifest, ManifestIndex, Standing
from dicomweb_archive.index.curation.submissions import SubmissionState
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.submissions import SubmissionService


@dataclass(frozen=True, slots=True)
class StandingsPage:
    """A manifest beside what is there, with some of the instances that do not stand as announced."""

    compared: ComparedManifest
    revision: int
    instances: Sequence[tuple[str, Standing]]


@dataclass(frozen=True, slots=True)
class ManifestService:
    """Sets manifests and compares them; whoever sees the submission sees what it announces."""

    submissions: SubmissionService
    manifests: ManifestIndex

    async def put(
        self, principal: Principal, name: str, revision: int | None, manifest: Manifest, *, limit: int
    ) -> StandingsPage:
        """Set what is announced, in the place of what was, and compare it at once.

        Raises:
            NotFoundError: there is no such submission for this principal.
            PreconditionFailedError: it has changed since it was read.
            ConflictError: it is not open; what is announced stands when it is sealed.
        """
        submission = await self.submissions.find(principal, name)
        if revision not in (None, submission.revision):
            message = "the submission has changed since it was read; read it again and decide anew"
            raise PreconditionFailedError(message)
        if submission.state is not SubmissionState.OPEN:
            message = f"a submission that is {submission.state.value} stays as it was announced; reopen it first"
            raise ConflictError(message)
        next_revision = await self.manifests.put(submission, manifest, actor=principal.name)
        # Not the revision of somebody who was as quick: this answer is about this change.
        return replace(await self.compare(principal, name, limit=limit), revision=next_revision)

    async def compare(
        self, principal: Principal, name: str, standing: Standing | None = None, *, after: str = "", limit: int
    ) -> StandingsPage:
        """Compare what was announced with what is in the submission at this moment.

        Raises:
            NotFoundError: there is no such submission for this principal, or nothing was announced.
        """
        submission = await self.submissions.find(principal, name)
        compared = await self.manifests.compare(submission.space_id)
        if compared is None:
            message = "Nothing was announced for this submission"
            raise NotFoundError(message)
        listed = await self.manifests.list(submission, standing, after=after, limit=limit)
        return StandingsPage(compared, submission.revision, listed)
