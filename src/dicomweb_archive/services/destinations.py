"""Destinations: where a store request leads, by its root and its collection's policy (docs/design/0008)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from dicomweb_archive.checks.catalogue import STRUCTURAL
from dicomweb_archive.checks.structural import InstanceJudge
from dicomweb_archive.errors import ConflictError, ForbiddenError, NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.curation.collections import DEFAULT_ACCESSION, Collection, CollectionPolicy
from dicomweb_archive.index.curation.submissions import Submission, SubmissionIndex, SubmissionScope, SubmissionState
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.wire.roots import PUBLISHED, AskedRoot, RootKind

FRESH_SECONDS: Final = 1.0
"""How long a process believes what it has read of a collection."""

_MOST_COLLECTIONS: Final = 1024


class WaitingRoom:
    """The submission in which whatever a request may not publish waits: the one that it names, or the one of the day.

    Args:
        named: the one that the request names; `None`: the open one of collection, principal and day.
    """

    def __init__(
        self, submissions: SubmissionIndex, collection_id: int, *, actor: str, named: Submission | None = None
    ) -> None:
        self._submissions = submissions
        self._collection_id = collection_id
        self._actor = actor
        self.named = named
        self._found = named

    async def find(self) -> Submission | None:
        """Return the submission, if it is open already."""
        if self._found is None:
            self._found = await self._submissions.find_of_day(self._collection_id, actor=self._actor, day=_today())
        return self._found

    async def open(self) -> Submission:
        """Return the submission, opened when it is the first of its day."""
        if self._found is None:
            self._found = await self._submissions.open_of_day(self._collection_id, actor=self._actor, day=_today())
        return self._found

    @property
    def submission(self) -> Submission | None:
        """The submission as far as it has been asked for."""
        return self._found

    def forget(self) -> bool:
        """Forget a submission that takes nothing more; tells whether another one may be opened."""
        self._found = self.named
        return self.named is None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the instances of one request go.

    Attributes:
        collection_id: their home.
        room: where those wait that are not published.
        judge: says which are published at once; `None`: all wait.
        seen: what is published already and may be told of, so that the same bytes need not wait again.
    """

    collection_id: int
    room: WaitingRoom
    judge: InstanceJudge | None
    seen: Visibility | None = None


class Destinations:
    """Finds out where store requests lead.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, submissions: SubmissionIndex, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._submissions = submissions
        self._clock = clock
        self._known: dict[str, tuple[Collection, float]] = {}

    async def of(self, principal: Principal, asked: AskedRoot = PUBLISHED) -> Destination:
        """Return where a store of this principal through this root leads.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not store there.
            NotFoundError: there is no such collection or submission.
            ConflictError: it takes nothing, or nothing that does not say where it comes from.
        """
        require(principal, Role.SUBMITTER)
        if asked.kind is RootKind.SUBMISSION:
            return await self._submission(principal, asked.name)
        accession = asked.name if asked.kind is RootKind.COLLECTION else DEFAULT_ACCESSION
        collection = await self._collection(accession)
        _require_submitter(principal, collection.id)
        _require_open(collection)
        if not collection.rules.takes_site(""):
            message = "the collection takes submissions of named sites only; open one at /submissions and store there"
            raise ConflictError(message)
        room = WaitingRoom(self._submissions, collection.id, actor=principal.name)
        judge = _judge_of(collection)
        # Where some are published at once, all that is published is asked for anyway: a UID has one place there.
        is_told = judge is None and Role.READER in principal.roles
        return Destination(collection.id, room, judge, principal.sees if is_told else None)

    async def _submission(self, principal: Principal, name: str) -> Destination:
        # Whoever comes this far may see it (`services/roots.py`).
        found = await self._submissions.find(name, SubmissionScope(None))
        if found is None:
            message = "There is no such submission"
            raise NotFoundError(message)
        _require_submitter(principal, found.collection_id)
        if found.state is not SubmissionState.OPEN:
            message = f"the submission is {found.state.value} and takes no instances; it has to be reopened first"
            raise ConflictError(message)
        _require_open(await self._collection(found.collection))
        room = WaitingRoom(self._submissions, found.collection_id, actor=principal.name, named=found)
        return Destination(found.collection_id, room, None)

    async def _collection(self, accession: str) -> Collection:
        # Hot path: each store asks, and collections seldom change.
        known = self._known.get(accession)
        if known is not None and self._clock() - known[1] < FRESH_SECONDS:
            return known[0]
        asked_at = self._clock()
        found = await self._submissions.find_collection(accession)
        if found is None:
            message = "There is no such collection"
            raise NotFoundError(message)
        if len(self._known) >= _MOST_COLLECTIONS:
            self._known.clear()
        self._known[accession] = found, asked_at
        return found


def _judge_of(collection: Collection) -> InstanceJudge | None:
    # Other sets ask for more than can be told of an instance while it is being stored, so everything waits for them.
    if collection.policy is not CollectionPolicy.AUTOMATIC or collection.check_set != STRUCTURAL.name:
        return None
    # Each request has its own, for a judge remembers the instance before.
    return InstanceJudge(STRUCTURAL, collection.rules)


def _require_submitter(principal: Principal, collection_id: int) -> None:
    if not principal.has(Role.SUBMITTER, collection_id):
        message = f"this needs the role {Role.SUBMITTER.value} in the collection, which your key does not give"
        raise ForbiddenError(message)


def _require_open(collection: Collection) -> None:
    if collection.is_closed:
        message = "the collection is closed and takes nothing more"
        raise ConflictError(message)


def _today() -> date:
    return datetime.now(UTC).date()
