"""Search: which studies, series and instances match, as far as the caller may see them (PS3.18 10.6)."""

from dataclasses import dataclass

from dicomweb_archive.dicom.query import SearchQuery
from dicomweb_archive.index.search import SearchIndex, SearchPage
from dicomweb_archive.services.access import Principal, Role, require, visibility_of
from dicomweb_archive.wire.resources import ServiceRoot


@dataclass(frozen=True, slots=True)
class SearchService:
    """Searches on behalf of a principal."""

    index: SearchIndex

    async def search(self, query: SearchQuery, principal: Principal, root: ServiceRoot) -> SearchPage:
        """Run a search; what the principal may not see does not exist for it.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not search.
            InvalidMatchError: a value asks for what its attribute cannot be matched by.
            QueryTooExpensiveError: the search ran into its time limit.
            DatabaseUnavailableError: trying again later may help.
        """
        require(principal, Role.READER)
        return await self.index.search(query, visibility_of(principal), service_root=root.url)
