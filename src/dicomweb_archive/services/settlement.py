"""Settlement: what becomes of the durable packs of a request: published, waiting, kept as conflicts, or deleted."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto

from dicomweb_archive.errors import ArchiveError, ConflictError, DatabaseUnavailableError
from dicomweb_archive.index.curation.conflicts import ConflictIndex
from dicomweb_archive.index.writing.register import (
    PackRecord,
    Register,
    Registration,
    SpaceClosedError,
    only_instances,
)
from dicomweb_archive.services.destinations import Destination
from dicomweb_archive.storage.base import ObjectStore

logger = logging.getLogger(__name__)

_ATTEMPTS = 3


class Lane(Enum):
    """Where instances of a request are packed to go."""

    PUBLISHED = auto()
    """Into the archive, at once."""
    WAITING = auto()
    """Into the submission."""
    CONFLICTING = auto()
    """Beside another instance of their UID."""


class Settlement:
    """Registers the packs of one request; whatever becomes of it, no object stays that nobody needs.

    Attributes:
        waiting: UIDs of the instances that wait.
    """

    def __init__(
        self,
        register: Register,
        conflicts: ConflictIndex,
        objects: ObjectStore,
        destination: Destination,
        *,
        actor: str,
    ) -> None:
        self._register = register
        self._conflicts = conflicts
        self._objects = objects
        self._destination = destination
        self._actor = actor
        # Keys of packs without a row, and of those with one.
        self._loose: set[str] = set()
        self._registered: set[str] = set()
        self.waiting: frozenset[str] = frozenset()

    async def settle(self, packs: Mapping[Lane, Sequence[PackRecord]]) -> dict[str, Registration]:
        """Register everything, and say of each UID outside of the conflicts what became of it.

        Raises:
            ConflictError: the submission takes no more instances; what was published stays.
            DatabaseUnavailableError, StorageFullError: trying again later may help.
        """
        self._loose = {pack.object_key for of_lane in packs.values() for pack in of_lane}
        try:
            outcome = await self._settle(packs)
        except DatabaseUnavailableError:
            # A lost connection may hide a commit that took place, so the objects stay: one without rows is an
            # orphan for the sweep, a row without its object would be a loss.
            logger.warning("outcome of a transaction is unknown, its objects stay", extra={"packs": len(self._loose)})
            raise
        except Exception:
            await delete_objects(self._objects, sorted(self._loose))
            raise
        await delete_objects(self._objects, sorted(self._loose))
        return outcome

    async def _settle(self, packs: Mapping[Lane, Sequence[PackRecord]]) -> dict[str, Registration]:
        published = packs.get(Lane.PUBLISHED, ())
        waiting = [*packs.get(Lane.WAITING, ())]
        outcome: dict[str, Registration] = {}
        if published:
            outcome = await self._publish(published)
            away = _uids_of(outcome, Registration.OTHER_HOME)
            if away:
                waiting += only_instances(published, away)
                published = only_instances(published, outcome.keys() - away)
        if waiting:
            laid_aside = await self._lay_aside(waiting)
            self.waiting = frozenset(laid_aside)
            outcome |= laid_aside
        contradicting = [*packs.get(Lane.CONFLICTING, ())]
        contradicting += only_instances([*published, *waiting], _uids_of(outcome, Registration.CONFLICT))
        if contradicting:
            await self._keep_conflicts(contradicting)
        return outcome

    async def _publish(self, packs: Sequence[PackRecord]) -> dict[str, Registration]:
        collection_id = self._destination.collection_id
        outcome = await self._register.register(packs, actor=self._actor, collection_id=collection_id)
        self._note_registered(packs, outcome)
        return outcome

    async def _lay_aside(self, packs: Sequence[PackRecord]) -> dict[str, Registration]:
        """Register packs in the space of the submission, of another one when it has just been sealed."""
        for _ in range(_ATTEMPTS):
            submission = await self._destination.room.open()
            try:
                outcome = await self._register.register(
                    packs,
                    actor=self._actor,
                    space_id=submission.space_id,
                    collection_id=self._destination.collection_id,
                    while_open=True,
                )
            except SpaceClosedError:
                if self._destination.room.forget():
                    continue
                break
            self._note_registered(packs, outcome)
            return outcome
        message = "the submission takes no more instances; it has been sealed meanwhile"
        raise ConflictError(message)

    async def _keep_conflicts(self, packs: Sequence[PackRecord]) -> None:
        submission = await self._destination.room.open()
        needed = await self._conflicts.keep(
            submission, packs, registered=frozenset(self._registered), actor=self._actor
        )
        self._loose -= needed

    def _note_registered(self, packs: Sequence[PackRecord], outcome: Mapping[str, Registration]) -> None:
        stored = only_instances(packs, _uids_of(outcome, Registration.STORED))
        keys = {pack.object_key for pack in stored}
        self._registered |= keys
        self._loose -= keys


async def delete_objects(objects: ObjectStore, object_keys: Iterable[str]) -> None:
    """Delete objects that no row names; what cannot be deleted is an orphan for the sweep."""
    for object_key in object_keys:
        try:
            await objects.delete(object_key)
        except ArchiveError:
            # The instances are where another request has put them, and that is the answer.
            logger.warning("an object without rows could not be deleted", extra={"object_key": object_key})


def _uids_of(outcome: Mapping[str, Registration], registration: Registration) -> frozenset[str]:
    return frozenset(uid for uid, found in outcome.items() if found is registration)
