"""Collections: the rows that say how studies are grouped, who may see them, and what is taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from dicomweb_archive.dicom.acceptance import AcceptanceRules
from dicomweb_archive.index.database.engine import Connection

DEFAULT_ACCESSION: Final = "default"
"""The collection of stores that name none; it is always there and open for stores."""


class CollectionAccess(StrEnum):
    """Who may see what a collection has published."""

    OPEN = "open"
    """Whoever may search the archive."""
    RESTRICTED = "restricted"
    """Principals with a role in it."""


class CollectionPolicy(StrEnum):
    """What becomes of what is stored."""

    AUTOMATIC = "automatic"
    """What passes the check set is published at once."""
    CURATED = "curated"
    """Nothing is published before a curator has decided."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as it stands in one revision.

    Attributes:
        id: our number of it, which studies carry.
        accession: its name in URLs, never given again.
        licence: an SPDX expression, or empty.
        check_set: name of the checks that its submissions pass through.
        closed_at: since when it takes nothing more; what it has published stays.
    """

    id: int
    accession: str
    title: str
    description: str
    contact: str
    licence: str
    access: CollectionAccess
    policy: CollectionPolicy
    check_set: str
    rules: AcceptanceRules
    revision: int
    created_at: datetime
    changed_at: datetime
    closed_at: datetime | None

    @property
    def is_closed(self) -> bool:
        """Whether it takes nothing more."""
        return self.closed_at is not None


COLUMNS = (
    "id, accession, title, description, contact, licence, access, policy, check_set, rules, revision,"
    " created_at, changed_at, closed_at"
)
"""What `collection_of` reads."""

# One collection by its name in URLs; a unique index answers.
FIND_COLLECTION = f"select {COLUMNS} from collection where accession = $1"  # noqa: S608 - our constants


async def find_collection(connection: Connection, accession: str) -> Collection | None:
    """Return the collection of this accession, closed or not; who may see it is the caller's to judge."""
    row = await connection.fetchrow(FIND_COLLECTION, accession)
    return None if row is None else collection_of(row)


def collection_of(row: Mapping[str, Any]) -> Collection:
    """Make a collection of its row."""
    values = dict(row)
    values["access"] = CollectionAccess(values["access"])
    values["policy"] = CollectionPolicy(values["policy"])
    values["rules"] = AcceptanceRules.of_document(orjson.loads(values["rules"]))
    return Collection(**values)
