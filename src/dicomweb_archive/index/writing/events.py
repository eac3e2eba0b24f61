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
    STUDY_WITHDRAWN = "study_withdrawn"
    PURGED = "purged"
    SUBMISSION_OPENED = "submission_opened"
    SUBMISSION_DESCRIBED = "submission_described"
    SUBMISSION_STATE_CHANGED = "submission_state_changed"
    SUBMISSION_COMMENTED = "submission_commented"
    SUBMISSION_MANIFEST_SET = "submission_manifest_set"
    EDIT_BEGUN = "edit_begun"
    EDIT_ENDED = "edit_ended"
    CONFLICT_KEPT = "conflict_kept"
    CONFLICTS_DECIDED = "conflicts_decided"
    CONFLICTS_DROPPED = "conflicts_dropped"
    INSTANCES_REPLACED = "instances_replaced"
    COLLECTION_CREATED = "collection_created"
    COLLECTION_CHANGED = "collection_changed"
    COLLECTION_CLOSED = "collection_closed"
    COLLECTION_REOPENED = "collection_reopened"
    CHECKS_RUN = "checks_run"
    FINDING_WAIVED = "finding_waived"
    WAIVER_REVOKED = "waiver_revoked"
    VALUES_APPROVED = "values_approved"
    VALUE_APPROVALS_REVOKED = "value_approvals_revoked"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    WEBHOOK_CREATED = "webhook_created"
    WEBHOOK_DELETED = "webhook_deleted"
    WEBHOOK_REVIVED = "webhook_revived"
    WEBHOOK_DIED = "webhook_died"


NO_SPACE = 0
"""The space of events that concern no studies: no principal sees it, so they are for administrators alone."""


FEED_KINDS = frozenset(
    {
        EventKind.INSTANCES_STORED,
        EventKind.STUDY_DELETED,
        EventKind.SERIES_DELETED,
        EventKind.INSTANCE_DELETED,
        EventKind.STUDY_PUBLISHED,
        EventKind.STUDY_WITHDRAWN,
        EventKind.INSTANCES_REPLACED,
    }
)
"""What everybody may read in the change feed who sees the study, when it happened in the published archive."""


Detail: TypeAlias = Mapping[str, int | str | Sequence[int]]
"""Counts, ids of ours and UIDs; no other value of a data set, because events are exported."""

# One row of the log; the sealer gives it a place in the chain later. The time is that of this statement: a transaction
# may have waited long for the locks under which it does what the event tells of.
INSERT_EVENT = """
insert into event (kind, actor, space_id, study_instance_uid, detail, collection_id, at)
values ($1, $2, $3, $4, $5::jsonb, $6, clock_timestamp())
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
    collection_id: int | None = None,
) -> int:
    """Write an event and return its id. The caller holds the transaction: change and event are one fact.

    Args:
        study_instance_uid: `None` when it is about a space as a whole.
        collection_id: home of what it is about. The sealer finds it by the space of a submission, or by the id of a
            study in `detail["study"]` that is still there; what takes a study away has to say it.
    """
    text = orjson.dumps(detail).decode()
    event_id: int = await connection.fetchval(
        INSERT_EVENT, kind.value, actor, space_id, study_instance_uid, text, collection_id
    )
    return event_id
