"""Packs as the index knows them: a pack without a row holds nothing that anybody can find."""

from collections.abc import Sequence

from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.scope import Scope

# Finds which of the keys have a row; of a retired pack too, which is somebody else's to delete.
FIND_PACKS = """
select object_key from pack where object_key = any($1::text[])
union all select object_key from retired_pack where object_key = any($1)
"""

NOTHING_LIVES = """
not exists (select 1 from instance i where i.pack_id = p.id)
  and not exists (select 1 from conflict k where k.pack_id = p.id)
"""
"""Whether nobody needs the pack `p` any more: no instance lies in it, and nothing that is kept as a conflict."""

# Finds some packs, of the first and of the last.
LIST_SOME = """
(select object_key from pack order by id limit 8) union (select object_key from pack order by id desc limit 8)
"""
READ_ARCHIVE_ID = "select value from archive_state where name = 'archive_uuid'"

# Drops packs in which nothing lives any more.
DELETE_FREE_PACKS = f"""
delete from pack p where p.id = any($1::int8[]) and {NOTHING_LIVES} returning p.object_key
"""  # noqa: S608 - composed of constants

# Of the others it is to be looked at how much of them is still alive.
MARK_THINNED = "update pack set thinned_at = now() where id = any($1::int8[])"

# The same, but their objects stay for the grace time of compaction: who has begun to read them goes on.
RETIRE_FREE_PACKS = f"""
with free as (
  delete from pack p where p.id = any($1::int8[]) and {NOTHING_LIVES} returning p.object_key, p.size_bytes
)
insert into retired_pack (object_key, size_bytes, study_instance_uid, series_instance_uid)
select object_key, size_bytes, $2, $3 from free
"""  # noqa: S608 - composed of constants

# Packs that held a study, or one series of it, before they were compacted; of old ones the series is not known. Packs
# do not know spaces: where any space has the series still, its readers may be in the middle of them.
# Asked space by space, for studies are found by UID in one space only.
TAKE_RETIRED = """
with living as materialized (
  select se.series_instance_uid
  from space sp join study st on st.space_id = sp.id and st.study_instance_uid = $1
  join series se on se.study_id = st.id
)
delete from retired_pack r
where r.study_instance_uid = $1 and ($2::text is null or r.series_instance_uid in ($2, ''))
  and ($3::bool or not exists (select from living l where r.series_instance_uid in (l.series_instance_uid, '')))
returning r.object_key
"""


class PackIndex:
    """Tells which packs are in use."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owner(self) -> tuple[str, Sequence[str]]:
        """Return the archive's id in hexadecimal digits, and the keys of some of its packs."""
        async with self._database.connection() as connection:
            archive_id: bytes = await connection.fetchval(READ_ARCHIVE_ID)
            rows = await connection.fetch(LIST_SOME)
        return archive_id.hex(), [row["object_key"] for row in rows]

    async def find_known(self, object_keys: Sequence[str]) -> frozenset[str]:
        """Return those of the keys that have a row."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_PACKS, list(object_keys))
        return frozenset(row["object_key"] for row in rows)


async def delete_free_packs(connection: Connection, pack_ids: Sequence[int]) -> tuple[str, ...]:
    """Drop those of the packs in which nothing lives any more; the caller deletes their objects after the commit."""
    rows = await connection.fetch(DELETE_FREE_PACKS, pack_ids)
    if len(rows) < len(pack_ids):
        await connection.execute(MARK_THINNED, pack_ids)
    return tuple(row["object_key"] for row in rows)


async def retire_free_packs(
    connection: Connection, pack_ids: Sequence[int], study_instance_uid: str, series_instance_uid: str
) -> None:
    """Retire those packs of a series in which nothing lives any more; compaction looks at the others."""
    await connection.execute(RETIRE_FREE_PACKS, pack_ids, study_instance_uid, series_instance_uid)
    await connection.execute(MARK_THINNED, pack_ids)


async def take_retired_packs(connection: Connection, scope: Scope, *, everywhere: bool = False) -> tuple[str, ...]:
    """Give up the grace of a study's or series' retired packs; the caller deletes their objects after the commit.

    What is deleted must not lie about for as long as others might want to go on reading. What another space has too
    they do want to: its packs stay for their grace.

    Args:
        everywhere: it goes from every space, whatever still has it now.
    """
    rows = await connection.fetch(TAKE_RETIRED, scope.study_instance_uid, scope.series_instance_uid, everywhere)
    return tuple(row["object_key"] for row in rows)
