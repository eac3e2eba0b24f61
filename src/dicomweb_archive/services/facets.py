"""Facets: how often values occur among what matches, as far as the caller may see it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dicomweb_archive.dicom.facets import FacetField
from dicomweb_archive.dicom.query import SearchQuery
from dicomweb_archive.index.search.facets import FacetIndex, Facets
from dicomweb_archive.services.access import Principal, Role, require


@dataclass(frozen=True, slots=True)
class FacetService:
    """Counts values on behalf of a principal."""

    index: FacetIndex

    async def count(
        self, query: SearchQuery, principal: Principal, fields: Sequence[FacetField], *, limit: int
    ) -> Facets:
        """Count the values of some attributes; what the principal may not see is not counted.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not search.
            InvalidMatchError, InvalidParameterError: something is asked for that an attribute does not have.
            QueryTooExpensiveError: counting ran into the time limit.
            DatabaseUnavailableError: trying again later may help.
        """
        require(principal, Role.READER)
        return await self.index.count(query, principal.sees, fields, limit=limit)
