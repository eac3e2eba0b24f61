"""Withdrawal: a published study goes back into a submission of its own, and what remains says why."""

from dataclasses import dataclass, replace

from asyncpg import exceptions

from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.index.access import ARCHIVE_SPACE, Visibility, visible
from dicomweb_archive.index.curation.submissions import (
    INSERT_NOTE,
    OPEN_SUBMISSION,
    Submission,
    SubmissionState,
    new_name,
    note_event,
    submission_of,
)
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.scope import Scope, missing
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.index.writing.moving import Move, MovedStudy, move_study
from dicomweb_archive.index.writing.rebuilding import Rebuilding
from dicomweb_archive.index.writing.removal import INSERT_TOMBSTONE

# Finds the home collection of a published study that may be seen.
FIND_HOME = f"""
select st.collection_id from study st where {visible("st")} and st.study_instance_uid = $4
"""  # noqa: S608 - composed of constants

# What nobody was to know before a day is not to be known by its withdrawal either.
FIND_EMBARGO = "select embargo_until from study where space_id = $1 and study_instance_uid = $2"

# Nobody has to ask for a decision on what was published before: it is due.
PUT_IN_REVIEW = "update submission set state = $2 where id = $1"

_ATTEMPTS = 8
_TITLE = "Withdrawn study"
_TRY_AGAIN = (
    exceptions.UniqueViolationError,
    exceptions.ForeignKeyViolationError,
    exceptions.DeadlockDetectedError,
    exceptions.SerializationError,
)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A study that was withdrawn, and the submission in which it is now."""

    submission: Submission
    instances: int


class Withdrawal:
    """Takes studies out of the published archive without losing them.

    Args:
        instances: whose cache must not serve what was withdrawn.
        timezone: offset from UTC of date-times that do not tell their own.
    """

    def __init__(self, database: Database, instances: InstanceIndex, *, timezone: str = "+0000") -> None:
        self._database = database
        self._instances = instances
        self._timezone = timezone

    async def find_home(self, study_instance_uid: str, visibility: Visibility) -> int:
        """Return the home collection of a published study.

        Raises:
            GoneError: it was deleted or withdrawn.
            NotFoundError: there is none, or this principal may not see it.
        """
        async with self._database.connection() as connection:
            found: int | None = await connection.fetchval(FIND_HOME, *visibility.parameters(), study_instance_uid)
            if found is None:
                raise await missing(connection, Scope(study_instance_uid), visibility)
        return found

    async def withdraw(
        self, study_instance_uid: str, collection_id: int, *, actor: str, reason: str, comment: str = ""
    ) -> Withdrawn:
        """Take a study out of the archive, into a submission that is in review.

        Raises:
            NotFoundError: it is no longer published.
            DatabaseUnavailableError: nothing has changed, and trying again later may help.
        """
        segments = Rebuilding(await self._database.term_secret(), self._timezone)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    async with self._database.transaction() as connection:
                        submission = await _open_in_review(connection, collection_id, actor)
                        move = Move(study_instance_uid, ARCHIVE_SPACE, submission.space_id, segments)
                        moved = await move_study(connection, move)
                        await _note(connection, submission, move, moved, actor, reason, comment)
                        return Withdrawn(submission, moved.instances)
                except _TRY_AGAIN:
                    continue
        finally:
            # Also after a failure: a connection that broke at the commit does not say which way it went.
            self._instances.forget_deleted()
        message = "Too many stores and deletes of the same study at once; try again later"
        raise DatabaseUnavailableError(message)


async def _open_in_review(connection: Connection, collection_id: int, actor: str) -> Submission:
    row = await connection.fetchrow(OPEN_SUBMISSION, new_name(), collection_id, _TITLE, "", "", actor, None)
    submission = replace(submission_of(row), state=SubmissionState.IN_REVIEW)
    await connection.execute(PUT_IN_REVIEW, submission.id, submission.state.value)
    detail = {"submission": submission.id}
    await note_event(connection, EventKind.SUBMISSION_OPENED, submission, actor=actor, detail=detail)
    return submission


async def _note(
    connection: Connection, submission: Submission, move: Move, moved: MovedStudy, actor: str, reason: str, comment: str
) -> None:
    """Write the tombstone, one event for those who follow the archive, and one for the trail of the submission."""
    uid = move.study_instance_uid
    detail: dict[str, int | str] = {"instances": moved.instances, "size_bytes": moved.size_bytes, "reason": reason}
    kind = EventKind.STUDY_WITHDRAWN
    event_id = await insert_event(
        connection,
        kind,
        actor=actor,
        space_id=move.from_space,
        study_instance_uid=uid,
        detail={"study": moved.study_id or 0, **detail},
        collection_id=submission.collection_id,
    )
    home = submission.collection_id, await connection.fetchval(FIND_EMBARGO, move.to_space, uid)
    await connection.execute(INSERT_TOMBSTONE, move.from_space, "study", uid, "", "", event_id, reason, *home)
    own_id = await insert_event(
        connection,
        kind,
        actor=actor,
        space_id=move.to_space,
        study_instance_uid=uid,
        detail={"submission": submission.id, "event": event_id, **detail},
    )
    if comment:
        await connection.execute(INSERT_NOTE, own_id, submission.id, comment)
