"""Checks of submissions: run, looked at, waived by curators, and asked before a submission is approved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.checks import catalogue
from dicomweb_archive.checks.catalogue import CHECK_SETS, STRUCTURAL, CheckSet
from dicomweb_archive.checks.findings import Severity
from dicomweb_archive.checks.rules import Rules
from dicomweb_archive.errors import ForbiddenError, InvalidParameterError, NotFoundError
from dicomweb_archive.index.curation.findings import (
    CheckRun,
    FindingCount,
    FindingFilter,
    FindingIndex,
    KeptFinding,
)
from dicomweb_archive.index.curation.submissions import Submission, SubmissionIndex, SubmissionScope
from dicomweb_archive.index.jobs.queue import NewJob
from dicomweb_archive.services.access import Principal, Role
from dicomweb_archive.services.checks.examiner import Examiner, Progress

RUN_CHECKS: Final = "run-checks"
"""The kind of job that runs checks over a submission."""


@dataclass(frozen=True, slots=True)
class CheckService:
    """Runs checks over submissions and keeps what they find.

    Whoever asks has found the submission already, so it is one that they may know of.
    """

    submissions: SubmissionIndex
    findings: FindingIndex
    examiner: Examiner

    async def submission(self, name: str) -> Submission:
        """Return a submission, whoever asks.

        Raises:
            NotFoundError: there is none of this name.
        """
        found = await self.submissions.find(name, SubmissionScope(None))
        if found is None:
            raise NotFoundError("There is no such submission")
        return found

    def require_curator(self, principal: Principal, submission: Submission) -> None:
        """Let only curators of the submission's collection pass.

        Raises:
            ForbiddenError: this is none.
        """
        if not principal.has(Role.CURATOR, submission.collection_id):
            message = f"this needs the role {Role.CURATOR.value} in the collection, which your key does not give"
            raise ForbiddenError(message)

    async def check_set(self, submission: Submission, name: str | None = None) -> CheckSet:
        """Return the set of this name, or that of the submission's collection.

        Raises:
            InvalidParameterError: there is no such set.
        """
        if name is None:
            collection = await self.submissions.find_collection(submission.collection)
            assert collection is not None
            name = collection.check_set
        if name not in CHECK_SETS:
            raise InvalidParameterError("check_set", accepted=", ".join(CHECK_SETS))
        return CHECK_SETS[name]

    async def run(
        self, submission: Submission, check_set: CheckSet, *, read_files: bool | None, actor: str, progress: Progress
    ) -> dict[Severity, FindingCount]:
        """Run a set of checks and put what they find in the place of what they found before; harmless to do twice.

        Args:
            read_files: see `Examiner`; `None`: when the set looks into pictures.

        Returns:
            the counts of all findings that the submission has now, those of other checks too.
        """
        collection = await self.submissions.find_collection(submission.collection)
        assert collection is not None
        if read_files is None:
            read_files = catalogue.DUPLICATE_PIXELS.name in check_set.checks
        wanted = collection.rules
        rules = Rules(wanted, allowed_paths=wanted.attributes or None, safe_private=wanted.safe_private)
        space = submission.space_id
        begun = await self.findings.begin(space)
        examined = await self.examiner.examine(
            space, check_set, rules, begun=begun, read_files=read_files, progress=progress
        )
        await self.findings.replace(space, examined, actor=actor)
        return await self.findings.counts(space)

    async def after_sealing(self, submission: Submission, actor: str) -> NewJob:
        """Make the job that runs the checks of the collection over a submission that is about to be sealed."""
        check_set = await self.check_set(submission)
        return NewJob(
            RUN_CHECKS,
            actor,
            {"submission": submission.name, "check_set": check_set.name, "read_files": None, "after_sealing": True},
            # Each sealing has checks of its own: those that run now may have begun before the last instance came.
            f"{submission.name} sealed {submission.revision}",
            submission.collection_id,
            f"/submissions/{submission.name}",
        )

    async def list(
        self, submission: Submission, asked: FindingFilter, *, limit: int, offset: int
    ) -> tuple[Sequence[KeptFinding], int, dict[Severity, FindingCount]]:
        """Return a page of findings, the weighty ones first, how many match, and the counts of all by severity."""
        found, total = await self.findings.list(submission.space_id, asked, limit=limit, offset=offset)
        return found, total, await self.findings.counts(submission.space_id)

    async def runs(self, submission: Submission) -> Sequence[CheckRun]:
        """Return the last runs over a submission, the newest first."""
        return await self.findings.runs(submission.space_id)

    async def waive(self, principal: Principal, submission: Submission, finding_id: int, reason: str) -> KeptFinding:
        """Say why a finding does not count.

        Raises:
            ForbiddenError: the principal does not curate the collection.
            InvalidParameterError: there is no reason.
            NotFoundError, ConflictError: there is no such finding, or it is waived already.
        """
        self.require_curator(principal, submission)
        if not reason.strip():
            raise InvalidParameterError("reason", accepted="a sentence that says why the finding does not count")
        return await self.findings.waive(submission.space_id, finding_id, actor=principal.name, reason=reason)

    async def revoke(self, principal: Principal, submission: Submission, finding_id: int) -> KeptFinding:
        """Let a waived finding count again.

        Raises:
            ForbiddenError, NotFoundError, ConflictError: see `waive`.
        """
        self.require_curator(principal, submission)
        return await self.findings.revoke(submission.space_id, finding_id, actor=principal.name)

    async def against_approval(self, submission: Submission) -> Sequence[str]:
        """Say what stands against approving a submission: findings that block, and checks that were not run."""
        check_set = await self.check_set(submission)
        # What the structural checks ask of single instances is asked while storing.
        if check_set.checks > STRUCTURAL.checks and not await self.findings.is_examined(
            submission.space_id, check_set.name
        ):
            return [f"the checks of the set {check_set.name} have not been run over all that it holds"]
        open_ones = (await self.findings.counts(submission.space_id))[Severity.BLOCK].open
        return [f"{open_ones} findings block it and are not waived"] if open_ones else []
