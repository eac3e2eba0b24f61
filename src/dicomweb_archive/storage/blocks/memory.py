"""MemoryLevel: the blocks that this process holds, bounded, those that were asked for again kept longest."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import chain

# What a block and its place cost besides its bytes.
_ENTRY_BYTES = 250

Place = tuple[str, int]
"""An object's id and the number of a block."""


class MemoryLevel:
    """Blocks in two queues, least recently used out first.

    A block comes into the first queue and goes to the second when it is asked for again. Only the first one is pushed
    out by what comes, so that a look at a thousand series, each once, leaves what others work with. The second takes
    three quarters at most; what is longest unused in it gets another turn in the first.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.size_bytes = 0
        self._new: OrderedDict[Place, bytes] = OrderedDict()
        self._proven: OrderedDict[Place, bytes] = OrderedDict()
        self._proven_bytes = 0

    def find(self, object_id: str, numbers: Sequence[int]) -> list[bytes] | None:
        """Return these blocks when all of them are held; that counts as a use of each."""
        found = self.peek(object_id, numbers)
        if found is not None:
            for number in numbers:
                self._use((object_id, number))
        return found

    def get(self, object_id: str, number: int) -> bytes | None:
        """Return a block; that counts as a use of it."""
        found = self.find(object_id, (number,))
        return found[0] if found else None

    def peek(self, object_id: str, numbers: Iterable[int]) -> list[bytes] | None:
        """Return these blocks when all of them are held, without counting that as a use."""
        found: list[bytes] = []
        for number in numbers:
            place = (object_id, number)
            block = self._proven.get(place) or self._new.get(place)
            if block is None:
                return None
            found.append(block)
        return found

    def put(self, object_id: str, number: int, block: bytes) -> int:
        """Hold a block, and return how many others were pushed out for it."""
        place = (object_id, number)
        # One that takes an eighth of the room would push out what is worth more.
        if len(block) > self.capacity_bytes // 8 or place in self._new or place in self._proven:
            return 0
        self._new[place] = block
        self.size_bytes += _size(block)
        dropped = 0
        while self.size_bytes > self.capacity_bytes:
            queue = self._new or self._proven
            _, oldest = queue.popitem(last=False)
            self.size_bytes -= _size(oldest)
            self._proven_bytes -= _size(oldest) if queue is self._proven else 0
            dropped += 1
        return dropped

    def forget(self, object_ids: Iterable[str]) -> None:
        """Drop every block of these objects."""
        gone = frozenset(object_ids)
        for place in [place for place in chain(self._new, self._proven) if place[0] in gone]:
            is_proven = place in self._proven
            size = _size((self._proven if is_proven else self._new).pop(place))
            self.size_bytes -= size
            self._proven_bytes -= size if is_proven else 0

    def _use(self, place: Place) -> None:
        if place in self._proven:
            self._proven.move_to_end(place)
            return
        block = self._proven[place] = self._new.pop(place)
        self._proven_bytes += _size(block)
        while self._proven_bytes > self.capacity_bytes * 3 // 4:
            oldest, block = self._proven.popitem(last=False)
            self._new[oldest] = block
            self._proven_bytes -= _size(block)


def _size(block: bytes) -> int:
    return len(block) + _ENTRY_BYTES
