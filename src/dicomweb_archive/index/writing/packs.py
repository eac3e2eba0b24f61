"""Packs as the index knows them: a pack without a row holds nothing that anybody can find."""

from collections.abc import Sequence

from dicomweb_archive.index.database.engine import Connection, Database

# Finds which of the keys have a row.
FIND_PACKS = "select object_key from pack where object_key = any($1::text[])"

# Drops packs in which nothing lives any more.
DELETE_FREE_PACKS = """
delete from pack p where p.id = any($1::int8[]) and not exists (select 1 from instance i where i.pack_id = p.id)
  and not exists (select 1 from conflict k where k.pack_id = p.id)
returning p.object_key
"""


class PackIndex:
    """Tells which packs are in use."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_known(self, object_keys: Sequence[str]) -> frozenset[str]:
        """Return those of the keys that have a row."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_PACKS, list(object_keys))
        return frozenset(row["object_key"] for row in rows)


async def delete_free_packs(connection: Connection, pack_ids: Sequence[int]) -> tuple[str, ...]:
    """Drop those of the packs in which nothing lives any more; the caller deletes their objects after the commit."""
    rows = await connection.fetch(DELETE_FREE_PACKS, pack_ids)
    return tuple(row["object_key"] for row in rows)
