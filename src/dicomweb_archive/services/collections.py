"""Collections: listed and shown to whoever may see them, made and changed by managers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dicomweb_archive.errors import ConflictError, NotFoundError, PreconditionFailedError
from dicomweb_archive.index.curation.collection_index import CollectionFields, CollectionIndex, CollectionSight
from dicomweb_archive.index.curation.collections import DEFAULT_ACCESSION, Collection
from dicomweb_archive.services.access import Principal, Role, require, require_everywhere

CHECK_SETS: Final = ("structural", "public_release")
"""Names of the sets of checks that a collection can ask for."""

Change: TypeAlias = Callable[[CollectionFields], CollectionFields]
"""What a change makes of the fields as they are."""


@dataclass(frozen=True, slots=True)
class CollectionPage:
    """Some of the collections that a principal sees, by accession, and how many there are."""

    collections: Sequence[Collection]
    total: int


@dataclass(frozen=True, slots=True)
class CollectionService:
    """Keeps collections on behalf of a principal; what it may not see does not exist for it.

    Attributes:
        prefix: what new accessions begin with.
    """

    index: CollectionIndex
    prefix: str

    async def list_collections(self, principal: Principal, *, limit: int, offset: int = 0) -> CollectionPage:
        """List the collections that the principal sees.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal sees nothing here.
            DatabaseUnavailableError: trying again later may help.
        """
        return CollectionPage(*await self.index.page(_sight(principal), limit=limit, offset=offset))

    async def show(self, principal: Principal, accession: str) -> Collection:
        """Return a collection.

        Raises:
            NotFoundError: there is none of this accession that the principal sees.
            UnauthenticatedError, ForbiddenError, DatabaseUnavailableError: see `list_collections`.
        """
        found = await self.index.find(accession, _sight(principal))
        if found is None:
            raise NotFoundError("there is no such collection")
        return found

    async def accessions_of(self, principal: Principal) -> list[str] | None:
        """Name the collections in which the principal's roles count; `None`: all of them.

        Raises:
            DatabaseUnavailableError: trying again later may help.
        """
        if principal.collections is None:
            return None
        return list(await self.index.accessions(sorted(principal.collections))) if principal.collections else []

    async def create(self, principal: Principal, wanted: CollectionFields) -> Collection:
        """Make a collection with an accession of its own.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal does not manage the archive's collections.
            DatabaseUnavailableError: trying again later may help.
        """
        require_everywhere(principal, Role.MANAGER)
        return await self.index.create(self.prefix, wanted, actor=principal.name)

    async def change(self, principal: Principal, accession: str, change: Change, *, revision: int | None) -> Collection:
        """Change a collection that is in this revision; `None`: in whichever it is.

        Raises:
            NotFoundError: there is none of this accession that the principal sees.
            UnauthenticatedError, ForbiddenError: the principal does not manage it.
            PreconditionFailedError: it is in another revision.
            ConflictError: the collection of stores that name none cannot be closed.
            DatabaseUnavailableError: trying again later may help.
        """
        collection = await self.show(principal, accession)
        require(principal, Role.MANAGER, collection.id)
        if revision is not None and revision != collection.revision:
            raise PreconditionFailedError("the collection has been changed since it was read; read it again")
        wanted = change(CollectionFields.of(collection))
        if wanted.closed and accession == DEFAULT_ACCESSION:
            raise ConflictError("the default collection takes what names no other, so it cannot be closed")
        return await self.index.update(collection, wanted, actor=principal.name)


def _sight(principal: Principal) -> CollectionSight:
    """Tell which collections a principal sees: those whose studies it reads, and those in which it has a role."""
    if not principal.roles:
        require(principal, Role.READER)
    own, read = principal.collections, principal.sees.collections
    if own is None:
        return CollectionSight(True, None)
    # That no collections are named says that all may be read or that all are open, a moment ago.
    return CollectionSight(read is None and Role.READER in principal.roles, tuple(sorted({*own, *(read or ())})))
