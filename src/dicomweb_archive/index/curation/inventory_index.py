"""Reads what an inventory is counted from: the documents of a space's segments, some at a time."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.curation.inventory import MOST_VALUES, InventoryCount
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.segments.document import decode_document

_BATCH: Final = 50

# Reads the documents of all segments that may be seen, those of one series in a row.
READ_DOCUMENTS = f"""
select d.document, s.series_id, s.instance_count
from segment s join segment_data d on d.segment_id = s.id join study st on st.id = s.study_id
where {visible("st")} order by s.series_id, s.id
"""  # noqa: S608 - composed of constants

# Changes with every store, delete and merge.
FINGERPRINT = f"""
select count(*), coalesce(max(s.id), 0), coalesce(sum(s.id), 0)::text
from segment s join study st on st.id = s.study_id where {visible("st")}
"""  # noqa: S608 - composed of constants


# Changes with every byte of every instance, and with nothing else: merging and compaction leave it as it is.
DIGEST_CONTENT = f"""
select sha256(coalesce(string_agg(i.digest, ''::bytea order by i.sop_instance_uid), ''::bytea))
from instance i join segment s on s.id = i.segment_id join study st on st.id = s.study_id where {visible("st")}
"""  # noqa: S608 - composed of constants


class CountedInventory(NamedTuple):
    """What was counted.

    Attributes:
        is_complete: everything was looked through; else there was not time enough.
        content: stands for all bytes that were there when it was counted.
    """

    counts: InventoryCount
    is_complete: bool
    content: bytes


class InventoryIndex:
    """Counts the values of what may be seen; meant for spaces of submissions, which are small."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fingerprint(self, visibility: Visibility) -> tuple[object, ...]:
        """Return what is another when anything was stored, deleted or merged."""
        async with self._database.connection() as connection:
            return tuple(await connection.fetchrow(FINGERPRINT, *visibility.parameters()))

    async def count(
        self, visibility: Visibility, only: str | None = None, *, most_values: int = MOST_VALUES, seconds: float
    ) -> CountedInventory:
        """Count the values of all paths, or of one.

        Memory grows with the distinct values that are told apart, not with instances.

        Raises:
            QueryTooExpensiveError: a batch ran into the time limit of searches.
            DatabaseUnavailableError: trying again later may help.
        """
        count = InventoryCount(only, most_values=most_values)
        until = time.monotonic() + seconds
        async with (
            self._database.search_connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            content = await connection.fetchval(DIGEST_CONTENT, *visibility.parameters())
            cursor = await connection.cursor(READ_DOCUMENTS, *visibility.parameters())
            while rows := await cursor.fetch(_BATCH):
                await asyncio.to_thread(_add, count, rows)
                if time.monotonic() > until:
                    break
        await asyncio.to_thread(count.finish)
        return CountedInventory(count, not rows, content)


def _add(count: InventoryCount, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        count.add(decode_document(row["document"]), row["instance_count"], row["series_id"])
