"""Verifying: whether the log of events is still the one that was sealed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.events.chain import ChainHead, LoggedEvent, follow

_PAGE = 5000

READ_SEALED = """
select position, hash, kind, at, actor, space_id, collection_id, study_instance_uid, detail
from event where position > $1 order by position limit $2
"""
FIND_HASH = "select hash from event where position = $1"
COUNT_UNSEALED = "select count(*) from event where position is null"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of the log.

    Attributes:
        head: how far the chain holds.
        broken_at: the first position at which it does not; `None`: it holds.
        unsealed: events that have no place yet.
        has_known: whether the position that the caller knew has the hash that it had; `None` when none was given.
    """

    head: ChainHead
    broken_at: int | None
    unsealed: int
    has_known: bool | None


async def verify_events(database: Database, known: ChainHead | None = None) -> Verified:
    """Compute the chain anew from the first event on, some hundred thousand events in a few seconds.

    Args:
        known: where an earlier verification ended; a chain that was cut off behind some event, or written anew as a
            whole, holds in itself and differs from this.
    """
    head, broken = ChainHead(), None
    while broken is None:
        async with database.connection() as connection:
            rows = await connection.fetch(READ_SEALED, head.position, _PAGE)
        if not rows:
            break
        head, broken = follow(head, map(_sealed, rows))
    async with database.connection() as connection:
        unsealed: int = await connection.fetchval(COUNT_UNSEALED)
        found = None if known is None else await connection.fetchval(FIND_HASH, known.position)
    return Verified(head, broken, unsealed, None if known is None else found == known.hash)


def _sealed(row: Mapping[str, Any]) -> tuple[int, bytes, LoggedEvent]:
    bound = {**row, "detail": orjson.loads(row["detail"])}
    position, digest = bound.pop("position"), bound.pop("hash")
    return position, digest, LoggedEvent(**bound)
