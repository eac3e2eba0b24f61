"""Edits as curators see them: tried, begun, listed, told and taken back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dicomweb_archive.dicom.editing.rules import EditRules
from dicomweb_archive.errors import ConflictError, ForbiddenError, NotFoundError, PreconditionFailedError
from dicomweb_archive.index.curation.edits.records import (
    EDITABLE_STATES,
    Edit,
    EditedInstance,
    EditIndex,
    TalliedChange,
)
from dicomweb_archive.index.curation.submissions import Submission
from dicomweb_archive.index.jobs.rows import Job
from dicomweb_archive.services.access import Principal, Role
from dicomweb_archive.services.edits.preview import LONGEST_SECONDS, EditPreview, EditPreviewer


@dataclass(frozen=True, slots=True)
class BegunEdit:
    """An edit that was just begun, the job that applies it, and the submission's revision since."""

    edit: Edit
    job: Job
    revision: int


@dataclass(frozen=True, slots=True)
class EditService:
    """Lets curators of a collection correct what waits for it; nobody else reads what there was before.

    Whoever asks has found the submission already, so it is one that they may know of.

    Args:
        wake: lets an idle runner of this process look into the queue.
    """

    edits: EditIndex
    previewer: EditPreviewer
    wake: Callable[[], None] | None = None

    async def preview(self, principal: Principal, submission: Submission, rules: EditRules) -> EditPreview:
        """Say what rules would do, without changing anything.

        Raises:
            ForbiddenError: the principal does not curate the collection.
        """
        _require_curator(principal, submission)
        return await self.previewer.preview(submission, rules, seconds=LONGEST_SECONDS)

    async def begin(
        self, principal: Principal, submission: Submission, revision: int | None, rules: EditRules, reason: str
    ) -> BegunEdit:
        """Begin to apply rules to what a submission holds.

        Raises:
            ForbiddenError, PreconditionFailedError, ConflictError: see `_begin`.
        """
        return await self._begin(principal, submission, revision, rules, reason, None)

    async def undo(
        self, principal: Principal, submission: Submission, revision: int | None, edit_id: int, reason: str
    ) -> BegunEdit:
        """Begin to take an edit back, where nothing has been changed since.

        Raises:
            NotFoundError: there is no such edit.
            ForbiddenError, PreconditionFailedError, ConflictError: see `_begin`.
        """
        edit = await self.find(principal, submission, edit_id)
        if edit.undone_by is not None:
            message = "the edit is taken back already, by another one, which may be taken back itself"
            raise ConflictError(message)
        return await self._begin(principal, submission, revision, EditRules(()), reason, edit_id)

    async def list(
        self, principal: Principal, submission: Submission, *, before: int | None, limit: int
    ) -> Sequence[Edit]:
        """Return edits of a submission, the newest first.

        Raises:
            ForbiddenError: the principal does not curate the collection.
        """
        _require_curator(principal, submission)
        return await self.edits.list(submission, before=before, limit=limit)

    async def find(self, principal: Principal, submission: Submission, edit_id: int) -> Edit:
        """Return an edit of a submission.

        Raises:
            ForbiddenError: the principal does not curate the collection.
            NotFoundError: there is no such edit.
        """
        _require_curator(principal, submission)
        found = await self.edits.find(submission, edit_id)
        if found is None:
            message = "There is no such edit of the submission"
            raise NotFoundError(message)
        return found

    async def changes(
        self, principal: Principal, submission: Submission, edit_id: int, *, limit: int, offset: int
    ) -> tuple[Sequence[TalliedChange], int]:
        """Return what an edit has made of each value, the most frequent first, and how many there are.

        Raises:
            ForbiddenError, NotFoundError: see `find`.
        """
        await self.find(principal, submission, edit_id)
        return await self.edits.changes(edit_id, limit=limit, offset=offset)

    async def instances(
        self,
        principal: Principal,
        submission: Submission,
        edit_id: int,
        *,
        after: str = "",
        sop_instance_uid: str | None = None,
        unfit: bool | None = None,
        limit: int,
    ) -> tuple[Sequence[EditedInstance], str | None]:
        """Return the instances that an edit was meant for, in the order of UIDs, and the last where there may be more.

        Raises:
            ForbiddenError, NotFoundError: see `find`.
        """
        await self.find(principal, submission, edit_id)
        return await self.edits.instances(
            edit_id, after=after, sop_instance_uid=sop_instance_uid, unfit=unfit, limit=limit
        )

    async def against_approval(self, submission: Submission) -> Sequence[str]:
        """Say what stands against approving a submission: edits that go on, edits and replacements not checked."""
        edit_id = await self.edits.find_unfinished(submission)
        if edit_id is not None:
            return [f"the edit {edit_id} is being applied"]
        return (
            ["what was edited or replaced has to be checked again"] if await self.edits.is_unchecked(submission) else []
        )

    async def _begin(
        self,
        principal: Principal,
        submission: Submission,
        revision: int | None,
        rules: EditRules,
        reason: str,
        undoes: int | None,
    ) -> BegunEdit:
        """Begin an edit.

        Raises:
            ForbiddenError: the principal does not curate the collection.
            PreconditionFailedError: the submission has changed since it was read.
            ConflictError: it is not in review, or another edit has not come to its end.
        """
        _require_curator(principal, submission)
        if revision not in (None, submission.revision):
            message = "the submission has changed since it was read; read it again and decide anew"
            raise PreconditionFailedError(message)
        if submission.state not in EDITABLE_STATES:
            states = " or ".join(state.value for state in EDITABLE_STATES)
            message = f"a submission that is {submission.state.value} is not edited, only one that is {states}"
            raise ConflictError(message)
        begun = await self.edits.begin(submission, rules.to_json(), reason=reason, actor=principal.name, undoes=undoes)
        if self.wake is not None:
            self.wake()
        return BegunEdit(*begun)


def _require_curator(principal: Principal, submission: Submission) -> None:
    if not principal.has(Role.CURATOR, submission.collection_id):
        message = f"this needs the role {Role.CURATOR.value} in the collection, which your key does not give"
        raise ForbiddenError(message)
