"""What a process keeps in memory of what it has made, within a bound."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")

ENTRY_BYTES = 512
"""What each value takes beside itself: its key, and its place in the order."""


class RecentlyUsed(Generic[Value]):
    """Values of up to so many bytes together, with their keys; the least recently used goes first.

    Keys are short: a tuple of numbers, tags and a URL.

    A value of more than half of them is not kept: it would push out nearly everything else.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._size = 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def find(self, key: Hashable) -> Value | None:
        """Return what is kept by this key."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep a value of so many bytes."""
        size += ENTRY_BYTES
        if size > self.capacity_bytes // 2:
            return
        if key not in self._kept:
            self._kept[key] = value, size
            self._size += size
        while self._size > self.capacity_bytes:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._size -= dropped
