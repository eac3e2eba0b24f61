"""Roots: what a principal sees, and may do, through the root that a request names (docs/design/0008-quarantine.md)."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from typing import Any, Final, TypeVar

from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.roots import CollectionRoot, RootIndex, SubmissionRoot
from dicomweb_archive.services.access import PUBLISHED, Principal, PrincipalKind, Role, require
from dicomweb_archive.wire.roots import AskedRoot, RootKind

FRESH_SECONDS: Final = 1.0
"""How long is believed what the database has said of collections and submissions."""

MOST_NAMES: Final = 1024
"""Collections and submissions that a process keeps in mind, the least recently asked for out first."""

_Found = TypeVar("_Found", CollectionRoot, SubmissionRoot)
_Kept = TypeVar("_Kept")

_READER = frozenset({Role.READER})
_OPEN_COLLECTIONS = "open collections"


class RootService:
    """Says what a principal sees through a root.

    Args:
        is_public: whether whoever has no key may read; then no key gives less than none.
        clock: seconds that only go forward.
    """

    def __init__(self, index: RootIndex, *, is_public: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._index = index
        self._is_public = is_public
        self._fresh = _Fresh(clock)

    async def through(self, principal: Principal, asked: AskedRoot) -> Principal:
        """Return the principal as it is through a root: with what it sees there, and the roles that count there.

        Raises:
            NotFoundError: there is no such collection or submission, or the principal has no business in it.
            UnauthenticatedError: a submission was asked for without a key, whether there is one or not.
            DatabaseUnavailableError: trying again later may help.
        """
        if not principal.roles and asked.kind is not RootKind.PUBLISHED:
            # Before any name is looked up: of each the same is said.
            require(principal, Role.READER)
        match asked.kind:
            case RootKind.PUBLISHED:
                return await self._published(principal)
            case RootKind.COLLECTION:
                return self._in_collection(principal, await self.collection(asked.name))
            case RootKind.SUBMISSION:
                if principal.kind is PrincipalKind.ANONYMOUS:
                    # Said of every name, so it tells nothing of any, and leads a browser to sign in.
                    require(principal, Role.CURATOR)
                return _in_submission(principal, await self.submission(asked.name))

    async def collection(self, accession: str) -> CollectionRoot:
        """Return a collection, whoever asks.

        Raises:
            NotFoundError: there is none.
        """

        async def ask() -> CollectionRoot:
            return _found(await self._index.collection(accession))

        return await self._fresh.get((RootKind.COLLECTION, accession), ask)

    async def submission(self, name: str) -> SubmissionRoot:
        """Return a submission, whoever asks.

        Raises:
            NotFoundError: there is none.
        """

        async def ask() -> SubmissionRoot:
            return _found(await self._index.submission(name))

        return await self._fresh.get((RootKind.SUBMISSION, name), ask)

    async def _published(self, principal: Principal) -> Principal:
        reads = Role.READER in principal.roles
        if reads and principal.collections is None and not _is_nobody(principal):
            # Sees every collection, whichever there are.
            return principal
        if not self._is_public:
            own = principal.collections if reads else None
            return _seeing(principal, tuple(sorted(own or ())))
        everybody = replace(principal, roles=principal.roles | _READER) if not reads else principal
        open_ones = await self._fresh.get(_OPEN_COLLECTIONS, self._index.open_collections)
        if open_ones is None:
            return everybody if everybody.sees is PUBLISHED else _seeing(everybody, None)
        own = principal.collections if reads and not _is_nobody(principal) else None
        # Sorted, so that equal sets are one visibility to whatever is kept by it.
        return _seeing(everybody, tuple(sorted({*open_ones, *own})) if own else open_ones)

    def _in_collection(self, principal: Principal, collection: CollectionRoot) -> Principal:
        roles = principal.roles
        is_own = principal.collections is None or collection.id in principal.collections
        if not is_own or (_is_nobody(principal) and not collection.is_open):
            roles = frozenset()
        if self._is_public and collection.is_open:
            roles |= _READER
        if not roles:
            raise _nothing()
        sees = Visibility(collections=(collection.id,), see_embargoed=is_own and principal.sees.see_embargoed)
        return replace(principal, roles=roles, sees=sees)


class _Fresh:
    """Answers of the database that are believed for a moment, each asked for once however many wait for it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[_Kept]]) -> _Kept:
        """Return what is kept by this key, or ask; what `ask` raises is raised, and not kept."""
        kept = self._kept.get(key)
        if kept is not None and self._clock() - kept[1] < FRESH_SECONDS:
            found: _Kept = kept[0]
            return found
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key, ask))
            task.add_done_callback(_note_failure)
        # Others may wait for the same answer, so it is not given up with this request.
        answer: _Kept = await asyncio.shield(task)
        return answer

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[Any]]) -> Any:
        asked_at = self._clock()
        try:
            found = await ask()
        finally:
            del self._asking[key]
        self._kept[key] = found, asked_at
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_NAMES:
            self._kept.popitem(last=False)
        return found


def _in_submission(principal: Principal, submission: SubmissionRoot) -> Principal:
    is_own = principal.collections is None or submission.collection_id in principal.collections
    roles = principal.roles if is_own else frozenset()
    # Keys of one name are one principal; only nobody in particular is called the same each time.
    has_opened = principal.name == submission.opened_by and principal.kind is not PrincipalKind.ANONYMOUS
    if not has_opened and Role.CURATOR not in roles:
        raise _nothing()
    # Who has opened it may look at it, whatever else the key gives.
    return replace(principal, roles=roles | _READER, sees=Visibility((submission.space_id,), see_embargoed=True))


def _seeing(principal: Principal, collections: tuple[int, ...] | None) -> Principal:
    # Keys of some collections see the others as everybody does.
    embargoed = principal.sees.see_embargoed and principal.collections is None
    return replace(principal, sees=Visibility(collections=collections, see_embargoed=embargoed))


def _is_nobody(principal: Principal) -> bool:
    """Tell whether this is anybody without a key; where there are no keys, everybody has every role."""
    return principal.kind is PrincipalKind.ANONYMOUS and Role.SUBMITTER not in principal.roles


def _found(found: _Found | None) -> _Found:
    if found is None:
        raise _nothing()
    return found


def _nothing() -> NotFoundError:
    return NotFoundError("There is no such resource")


def _note_failure(task: "asyncio.Task[Any]") -> None:
    """Look at the outcome, for nobody may be waiting for it any more."""
    if not task.cancelled():
        task.exception()
