"""The chain: each sealed event is bound to all before it by a SHA-256, so that none can be changed or taken out unseen.

The digest is SHA-256 because whoever audits an archive has it at hand. What is hashed is written so that anybody can
write it again: the hash before, then a JSON array without blanks and with sorted keys.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

FIRST_HASH = bytes(32)
"""What stands before the first event."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as the chain binds it."""

    kind: str
    at: datetime
    actor: str
    space_id: int
    collection_id: int | None
    study_instance_uid: str | None
    detail: Mapping[str, Any]


def hash_of(before: bytes, position: int, event: LoggedEvent) -> bytes:
    """Return the hash of an event at its position in the log, behind the one with the hash `before`."""
    bound = [
        position,
        event.kind,
        (event.at - _EPOCH) // timedelta(microseconds=1),
        event.actor,
        event.space_id,
        event.collection_id,
        event.study_instance_uid,
        event.detail,
    ]
    return hashlib.sha256(before + orjson.dumps(bound, option=orjson.OPT_SORT_KEYS)).digest()


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where a chain ends: the position of its last event and its hash."""

    position: int = 0
    hash: bytes = FIRST_HASH


def follow(head: ChainHead, events: Iterable[tuple[int, bytes, LoggedEvent]]) -> tuple[ChainHead, int | None]:
    """Go on with verifying a chain behind `head`, with positions and hashes as they were sealed.

    Returns:
        how far it holds, and the first position at which it does not.
    """
    for position, sealed, event in events:
        expected = head.position + 1
        if position != expected or hash_of(head.hash, position, event) != sealed:
            return head, expected
        head = ChainHead(position, sealed)
    return head, None
