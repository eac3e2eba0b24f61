"""Purge: a patient must go. Rows, and every object that holds any of it, in every space, before the answer."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson

from dicomweb_archive.errors import ConflictError, ForbiddenError, NotFoundError, ObjectNotFoundError
from dicomweb_archive.index.curation.purged_packs import NewPack, PackContent, Replacements
from dicomweb_archive.index.curation.purging import Purged, PurgeOrder, Purging
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
        missing: objects that the store does not have, or not now. Whoever finds out why asks for the purge again.
        tombstones: keys of the objects that say what was purged, for whoever rebuilds the index from the store.
    """

    instances: int
    objects: int
    rewritten: int
    damaged: int
    missing: int
    tombstones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rewritten:
    """What came of packs that were to be written anew.

    Attributes:
        missing: of which the store does not have the objects: all of them, not only those of which something stays.
        damaged: see `PurgeReport`.
    """

    replacements: Replacements
    missing: int
    damaged: int


@dataclass(frozen=True, slots=True)
class PurgeService:
    """Takes away what must leave no trace."""

    purging: Purging
    objects: ObjectStore

    async def purge(self, scope: Scope, principal: Principal, reason: str) -> PurgeReport:
        """Purge what the scope names, from the archive and from every submission.

        Asked for again it brings an interrupted purge to its end. A pack that something else needs, and that the store
        does not have at the moment, is left as it is until then.

        Raises:
            UnauthenticatedError, ForbiddenError: it is for admins of all collections that have any of it.
            NotFoundError: there is nothing of it, and nothing was purged.
            ConflictError: it keeps changing meanwhile.
            StorageUnavailableError: nothing has changed, or it is gone from the index, and objects are left; ask again.
        """
        require(principal, Role.ADMIN)
        # A store that is away as a whole must not look as if it had lost everything.
        await self.objects.ping()
        for _ in range(_ATTEMPTS):
            collections = await self.purging.find_collections(scope)
            report = (
                await self._purge(scope, principal, reason, collections)
                if collections
                else await self._end_earlier(scope, principal, reason)
            )
            if report is not None:
                return report
        message = "what is to be purged keeps changing; try again later"
        raise ConflictError(message)

    async def _purge(
        self, scope: Scope, principal: Principal, reason: str, collections: frozenset[int]
    ) -> PurgeReport | None:
        if not all(principal.has(Role.ADMIN, each) for each in collections):
            message = f"this needs the role {Role.ADMIN.value} in each collection that has any of it"
            raise ForbiddenError(message)
        packs = await self.purging.list_packs(scope)
        rewritten = await self._rewrite(packs)
        # Where this fails the new packs hold nothing that must go, and are orphans for the sweep.
        purged = await self.purging.purge(PurgeOrder(scope, packs, rewritten.replacements, principal.name, reason))
        if purged is None:
            await self.objects.delete_many(rewritten.replacements.object_keys)
            return None
        return await self._finish(scope, principal, reason, purged, rewritten)

    async def _end_earlier(self, scope: Scope, principal: Principal, reason: str) -> PurgeReport | None:
        """Delete what an earlier purge has left, and write packs anew that were missing then and are back."""
        earlier = await self.purging.find_earlier(scope) if principal.collections is None else None
        if earlier is None:
            message = "There is no such resource"
            raise NotFoundError(message)
        packs = await self.purging.list_living(earlier.object_keys)
        rewritten = await self._rewrite(packs)
        if packs and not await self.purging.replace(packs, rewritten.replacements):
            await self.objects.delete_many(rewritten.replacements.object_keys)
            return None
        away = {pack.object_key for pack in packs if pack.pack_id in rewritten.replacements.missing}
        gone = tuple(key for key in earlier.object_keys if key not in away)
        return await self._finish(scope, principal, reason, replace(earlier, object_keys=gone), rewritten)

    async def _rewrite(self, packs: Sequence[PackContent]) -> _Rewritten:
        """Write what stays of packs anew, and count what is damaged of it."""
        new: dict[int, NewPack | None] = {}
        missing: set[int] = set()
        damaged = 0
        for pack in packs:
            try:
                if not pack.stays:
                    await self.objects.stat(pack.object_key)
                    continue
                info, offsets, bad = await repack(
                    self.objects, pack.object_key, [KeptMember(*each) for each in pack.stays]
                )
            except ObjectNotFoundError:
                missing.add(pack.pack_id)
                continue
            new[pack.pack_id] = None if info is None else NewPack(info.key, info.size_bytes, offsets)
            damaged += bad
        needed = frozenset(pack.pack_id for pack in packs if pack.stays and pack.pack_id in missing)
        return _Rewritten(Replacements(new, needed), len(missing), damaged)

    async def _finish(
        self, scope: Scope, principal: Principal, reason: str, purged: Purged, rewritten: _Rewritten
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
        replacements = rewritten.replacements
        return PurgeReport(
            purged.instances,
            # Of those that are missing some were tried, and were not there.
            len(purged.object_keys) - (rewritten.missing - len(replacements.missing)),
            len(replacements.new),
            rewritten.damaged,
            rewritten.missing,
            tuple(keys),
        )

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
