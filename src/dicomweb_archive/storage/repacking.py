"""Repacking: a new pack with some of the members of an old one, byte for byte, damaged or not."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

from blake3 import blake3

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
    """The new pack, and where its members lie.

    Attributes:
        pack: `None` when none of the members could be read, although the object is there.
        offsets: of the members, in the order in which they were asked for. That of one that could not be read is the
            end of the pack: whoever reads it finds out as before.
        damaged: how many have other bytes than were stored, or none.
    """

    pack: PackInfo | None
    offsets: tuple[int, ...]
    damaged: int


async def repack(store: ObjectStore, key: str, members: Sequence[KeptMember]) -> Repacked:
    """Copy members of a pack into a new one, which is durable then; the old one stays.

    A damaged member is copied as it is: its digest will tell, as it would have done before.

    Raises:
        ObjectNotFoundError: the store does not have the old pack, or not now: its folder may not be mounted.
        DamagedObjectError: the same bytes are not the same when they are read twice; there is no new pack.
        StorageFullError: the store has no room.
    """
    writer = await PackWriter.create(store, new_pack_key())
    try:
        placed = await _copy_all(store, key, writer, members)
        if not any(placed):
            await writer.abort()
        pack = await writer.close() if any(placed) else None
    except BaseException:
        await writer.abort()
        raise
    end = 0 if pack is None else pack.size_bytes
    whole = sum(each is not None and each.digest == member.digest for each, member in zip(placed, members, strict=True))
    offsets = tuple(end if each is None else each.offset for each in placed)
    return Repacked(pack, offsets, len(members) - whole)


async def _copy_all(
    store: ObjectStore, key: str, writer: PackWriter, members: Sequence[KeptMember]
) -> list[Placed | None]:
    async with await store.streaming.open(key) as reader:
        return [await _copy(reader, writer, member) for member in members]


async def _copy(reader: ObjectReader, writer: PackWriter, member: KeptMember) -> Placed | None:
    name = f"{member.name}.dcm"
    if member.length <= _HELD_BYTES:
        try:
            data = await reader.read(member.offset, member.length)
        except DamagedObjectError:
            return None
        (placed,) = await writer.append([Member(name, data)])
    else:
        streamed = await writer.open_member(name)
        try:
            async with aclosing(reader.stream(member.offset, member.length)) as pieces:
                async for piece in pieces:
                    await streamed.write([piece])
        except DamagedObjectError:
            # What there was of it stays, and nothing leads there.
            await streamed.finish()
            return None
        placed = await streamed.finish()
    if placed.digest != member.digest and placed.digest != await _digest(reader, member):
        # Of the memory or the line, not of the object, which must not go for that.
        message = "a member of a pack is not read twice with the same bytes"
        raise DamagedObjectError(message)
    return placed


async def _digest(reader: ObjectReader, member: KeptMember) -> bytes:
    digest = blake3()
    async with aclosing(reader.stream(member.offset, member.length)) as pieces:
        async for piece in pieces:
            await asyncio.to_thread(digest.update, piece)
    return digest.digest()
