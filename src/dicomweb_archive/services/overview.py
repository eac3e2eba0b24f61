"""Overview: what the archive holds, and one study of it in detail, for the pages that people read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dicomweb_archive.errors import QueryTooExpensiveError
from dicomweb_archive.index.reading.overview import LatestStudy, OverviewIndex, Summary
from dicomweb_archive.index.reading.study_details import SeriesAttributes, StudyDetails, StudyDetailsIndex
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.kept import Held, Kept


@dataclass(frozen=True, slots=True)
class OverviewService:
    """Sums up and describes on behalf of a principal; what it may not see does not exist for it."""

    index: OverviewIndex
    details: StudyDetailsIndex
    kept: Kept[Summary | None] = field(default_factory=Kept)

    async def summary(self, principal: Principal) -> Held[Summary | None]:
        """Return the archive in figures, at most some seconds old; `None` when summing up takes too long.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not read.
            DatabaseUnavailableError: trying again later may help.
        """
        require(principal, Role.READER)
        visibility = principal.sees

        async def ask() -> Summary | None:
            try:
                return await self.index.summarise(visibility)
            except QueryTooExpensiveError:
                return None

        return await self.kept.get(visibility, ask)

    async def latest(self, principal: Principal, limit: int) -> Sequence[LatestStudy]:
        """Return the studies that came last, newest first."""
        require(principal, Role.READER)
        return await self.index.latest(principal.sees, limit)

    async def sizes(self, principal: Principal, study_instance_uids: Sequence[str]) -> Mapping[str, int]:
        """Return the bytes of these studies by UID."""
        require(principal, Role.READER)
        return await self.index.sizes(principal.sees, study_instance_uids)

    async def study(self, principal: Principal, study_instance_uid: str) -> StudyDetails:
        """Return what is known of one study and of its series.

        Raises:
            NotFoundError, GoneError: there is none that the principal may see.
        """
        require(principal, Role.READER)
        return await self.details.study(principal.sees, study_instance_uid)

    async def attributes(
        self, principal: Principal, study_instance_uid: str, series_instance_uid: str
    ) -> SeriesAttributes:
        """Return every attribute of the instances of one series, equal values once.

        Raises:
            NotFoundError, GoneError: there is no such series that the principal may see.
        """
        require(principal, Role.READER)
        return await self.details.attributes(principal.sees, study_instance_uid, series_instance_uid)

    async def close(self) -> None:
        """Give up what is being summed up."""
        await self.kept.close()
