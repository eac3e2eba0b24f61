"""Writes what an edit has made: new bytes in the place of the old, and beside them what was there before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from asyncpg import exceptions

from dicomweb_archive.errors import ConflictError, DatabaseUnavailableError
from dicomweb_archive.index.curation.edits.records import EDITABLE_STATES
from dicomweb_archive.index.curation.submissions import SubmissionState
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.writing.rebuilding import Rebuilding
from dicomweb_archive.index.writing.register import PackRecord
from dicomweb_archive.index.writing.replacing import Replaced, replace_instances

# Makes sure until the transaction ends that the submission may be edited: whoever approves it waits.
HOLD: Final = """
select s.id from submission s join edit e on e.submission_id = s.id
where s.space_id = $1 and e.id = $2 and s.state = any($3) and e.state = 'applying' for share of s
"""

INSERT_INSTANCES: Final = """
insert into edit_instance (edit_id, study_instance_uid, series_instance_uid, sop_instance_uid, digest_before,
  digest_after, problem, changes, elements)
select $1, $2, $3, n.* from unnest($4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::jsonb[], $9::bytea[]) n
on conflict do nothing
"""
COUNT: Final = """
update edit set instances = instances + $2, unfit = unfit + $3,
  changed_at = case when $2 > 0 then clock_timestamp() else changed_at end
where id = $1
"""

_ATTEMPTS: Final = 5
# A foreign key is violated when a conflict has just been kept in a pack that was about to be dropped; an instance
# comes twice when somebody has stored it again meanwhile.
_TRY_AGAIN: Final = (
    exceptions.DeadlockDetectedError,
    exceptions.SerializationError,
    exceptions.ForeignKeyViolationError,
    exceptions.UniqueViolationError,
)


@dataclass(frozen=True, slots=True)
class MadeEdit:
    """What was made of one instance.

    Attributes:
        digest_after: of its new bytes; `None` where it stays as it is, for the reason in `problem`.
        changes: see `EditedInstance`.
        elements: what was replaced.
    """

    sop_instance_uid: str
    digest_before: bytes
    digest_after: bytes | None
    changes: Sequence[Sequence[str | None]]
    elements: bytes | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class EditBatch:
    """What was made of instances of one series.

    Attributes:
        packs: durable, with the new bytes.
    """

    space_id: int
    study_id: int
    study_instance_uid: str
    series_instance_uid: str
    packs: Sequence[PackRecord]
    made: Sequence[MadeEdit]


class EditWriter:
    """Puts new bytes in the place of old ones.

    Args:
        timezone: offset from UTC of date-times that do not tell their own.
    """

    def __init__(self, database: Database, *, timezone: str = "+0000") -> None:
        self._database = database
        self._timezone = timezone

    async def write(self, edit_id: int, batch: EditBatch) -> Replaced:
        """Write a batch in one transaction; instances that are gone or others by now are left out.

        Raises:
            ConflictError: the submission is no longer to be edited, or the edit has ended; nothing has changed.
            DatabaseUnavailableError: trying again later may help.
        """
        segments = Rebuilding(await self._database.term_secret(), self._timezone)
        for _ in range(_ATTEMPTS):
            try:
                async with self._database.transaction() as connection:
                    await _hold(connection, edit_id, batch.space_id)
                    replaced = await _replace(connection, batch, segments)
                    await _note(connection, edit_id, batch, replaced)
                    return replaced
            except _TRY_AGAIN:
                continue
        message = "Too many stores and deletes of the same study at once; try again later"
        raise DatabaseUnavailableError(message)


async def _hold(connection: Connection, edit_id: int, space_id: int) -> None:
    # Checks may be run beside it; what they say of before is out of date when it ends.
    states = [state.value for state in (*EDITABLE_STATES, SubmissionState.CHECKING)]
    if await connection.fetchval(HOLD, space_id, edit_id, states) is None:
        message = "the submission is no longer in review, or the edit was stopped; what was edited until then stays"
        raise ConflictError(message)


async def _replace(connection: Connection, batch: EditBatch, segments: Rebuilding) -> Replaced:
    before = {made.sop_instance_uid: made.digest_before for made in batch.made if made.digest_after is not None}
    if not before:
        return Replaced(frozenset(), ())
    return await replace_instances(
        connection,
        batch.packs,
        before,
        space_id=batch.space_id,
        study_id=batch.study_id,
        series_instance_uid=batch.series_instance_uid,
        segments=segments,
    )


async def _note(connection: Connection, edit_id: int, batch: EditBatch, replaced: Replaced) -> None:
    rows = [made for made in batch.made if made.digest_after is None or made.sop_instance_uid in replaced.uids]
    await connection.execute(
        INSERT_INSTANCES,
        edit_id,
        batch.study_instance_uid,
        batch.series_instance_uid,
        [made.sop_instance_uid for made in rows],
        [made.digest_before for made in rows],
        [made.digest_after for made in rows],
        [made.problem for made in rows],
        # PostgreSQL has no place for NUL in a text.
        [orjson.dumps(made.changes).replace(b"\\u0000", b"\\ufffd").decode() for made in rows],
        [made.elements for made in rows],
    )
    unfit = sum(made.digest_after is None for made in rows)
    await connection.execute(COUNT, edit_id, len(rows) - unfit, unfit)
