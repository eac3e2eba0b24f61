"""Foresight: what publishing would do with the studies of a submission, without doing it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.database.engine import Database

# Each study beside what the archive has under its UID and under those of its instances.
FORESEE = f"""
select st.study_instance_uid, st.instance_count as instances, st.size_bytes, met.same, met.conflicts,
  o.id is not null as joins, coalesce(o.collection_id <> st.collection_id, false) as is_elsewhere
from study st left join study o on o.space_id = {ARCHIVE_SPACE} and o.study_instance_uid = st.study_instance_uid
cross join lateral (
  select count(*) filter (where y.is_same)::int4 as same, count(*) filter (where not y.is_same)::int4 as conflicts
  from (
    select x.digest = i.digest and xst.study_instance_uid = st.study_instance_uid
      and xse.series_instance_uid = se.series_instance_uid as is_same
    from segment sg join series se on se.id = sg.series_id join instance i on i.segment_id = sg.id
    join instance x on x.space_id = {ARCHIVE_SPACE} and x.sop_instance_uid = i.sop_instance_uid
    join segment xsg on xsg.id = x.segment_id join series xse on xse.id = xsg.series_id
    join study xst on xst.id = xsg.study_id
    where sg.study_id = st.id
  ) y
) met
where st.space_id = $1 and st.study_instance_uid > $2 order by st.study_instance_uid limit $3
"""  # noqa: S608 - composed of constants

COUNT_STUDIES = "select count(*)::int4 from study where space_id = $1"

COUNT_UNDECIDED = "select count(*)::int4 from conflict where submission_id = $1 and decision is null"


@dataclass(frozen=True, slots=True)
class ForeseenStudy:
    """What publishing would do with a study.

    Attributes:
        instances, size_bytes: of the study as it waits.
        same: how many of them the archive has already, byte for byte.
        conflicts: how many of them the archive has with other bytes, or in another series or study.
        joins: the archive has a study of this UID, which would grow.
        is_elsewhere: it has it in another collection, so that nothing of it would be published.
    """

    study_instance_uid: str
    instances: int
    size_bytes: int
    same: int
    conflicts: int
    joins: bool
    is_elsewhere: bool

    @property
    def published(self) -> int:
        """How many instances would become part of the archive."""
        return 0 if self.is_elsewhere else self.instances - self.same - self.conflicts


class Foresight:
    """Looks ahead; nothing of it holds for longer than the moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def studies(self, space_id: int, *, after: str, limit: int) -> tuple[Sequence[ForeseenStudy], int]:
        """Return what would become of the studies of a space behind this one, and how many there are in all."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FORESEE, space_id, after, limit)
            total = await connection.fetchval(COUNT_STUDIES, space_id)
        return [ForeseenStudy(**dict(row)) for row in rows], total

    async def undecided(self, submission_id: int) -> int:
        """Count the conflicts of a submission on which nobody has decided; publishing leaves them as they are."""
        async with self._database.connection() as connection:
            found: int = await connection.fetchval(COUNT_UNDECIDED, submission_id)
        return found
