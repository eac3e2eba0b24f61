"""Compaction in the index: which packs of a series are better one, and the rows that say where its bytes lie now.

Segments stay as they are. Only place and pack of an instance change, all of a new pack in one transaction, under the
lock of the study that keeps deletes, merges and moves away. What an instance is found by meanwhile is where it lay:
(pack, offset) is the same bytes for ever.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from asyncpg import exceptions

from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.writing.packs import NOTHING_LIVES

SMALL_BYTES = 64 * 1024 * 1024
"""Packs from this size on are left alone: streams read ranges of some MiB."""

QUIET_SECONDS = 3600.0
"""A series that has changed since then is still growing."""

LOCK_SECONDS = 5.0

_PASS = "compaction_passed"  # noqa: S105 - the name of a row
_PACKS = 500

READ_PASSED = "select value from archive_state where name = $1"
KEEP_PASSED = """
insert into archive_state (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value
"""

# Goes through small packs in the order in which they came, with the series of each that is quiet by now.
FIND_NEXT = f"""
select p.id, x.series_id
from (
  select id from pack where id > $1 and size_bytes < {SMALL_BYTES} and created_at < now() - $2::interval
  order by id limit {_PACKS}
) p left join lateral (
  select sg.series_id from instance i join segment sg on sg.id = i.segment_id join series se on se.id = sg.series_id
  where i.pack_id = p.id and se.changed_at < now() - $2::interval limit 1
) x on true
order by p.id
"""  # noqa: S608 - composed of constants

# What is kept as a conflict in a pack is not written anew, and not dead.
_IN_CONFLICT = "coalesce((select sum(k.byte_length) from conflict k where k.pack_id = {}), 0)"

# Looks at packs that have lost instances some time ago, and names the series of those that are half dead. These keep
# their marks until they are retired, so that an interrupted round loses none, and are not looked at again at once.
TAKE_THINNED = f"""
with marked as (
  select id, size_bytes from pack where thinned_at < now() - $1::interval order by thinned_at limit {_PACKS}
), looked_at as (
  select m.id, x.series_id, x.live_bytes * 2 < m.size_bytes as is_thin from marked m cross join lateral (
    select min(sg.series_id) as series_id, sum(i.byte_length) + {_IN_CONFLICT.format("m.id")} as live_bytes
    from instance i join segment sg on sg.id = i.segment_id where i.pack_id = m.id
  ) x
), noted as (
  update pack p set thinned_at = case when l.is_thin then now() end from looked_at l where p.id = l.id
)
select distinct series_id from looked_at where is_thin
"""  # noqa: S608 - composed of constants

# Retires packs in which nothing lives any more, to be deleted at once: of two deletes at the same time each has taken
# what the other was taking away for alive.
RETIRE_DEAD = f"""
with free as (
  delete from pack p
  where p.id in (
    select id from pack where thinned_at < now() - $1::interval order by thinned_at limit {_PACKS}
  ) and {NOTHING_LIVES} returning p.object_key, p.size_bytes
)
insert into retired_pack (object_key, size_bytes, study_instance_uid, retired_at)
select object_key, size_bytes, '', '-infinity'::timestamptz from free
"""  # noqa: S608 - composed of constants

# Lists the packs of a series: what of each is its own, and what is alive in it.
LIST_PACKS = f"""
select p.id, p.object_key, p.size_bytes, own.instances, own.size_bytes as own_bytes,
  ((select sum(x.byte_length) from instance x where x.pack_id = p.id) + {_IN_CONFLICT.format("p.id")})::int8
    as live_bytes
from (
  select i.pack_id, count(*)::int4 as instances, sum(i.byte_length)::int8 as size_bytes
  from segment sg join instance i on i.segment_id = sg.id where sg.series_id = $1 group by i.pack_id
) own join pack p on p.id = own.pack_id order by p.id
"""  # noqa: S608 - composed of constants

LIST_MEMBERS = """
select i.pack_id, i.byte_offset, i.byte_length, i.sop_instance_uid, i.digest
from segment sg join instance i on i.segment_id = sg.id
where sg.series_id = $1 and i.pack_id = any($2::int8[]) order by i.pack_id, i.byte_offset
"""

LOCK_STUDY = """
select st.id, st.study_instance_uid, se.series_instance_uid from series se join study st on st.id = se.study_id
where se.id = $1 for no key update of st
"""
INSERT_PACK = "insert into pack (object_key, size_bytes) values ($1, $2) returning id"

# Those of the study alone: what has moved to another one since is not under our lock, and stays where it is.
MOVE_BYTES = """
update instance i set pack_id = $1, byte_offset = n.new_offset
from unnest($2::int8[], $3::int8[], $4::int8[]) as n(pack_id, byte_offset, new_offset), segment sg
where i.pack_id = any($5::int8[]) and i.pack_id = n.pack_id and i.byte_offset = n.byte_offset
  and sg.id = i.segment_id and sg.study_id = $6
"""
RETIRE_PACKS = f"""
with free as (
  delete from pack p where p.id = any($1::int8[]) and {NOTHING_LIVES} returning p.object_key, p.size_bytes
)
insert into retired_pack (object_key, size_bytes, study_instance_uid, series_instance_uid)
select object_key, size_bytes, $2, $3 from free
"""  # noqa: S608 - composed of constants

FIND_OVERDUE = (
    "select object_key from retired_pack where retired_at < now() - $1::interval order by retired_at limit 500"
)
FORGET_RETIRED = "delete from retired_pack where object_key = any($1::text[])"


class SeriesPack(NamedTuple):
    """A pack with instances of a series.

    Attributes:
        instances, own_bytes: of this series.
        live_bytes: of all that is alive in it.
    """

    id: int
    object_key: str
    size_bytes: int
    instances: int
    own_bytes: int
    live_bytes: int

    @property
    def is_thin(self) -> bool:
        """Whether more than half of it is dead."""
        return self.live_bytes * 2 < self.size_bytes


class PackMember(NamedTuple):
    """An instance in its pack."""

    pack_id: int
    byte_offset: int
    byte_length: int
    sop_instance_uid: str
    digest: bytes


def plan_compaction(packs: Sequence[SeriesPack], *, most_bytes: int, most_instances: int) -> list[SeriesPack]:
    """Choose which packs of a series are written anew together; none, when that would gain nothing.

    A pack that outweighs all smaller ones together is left out, so that no byte is written anew more often than
    the logarithm of its series' size. What is half dead is always taken.
    """
    thin = [pack for pack in packs if pack.is_thin]
    small = sorted((p for p in packs if not p.is_thin and p.size_bytes < SMALL_BYTES), key=lambda p: p.own_bytes)
    while len(small) > 1 and small[-1].own_bytes > sum(pack.own_bytes for pack in (*small[:-1], *thin)):
        small.pop()
    chosen = sorted([*thin, *small])
    if thin:
        return chosen
    least = max(
        -(-sum(pack.own_bytes for pack in chosen) // most_bytes),
        -(-sum(pack.instances for pack in chosen) // most_instances),
    )
    return chosen if len(chosen) > least else []


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A new pack, durable, and where its members lay before and lie now."""

    object_key: str
    size_bytes: int
    members: Sequence[PackMember]
    offsets: Sequence[int]


class CompactionIndex:
    """Finds packs to compact and lets rows say where bytes lie now."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def passed(self) -> int:
        """Return the last pack that was looked at."""
        async with self._database.connection() as connection:
            value: bytes | None = await connection.fetchval(READ_PASSED, _PASS)
        return 0 if value is None else int.from_bytes(value)

    async def keep_passed(self, pack_id: int) -> None:
        """Remember the last pack that was looked at; later rounds go on behind it."""
        async with self._database.connection() as connection:
            await connection.execute(KEEP_PASSED, _PASS, pack_id.to_bytes(8))

    async def find_next(self, passed: int, *, quiet_seconds: float) -> tuple[int, list[int]] | None:
        """Return how far the next packs go, and the quiet series that they are of; `None` at the end.

        A series that is still growing is not among them: its next packs come later, and it with them.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_NEXT, passed, timedelta(seconds=quiet_seconds))
        if not rows:
            return None
        return rows[-1]["id"], sorted({row["series_id"] for row in rows if row["series_id"] is not None})

    async def take_thinned(self, *, quiet_seconds: float) -> list[int]:
        """Return the series of packs that deletes have left half dead, each once."""
        async with self._database.connection() as connection:
            # A conflict may just be kept in one of them; the next round looks again.
            with suppress(exceptions.ForeignKeyViolationError):
                await connection.execute(RETIRE_DEAD, timedelta(seconds=quiet_seconds))
            rows = await connection.fetch(TAKE_THINNED, timedelta(seconds=quiet_seconds))
        return sorted(row["series_id"] for row in rows)

    async def packs_of(self, series_id: int) -> list[SeriesPack]:
        """List the packs of a series, in the order in which they came."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_PACKS, series_id)
        return [SeriesPack(*row) for row in map(tuple, rows)]

    async def members_of(self, series_id: int, packs: Sequence[SeriesPack]) -> list[PackMember]:
        """List the instances of a series in these packs, in the order in which they came."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_MEMBERS, series_id, [pack.id for pack in packs])
        return [PackMember(*row) for row in map(tuple, rows)]

    async def swap(self, series_id: int, rewritten: Rewritten) -> bool:
        """Let the rows of a series say that its bytes lie in the new pack, and retire packs that nothing lives in.

        Returns:
            whether they do. If not, nothing knows the new pack: some of what is in it is gone meanwhile or has moved,
            or others hold the study for long.
        """
        try:
            async with self._database.transaction() as connection:
                await connection.execute(f"set local lock_timeout = '{LOCK_SECONDS * 1000:.0f}ms'")
                await _swap(connection, series_id, rewritten)
        except _InTheWayError:
            return False
        return True

    async def overdue(self, *, grace_seconds: float) -> list[str]:
        """Return objects of packs that were retired longer ago, some at a time."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_OVERDUE, timedelta(seconds=grace_seconds))
        return [row["object_key"] for row in rows]

    async def forget_retired(self, object_keys: Sequence[str]) -> None:
        """Forget retired packs whose objects are gone."""
        async with self._database.connection() as connection:
            await connection.execute(FORGET_RETIRED, list(object_keys))


# Others hold the study for long, or have just kept a conflict in a pack that was to be retired.
_IN_THE_WAY = (
    exceptions.LockNotAvailableError,
    exceptions.DeadlockDetectedError,
    exceptions.ForeignKeyViolationError,
)


class _InTheWayError(Exception):
    """Nothing was changed; a later round finds what is left."""


async def _swap(connection: Connection, series_id: int, rewritten: Rewritten) -> None:
    try:
        study = await connection.fetchrow(LOCK_STUDY, series_id)
        if study is None:
            raise _InTheWayError
        pack_id = await connection.fetchval(INSERT_PACK, rewritten.object_key, rewritten.size_bytes)
        await _move_bytes(connection, pack_id, study["id"], rewritten)
        old = sorted({member.pack_id for member in rewritten.members})
        await connection.execute(RETIRE_PACKS, old, study["study_instance_uid"], study["series_instance_uid"])
    except _IN_THE_WAY as error:
        raise _InTheWayError from error


async def _move_bytes(connection: Connection, pack_id: int, study_id: int, rewritten: Rewritten) -> None:
    status: str = await connection.execute(
        MOVE_BYTES,
        pack_id,
        [member.pack_id for member in rewritten.members],
        [member.byte_offset for member in rewritten.members],
        rewritten.offsets,
        sorted({member.pack_id for member in rewritten.members}),
        study_id,
    )
    moved = int(status.rpartition(" ")[2])
    if moved < len(rewritten.members):
        # The new pack would hold bytes of what was deleted, or purged, while they were copied.
        raise _InTheWayError
