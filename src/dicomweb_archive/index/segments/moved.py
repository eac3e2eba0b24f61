"""Moved segments: where what was found at a position of a segment lies now, after a merge.

A request may find positions by one statement and read them by the next; in between its segments may have been
merged. For an hour the archive knows where the positions went.
"""

from collections.abc import Iterable
from typing import NamedTuple

from dicomweb_archive.index.database.engine import Connection

# Finds what became of segments that are gone.
FIND_MOVED = "select segment_id, new_segment_id, shift from segment_moved where segment_id = any($1::int8[])"


class Moved(NamedTuple):
    """The segment in which the instances of a merged one are now, and what to add to their positions."""

    segment_id: int
    shift: int


async def find_moved(connection: Connection, segment_ids: Iterable[int]) -> dict[int, Moved]:
    """Return where those of these segments went that were merged; the others were deleted."""
    rows = await connection.fetch(FIND_MOVED, list(segment_ids))
    return {old: Moved(new, shift) for old, new, shift in rows}
