"""Packs: immutable ZIP files of whole instances, the unit of storage (docs/design/0003-packs.md)."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Self

from dicomweb_archive.storage.base import Buffer, ObjectStore, ObjectWriter
from dicomweb_archive.storage.checksums import crc32
from dicomweb_archive.storage.content import Content
from dicomweb_archive.storage.zip_format import (
    Entry,
    central_header,
    data_descriptor,
    end_of_directory,
    local_header,
    streamed_header,
)

PACK_PREFIX = "packs/"
"""What the key of every pack begins with."""

PACK_COMMENT = b"dicomweb-archive pack 1"
"""The archive comment of every pack: the version of its format, and nothing about its content or state."""

# Of some ten million packs in 65,536 folders each holds some hundreds anyway.
_KEYS_OF_FOLDER = 128
_numbers = itertools.count()

# So many bytes are hashed in less time than they are handed over to a thread.
_HASHED_AT_ONCE_BYTES = 64 * 1024

_NAME = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class Member(NamedTuple):
    """An instance to append, whole in memory; its preamble is written as zeros when it must be neutralised."""

    name: str
    data: Buffer
    neutralise_preamble: bool = False


class Placed(NamedTuple):
    """Where a member lies: its first data byte in the pack, its length, both in bytes.

    `digest` is the BLAKE3-256 of the bytes as they are kept, see `Content`.
    """

    offset: int
    length: int
    digest: bytes


class PackInfo(NamedTuple):
    """A finished pack."""

    key: str
    size_bytes: int
    members: int


class _Hashed(NamedTuple):
    name: bytes
    pieces: tuple[Buffer, ...]
    length: int
    crc: int
    digest: bytes


def new_pack_key() -> str:
    """Make a new random key: a pack is never named after what it holds.

    Keys that are made one after the other share a folder for a while: making each its own would cost a lone
    instance three more folders to be flushed to the disk.
    """
    return f"{PACK_PREFIX}{_folder_of(next(_numbers) // _KEYS_OF_FOLDER)}/{secrets.token_hex(16)}.zip"


@lru_cache(maxsize=1)
def _folder_of(turn: int) -> str:
    folder = secrets.token_hex(2)
    return f"{folder[:2]}/{folder[2:]}"


class PackWriter:
    """A pack being written.

    Members that are held in memory get size and CRC-32 in their local header, so that readers of streams
    understand the pack; a member too large to hold is streamed by `open_member` and followed by a data
    descriptor. After an error or a cancelled call only `abort` is left.
    """

    def __init__(self, key: str, writer: ObjectWriter) -> None:
        self.key = key
        self._writer = writer
        self._entries: list[Entry] = []
        self._names: set[bytes] = set()
        self._position = 0
        self._turn = asyncio.Lock()
        self._streaming = False

    @classmethod
    async def create(cls, store: ObjectStore, key: str) -> Self:
        """Begin a pack under `key`.

        Raises:
            ConflictError: the key is taken.
        """
        return cls(key, await store.create(key))

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._position

    @property
    def members(self) -> int:
        """Members written so far."""
        return len(self._entries)

    async def append(self, members: Sequence[Member]) -> list[Placed]:
        """Append whole members; hashes and CRCs of all of them are one job in one thread, unless they are small.

        Several calls may be under way: they hash side by side and are written in turn.

        Raises:
            StorageFullError: the store has no room.
        """
        names = self._reserve([member.name for member in members])
        if sum(len(member.data) for member in members) <= _HASHED_AT_ONCE_BYTES:
            hashed = _hash_members(names, members)
        else:
            hashed = await asyncio.to_thread(_hash_members, names, members)
        async with self._turn:
            self._refuse_while_streaming()
            pieces, entries, placed = self._lay_out(hashed)
            await self._writer.write(pieces)
            self._entries.extend(entries)
            self._position += sum(map(len, pieces))
        return placed

    async def open_member(self, name: str, *, neutralise_preamble: bool = False) -> "StreamedMember":
        """Begin a member whose size is not known yet; nothing else is appended until it is finished."""
        (encoded,) = self._reserve([name])
        async with self._turn:
            self._refuse_while_streaming()
            self._streaming = True
            offset = self._position
            await self.write_through([streamed_header(encoded)])
        return StreamedMember(self, encoded, offset, neutralise_preamble)

    async def write_through(self, pieces: Sequence[Buffer]) -> None:
        """Append raw bytes for the member that is being streamed."""
        await self._writer.write(pieces)
        self._position += sum(map(len, pieces))

    def finish_member(self, entry: Entry) -> None:
        """List the streamed member, whose data descriptor has been written."""
        self._entries.append(entry)
        self._streaming = False

    async def close(self) -> PackInfo | None:
        """Write the central directory and make the pack durable; an empty pack is dropped instead.

        Raises:
            StorageFullError: the store has no room; the pack is dropped.
        """
        try:
            async with self._turn:
                self._refuse_while_streaming()
                if not self._entries:
                    await self._writer.abort()
                    return None
                directory = b"".join(map(central_header, self._entries))
                end = end_of_directory(
                    count=len(self._entries),
                    offset=self._position,
                    size_bytes=len(directory),
                    comment=PACK_COMMENT,
                )
                await self.write_through([directory, end])
                await self._writer.commit()
        except BaseException:
            await self.abort()
            raise
        return PackInfo(self.key, self._position, len(self._entries))

    async def abort(self) -> None:
        """Drop the pack; harmless after `close`."""
        await self._writer.abort()

    def _reserve(self, names: Sequence[str]) -> list[bytes]:
        encoded = [name.encode("ascii", "replace") for name in names]
        if not all(map(_NAME.fullmatch, encoded)):
            message = "a member's name may hold letters, digits, '.', '_' and '-'"
            raise ValueError(message)
        if len(set(encoded)) < len(encoded) or not self._names.isdisjoint(encoded):
            message = "a pack holds a member of this name already"
            raise ValueError(message)
        self._names.update(encoded)
        return encoded

    def _lay_out(self, hashed: Sequence[_Hashed]) -> tuple[list[Buffer], list[Entry], list[Placed]]:
        pieces: list[Buffer] = []
        entries: list[Entry] = []
        placed: list[Placed] = []
        position = self._position
        for item in hashed:
            header = local_header(item.name, item.crc, item.length)
            pieces.append(header)
            pieces.extend(item.pieces)
            entries.append(Entry(item.name, item.crc, item.length, position))
            placed.append(Placed(position + len(header), item.length, item.digest))
            position += len(header) + item.length
        return pieces, entries, placed

    def _refuse_while_streaming(self) -> None:
        if self._streaming:
            message = "a streamed member of this pack is not finished"
            raise ValueError(message)


class StreamedMember:
    """A member written piece by piece, because it is too large to be held."""

    def __init__(self, pack: PackWriter, name: bytes, offset: int, neutralise_preamble: bool) -> None:
        self._pack = pack
        self._name = name
        self._header_offset = offset
        self._data_offset = pack.size_bytes
        self._content = Content(neutralise_preamble=neutralise_preamble)
        self._crc = 0
        self._length = 0

    async def write(self, pieces: Sequence[Buffer]) -> None:
        """Append the pieces in order; await one call before the next."""
        written = await asyncio.to_thread(self._digest_pieces, pieces)
        await self._pack.write_through(written)
        self._length += sum(map(len, written))

    async def finish(self) -> Placed:
        """End the member."""
        await self._pack.write_through([data_descriptor(self._crc, self._length)])
        self._pack.finish_member(Entry(self._name, self._crc, self._length, self._header_offset, streamed=True))
        return Placed(self._data_offset, self._length, self._content.digest())

    def _digest_pieces(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        written = self._content.keep(pieces)
        for piece in written:
            self._crc = crc32(piece, self._crc)
        return written


def _hash_members(names: Sequence[bytes], members: Sequence[Member]) -> list[_Hashed]:
    return [_hash_member(name, member) for name, member in zip(names, members, strict=True)]


def _hash_member(name: bytes, member: Member) -> _Hashed:
    content = Content(neutralise_preamble=member.neutralise_preamble)
    pieces = tuple(content.keep([member.data]))
    crc = 0
    for piece in pieces:
        crc = crc32(piece, crc)
    return _Hashed(name, pieces, len(member.data), crc, content.digest())
