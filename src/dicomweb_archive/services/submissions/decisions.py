"""Decisions on many submissions at once: one job for each collection, with an outcome for each submission."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any, Final

from dicomweb_archive.errors import (
    ConflictError,
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
    PreconditionFailedError,
    TransitionError,
)
from dicomweb_archive.index.curation.queue import QueueFilter, QueueOrder
from dicomweb_archive.index.curation.submissions import Submission, SubmissionScope, SubmissionState
from dicomweb_archive.index.jobs.queue import JobQueue, NewJob
from dicomweb_archive.index.jobs.rows import Job, JsonObject
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, require
from dicomweb_archive.services.jobs.kinds import JobKind, JobRun
from dicomweb_archive.services.submissions.publishing import PublishingService
from dicomweb_archive.services.submissions.publishing_job import begin_publishing, find_publishing
from dicomweb_archive.services.submissions.submissions import SubmissionService
from dicomweb_archive.services.submissions.transitions import NEEDS_REASON, TRANSITIONS, Action, Reason

DECIDE_SUBMISSIONS: Final = "decide-submissions"
"""Does with each of many submissions what somebody has asked for; counts submissions."""

MOST_DECIDED: Final = 1000
"""Most submissions that one request decides on."""


class BulkAction(StrEnum):
    """What can be done with many submissions at once."""

    SEAL = "seal"
    REOPEN = "reopen"
    REVIEW = "review"
    REQUEST_CHANGES = "request-changes"
    APPROVE = "approve"
    RECONSIDER = "reconsider"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    PUBLISH = "publish"

    @property
    def action(self) -> Action:
        """What it does with each of them."""
        return Action.BEGIN_PUBLISHING if self is BulkAction.PUBLISH else Action(self.value)


class Outcome(StrEnum):
    """What became of one submission."""

    WAITING = "waiting"
    """Nothing yet, or nothing any more when the job was ended."""
    DONE = "done"
    """It stands as it was asked for; what is to be published has a job of its own."""
    CHANGED = "changed"
    """It has changed since it was chosen, so somebody has to look again."""
    NOT_IN_THIS_STATE = "not_in_this_state"
    BLOCKED = "blocked"
    """Something stands against it, such as findings that are not waived."""
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, and why."""

    action: BulkAction
    reason: Reason | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of one submission, and in words why nothing was done with it."""

    submission: str
    outcome: Outcome
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PlannedDecision:
    """The job that decides on what was chosen of one collection."""

    collection: str
    submissions: int
    job: Job


@dataclass(frozen=True, slots=True)
class DecisionService:
    """Lets curators decide on many submissions with one call."""

    submissions: SubmissionService
    queue: JobQueue

    async def decide_named(
        self, principal: Principal, decision: Decision, named: Mapping[str, int | None]
    ) -> Sequence[PlannedDecision]:
        """Put decisions on submissions into the queue that were named with the revision that was looked at.

        Args:
            named: revisions by name; `None`: whichever there is.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal curates nothing.
            InvalidParameterError: a reason is missing, or one of them is none of a collection that they curate.
        """
        _require_right(principal, decision)
        found = await self.submissions.submissions.find_many(list(named), SubmissionScope(principal.collections))
        if len(found) < len(named):
            raise InvalidParameterError("submissions", accepted="names of submissions of collections that you curate")
        return await self._plan(principal, decision, [(each, named[each.name]) for each in found])

    async def decide_matching(
        self, principal: Principal, decision: Decision, asked: QueueFilter
    ) -> Sequence[PlannedDecision]:
        """Put decisions on all that match now into the queue, each in the revision in which it matched.

        Args:
            asked: without states, those that know the action.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal curates nothing.
            InvalidParameterError: a reason is missing, or too many match.
        """
        _require_right(principal, decision)
        knowing = [state for state in SubmissionState if decision.action.action in TRANSITIONS[state]]
        states = asked.states or knowing
        wanted = QueueFilter(states, asked.collections, asked.sites, asked.opened_by, asked.text)
        page = await self.submissions.queue.list(
            SubmissionScope(principal.collections), wanted, QueueOrder.OLDEST, limit=MOST_DECIDED + 1, offset=0
        )
        if len(page.submissions) > MOST_DECIDED:
            raise InvalidParameterError("filter", accepted=f"one that at most {MOST_DECIDED} submissions match")
        return await self._plan(principal, decision, [(each, each.revision) for each, _ in page.submissions])

    async def _plan(
        self, principal: Principal, decision: Decision, chosen: Iterable[tuple[Submission, int | None]]
    ) -> Sequence[PlannedDecision]:
        # A job belongs to one collection, whose curators see it.
        ordered = sorted(chosen, key=lambda each: each[0].collection_id)
        new, sizes = [], {}
        for collection_id, group in groupby(ordered, key=lambda each: each[0].collection_id):
            members = list(group)
            collection = members[0][0].collection
            arguments = {
                "action": decision.action.value,
                "reason": decision.reason and decision.reason.value,
                "comment": decision.comment,
                "principal": _written(principal),
                "submissions": [[each.name, revision] for each, revision in members],
            }
            new.append(NewJob(DECIDE_SUBMISSIONS, principal.name, arguments, None, collection_id, "/submissions"))
            sizes[collection] = len(members)
        jobs = await self.queue.put_together(new)
        if jobs and self.submissions.wake is not None:
            self.submissions.wake()
        return [PlannedDecision(name, size, job) for (name, size), job in zip(sizes.items(), jobs, strict=True)]


def outcomes_of(job: Job) -> Sequence[Decided]:
    """Return what has become of each submission of a job, in the order in which it takes them.

    Raises:
        NotFoundError: it is no job of this kind.
    """
    if job.kind != DECIDE_SUBMISSIONS:
        message = "There are no such decisions"
        raise NotFoundError(message)
    kept = job.result or job.checkpoint or {"outcomes": []}
    decided = [Decided(name, Outcome(outcome), problem) for name, outcome, problem in kept["outcomes"]]
    waiting = [Decided(name, Outcome.WAITING) for name, _ in job.arguments["submissions"][len(decided) :]]
    return [*decided, *waiting]


def decisions_kind(submissions: SubmissionService, publishing: PublishingService, queue: JobQueue) -> JobKind:
    """Return the kind of job that decides on many submissions, one after the other."""

    async def work(run: JobRun) -> JsonObject:
        asked = run.job.arguments
        decider = _Decider(
            submissions,
            publishing,
            queue,
            _read_principal(asked["principal"]),
            Decision(BulkAction(asked["action"]), asked["reason"] and Reason(asked["reason"]), asked["comment"]),
        )
        outcomes = list((run.job.checkpoint or {"outcomes": []})["outcomes"])
        for name, revision in asked["submissions"][len(outcomes) :]:
            decided = await decider.decide(name, revision)
            outcomes.append([decided.submission, decided.outcome.value, decided.problem])
            # A copy: it is written down while the list grows.
            checkpoint = {"outcomes": list(outcomes)}
            await run.report(len(outcomes), total=len(asked["submissions"]), checkpoint=checkpoint)
        return {**Counter(outcome for _, outcome, _ in outcomes), "outcomes": outcomes}

    def taken_over(arguments: JsonObject, principal: Principal) -> JsonObject:
        return {**arguments, "principal": _written(principal)}

    return JobKind(DECIDE_SUBMISSIONS, work, taken_over=taken_over)


@dataclass(frozen=True, slots=True)
class _Decider:
    submissions: SubmissionService
    publishing: PublishingService
    queue: JobQueue
    principal: Principal
    decision: Decision

    async def decide(self, name: str, revision: int | None) -> Decided:
        try:
            await self._do(name, revision)
        except (PreconditionFailedError, TransitionError) as error:
            if await self._is_done(name):
                return Decided(name, Outcome.DONE)
            is_known = isinstance(error, PreconditionFailedError)
            return Decided(name, Outcome.CHANGED if is_known else Outcome.NOT_IN_THIS_STATE, str(error))
        except NotFoundError as error:
            return Decided(name, Outcome.NOT_FOUND, str(error))
        except ForbiddenError as error:
            return Decided(name, Outcome.FORBIDDEN, str(error))
        except ConflictError as error:
            return Decided(name, Outcome.BLOCKED, str(error))
        return Decided(name, Outcome.DONE)

    async def _do(self, name: str, revision: int | None) -> None:
        decision = self.decision
        if decision.action is BulkAction.PUBLISH:
            asked = (self.principal, name, revision)
            await begin_publishing(self.publishing, self.queue.put, *asked, comment=decision.comment)
            return
        await self.submissions.act(
            self.principal,
            name,
            decision.action.action,
            revision,
            reason=decision.reason,
            comment=decision.comment,
        )

    async def _is_done(self, name: str) -> bool:
        """Tell whether a submission stands as it was asked for: an attempt before this one may have come so far."""
        found = await self.submissions.find(self.principal, name)
        if self.decision.action is BulkAction.PUBLISH:
            if found.state is SubmissionState.PUBLISHING:
                await find_publishing(self.queue.put, found, actor=self.principal.name)
            return found.state in (SubmissionState.PUBLISHING, SubmissionState.PUBLISHED)
        wanted = self.decision.action.action
        return any(found.state is known.get(wanted) for known in TRANSITIONS.values())


def _require_right(principal: Principal, decision: Decision) -> None:
    require(principal, Role.CURATOR)
    if decision.action.action in NEEDS_REASON and decision.reason is None:
        raise InvalidParameterError("reason", accepted=", ".join(Reason))


def _written(principal: Principal) -> dict[str, Any]:
    """Write down who has decided, with the rights of that moment; what is seen through a root decides nothing here."""
    collections = None if principal.collections is None else sorted(principal.collections)
    return {
        "name": principal.name,
        "kind": principal.kind.value,
        "roles": sorted(role.value for role in principal.roles),
        "collections": collections,
    }


def _read_principal(written: Mapping[str, Any]) -> Principal:
    collections = written["collections"]
    return Principal(
        written["name"],
        PrincipalKind(written["kind"]),
        frozenset(Role(role) for role in written["roles"]),
        None if collections is None else frozenset(collections),
    )
