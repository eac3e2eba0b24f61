"""Publication: studies of a submission become part of the published archive, one transaction a study.

A reader sees each study as it was before or as it is after, never a part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from asyncpg import exceptions

from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.index.writing.moving import MetInstance, Move, MovedStudy, move_study
from dicomweb_archive.index.writing.rebuilding import Rebuilding
from dicomweb_archive.index.writing.setting_aside import set_aside

__all__ = ["MetInstance", "MovedStudy", "NotPublishingError", "Publication", "SpaceContent"]

# Lists studies of a space in the order of their UIDs.
LIST_STUDIES = """
select study_instance_uid from study where space_id = $1 and study_instance_uid > $2
  and ($4::text[] is null or study_instance_uid = any($4)) order by study_instance_uid limit $3
"""

# Counts what a space holds.
COUNT_CONTENT = """
select count(*)::int4 as studies, coalesce(sum(instance_count), 0)::int4 as instances from study
where space_id = $1 and ($2::text[] is null or study_instance_uid = any($2))
"""

# Holds a submission in its state until a study of it has moved; other spaces have none.
HOLD_STATE = "select id, state from submission where space_id = $1 for share"

_PUBLISHING = "publishing"
_ATTEMPTS = 8

# Somebody stored the same instances or the same study meanwhile, or PostgreSQL broke a circle of waits.
_TRY_AGAIN = (
    exceptions.UniqueViolationError,
    exceptions.ForeignKeyViolationError,
    exceptions.DeadlockDetectedError,
    exceptions.SerializationError,
)


@dataclass(frozen=True, slots=True)
class SpaceContent:
    """How much a space holds."""

    studies: int
    instances: int


class NotPublishingError(Exception):
    """The submission is not being published, or no longer: somebody may have decided otherwise. Nothing has changed."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class Publication:
    """Publishes what waits in the spaces of submissions.

    Args:
        instances: whose cache must not serve what is no longer where it was; `None` in a process that serves nothing
            of it.
        timezone: offset from UTC of date-times that do not tell their own.
    """

    def __init__(self, database: Database, instances: InstanceIndex | None = None, *, timezone: str = "+0000") -> None:
        self._database = database
        self._instances = instances
        self._timezone = timezone

    async def list_studies(
        self, space_id: int, *, after: str = "", limit: int = 100, studies: Sequence[str] | None = None
    ) -> list[str]:
        """List the Study Instance UIDs of a space, in their order, from behind this one on: all, or of these."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_STUDIES, space_id, after, limit, studies)
        return [row["study_instance_uid"] for row in rows]

    async def count(self, space_id: int, studies: Sequence[str] | None = None) -> SpaceContent:
        """Count what a space holds: all, or of these studies."""
        async with self._database.connection() as connection:
            return SpaceContent(*await connection.fetchrow(COUNT_CONTENT, space_id, studies))

    async def publish(self, space_id: int, study_instance_uid: str, *, actor: str) -> MovedStudy:
        """Publish a study: all of it but what the archive has under the same SOP Instance UIDs.

        With the same bytes that is kept once, with others it becomes conflicts of the submission whose space it is.

        Asked for again it goes on with what is still there, so that an interrupted publication can be repeated.

        Raises:
            NotFoundError: the space has no such study (any more).
            ConflictError: it was published before in another collection.
            NotPublishingError: the submission whose space it is is in another state.
            DatabaseUnavailableError: nothing has changed, and trying again later may help.
        """
        segments = Rebuilding(await self._database.term_secret(), self._timezone)
        move = Move(study_instance_uid, space_id, ARCHIVE_SPACE, segments)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    async with self._database.transaction() as connection:
                        submission_id = await _hold_state(connection, space_id)
                        moved = await move_study(connection, move)
                        if moved.conflicts and submission_id is not None:
                            freed = await set_aside(connection, submission_id, space_id, study_instance_uid)
                            moved = replace(moved, free_object_keys=(*moved.free_object_keys, *freed))
                        await _note(connection, move, moved, actor)
                        return moved
                except _TRY_AGAIN:
                    continue
        finally:
            # Also after a failure: a connection that broke at the commit does not say which way it went.
            if self._instances is not None:
                self._instances.forget_deleted()
        message = "Too many stores and deletes of the same study at once; try again later"
        raise DatabaseUnavailableError(message)


async def _hold_state(connection: Connection, space_id: int) -> int | None:
    """Make sure that the submission is being published until the transaction ends; returns its id.

    A job of it may be begun anew long after somebody has reconsidered or rejected what it is about.
    """
    held = await connection.fetchrow(HOLD_STATE, space_id)
    if held is None:
        return None
    if held["state"] != _PUBLISHING:
        raise NotPublishingError(held["state"])
    submission_id: int = held["id"]
    return submission_id


async def _note(connection: Connection, move: Move, moved: MovedStudy, actor: str) -> None:
    """Write what happened: one event for those who follow the archive, one for the trail of the submission."""
    detail: dict[str, int] = {"instances": moved.instances, "size_bytes": moved.size_bytes}
    own = {**detail, "same": moved.same, "conflicts": len(moved.conflicts)}
    if moved.study_id is not None:
        own["event"] = await insert_event(
            connection,
            EventKind.STUDY_PUBLISHED,
            actor=actor,
            space_id=move.to_space,
            study_instance_uid=move.study_instance_uid,
            detail={"study": moved.study_id, **detail},
        )
    if moved.study_id is not None or moved.same or moved.conflicts:
        await insert_event(
            connection,
            EventKind.STUDY_PUBLISHED,
            actor=actor,
            space_id=move.from_space,
            study_instance_uid=move.study_instance_uid,
            detail=own,
        )
