"""The table of collections: listed as far as one may see them, made and changed with the event that says so."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

import orjson

from dicomweb_archive.dicom.acceptance import AcceptanceRules
from dicomweb_archive.errors import PreconditionFailedError
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.curation.collections import (
    COLUMNS,
    Collection,
    CollectionAccess,
    CollectionPolicy,
    collection_of,
)
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.writing.events import EventKind, insert_event

_SEEN = "(($1::bool and access = 'open') or $2::int4[] is null or id = any($2))"

# Lists collections by accession, some at a time.
LIST_COLLECTIONS = f"select {COLUMNS} from collection where {_SEEN} order by accession limit $3 offset $4"  # noqa: S608 - our constants

# Counts them. There are some hundreds, at most some thousands.
COUNT_COLLECTIONS = f"select count(*) from collection where {_SEEN}"  # noqa: S608 - our constants

# Finds one that may be seen.
FIND_SEEN = f"select {COLUMNS} from collection where {_SEEN} and accession = $3"  # noqa: S608 - our constants

# Names collections by what people call them.
LIST_ACCESSIONS = "select accession from collection where id = any($1::int4[]) order by accession"

# The number comes first, because the accession is made of it.
NEXT_ID = "select nextval(pg_get_serial_sequence('collection', 'id'))::int4"

INSERT_COLLECTION = f"""
insert into collection (id, accession, title, description, contact, licence, access, policy, check_set, rules)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb) returning {COLUMNS}
"""  # noqa: S608 - our constants

# Writes the next revision of a collection, if it is still in the one that was read.
UPDATE_COLLECTION = f"""
update collection set title = $3, description = $4, contact = $5, licence = $6, access = $7, policy = $8,
  check_set = $9, rules = $10::jsonb, revision = revision + 1, changed_at = now(),
  closed_at = case when $11::bool then coalesce(closed_at, now()) end
where id = $1 and revision = $2 returning {COLUMNS}
"""  # noqa: S608 - our constants


@dataclass(frozen=True, slots=True)
class CollectionSight:
    """Which collections a principal sees.

    Attributes:
        open_ones: those that are open, whichever they are.
        ids: these besides; `None`: all.
    """

    open_ones: bool
    ids: tuple[int, ...] | None

    def parameters(self) -> tuple[bool, list[int] | None]:
        """Return the two values that the statements begin with."""
        return self.open_ones, None if self.ids is None else list(self.ids)


@dataclass(frozen=True, slots=True)
class CollectionFields:
    """What a manager says of a collection; see `Collection`."""

    title: str
    description: str = ""
    contact: str = ""
    licence: str = ""
    access: CollectionAccess = CollectionAccess.OPEN
    policy: CollectionPolicy = CollectionPolicy.AUTOMATIC
    check_set: str = "structural"
    rules: AcceptanceRules = field(default_factory=AcceptanceRules)
    closed: bool = False

    @classmethod
    def of(cls, collection: Collection) -> "CollectionFields":
        """Return the fields as they are now."""
        present = {each.name: getattr(collection, each.name) for each in fields(cls) if each.name != "closed"}
        return cls(**present, closed=collection.is_closed)

    def differing(self, other: "CollectionFields") -> list[str]:
        """Name the fields that are not the same in both."""
        return [each.name for each in fields(self) if getattr(self, each.name) != getattr(other, each.name)]

    def parameters(self) -> tuple[str, ...]:
        """Return the values of the columns, but for `closed`."""
        rules = orjson.dumps(self.rules.document()).decode()
        texts = (self.title, self.description, self.contact, self.licence, self.access, self.policy, self.check_set)
        return (*(text.value if isinstance(text, StrEnum) else text for text in texts), rules)


class CollectionIndex:
    """Reads and writes collections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, accession: str, sight: CollectionSight) -> Collection | None:
        """Return the collection of this accession, if it may be seen."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_SEEN, *sight.parameters(), accession)
        return None if row is None else collection_of(row)

    async def page(self, sight: CollectionSight, *, limit: int, offset: int) -> tuple[Sequence[Collection], int]:
        """Return some of the collections that may be seen, by accession, and how many there are in all."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_COLLECTIONS, *sight.parameters(), limit, offset)
            total: int = await connection.fetchval(COUNT_COLLECTIONS, *sight.parameters())
        return [collection_of(row) for row in rows], total

    async def accessions(self, ids: Sequence[int]) -> Sequence[str]:
        """Return the accessions of collections, in their order."""
        async with self._database.connection() as connection:
            return [row["accession"] for row in await connection.fetch(LIST_ACCESSIONS, list(ids))]

    async def create(self, prefix: str, wanted: CollectionFields, *, actor: str) -> Collection:
        """Make a collection, with the next accession of all; no number comes twice, also after a failure."""
        async with self._database.transaction() as connection:
            number: int = await connection.fetchval(NEXT_ID)
            accession = f"{prefix}-{number:06}"
            row = await connection.fetchrow(INSERT_COLLECTION, number, accession, *wanted.parameters())
            collection = collection_of(row)
            await _note(connection, EventKind.COLLECTION_CREATED, collection, actor, _telling(wanted))
        return collection

    async def update(self, collection: Collection, wanted: CollectionFields, *, actor: str) -> Collection:
        """Write a new revision of the collection; nothing is written where nothing differs.

        Raises:
            PreconditionFailedError: somebody else has changed it since it was read.
        """
        present = CollectionFields.of(collection)
        differing = wanted.differing(present)
        if not differing:
            return collection
        kind = EventKind.COLLECTION_CHANGED
        if "closed" in differing:
            kind = EventKind.COLLECTION_CLOSED if wanted.closed else EventKind.COLLECTION_REOPENED
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                UPDATE_COLLECTION, collection.id, collection.revision, *wanted.parameters(), wanted.closed
            )
            if row is None:
                raise PreconditionFailedError("somebody has changed the collection meanwhile; read it again")
            changed = collection_of(row)
            await _note(connection, kind, changed, actor, {"fields": ",".join(differing), **_telling(wanted)})
        return changed


def _telling(wanted: CollectionFields) -> dict[str, Any]:
    """Return what an event says of the present state: what it means for access, and no free text."""
    return {"access": wanted.access.value, "policy": wanted.policy.value, "check_set": wanted.check_set}


async def _note(
    connection: Connection, kind: EventKind, collection: Collection, actor: str, detail: dict[str, Any]
) -> None:
    said = {"collection": collection.id, "accession": collection.accession, "revision": collection.revision, **detail}
    await insert_event(connection, kind, actor=actor, space_id=ARCHIVE_SPACE, detail=said)
