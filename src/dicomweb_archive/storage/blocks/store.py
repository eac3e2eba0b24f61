"""BlockStore: a remote object store behind a block cache."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self

from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.storage.base import (
    Buffer,
    ObjectReader,
    ObjectStat,
    ObjectStore,
    ObjectWriter,
    ReadPattern,
    check_key,
)
from dicomweb_archive.storage.blocks.cache import BlockCache

# What is read of one object by one reader and kept; a larger object is no picture that is looked at twice.
_KEPT_OF_A_STREAM_BYTES = 64 * 1024 * 1024
# What is passed on at a time of what goes through the cache, in whole blocks; a slow client holds two of them.
_STEP_BYTES = 256 * 1024


class BlockStore:
    """An object store that reads through a cache of blocks; `streaming` looks into the cache and keeps nothing.

    Everything but reading goes to the store itself. What is to be deleted is forgotten first, so that nothing of it
    is kept even where the store fails: its rows are gone by then.
    """

    def __init__(self, store: ObjectStore, cache: BlockCache, *, keeps: bool = True) -> None:
        self._store = store
        self._cache = cache
        self._keeps = keeps

    @property
    def reading(self) -> ReadPattern:
        """How the store itself is best streamed."""
        return self._store.reading

    @property
    def streaming(self) -> "BlockStore":
        """The same objects, read around the cache where they are not in it."""
        return BlockStore(self._store, self._cache, keeps=False) if self._keeps else self

    async def create(self, key: str) -> ObjectWriter:
        """Begin a new object."""
        return await self._store.create(key)

    async def open(self, key: str) -> "BlockReader":
        """Prepare to read an object; nothing is asked of the store before the first read."""
        return BlockReader(self, await self._store.open(key), check_key(key), keeps=self._keeps)

    async def read(self, key: str, offset: int, length: int) -> Buffer:
        """Return one range of an object, from the cache as far as it goes."""
        if not length:
            return await self._store.read(key, offset, length)
        return (
            await self.read_kept(key, offset, length) if self._keeps else await self._read_around(key, offset, length)
        )

    async def read_kept(self, key: str, offset: int, length: int) -> bytes:
        """Return one range through the cache."""
        data = await self._cache.read(check_key(key), offset, length)
        if len(data) < length:
            await self._cache.drop(key)
            message = "an object is shorter than what was stored"
            raise DamagedObjectError(message)
        return data

    async def read_held(self, key: str, offset: int, length: int) -> bytes | None:
        """Return one range if all of it is in the cache, and change nothing there."""
        return await self._cache.find(check_key(key), offset, length)

    async def read_at_most(self, key: str, offset: int, length: int) -> Buffer:
        """Return one range as far as the object goes."""
        if not length or not self._keeps:
            return await self._store.read_at_most(key, offset, length)
        return await self._cache.read(check_key(key), offset, length)

    async def stat(self, key: str) -> ObjectStat:
        """Return size and time of an object."""
        return await self._store.stat(key)

    async def delete(self, key: str) -> None:
        """Remove the object and its blocks."""
        await self._cache.forget([check_key(key)])
        await self._store.delete(key)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Remove objects and their blocks."""
        await self._cache.forget([check_key(key) for key in keys])
        await self._store.delete_many(keys)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectStat]:
        """Yield the objects whose key starts with `prefix`."""
        async for item in self._store.list(prefix):
            yield item

    async def free_bytes(self) -> int | None:
        """Room left in the store itself."""
        return await self._store.free_bytes()

    async def ping(self) -> None:
        """Ask the store itself: what is in the cache could be read without it, but not for long."""
        await self._store.ping()

    async def close(self) -> None:
        """Give up reading ahead, let blocks be written, and close the store."""
        try:
            await self._cache.close()
        finally:
            await self._store.close()

    async def _read_around(self, key: str, offset: int, length: int) -> Buffer:
        held = await self.read_held(key, offset, length)
        return held if held is not None else await self._store.read(key, offset, length)


class BlockReader:
    """An open object: the first MiB go through the cache, what is read beyond them is a long stream."""

    def __init__(self, store: BlockStore, reader: ObjectReader, key: str, *, keeps: bool) -> None:
        self._store = store
        self._reader = reader
        self._key = key
        self._to_keep = _KEPT_OF_A_STREAM_BYTES if keeps else 0

    async def stream(self, offset: int, length: int) -> AsyncGenerator[Buffer, None]:
        """Yield exactly these bytes: what is in the cache, and from the first that is not as the store sends them."""
        position, end = offset, offset + length
        while position < end:
            step = min(_STEP_BYTES - position % _STEP_BYTES, end - position)
            if self._to_keep >= step:
                self._to_keep -= step
                yield await self._store.read_kept(self._key, position, step)
            else:
                held = await self._store.read_held(self._key, position, step)
                if held is None:
                    break
                yield held
            position += step
        if position < end:
            async with aclosing(self._reader.stream(position, end - position)) as pieces:
                async for piece in pieces:
                    yield piece

    async def read(self, offset: int, length: int) -> Buffer:
        """Return exactly these bytes."""
        if self._to_keep >= length > 0:
            self._to_keep -= length
            return await self._store.read_kept(self._key, offset, length)
        held = await self._store.read_held(self._key, offset, length) if length else None
        return held if held is not None else await self._reader.read(offset, length)

    async def close(self) -> None:
        """Close the object."""
        await self._reader.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
