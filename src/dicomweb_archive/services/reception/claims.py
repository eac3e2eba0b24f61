"""Claims: what has a UID already when a part with it arrives, in the request, the archive or the submission."""

from collections.abc import Sequence
from dataclasses import dataclass

from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.services.destinations import Destination
from dicomweb_archive.services.reception.ledger import Kept, Ledger
from dicomweb_archive.services.settlement import Lane


@dataclass(frozen=True, slots=True)
class Claims:
    """Looks up who has UIDs, as far as it matters where the request leads."""

    register: Register
    destination: Destination
    ledger: Ledger

    async def find(self, asked: Sequence[tuple[str, Lane]]) -> dict[str, Kept]:
        """Return what has the UIDs, each with the lane of its instance: in this request, or where that would go."""
        kept = self.ledger.kept
        known = {uid: kept[uid] for uid, _ in asked if uid in kept}
        if self.destination.judge is not None:
            # Also of those that wait: what is published has the better claim to a UID.
            known |= await self._find_in(ARCHIVE_SPACE, Lane.PUBLISHED, [uid for uid, _ in asked if uid not in known])
        waiting = [uid for uid, lane in asked if lane is Lane.WAITING and uid not in known]
        room = await self.destination.room.find() if waiting else None
        if room is not None:
            known |= await self._find_in(room.space_id, Lane.WAITING, waiting)
        return known

    async def find_published(self, sop_instance_uids: Sequence[str]) -> dict[str, bytes]:
        """Return the digests of what is published of instances that would all wait, as far as it may be told of."""
        seen = self.destination.seen
        return {} if seen is None else await self.register.find_seen(seen, sop_instance_uids)

    async def _find_in(self, space_id: int, lane: Lane, sop_instance_uids: Sequence[str]) -> dict[str, Kept]:
        if not sop_instance_uids:
            return {}
        found = await self.register.find_digests(space_id, sop_instance_uids)
        return {uid: Kept(entry.digest, lane) for uid, entry in found.items()}
