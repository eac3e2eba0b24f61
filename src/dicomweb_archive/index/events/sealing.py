"""The sealer: gives committed events their places, without gaps and for good, and binds them into the chain.

A chain that each change wrote itself would make all stores wait for each other. So changes write plain rows, and one
process at a time seals what it sees committed, in the order of ids: what belongs to one study is ordered by the
lock of that study. An event that commits late comes behind those that were sealed before it, never between them,
so whoever has read up to a position has missed nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.events.chain import ChainHead, LoggedEvent, hash_of
from dicomweb_archive.index.writing.events import FEED_KINDS

BATCH = 1000
"""Most events that are sealed by one transaction."""

# Any number does, as long as it is always this one: "DICE" in ASCII.
SEALER_LOCK = 0x44494345

LOCK = "select pg_try_advisory_xact_lock($1)"

FIND_HEAD = """
select e.position, e.hash, coalesce((select max(feed_position) from event where feed_position is not null), 0)
from event e where e.position is not null order by e.position desc limit 1
"""

# The study that an event is about. One that is written otherwise by mistake must not keep all others unsealed.
_STUDY = "case jsonb_typeof(e.detail -> 'study') when 'number' then (e.detail -> 'study')::int8 end"

# Lists committed events that have no place yet, with the home collection of what they are about.
FIND_UNSEALED = f"""
select e.id, e.kind, e.at, e.actor, e.space_id, e.study_instance_uid, e.detail, {_STUDY} as study,
  coalesce(e.collection_id, su.collection_id, st.collection_id) as collection_id
from event e
left join submission su on su.space_id = e.space_id
left join study st on st.id = {_STUDY}
where e.position is null order by e.id limit $1
"""  # noqa: S608 - composed of constants

# What was deleted before its earlier events were sealed: the event of the delete knows where it belonged.
FIND_DELETED = f"""
select {_STUDY} as study, e.collection_id from event e
where e.position is null and e.collection_id is not null and {_STUDY} = any($1::int8[])
"""  # noqa: S608 - composed of constants

SEAL = """
update event e set position = s.position, feed_position = s.feed_position, hash = s.hash,
  collection_id = s.collection_id
from unnest($1::int8[], $2::int8[], $3::int8[], $4::bytea[], $5::int4[])
  as s(id, position, feed_position, hash, collection_id)
where e.id = s.id
"""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals events; any number of processes may have one."""

    database: Database

    async def seal(self) -> int | None:
        """Seal what is committed and return how many events that was; `None` when another process does so.

        Raises:
            DatabaseUnavailableError: what was sealed until then stays sealed.
        """
        total = 0
        while True:
            async with self.database.transaction() as connection:
                # Until the commit: the next one to seal sees where this one has ended.
                if not await connection.fetchval(LOCK, SEALER_LOCK):
                    return total or None
                sealed = await _seal_batch(connection)
            total += sealed
            if sealed < BATCH:
                return total


async def _seal_batch(connection: Connection) -> int:
    rows = await connection.fetch(FIND_UNSEALED, BATCH)
    if not rows:
        return 0
    homes = await _homes_of_deleted(connection, rows)
    found = await connection.fetchrow(FIND_HEAD)
    head, feed_position = (ChainHead(), 0) if found is None else (ChainHead(found[0], found[1]), found[2])
    sealed: list[tuple[int, int, int | None, bytes, int | None]] = []
    for row in rows:
        collection_id = row["collection_id"] or homes.get(row["study"])
        event = _logged(row, collection_id)
        head = ChainHead(head.position + 1, hash_of(head.hash, head.position + 1, event))
        is_public = event.space_id == ARCHIVE_SPACE and event.kind in FEED_KINDS
        feed_position += is_public
        sealed.append((row["id"], head.position, feed_position if is_public else None, head.hash, collection_id))
    await connection.execute(SEAL, *(list(column) for column in zip(*sealed, strict=True)))
    return len(rows)


async def _homes_of_deleted(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    gone = {row["study"] for row in rows if row["study"] is not None and row["collection_id"] is None}
    return dict(await connection.fetch(FIND_DELETED, sorted(gone))) if gone else {}


def _logged(row: Mapping[str, Any], collection_id: int | None) -> LoggedEvent:
    return LoggedEvent(
        kind=row["kind"],
        at=row["at"],
        actor=row["actor"],
        space_id=row["space_id"],
        collection_id=collection_id,
        study_instance_uid=row["study_instance_uid"],
        detail=orjson.loads(row["detail"]),
    )
