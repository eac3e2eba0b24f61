"""Search: which studies, series and instances match, as far as the caller may see them (PS3.18 10.6)."""

from dataclasses import dataclass, replace

from dicomweb_archive.dicom.query import SearchQuery
from dicomweb_archive.index.search.execution import SearchIndex, SearchPage
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.wire.page_tokens import PageTokens
from dicomweb_archive.wire.resources import ServiceRoot


@dataclass(frozen=True, slots=True)
class SearchService:
    """Searches on behalf of a principal."""

    index: SearchIndex

    async def search(
        self, query: SearchQuery, principal: Principal, root: ServiceRoot, *, page_token: str | None = None
    ) -> SearchPage:
        """Run a search, from its beginning or from where a page token goes on.

        What the principal may not see does not exist for it.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not search.
            InvalidParameterError: a value asks for what its attribute cannot be matched or sorted by, or the page
                token is not of this search.
            QueryTooExpensiveError: the search ran into its time limit.
            DatabaseUnavailableError: trying again later may help.
        """
        require(principal, Role.READER)
        if page_token is not None:
            query = replace(query, after=(await self._tokens()).open(query, page_token))
        return await self.index.search(query, principal.sees, service_root=root.url)

    async def next_token(self, query: SearchQuery, page: SearchPage) -> str | None:
        """Return the token with which the page behind this one is asked for, `None` behind the last."""
        return None if page.last is None else (await self._tokens()).seal(query, page.last)

    async def _tokens(self) -> PageTokens:
        return PageTokens(await self.index.secret())
