"""Repacking: a new pack with some of the members of an old one, byte for byte."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.storage.base import ObjectReader, ObjectStore
from dicomweb_archive.storage.packs import Member, PackInfo, PackWriter, Placed, new_pack_key

_HELD_BYTES = 4 * 1024 * 1024
"""A longer member is copied piece by piece."""


class KeptMember(NamedTuple):
    """A member that is wanted, where it lies in the old pack, and the digest of its bytes."""

    name: str
    offset: int
    length: int
    digest: bytes


class Repacked(NamedTuple):
    """The new pack, and where its members lie, in the order in which they were asked for."""

    pack: PackInfo
    placed: list[Placed]


async def repack(store: ObjectStore, key: str, members: Sequence[KeptMember]) -> Repacked:
    """Copy members of a pack into a new one, which is durable then; the old one stays.

    Raises:
        ObjectNotFoundError, DamagedObjectError: the old one does not hold these bytes; there is no new one.
        StorageFullError: the store has no room.
    """
    writer = await PackWriter.create(store, new_pack_key())
    try:
        async with await store.streaming.open(key) as reader:
            placed = [await _copy(reader, writer, member) for member in members]
        pack = await writer.close()
    except BaseException:
        await writer.abort()
        raise
    if pack is None:
        message = "a pack holds at least one member"
        raise ValueError(message)
    return Repacked(pack, placed)


async def _copy(reader: ObjectReader, writer: PackWriter, member: KeptMember) -> Placed:
    name = f"{member.name}.dcm"
    if member.length <= _HELD_BYTES:
        (placed,) = await writer.append([Member(name, await reader.read(member.offset, member.length))])
    else:
        streamed = await writer.open_member(name)
        async with aclosing(reader.stream(member.offset, member.length)) as pieces:
            async for piece in pieces:
                await streamed.write([piece])
        placed = await streamed.finish()
    if placed.digest != member.digest:
        message = "a member of a pack has other bytes than were stored"
        raise DamagedObjectError(message)
    return placed
