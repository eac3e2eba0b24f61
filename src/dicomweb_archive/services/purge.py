"""Purge: a patient must go. Rows, and every object that holds any of it, in every space, before the answer."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from dicomweb_archive.errors import ConflictError, ForbiddenError, NotFoundError
from dicomweb_archive.index.curation.purging import NewPack, PackContent, Purged, PurgeOrder, Purging
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.repacking import KeptMember, repack

_ATTEMPTS = 5
_PREFIX = "tombstones"


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge has done.

    Attributes:
        instances: that were there; none when an earlier purge was brought to its end.
        objects: that were deleted.
        rewritten: packs that were written anew without it.
        damaged: instances beside it whose bytes were not those that were stored; they are as they were.
        tombstones: keys of the objects that say what was purged, for whoever rebuilds the index from the store.
    """

    instances: int
    objects: int
    rewritten: int
    damaged: int
    tombstones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PurgeService:
    """Takes away what must leave no trace."""

    purging: Purging
    objects: ObjectStore

    async def purge(self, scope: Scope, principal: Principal, reason: str) -> PurgeReport:
        """Purge what the scope names, from the archive and from every submission.

        Asked for again it brings an interrupted purge to its end.

        Raises:
            UnauthenticatedError, ForbiddenError: it is for admins of all collections that have any of it.
            NotFoundError: there is nothing of it, and nothing was purged.
            ConflictError: it keeps changing meanwhile.
            StorageUnavailableError: it is gone from the index, and objects are left; ask again.
        """
        require(principal, Role.ADMIN)
        for _ in range(_ATTEMPTS):
            collections = await self.purging.find_collections(scope)
            if not collections:
                return await self._end_earlier(scope, principal, reason)
            if not all(principal.has(Role.ADMIN, each) for each in collections):
                message = f"this needs the role {Role.ADMIN.value} in each collection that has any of it"
                raise ForbiddenError(message)
            packs = await self.purging.list_packs(scope)
            rewritten = {pack.pack_id: await self._rewritten(pack) for pack in packs if pack.stays}
            new = {pack_id: replacement for pack_id, (replacement, _) in rewritten.items()}
            # Where this fails the new packs hold nothing that must go, and are orphans for the sweep.
            purged = await self.purging.purge(PurgeOrder(scope, packs, new, principal.name, reason))
            if purged is not None:
                damaged = sum(count for _, count in rewritten.values())
                return await self._finish(scope, principal, reason, purged, rewritten=len(new), damaged=damaged)
            await self.objects.delete_many([each.object_key for each in new.values() if each is not None])
        message = "what is to be purged keeps changing; try again later"
        raise ConflictError(message)

    async def _rewritten(self, pack: PackContent) -> tuple[NewPack | None, int]:
        """Write what stays of a pack anew, and count what is damaged of it; no pack when all of it is lost."""
        members = [KeptMember(*each) for each in pack.stays]
        info, offsets, damaged = await repack(self.objects, pack.object_key, members)
        return None if info is None else NewPack(info.key, info.size_bytes, offsets), damaged

    async def _end_earlier(self, scope: Scope, principal: Principal, reason: str) -> PurgeReport:
        earlier = await self.purging.find_earlier(scope) if principal.collections is None else None
        if earlier is None:
            message = "There is no such resource"
            raise NotFoundError(message)
        return await self._finish(scope, principal, reason, earlier, rewritten=0, damaged=0)

    async def _finish(
        self, scope: Scope, principal: Principal, reason: str, purged: Purged, *, rewritten: int, damaged: int
    ) -> PurgeReport:
        """Delete the objects, and leave one in the store for each space that says what has gone."""
        await self.objects.delete_many(purged.object_keys)
        names = ("study", "series", "instance")
        said = {
            **{name: uid for name, uid in zip(names, scope.parameters(), strict=True) if uid is not None},
            "purged_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "purged_by": principal.name,
            "reason": reason,
        }
        keys = [f"{_PREFIX}/{event_id:016x}.json" for event_id in purged.event_ids]
        for key, event_id in zip(keys, purged.event_ids, strict=True):
            await self._export(key, orjson.dumps({"event": event_id, **said}))
        return PurgeReport(purged.instances, len(purged.object_keys), rewritten, damaged, tuple(keys))

    async def _export(self, key: str, document: bytes) -> None:
        # An earlier attempt may have come so far.
        with suppress(ConflictError):
            writer = await self.objects.create(key)
            try:
                await writer.write([document])
                await writer.commit()
            except BaseException:
                await writer.abort()
                raise
