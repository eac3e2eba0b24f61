"""Claims: what has a UID already when a part with it arrives, in the request, the archive or the submission."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.writing.register import KnownInstance, Register
from dicomweb_archive.services.destinations import Destination
from dicomweb_archive.services.intake import SeriesKey, series_key
from dicomweb_archive.services.reception.ledger import Kept, Ledger
from dicomweb_archive.services.settlement import Lane

# The UIDs of so many instances are read in the time of a few questions; longer series are asked about each time.
_MOST_OF_SERIES: Final = 1_000
_MOST_SERIES: Final = 16


class Asked(NamedTuple):
    """An instance whose UID may be taken, and where it would go."""

    scanned: ScannedInstance
    lane: Lane

    @property
    def uid(self) -> str:
        """Its SOP Instance UID."""
        return self.scanned.sop_instance_uid


class Claims:
    """Looks up who has UIDs, as far as it matters where the request leads."""

    def __init__(self, register: Register, destination: Destination, ledger: Ledger) -> None:
        self._register = register
        self._destination = destination
        self._ledger = ledger
        self._spaces: dict[int, _Space] = {}

    async def find(self, asked: Sequence[Asked]) -> dict[str, Kept]:
        """Return what has the UIDs, each with the lane of its instance: in this request, or where that would go."""
        kept = self._ledger.kept
        known = {each.uid: kept[each.uid] for each in asked if each.uid in kept}
        if self._destination.judge is not None:
            # Also of those that wait: what is published has the better claim to a UID.
            others = [each.scanned for each in asked if each.uid not in known]
            known |= await self._find_in(ARCHIVE_SPACE, Lane.PUBLISHED, others)
        waiting = [each.scanned for each in asked if each.lane is Lane.WAITING and each.uid not in known]
        room = await self._destination.room.find() if waiting else None
        if room is not None:
            known |= await self._find_in(room.space_id, Lane.WAITING, waiting)
        return known

    async def find_published(self, sop_instance_uids: Sequence[str]) -> dict[str, bytes]:
        """Return the digests of what is published of instances that would all wait, as far as it may be told of."""
        seen = self._destination.seen
        return {} if seen is None else await self._register.find_seen(seen, sop_instance_uids)

    async def _find_in(self, space_id: int, lane: Lane, instances: Sequence[ScannedInstance]) -> dict[str, Kept]:
        if not instances:
            return {}
        space = self._spaces.get(space_id)
        if space is None:
            space = self._spaces[space_id] = _Space(self._register, space_id)
        found = await space.find(instances)
        return {uid: Kept(entry.digest, lane) for uid, entry in found.items()}


class _Space:
    """What a space has, asked for by the batches of one request.

    Hot path: a long request brings many batches of the same series, most of them new. So when the second one comes
    it is asked once which instances the series has, and further ones are looked up only when they are among those.
    What another request stores meanwhile, or has stored in another series, shows when ours is registered.
    """

    def __init__(self, register: Register, space_id: int) -> None:
        self._register = register
        self._space_id = space_id
        self._met: set[SeriesKey] = set()
        # What series had when it was asked for; `None`: too much.
        self._had: dict[SeriesKey, frozenset[str] | None] = {}

    async def find(self, instances: Sequence[ScannedInstance]) -> dict[str, KnownInstance]:
        """Return what the space has under the UIDs of these instances, as of now."""
        doubtful: list[str] = []
        by_series: dict[SeriesKey, list[str]] = {}
        for scanned in instances:
            by_series.setdefault(series_key(scanned), []).append(scanned.sop_instance_uid)
        for key, uids in by_series.items():
            doubtful += await self._doubtful(key, uids)
        return await self._register.find_digests(self._space_id, doubtful) if doubtful else {}

    async def _doubtful(self, key: SeriesKey, uids: Sequence[str]) -> Iterable[str]:
        """Return those of a series' UIDs that have to be looked up."""
        if key not in self._met:
            self._met.add(key)
            return uids
        if key not in self._had:
            if len(self._had) >= _MOST_SERIES:
                return uids
            self._had[key] = await self._register.find_series(self._space_id, key, most=_MOST_OF_SERIES)
        had = self._had[key]
        return uids if had is None else [uid for uid in uids if uid in had]
