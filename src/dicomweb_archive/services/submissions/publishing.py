"""Publishing a submission: its studies become part of the archive, one after the other, each of them at once."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from dicomweb_archive.errors import ArchiveError, ConflictError, NotFoundError, TransitionError
from dicomweb_archive.index.curation.foresight import ForeseenStudy, Foresight
from dicomweb_archive.index.curation.submissions import Submission, SubmissionScope, SubmissionState
from dicomweb_archive.index.jobs.queue import NewJob
from dicomweb_archive.index.jobs.rows import Job
from dicomweb_archive.index.writing.publication import MovedStudy, NotPublishingError, Publication
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.submissions import SubmissionService, require_curator, require_revision
from dicomweb_archive.services.submissions.transitions import Action, next_state
from dicomweb_archive.storage.base import ObjectStore

logger = logging.getLogger(__name__)

_BATCH = 100


@dataclass(frozen=True, slots=True)
class PublishReport:
    """How far publishing has come.

    Attributes:
        after: UID of the study that was looked at last; studies go in the order of their UIDs.
        studies, instances: what was published.
        same: instances that the archive had already, byte for byte.
        conflicts: instances that are kept as conflicts, because the archive has other bytes under their UID.
        refused: studies that stay, because the archive has them in another collection.
    """

    after: str = ""
    studies: int = 0
    instances: int = 0
    same: int = 0
    conflicts: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        """Instances of which it is known what became of them."""
        return self.instances + self.same + self.conflicts

    def with_study(self, uid: str, moved: MovedStudy) -> "PublishReport":
        """Return the report with one study more."""
        return PublishReport(
            uid,
            self.studies + (moved.study_id is not None),
            self.instances + moved.instances,
            self.same + moved.same,
            self.conflicts + len(moved.conflicts),
            self.refused,
        )

    def summary(self) -> str:
        """Say in words what became of the submission."""
        said = f"{self.instances} instances of {self.studies} studies published"
        if self.same:
            said += f", {self.same} were there already"
        if self.conflicts:
            said += f", {self.conflicts} are kept as conflicts: the archive has other bytes under their UIDs"
        if self.refused:
            said += f", {self.refused} studies stay: they are in another collection"
        return said

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "PublishReport":
        """Read a report back, such as an interrupted one."""
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What publishing a submission would do, a page of its studies.

    Attributes:
        total: how many studies it has.
        undecided: conflicts that it keeps already and on which nobody has decided.
    """

    studies: Sequence[ForeseenStudy]
    total: int
    undecided: int


Tell = Callable[[PublishReport, int], Awaitable[None]]
"""Takes the report after each study, with how many instances there were at the beginning of this attempt and before."""


@dataclass(frozen=True, slots=True)
class PublishingService:
    """Publishes submissions that were approved."""

    submissions: SubmissionService
    publication: Publication
    objects: ObjectStore
    foresight: Foresight

    async def foresee(self, principal: Principal, name: str, *, after: str, limit: int) -> Foreseen:
        """Say what publishing would do now with the studies behind this one, without doing anything.

        Raises:
            NotFoundError, ForbiddenError: see `begin`.
        """
        submission = await self.submissions.find(principal, name)
        require_curator(principal, submission)
        studies, total = await self.foresight.studies(submission.space_id, after=after, limit=limit)
        return Foreseen(studies, total, await self.foresight.undecided(submission.id))

    async def begin(
        self,
        principal: Principal,
        name: str,
        revision: int | None,
        job: Callable[[Submission], NewJob],
        *,
        studies: Sequence[str] | None = None,
        comment: str = "",
    ) -> tuple[Submission, Job | None]:
        """Begin to publish a submission, with the job that does it; none where it is being published already.

        Args:
            job: makes it; what it does is `publish`.
            studies: only these of it, all of which it must have.
            comment: for the trail.

        Raises:
            NotFoundError: there is none of this name that the principal may know of, or no such study in it.
            ForbiddenError: it is for curators of the collection.
            PreconditionFailedError: it has changed since it was read.
            TransitionError: it is not approved.
        """
        submission = await self.submissions.find(principal, name)
        require_curator(principal, submission)
        require_revision(submission, revision)
        if submission.state is SubmissionState.PUBLISHING:
            return submission, None
        if studies is not None:
            await self._require_studies(submission, studies)
        return await self.submissions.begin_work(
            name, Action.BEGIN_PUBLISHING, job, actor=principal.name, comment=comment, revision=revision
        )

    async def publish(
        self,
        name: str,
        space_id: int,
        *,
        actor: str,
        tell: Tell,
        report: PublishReport | None = None,
        studies: Sequence[str] | None = None,
    ) -> PublishReport:
        """Publish all studies of a submission, each in one transaction, and end the submission's publishing.

        What stays leaves the submission approved: it can be looked into and published again.

        Args:
            studies: only these.
            report: of an attempt that was interrupted; what was published then is no longer here.

        Raises:
            ConflictError: the submission is not being published, or no longer.
            DatabaseUnavailableError: what was published until then stays published; go on with the last report.
        """
        report = report or PublishReport()
        total = report.done + (await self.publication.count(space_id, studies)).instances
        while uids := await self.publication.list_studies(space_id, after=report.after, limit=_BATCH, studies=studies):
            for uid in uids:
                report = await self._publish_study(space_id, uid, report, actor)
                await tell(report, max(total, report.done))
        held = await self.publication.count(space_id)
        action = Action.STOP_PUBLISHING if held.instances else Action.END_PUBLISHING
        await self._end(name, action, actor=actor, comment=report.summary())
        return report

    async def stop(self, name: str, *, actor: str) -> None:
        """Give up in the middle; what was published stays published, and one that has ended stays as it is."""
        with suppress(TransitionError):
            await self.submissions.advance(name, Action.STOP_PUBLISHING, actor=actor)

    async def _require_studies(self, submission: Submission, studies: Sequence[str]) -> None:
        held = await self.publication.count(submission.space_id, studies)
        if held.studies < len(set(studies)):
            message = "There is no such study in this submission"
            raise NotFoundError(message)

    async def _end(self, name: str, action: Action, *, actor: str, comment: str) -> None:
        try:
            await self.submissions.advance(name, action, actor=actor, comment=comment)
        except TransitionError:
            # An attempt before this one may have come so far and not have lived to say so.
            found = await self.submissions.submissions.find(name, SubmissionScope(None))
            if found is None or found.state is not next_state(SubmissionState.PUBLISHING, action):
                raise

    async def _publish_study(self, space_id: int, uid: str, report: PublishReport, actor: str) -> PublishReport:
        try:
            moved = await self.publication.publish(space_id, uid, actor=actor)
        except NotFoundError:
            # Somebody else has published or deleted it meanwhile.
            return replace(report, after=uid)
        except NotPublishingError as error:
            message = f"the submission is {error.state}; what is published is approved, and asked for where it is"
            raise ConflictError(message) from None
        except ConflictError:
            return replace(report, after=uid, refused=report.refused + 1)
        if moved.free_object_keys:
            await self._delete(moved.free_object_keys)
        return report.with_study(uid, moved)

    async def _delete(self, object_keys: tuple[str, ...]) -> None:
        try:
            await self.objects.delete_many(object_keys)
        except ArchiveError:
            # Their rows are gone, so they are orphans for the sweep.
            logger.warning("objects without rows could not all be deleted", extra={"object_keys": len(object_keys)})
