"""The change feed: sealed events of the published archive, for those who may see what they are about.

Of a study that is gone its events stay, since whoever keeps a copy has to learn of it. Of one that was withdrawn they
tell what its tombstone tells and nothing below: no series and no instance. An embargo outlives the study.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database

LOOKED_AT = 50_000
"""So many changes are looked at by one statement: who sees few of them does not run into its time limit."""

# Who may see an event: of a space and a collection of theirs, and of no study whose embargo lasts.
_VISIBLE = """
e.space_id = any($1::int4[]) and ($2::int4[] is null or e.collection_id = any($2))
  and ($3::bool or not exists (
    select from study st where st.space_id = e.space_id and st.study_instance_uid = e.study_instance_uid
      and st.embargo_until > current_date)
    and not exists (
      select from tombstone t where t.space_id = e.space_id and t.study_instance_uid = e.study_instance_uid
        and t.series_instance_uid = '' and t.sop_instance_uid = '' and t.embargo_until > current_date))
"""

# Reads what happened behind a place in the feed, with the series that it touched and that are still there: those that
# went into a submission with their study keep their ids.
READ_CHANGES = f"""
select e.feed_position, e.kind, e.at, c.accession, e.study_instance_uid,
  case when w.reason is null then e.detail ->> 'series_instance_uid' end as series,
  case when w.reason is null then e.detail ->> 'sop_instance_uid' end as instance,
  (e.detail ->> 'instances')::int8 as instances,
  array(select se.series_instance_uid from series se join study st on st.id = se.study_id
    where jsonb_typeof(e.detail -> 'series') = 'array'
      and se.id in (select jsonb_array_elements_text(e.detail -> 'series')::int8)
      and st.space_id = e.space_id and st.study_instance_uid = e.study_instance_uid
    order by se.id) as touched
from event e left join collection c on c.id = e.collection_id
left join tombstone w on w.space_id = e.space_id and w.study_instance_uid = e.study_instance_uid
  and w.series_instance_uid = '' and w.sop_instance_uid = '' and w.reason <> ''
where e.feed_position > $4 and e.feed_position <= $6 and {_VISIBLE} order by e.feed_position limit $5
"""  # noqa: S608 - composed of constants

FIND_LAST = f"""
select e.feed_position from event e where e.feed_position is not null and {_VISIBLE}
order by e.feed_position desc limit 1
"""  # noqa: S608 - composed of constants
FIND_END = "select max(feed_position) from event where feed_position is not null"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to the published archive.

    Attributes:
        position: its place in the feed; others may see fewer, so it is not told.
        collection: accession of the study's home.
        series_instance_uids: of the series that it is about, as far as they are still there or it names them.
        sop_instance_uid: of the one instance that it is about, if it is about one.
        instances: how many instances were added, or taken away.
    """

    position: int
    kind: str
    at: datetime
    collection: str | None
    study_instance_uid: str | None
    series_instance_uids: Sequence[str]
    sop_instance_uid: str | None
    instances: int | None


class FeedIndex:
    """Reads the change feed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def changes(
        self, visibility: Visibility, *, after: int, limit: int, end: int | None = None
    ) -> Sequence[Change]:
        """Return the first changes behind a place that may be seen, up to the one at `end` where that is given."""
        end = await self.end() if end is None else end
        found: list[Change] = []
        while after < end and len(found) < limit:
            before, after = after, min(after + LOOKED_AT, end)
            found += await self._changes(visibility, before, after, limit - len(found))
        return found

    async def _changes(self, visibility: Visibility, after: int, end: int, limit: int) -> Sequence[Change]:
        async with self._database.search_connection() as connection:
            rows = await connection.fetch(READ_CHANGES, *visibility.parameters(), after, limit, end)
        return [
            Change(
                position=row["feed_position"],
                kind=row["kind"],
                at=row["at"],
                collection=row["accession"],
                study_instance_uid=row["study_instance_uid"],
                series_instance_uids=[row["series"]] if row["series"] is not None else row["touched"],
                sop_instance_uid=row["instance"],
                instances=row["instances"],
            )
            for row in rows
        ]

    async def last(self, visibility: Visibility) -> int:
        """Return the place of the last change that may be seen; 0 before the first."""
        async with self._database.search_connection() as connection:
            return await connection.fetchval(FIND_LAST, *visibility.parameters()) or 0

    async def end(self) -> int:
        """Return where the feed ends at this moment, whoever may see it."""
        async with self._database.connection() as connection:
            return await connection.fetchval(FIND_END) or 0

    async def secret(self) -> bytes:
        """Return the archive's secret, with which places in the feed are sealed."""
        return await self._database.term_secret()
