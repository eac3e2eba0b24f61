"""Roots: the collections and submissions that requests are made through, as far as it is to be known who sees them."""

from dataclasses import dataclass

from dicomweb_archive.index.database.engine import Database

# Lists the open collections, where any collection is not open. One row, so that ten thousand of them are one array.
FIND_OPEN = """
select case when bool_or(access <> 'open') then coalesce(array_agg(id order by id) filter (where access = 'open'),
  '{}'::int4[]) end
from collection
"""

FIND_COLLECTION = "select id, accession, access = 'open' as is_open from collection where accession = $1"

FIND_SUBMISSION = "select name, space_id, collection_id, opened_by from submission where name = $1"


@dataclass(frozen=True, slots=True)
class CollectionRoot:
    """A collection, and whether everybody may read what is published of it."""

    id: int
    accession: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class SubmissionRoot:
    """A submission: its space, the collection that it is for, and the name of the principal who opened it."""

    name: str
    space_id: int
    collection_id: int
    opened_by: str


class RootIndex:
    """Finds what requests are made through."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_collections(self) -> tuple[int, ...] | None:
        """Return the ids of the collections that everybody may read; `None` when that is every collection."""
        async with self._database.connection() as connection:
            found = await connection.fetchval(FIND_OPEN)
        return None if found is None else tuple(found)

    async def collection(self, accession: str) -> CollectionRoot | None:
        """Return the collection of this accession."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_COLLECTION, accession)
        return None if row is None else CollectionRoot(**row)

    async def submission(self, name: str) -> SubmissionRoot | None:
        """Return the submission of this name."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_SUBMISSION, name)
        return None if row is None else SubmissionRoot(**row)
