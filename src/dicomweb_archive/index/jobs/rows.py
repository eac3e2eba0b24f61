"""A job as it stands in the queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

import orjson

JsonObject: TypeAlias = Mapping[str, Any]


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    """It will be run when it is due."""
    RUNNING = "running"
    """A worker holds its lease."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nobody will work at it any more, unless it is asked for again."""
        return self not in (JobState.WAITING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work that is done later, perhaps in several attempts.

    Attributes:
        key: of the unfinished jobs of a kind only one has it; `None`: it may be there any number of times.
        collection_id: whose curators see it; `None`: it is about the whole archive.
        subject: path of the resource that it is about, or empty.
        checkpoint: what a later attempt goes on from, written by the work itself.
        done, total: its progress in units of its own; `total` is `None` until it is known.
        problem: why the last attempt did not succeed, without any value of a data set.
        attempt: which attempt the present one is, or the last one was.
        due_at: when it may be taken: a waiting one for the first time, a running one when its lease has ended.
    """

    id: int
    kind: str
    key: str | None
    state: JobState
    collection_id: int | None
    subject: str
    arguments: JsonObject
    checkpoint: JsonObject | None
    done: int
    total: int | None
    result: JsonObject | None
    problem: str | None
    attempt: int
    due_at: datetime
    cancel_asked: bool
    actor: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


COLUMNS = (
    "id, kind, key, state, collection_id, subject, arguments, checkpoint, done, total, result, problem, attempt,"
    " due_at, cancel_asked, actor, created_at, started_at, finished_at"
)
"""What a statement selects that `job_of` reads."""


def job_of(row: Mapping[str, Any]) -> Job:
    """Read a row of `COLUMNS`."""
    values = dict(row)
    for name in ("arguments", "checkpoint", "result"):
        values[name] = None if values[name] is None else orjson.loads(values[name])
    return Job(**{**values, "state": JobState(values["state"])})


def encoded(value: JsonObject | None) -> str | None:
    """Write an object as text for a parameter of the type jsonb."""
    return None if value is None else orjson.dumps(dict(value)).decode()
