"""The trail: what happened to a submission, event by event, with what people have written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from dicomweb_archive.index.database.engine import Database


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """One event of a submission.

    Attributes:
        detail: counts, ids of ours, UIDs, states and reason codes.
        comment: what was written with it.
    """

    id: int
    kind: str
    at: datetime
    actor: str
    study_instance_uid: str | None
    detail: Mapping[str, Any]
    comment: str


# Spaces of submissions begin at 1001, which the index of events says too.
_EVENTS = """
select e.id, e.kind, e.at, e.actor, e.study_instance_uid, e.detail, coalesce(n.text, '') as comment
from event e left join submission_note n on n.event_id = e.id
where e.space_id = $1 and e.space_id > 1000
"""

# The events of a submission's space behind one of them, the oldest first.
LIST_EVENTS = _EVENTS + " and e.id > $2 order by e.id limit $3"

# Those before one of them, the newest first.
LATEST_EVENTS = _EVENTS + " and e.id < $2 order by e.id desc limit $3"

_BEHIND_ALL = 2**63 - 1


class SubmissionTrail:
    """Reads the trails of submissions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, space_id: int, *, after: int, limit: int) -> Sequence[TrailEntry]:
        """Return events in the order in which they were written."""
        return await self._fetch(LIST_EVENTS, space_id, after, limit)

    async def latest(self, space_id: int, *, before: int | None = None, limit: int) -> Sequence[TrailEntry]:
        """Return the last events before one of them, the newest first."""
        return await self._fetch(LATEST_EVENTS, space_id, _BEHIND_ALL if before is None else before, limit)

    async def _fetch(self, statement: str, *values: int) -> Sequence[TrailEntry]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement, *values)
        return [TrailEntry(**{**dict(row), "detail": orjson.loads(row["detail"])}) for row in rows]
