"""Events: each change leaves one plain row, written in the transaction of the change itself."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

import orjson

from dicomweb_archive.index.database.engine import Connection


class EventKind(StrEnum):
    """What happened."""

    INSTANCES_STORED = "instances_stored"
    STUDY_DELETED = "study_deleted"
    SERIES_DELETED = "series_deleted"
    INSTANCE_DELETED = "instance_deleted"
    STUDY_PUBLISHED = "study_published"
    SUBMISSION_OPENED = "submission_opened"
    SUBMISSION_DESCRIBED = "submission_described"
    SUBMISSION_STATE_CHANGED = "submission_state_changed"
    SUBMISSION_COMMENTED = "submission_commented"
    SUBMISSION_MANIFEST_SET = "submission_manifest_set"
    CONFLICT_KEPT = "conflict_kept"


Detail: TypeAlias = Mapping[str, int | str | Sequence[int]]
"""Counts, ids of ours and UIDs; no other value of a data set, because events are exported."""

# One row of the log; the sealer gives it a place in the chain later.
INSERT_EVENT = """
insert into event (kind, actor, space_id, study_instance_uid, detail) values ($1, $2, $3, $4, $5::jsonb)
returning id
"""


async def insert_event(
    connection: Connection,
    kind: EventKind,
    *,
    actor: str,
    space_id: int,
    study_instance_uid: str | None = None,
    detail: Detail,
) -> int:
    """Write an event and return its id. The caller holds the transaction: change and event are one fact.

    Args:
        study_instance_uid: `None` when it is about a space as a whole.
    """
    event_id: int = await connection.fetchval(
        INSERT_EVENT, kind.value, actor, space_id, study_instance_uid, orjson.dumps(detail).decode()
    )
    return event_id
