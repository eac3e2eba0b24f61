"""Submissions as a service: opened, found, described, and moved from state to state."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dicomweb_archive.errors import (
    ConflictError,
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
    PreconditionFailedError,
)
from dicomweb_archive.index.curation.collections import Collection, CollectionAccess
from dicomweb_archive.index.curation.queue import (
    Content,
    Objections,
    QueueFilter,
    QueueOrder,
    QueuePage,
    SubmissionQueue,
)
from dicomweb_archive.index.curation.submissions import (
    Submission,
    SubmissionIndex,
    SubmissionScope,
    SubmissionState,
)
from dicomweb_archive.index.curation.trail import SubmissionTrail, TrailEntry
from dicomweb_archive.index.jobs.queue import NewJob
from dicomweb_archive.index.jobs.rows import Job
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, require
from dicomweb_archive.services.submissions.transitions import (
    ACTORS,
    NEEDS_REASON,
    Action,
    Actor,
    Reason,
    asked_for,
    next_state,
)

Result = TypeVar("Result")

Gate = Callable[[Submission], Awaitable[Sequence[str]]]
"""Says in words what stands against approving a submission; nothing when nothing does."""

FollowUp = Callable[[Submission, str], Awaitable[NewJob]]
"""Makes the job that follows from an action: of the submission as it was before, and of whose action it is."""

_ATTEMPTS = 8
_SETTLED = frozenset(
    {
        SubmissionState.PUBLISHING,
        SubmissionState.PUBLISHED,
        SubmissionState.REJECTED,
        SubmissionState.WITHDRAWN,
        SubmissionState.EXPIRED,
    }
)


def scope_of(principal: Principal) -> SubmissionScope:
    """Tell which submissions the principal may know of: of collections that they curate, and their own."""
    collections = principal.collections if Role.CURATOR in principal.roles else frozenset()
    # Everybody without a key has the same name, so nothing is anybody's own.
    is_known = principal.kind is not PrincipalKind.ANONYMOUS and Role.SUBMITTER in principal.roles
    return SubmissionScope(collections, principal.name if is_known else None)


@dataclass(frozen=True, slots=True)
class Description:
    """What people say of a submission; `None` leaves it as it is."""

    title: str | None = None
    contact: str | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class SubmissionService:
    """Keeps submissions, each change of which is one transaction with its event.

    Attributes:
        gates: asked before a submission is approved.
        follow_ups: actions of people that put a job into the queue, in the transaction of the change itself.
        wake: lets an idle runner of this process look into the queue.
    """

    submissions: SubmissionIndex
    queue: SubmissionQueue
    trail: SubmissionTrail
    gates: Sequence[Gate] = ()
    follow_ups: Mapping[Action, FollowUp] = field(default_factory=dict)
    wake: Callable[[], None] | None = None

    async def open(self, principal: Principal, collection: str, description: Description) -> Submission:
        """Open a submission for a collection.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not store there.
            InvalidParameterError: there is no such collection for this principal, or it takes nothing of this site.
            ConflictError: the collection is closed.
        """
        require(principal, Role.SUBMITTER)
        found = await self._collection(principal, collection)
        _require_site(found, description.site or "")
        return await self.submissions.open(
            found.id,
            actor=principal.name,
            title=description.title or "",
            contact=description.contact or "",
            site=(description.site or "").strip(),
        )

    async def find(self, principal: Principal, name: str) -> Submission:
        """Return a submission.

        Raises:
            NotFoundError: there is none of this name that the principal may know of.
        """
        found = await self.submissions.find(name, scope_of(principal))
        if found is None:
            message = "There is no such submission"
            raise NotFoundError(message)
        return found

    async def content(self, submission: Submission) -> Content:
        """Count what is in the submission's space."""
        return (await self.queue.content([submission.space_id]))[submission.space_id]

    async def objections(self, submissions: Sequence[Submission]) -> Mapping[str, Objections]:
        """Count what stands against each of some submissions, by their names."""
        found = await self.queue.objections([each.id for each in submissions])
        return {each.name: found[each.id] for each in submissions}

    async def list(
        self, principal: Principal, asked: QueueFilter, order: QueueOrder, *, limit: int, offset: int
    ) -> QueuePage:
        """Return a page of the queue, of what the principal may know of."""
        return await self.queue.list(scope_of(principal), asked, order, limit=limit, offset=offset)

    async def events(self, principal: Principal, name: str, *, after: int, limit: int) -> Sequence[TrailEntry]:
        """Return the trail of a submission behind an event.

        Raises:
            NotFoundError: see `find`.
        """
        submission = await self.find(principal, name)
        return await self.trail.list(submission.space_id, after=after, limit=limit)

    async def latest_events(
        self, submission: Submission, *, before: int | None = None, limit: int
    ) -> Sequence[TrailEntry]:
        """Return the end of a submission's trail, or what lies before an event, the newest first."""
        return await self.trail.latest(submission.space_id, before=before, limit=limit)

    async def describe(
        self, principal: Principal, name: str, revision: int | None, description: Description
    ) -> Submission:
        """Say other things of a submission.

        Raises:
            NotFoundError, PreconditionFailedError, ConflictError: it is not there, changed or settled.
            InvalidParameterError: the collection takes nothing of this site.
        """
        submission = await self._of_revision(principal, name, revision)
        if submission.state in _SETTLED:
            message = f"a submission that is {submission.state.value} stays as it was described"
            raise ConflictError(message)
        if description.site is not None:
            found = await self.submissions.find_collection(submission.collection)
            assert found is not None
            _require_site(found, description.site)
        return await self.submissions.describe(
            submission,
            title=submission.title if description.title is None else description.title,
            contact=submission.contact if description.contact is None else description.contact,
            site=submission.site if description.site is None else description.site.strip(),
            actor=principal.name,
        )

    async def comment(self, principal: Principal, name: str, text: str) -> None:
        """Write into the trail of a submission.

        Raises:
            NotFoundError: see `find`.
        """
        submission = await self.find(principal, name)
        await self.submissions.comment(submission, text, actor=principal.name)

    def may(self, principal: Principal, submission: Submission) -> tuple[Action, ...]:
        """Return what the principal may do with the submission as it stands."""
        is_curator = principal.has(Role.CURATOR, submission.collection_id)
        return tuple(a for a in asked_for(submission.state) if is_curator or ACTORS[a] is Actor.SUBMITTER)

    async def act(
        self,
        principal: Principal,
        name: str,
        action: Action,
        revision: int | None,
        *,
        reason: Reason | None = None,
        comment: str = "",
    ) -> Submission:
        """Do what somebody asks to be done with a submission.

        Raises:
            NotFoundError: see `find`.
            ForbiddenError: it is for curators of the collection.
            TransitionError: its state does not know this action.
            PreconditionFailedError: it has changed since it was read.
            InvalidParameterError: a reason is missing.
            ConflictError: something stands against approving it.
        """
        submission = await self._of_revision(principal, name, revision)
        if ACTORS[action] is Actor.CURATOR:
            require_curator(principal, submission)
        state = next_state(submission.state, action)
        if action in NEEDS_REASON and reason is None:
            raise InvalidParameterError("reason", accepted=", ".join(Reason))
        if action is Action.APPROVE:
            await self._pass_gates(submission)
        follow_up = self.follow_ups.get(action)
        changed = await self.submissions.change_state(
            submission,
            state,
            action=action.value,
            actor=principal.name,
            reason="" if reason is None else reason.value,
            comment=comment,
            job=None if follow_up is None else await follow_up(submission, principal.name),
        )
        if follow_up is not None and self.wake is not None:
            self.wake()
        return changed

    async def advance(
        self, name: str, action: Action, *, actor: str, comment: str = "", revision: int | None = None
    ) -> Submission:
        """Do what the archive itself does with a submission: check it, publish it, let it expire.

        Args:
            revision: the only one of which it is done, where somebody has asked for it.

        Raises:
            NotFoundError: there is none.
            TransitionError: its state does not know this action, or no longer.
            PreconditionFailedError: it has changed since it was read.
            ConflictError: it keeps changing.
        """

        async def change(submission: Submission, state: SubmissionState) -> Submission:
            return await self.submissions.change_state(
                submission, state, action=action.value, actor=actor, comment=comment
            )

        return await self._try(name, action, revision, change)

    async def begin_work(
        self,
        name: str,
        action: Action,
        job: Callable[[Submission], NewJob],
        *,
        actor: str,
        comment: str = "",
        revision: int | None = None,
    ) -> tuple[Submission, Job]:
        """Do what the archive goes on with in a job, which is in the queue then; otherwise see `advance`.

        Args:
            job: makes it, of the submission as it is then.
        """

        async def change(submission: Submission, state: SubmissionState) -> tuple[Submission, Job]:
            return await self.submissions.begin_work(
                submission, state, job, action=action.value, actor=actor, comment=comment
            )

        begun = await self._try(name, action, revision, change)
        if self.wake is not None:
            self.wake()
        return begun

    async def _try(
        self,
        name: str,
        action: Action,
        revision: int | None,
        change: Callable[[Submission, SubmissionState], Awaitable[Result]],
    ) -> Result:
        """Change a submission as it stands, again when others were quicker."""
        for _ in range(_ATTEMPTS):
            submission = await self.submissions.find(name, SubmissionScope(None))
            if submission is None:
                message = "There is no such submission"
                raise NotFoundError(message)
            require_revision(submission, revision)
            try:
                return await change(submission, next_state(submission.state, action))
            except PreconditionFailedError:
                continue
        message = "the submission keeps changing; try again later"
        raise ConflictError(message)

    async def _of_revision(self, principal: Principal, name: str, revision: int | None) -> Submission:
        submission = await self.find(principal, name)
        require_revision(submission, revision)
        return submission

    async def _collection(self, principal: Principal, accession: str) -> Collection:
        found = await self.submissions.find_collection(accession)
        is_known = found is not None and (
            found.access is CollectionAccess.OPEN or any(principal.has(role, found.id) for role in Role)
        )
        if found is None or not is_known:
            raise InvalidParameterError("collection", accepted="the accession of a collection that takes submissions")
        if not principal.has(Role.SUBMITTER, found.id):
            message = f"this needs the role {Role.SUBMITTER.value} in the collection, which your key does not give"
            raise ForbiddenError(message)
        if found.is_closed:
            message = "the collection is closed and takes nothing more"
            raise ConflictError(message)
        return found

    async def _pass_gates(self, submission: Submission) -> None:
        against = [reason for gate in self.gates for reason in await gate(submission)]
        if against:
            raise ConflictError("this cannot be approved yet: " + "; ".join(against))


def require_curator(principal: Principal, submission: Submission) -> None:
    """Let only curators of the submission's collection pass.

    Raises:
        ForbiddenError: this is none.
    """
    if not principal.has(Role.CURATOR, submission.collection_id):
        message = f"this needs the role {Role.CURATOR.value} in the collection, which your key does not give"
        raise ForbiddenError(message)


def require_revision(submission: Submission, revision: int | None) -> None:
    """Let a change pass that is meant for the present revision, or for any.

    Raises:
        PreconditionFailedError: it is meant for another.
    """
    if revision not in (None, submission.revision):
        message = "the submission has changed since it was read; read it again and decide anew"
        raise PreconditionFailedError(message)


def _require_site(collection: Collection, site: str) -> None:
    if not collection.rules.takes_site(site):
        raise InvalidParameterError("site", accepted="a site that the collection takes submissions of")
