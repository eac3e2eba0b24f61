"""Expiry: which submissions nothing has happened to for long, and whether that still holds when one is ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dicomweb_archive.index.curation.submissions import (
    COLUMNS,
    Submission,
    SubmissionState,
    submission_of,
    write_state,
)
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.events import EventKind

# Submissions behind one of them to which nothing has happened since a moment: no event, whoever wrote it. Spaces of
# submissions begin at 1001, which the index of their events says too.
_QUIET = f"""
select {COLUMNS} from submission s join collection c on c.id = s.collection_id
where s.id > $1 and s.state = any($2::text[]) and s.changed_at < $3::timestamptz and coalesce((
  select e.at from event e where e.space_id = s.space_id and e.space_id > 1000 order by e.id desc limit 1) < $3, true)
"""  # noqa: S608 - composed of constants

_SPOKEN_OF = ", ".join(
    f"'{kind.value}'"
    for kind in (EventKind.SUBMISSION_DESCRIBED, EventKind.SUBMISSION_COMMENTED, EventKind.SUBMISSION_MANIFEST_SET)
)
_ORDER = " order by s.id limit $4"

LIST_QUIET = _QUIET + _ORDER

# Of these, what a store has opened that named none, and that neither holds anything nor was spoken of.
LIST_UNUSED = f"""
{_QUIET} and s.opened_for is not null and s.revision = 1
  and not exists (select from instance i where i.space_id = s.space_id)
  and not exists (select from conflict k where k.submission_id = s.id)
  and not exists (select from event e where e.space_id = s.space_id and e.space_id > 1000 and e.kind in ({_SPOKEN_OF}))
{_ORDER}
"""  # noqa: S608 - composed of constants

# Waits for stores into the submission, each of which holds its row until it ends.
LOCK_SUBMISSION = "select 1 from submission where id = $1 for update"


@dataclass(frozen=True, slots=True)
class Quiet:
    """Which submissions are meant: in these states, and nothing has happened since.

    Attributes:
        only_unused: of those that a store has opened, and of these what holds nothing and was never spoken of.
    """

    states: Sequence[SubmissionState]
    since: datetime
    only_unused: bool = False

    def statement(self) -> str:
        """Return the statement that lists them."""
        return LIST_UNUSED if self.only_unused else LIST_QUIET

    def parameters(self, after: int, limit: int) -> tuple[int, list[str], datetime, int]:
        """Return the values that the statement refers to, in order."""
        return after, [state.value for state in self.states], self.since, limit


class ExpiryIndex:
    """Finds submissions that nothing happens to, and ends them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, quiet: Quiet, *, after: int, limit: int) -> Sequence[Submission]:
        """Return such submissions behind one of them, in the order in which they were opened."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(quiet.statement(), *quiet.parameters(after, limit))
        return [submission_of(row) for row in rows]

    async def end(
        self, submission: Submission, quiet: Quiet, state: SubmissionState, *, action: str, actor: str, comment: str
    ) -> bool:
        """Move a submission to another state, unless something has happened to it meanwhile; tells whether it moved."""
        async with self._database.transaction() as connection:
            await connection.execute(LOCK_SUBMISSION, submission.id)
            # What a store has brought in the meantime shows now.
            still = await connection.fetchrow(quiet.statement(), *quiet.parameters(submission.id - 1, 1))
            if still is None or still["id"] != submission.id or still["state"] != submission.state.value:
                return False
            await write_state(connection, submission_of(still), state, action=action, actor=actor, comment=comment)
        return True
