"""The queue: which submissions wait, in an order of the curator's choice, and how many in each state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dicomweb_archive.index.curation.submissions import (
    COLUMNS,
    KNOWN,
    Submission,
    SubmissionScope,
    SubmissionState,
    submission_of,
)
from dicomweb_archive.index.database.engine import Database


class QueueOrder(StrEnum):
    """What a queue is sorted by; a hyphen turns it round."""

    LONGEST_UNCHANGED = "changed_at"
    LAST_CHANGED = "-changed_at"
    OLDEST = "created_at"
    NEWEST = "-created_at"
    TITLE = "title"


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """What a submission in the queue must be; a filter that names nothing lets all pass.

    Attributes:
        collections: accessions.
        text: what title or contact must contain, in any case.
    """

    states: Sequence[SubmissionState] = ()
    collections: Sequence[str] = ()
    sites: Sequence[str] = ()
    opened_by: Sequence[str] = ()
    text: str = ""

    def parameters(self) -> tuple[object, ...]:
        """Return the values that `_MATCHES` refers to, in order."""
        return (
            [state.value for state in self.states],
            list(self.collections),
            list(self.sites),
            list(self.opened_by),
            self.text.lower(),
        )


@dataclass(frozen=True, slots=True)
class Content:
    """What waits in the space of a submission."""

    studies: int = 0
    series: int = 0
    instances: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Objections:
    """What stands against a submission: findings that nobody has waived, conflicts that nobody has decided on.

    Attributes:
        block, warn: findings, by what they weigh.
    """

    block: int = 0
    warn: int = 0
    conflicts: int = 0

    @property
    def is_any(self) -> bool:
        """Whether there is one."""
        return bool(self.block or self.warn or self.conflicts)


@dataclass(frozen=True, slots=True)
class QueuePage:
    """A page of the queue.

    Attributes:
        counts: how many match in each state, whatever states were asked for.
    """

    submissions: Sequence[tuple[Submission, Content]]
    counts: Mapping[SubmissionState, int]


_ANY_STATE = (
    f"{KNOWN} and (cardinality($4::text[]) = 0 or c.accession = any($4))"
    " and (cardinality($5::text[]) = 0 or s.site = any($5))"
    " and (cardinality($6::text[]) = 0 or s.opened_by = any($6))"
    " and ($7::text = '' or strpos(lower(s.title), $7) > 0 or strpos(lower(s.contact), $7) > 0)"
)
_MATCHES = f"{_ANY_STATE} and (cardinality($3::text[]) = 0 or s.state = any($3))"

# Counts the submissions that match, by state; the third parameter is that of the page.
COUNT_STATES = f"""
select s.state, count(*)::int4 as submissions from submission s join collection c on c.id = s.collection_id
where {_ANY_STATE} and $3::text[] is not null group by s.state
"""  # noqa: S608 - composed of constants

# What is in the spaces of submissions; their studies are found by the index of spaces.
CONTENT = """
select space_id, count(*)::int4 as studies, sum(series_count)::int4 as series, sum(instance_count)::int4 as instances,
  sum(size_bytes)::int8 as size_bytes
from study where space_id = any($1::int4[]) group by space_id
"""

# Of submissions the findings that nobody has waived, by what they weigh, and the conflicts that nobody has decided on.
OBJECTIONS = """
select s.id, f.block, f.warn, k.conflicts from submission s
cross join lateral (
  select count(*) filter (where severity = 'block')::int4 as block,
    count(*) filter (where severity = 'warn')::int4 as warn
  from finding where space_id = s.space_id and waived_at is null
) f
cross join lateral (
  select count(*)::int4 as conflicts from conflict where submission_id = s.id and decision is null
) k
where s.id = any($1::int8[])
"""

_SORTED = {
    QueueOrder.LONGEST_UNCHANGED: "s.changed_at, s.id",
    QueueOrder.LAST_CHANGED: "s.changed_at desc, s.id desc",
    QueueOrder.OLDEST: "s.created_at, s.id",
    QueueOrder.NEWEST: "s.created_at desc, s.id desc",
    QueueOrder.TITLE: "lower(s.title), s.id",
}

# A page of the queue, in one of the orders.
LIST_SUBMISSIONS = {
    order: f"""
select {COLUMNS} from submission s join collection c on c.id = s.collection_id where {_MATCHES}
order by {terms} limit $8 offset $9
"""  # noqa: S608 - composed of constants
    for order, terms in _SORTED.items()
}


class SubmissionQueue:
    """Lists submissions with what is in them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, scope: SubmissionScope, asked: QueueFilter, order: QueueOrder, *, limit: int, offset: int
    ) -> QueuePage:
        """Return a page of what a principal may know of."""
        parameters = (*scope.parameters(), *asked.parameters())
        async with self._database.connection() as connection:
            counted = await connection.fetch(COUNT_STATES, *parameters)
            rows = await connection.fetch(LIST_SUBMISSIONS[order], *parameters, limit, offset)
        submissions = [submission_of(row) for row in rows]
        content = await self.content([submission.space_id for submission in submissions])
        return QueuePage(
            [(submission, content[submission.space_id]) for submission in submissions],
            {SubmissionState(row["state"]): row["submissions"] for row in counted},
        )

    async def content(self, space_ids: Sequence[int]) -> dict[int, Content]:
        """Return what is in each of the spaces."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(CONTENT, list(space_ids))
        empty = dict.fromkeys(space_ids, Content())
        return empty | {
            row["space_id"]: Content(row["studies"], row["series"], row["instances"], row["size_bytes"]) for row in rows
        }

    async def objections(self, submission_ids: Sequence[int]) -> dict[int, Objections]:
        """Count what stands against each of the submissions."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(OBJECTIONS, list(submission_ids))
        return {row["id"]: Objections(row["block"], row["warn"], row["conflicts"]) for row in rows}
