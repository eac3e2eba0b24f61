"""Delete: take a study, series or instance away (an extension of ours; PS3.18 has no such transaction)."""

import logging
from dataclasses import dataclass, replace

from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.index.writing.removal import Removal, Removed
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.storage.base import ObjectStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeleteService:
    """Deletes rows first, in one transaction with tombstone and event, then objects that hold nothing else."""

    removal: Removal
    objects: ObjectStore

    async def delete(self, scope: Scope, principal: Principal) -> None:
        """Delete what the scope names.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not delete.
            GoneError: it was deleted before.
            NotFoundError: there is none in a collection in which the principal may delete.
        """
        require(principal, Role.MANAGER)
        removed = await self._remove(scope, principal)
        try:
            await self.objects.delete_many(removed.free_object_keys)
        except ArchiveError:
            # The rows are gone, so the delete has succeeded; the objects are orphans for the sweep.
            logger.warning(
                "objects without rows could not all be deleted", extra={"object_keys": len(removed.free_object_keys)}
            )

    async def _remove(self, scope: Scope, principal: Principal) -> Removed:
        study, series, instance = scope.parameters()
        visibility, actor = _deletable(principal), principal.name
        if series is None:
            return await self.removal.delete_study(study, visibility, actor=actor)
        if instance is None:
            return await self.removal.delete_series(study, series, visibility, actor=actor)
        return await self.removal.delete_instance(study, series, instance, visibility, actor=actor)


def _deletable(principal: Principal) -> Visibility:
    """Return what the principal sees of the collections in which its roles count."""
    sees, own = principal.sees, principal.collections
    if own is None:
        return sees
    return replace(sees, collections=tuple(sorted(own if sees.collections is None else own & set(sees.collections))))
