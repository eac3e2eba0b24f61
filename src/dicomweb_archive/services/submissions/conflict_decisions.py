"""Deciding on conflicts: one at once, or many as a job; what stands stays, or what came takes its place."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from dicomweb_archive.dicom.raw_walk import delta_against
from dicomweb_archive.errors import (
    ConflictError,
    DamagedObjectError,
    InvalidParameterError,
    NotFoundError,
    ObjectNotFoundError,
    PreconditionFailedError,
)
from dicomweb_archive.index.curation.conflict_decisions.deciding import ConflictDecisions
from dicomweb_archive.index.curation.conflict_decisions.rulings import (
    Candidate,
    PlanChangedError,
    Replacement,
    Ruling,
    Selection,
)
from dicomweb_archive.index.curation.conflicts import Conflict, ConflictDecision, ConflictIndex
from dicomweb_archive.index.curation.submissions import Submission, SubmissionScope
from dicomweb_archive.index.jobs.queue import NewJob
from dicomweb_archive.index.jobs.rows import Job, JsonObject
from dicomweb_archive.index.segments.building import StoredInstance
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.jobs.kinds import JobKind, JobRun
from dicomweb_archive.services.submissions.kept_files import KeptFiles
from dicomweb_archive.services.submissions.submissions import SubmissionService, require_curator, require_revision
from dicomweb_archive.services.submissions.transitions import Reason

DECIDE_CONFLICTS: Final = "decide-conflicts"
"""Decides on conflicts of a submission; counts them."""

_BATCH = 200
"""So many are replaced in one transaction: files of headers are read before, and rows are locked for a second."""

_HELD_BYTES = 16 * 1024 * 1024
"""What is read of a batch ends here, in JSON; what is left of it is another transaction."""

_ATTEMPTS = 5


class Obstacle(StrEnum):
    """Why a conflict cannot take the place of what stands."""

    NOTHING_STANDS = "nothing_stands"
    """In its collection nothing has the UID any more: what came can be sent again."""
    OTHER_SERIES = "other_series"
    """What stands is in another series or study."""
    NO_BYTES = "no_bytes"
    """Its bytes have gone."""
    DAMAGED = "damaged"
    """Its bytes are not those that came."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of conflicts that were decided on.

    Attributes:
        decided: how many.
        obstacles: how many stay undecided, and why.
    """

    decided: int
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True, slots=True)
class ConflictDecisionService:
    """Lets curators decide on conflicts of submissions.

    Attributes:
        conflicts: shows what was decided on.
        held_bytes: of what files say so much is replaced in one transaction, and one instance at least.
    """

    submissions: SubmissionService
    conflicts: ConflictIndex
    decisions: ConflictDecisions
    files: KeptFiles
    held_bytes: int = _HELD_BYTES

    async def decide(
        self, principal: Principal, name: str, conflict_id: int, revision: int | None, ruling: Ruling
    ) -> tuple[Submission, Conflict]:
        """Decide on one conflict; one that has replaced what stood is taken back by the same decision.

        Raises:
            NotFoundError: there is no such submission or conflict.
            ForbiddenError: it is for curators of the collection.
            PreconditionFailedError: the submission has changed since it was read.
            InvalidParameterError: a reason is missing.
            ConflictError: nothing can be decided there, or it cannot replace anything; the error says why.
        """
        submission = await self._open_for(principal, name, revision, ruling)
        found = await self.conflicts.find(submission, principal.sees, conflict_id)
        if found is None:
            message = "There is no such conflict"
            raise NotFoundError(message)
        if ruling.decision is ConflictDecision.REPLACE:
            submission = await self._replace_one(submission, conflict_id, ruling)
        else:
            if found.decision is ConflictDecision.REPLACE:
                message = "it has replaced what stood; `replace` takes that back"
                raise ConflictError(message)
            submission, _ = await self.decisions.note(submission, [conflict_id], ruling, of_revision=True)
        decided = await self.conflicts.find(submission, principal.sees, conflict_id)
        assert decided is not None
        return submission, decided

    async def begin(
        self, principal: Principal, name: str, revision: int | None, asked: Selection, ruling: Ruling
    ) -> tuple[Submission, Job]:
        """Put the decision on many conflicts into the queue; see `decide`."""
        submission = await self._open_for(principal, name, revision, ruling)
        arguments = {"submission": submission.name, "asked": asdict(asked), "ruling": asdict(ruling)}
        job = NewJob(
            DECIDE_CONFLICTS,
            principal.name,
            arguments,
            collection_id=submission.collection_id,
            subject=f"/submissions/{submission.name}",
        )
        begun = await self.decisions.begin(submission, job)
        if self.submissions.wake is not None:
            self.submissions.wake()
        return begun

    async def decide_batch(self, submission: Submission, ids: Sequence[int], ruling: Ruling) -> Decided:
        """Decide on conflicts, those that replace something at once, as many as can be held; harmless to do twice."""
        if ruling.decision is not ConflictDecision.REPLACE:
            _, decided = await self.decisions.note(submission, ids, ruling)
            return Decided(decided)
        decided = 0
        obstacles: list[Obstacle] = []
        while ids:
            became, ids = await self._replace_some(submission, ids, ruling)
            decided, obstacles = decided + became.decided, [*obstacles, *became.obstacles]
        return Decided(decided, tuple(obstacles))

    async def _replace_some(
        self, submission: Submission, ids: Sequence[int], ruling: Ruling
    ) -> tuple[Decided, Sequence[int]]:
        """Let the first of some conflicts take the place of what stands; returns those that are left, too."""
        for _ in range(_ATTEMPTS):
            batch, obstacles, rest = await self._read(await self.decisions.plan(submission, ids))
            try:
                if batch:
                    await self.decisions.replace(submission, batch, ruling)
            except PlanChangedError:
                continue
            return Decided(len(batch), tuple(obstacles)), rest
        message = "what is to be decided on keeps changing; try again later"
        raise ConflictError(message)

    async def _open_for(self, principal: Principal, name: str, revision: int | None, ruling: Ruling) -> Submission:
        submission = await self.submissions.find(principal, name)
        require_curator(principal, submission)
        require_revision(submission, revision)
        if ruling.decision is ConflictDecision.REJECT and not ruling.reason:
            raise InvalidParameterError("reason", accepted=", ".join(Reason))
        return submission

    async def _replace_one(self, submission: Submission, conflict_id: int, ruling: Ruling) -> Submission:
        for _ in range(_ATTEMPTS):
            batch, obstacles, _ = await self._read(await self.decisions.plan(submission, [conflict_id]))
            if not batch:
                raise ConflictError(f"it cannot take the place of what stands: {obstacles[0].value}")
            try:
                return await self.decisions.replace(submission, batch, ruling, of_revision=True)
            except PlanChangedError:
                continue
        message = "what is to be decided on has changed; read it again and decide anew"
        raise PreconditionFailedError(message)

    async def _read(self, candidates: Sequence[Candidate]) -> tuple[list[Replacement], list[Obstacle], Sequence[int]]:
        """Read the files of those that can replace what stands, and say what keeps the others from it.

        Returns:
            also the ids of those that are left because no more can be held.
        """
        batch: list[Replacement] = []
        obstacles: list[Obstacle] = []
        first_of: dict[int, StoredInstance] = {}
        held = 0
        for number, candidate in enumerate(candidates):
            if held >= self.held_bytes:
                return batch, obstacles, [each.id for each in candidates[number:]]
            read = await self._read_one(candidate)
            if isinstance(read, Obstacle):
                obstacles.append(read)
                continue
            assert candidate.stood is not None
            first = first_of.setdefault(candidate.stood.series_id, read)
            if first is not read:
                shared = delta_against(first.scanned.base, read.scanned)
                read = StoredInstance(shared, read.byte_offset, read.byte_length, read.digest)
            batch.append(Replacement(candidate, read))
            own = read.scanned.delta if first is not read else read.scanned.base
            held += sum(len(each.json) for each in own.values() if each is not None)
        return batch, obstacles, []

    async def _read_one(self, candidate: Candidate) -> StoredInstance | Obstacle:
        place, stood = candidate.place, candidate.stood
        if place is None:
            return Obstacle.NO_BYTES
        if stood is None:
            return Obstacle.NOTHING_STANDS
        if not stood.is_same_series:
            return Obstacle.OTHER_SERIES
        try:
            scanned = await self.files.scan(place, digest=candidate.digest)
        except (DamagedObjectError, ObjectNotFoundError):
            return Obstacle.DAMAGED
        return StoredInstance(scanned, place.offset, place.length, candidate.digest)


def conflict_decisions_kind(service: ConflictDecisionService) -> JobKind:
    """Return the kind of job that decides on many conflicts, batch by batch."""

    async def work(run: JobRun) -> JsonObject:
        arguments, progress = run.job.arguments, run.job.checkpoint or {"after": 0, "decided": 0, "obstacles": {}}
        found = await service.submissions.submissions.find(arguments["submission"], SubmissionScope(None))
        if found is None:
            message = "There is no such submission"
            raise NotFoundError(message)
        ruling = Ruling(**{**arguments["ruling"], "decision": ConflictDecision(arguments["ruling"]["decision"])})
        asked = Selection(**{**arguments["asked"], "ids": arguments["asked"]["ids"]})
        after, decided, obstacles = progress["after"], progress["decided"], dict(progress["obstacles"])
        while ids := await service.decisions.select(found, asked, after=after, limit=_BATCH):
            became = await service.decide_batch(found, ids, ruling)
            after, decided = ids[-1], decided + became.decided
            for each in became.obstacles:
                obstacles[each.value] = obstacles.get(each.value, 0) + 1
            checkpoint = {"after": after, "decided": decided, "obstacles": dict(obstacles)}
            await run.report(decided + sum(obstacles.values()), checkpoint=checkpoint)
        return {"decided": decided, "obstacles": obstacles}

    def taken_over(arguments: JsonObject, principal: Principal) -> JsonObject:
        return {**arguments, "ruling": {**arguments["ruling"], "actor": principal.name}}

    return JobKind(DECIDE_CONFLICTS, work, taken_over=taken_over)
