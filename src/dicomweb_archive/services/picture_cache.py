"""Picture cache: finished small pictures of this process, bounded, each made once however many ask for it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

CACHE_BYTES = 32 * 1024 * 1024
# What a key and its place cost besides the picture.
_ENTRY_BYTES = 300


class PictureCache:
    """Pictures by their entity tag, which names all that they are made of; least recently used out first.

    A tag never stands for another picture, so nothing here can be out of date. Whether somebody may see a picture
    is decided before it is asked for here.
    """

    def __init__(self, *, capacity_bytes: int = CACHE_BYTES) -> None:
        self._capacity_bytes = capacity_bytes
        self._size = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        # Several clients opening one page at once: the first draws, the others wait for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def get(self, tag: str, draw: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the picture of a tag, drawn when it is not kept; what `draw` raises is raised."""
        picture = self._find(tag)
        if picture is not None:
            return picture
        lock = self._locks.setdefault(tag, asyncio.Lock())
        async with lock:
            picture = self._find(tag)
            if picture is None:
                picture = await draw()
                self._put(tag, picture)
        return picture

    def length(self, tag: str) -> int | None:
        """Return how long the picture of a tag is, in bytes, when it is kept."""
        picture = self._kept.get(tag)
        return None if picture is None else len(picture)

    def _find(self, tag: str) -> bytes | None:
        picture = self._kept.get(tag)
        if picture is not None:
            self._kept.move_to_end(tag)
        return picture

    def _put(self, tag: str, picture: bytes) -> None:
        # One large picture must not push out a thousand small ones.
        if len(picture) > self._capacity_bytes // 32:
            return
        self._kept[tag] = picture
        self._size += len(picture) + _ENTRY_BYTES
        while self._size > self._capacity_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped) + _ENTRY_BYTES
