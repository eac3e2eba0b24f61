"""Packs that hold what is purged: what else lies in them, and new packs in their places."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.rows import insert_packs
from dicomweb_archive.index.writing.rebuilding import Rebuilding

# Lists what still lies in packs that an earlier purge has left.
LIST_LIVING = """
select p.id as pack_id, p.object_key, i.sop_instance_uid, i.byte_offset, i.byte_length, i.digest,
  sg.study_id, false as is_named
from pack p join instance i on i.pack_id = p.id join segment sg on sg.id = i.segment_id
where p.object_key = any($1::text[])
union all
select p.id, p.object_key, k.sop_instance_uid, k.byte_offset, k.byte_length, k.digest, null, false
from pack p join conflict k on k.pack_id = p.id where p.object_key = any($1)
order by pack_id, byte_offset
"""

# Lets what was copied point to its new place.
MOVE_INTO_PACK = """
update instance i set pack_id = $2, byte_offset = new.byte_offset
from unnest($3::text[], $4::int8[], $5::int8[]) as new(uid, old_offset, byte_offset)
where i.pack_id = $1 and i.sop_instance_uid = new.uid and i.byte_offset = new.old_offset
returning i.segment_id
"""
MOVE_CONFLICTS = """
update conflict k set pack_id = $2, byte_offset = new.byte_offset
from unnest($3::text[], $4::int8[], $5::int8[]) as new(uid, old_offset, byte_offset)
where k.pack_id = $1 and k.sop_instance_uid = new.uid and k.byte_offset = new.old_offset
"""
LIST_LEFT = "select id from pack where id = any($1::int8[])"
LIST_POSITIONS = "select position from instance where segment_id = $1"


@dataclass(frozen=True, slots=True)
class PackContent:
    """A pack that holds what is purged.

    Attributes:
        stays: what else is in it: SOP Instance UID, offset, length and digest of each.
    """

    pack_id: int
    object_key: str
    stays: tuple[tuple[str, int, int, bytes], ...]


@dataclass(frozen=True, slots=True)
class NewPack:
    """What has taken the place of a pack; the offsets are in the order of what stays."""

    object_key: str
    size_bytes: int
    byte_offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Replacements:
    """What has become of packs of which something stays.

    Attributes:
        new: by id of a pack; `None` where its object is there and nothing of what stays can be read any more.
        missing: ids of packs whose objects the store does not have, which may come back: nothing about them changes.
    """

    new: Mapping[int, NewPack | None]
    missing: frozenset[int] = frozenset()

    @property
    def object_keys(self) -> list[str]:
        """Keys of the new packs."""
        return [each.object_key for each in self.new.values() if each is not None]

    @property
    def unread(self) -> frozenset[int]:
        """Packs that rows may go on leading to although these find nothing there, or not now."""
        return self.missing | {pack_id for pack_id, new in self.new.items() if new is None}


def pack_contents(rows: Iterable[Mapping[str, Any]]) -> list[PackContent]:
    """Gather rows of what lies in packs, of which those that are named do not stay."""
    packs: dict[tuple[int, str], list[tuple[str, int, int, bytes]]] = {}
    for row in rows:
        stays = packs.setdefault((row["pack_id"], row["object_key"]), [])
        if not row["is_named"]:
            stays.append((row["sop_instance_uid"], row["byte_offset"], row["byte_length"], row["digest"]))
    return [PackContent(pack_id, key, tuple(stays)) for (pack_id, key), stays in packs.items()]


async def replace_packs(
    connection: Connection, packs: Sequence[PackContent], replacements: Replacements, segments: Rebuilding
) -> None:
    """Let what stays point to the new packs; its segments get new ids, so that no cache keeps the old places."""
    new = [(each.object_key, each.size_bytes) for each in replacements.new.values() if each is not None]
    pack_ids = await insert_packs(connection, new)
    changed: set[int] = set()
    for pack in packs:
        replacement = replacements.new.get(pack.pack_id)
        if replacement is None:
            # Nothing stays of it, or nothing that could be read: then the rows say so by leading nowhere.
            continue
        places = (
            pack.pack_id,
            pack_ids[replacement.object_key],
            [uid for uid, *_ in pack.stays],
            [offset for _, offset, *_ in pack.stays],
            list(replacement.byte_offsets),
        )
        changed.update(row["segment_id"] for row in await connection.fetch(MOVE_INTO_PACK, *places))
        await connection.execute(MOVE_CONFLICTS, *places)
    for segment_id in sorted(changed):
        positions = {row["position"] for row in await connection.fetch(LIST_POSITIONS, segment_id)}
        await segments.part(connection, segment_id, [positions])


async def list_left(connection: Connection, pack_ids: Sequence[int]) -> frozenset[int]:
    """Return those of the packs that have a row still."""
    return frozenset(row["id"] for row in await connection.fetch(LIST_LEFT, pack_ids))
