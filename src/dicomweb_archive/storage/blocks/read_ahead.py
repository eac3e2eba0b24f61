"""Read-ahead: which blocks are likely to be asked for next, told from those that were."""

from collections import OrderedDict
from dataclasses import dataclass

_OBJECTS = 1024
_FIRST_BLOCKS = 4
# Clients ask for many frames of a series at once, which do not arrive in their order: some MiB.
_NEAR_BLOCKS = 16


@dataclass(slots=True)
class _Reading:
    """How an object is read: the furthest block asked for lately, and how far was read ahead of it."""

    last: int
    window: int = 0
    ahead: int = 0
    end: int | None = None


class ReadAhead:
    """Decides by object; the instances of a series lie in its pack in the order in which they came.

    One read says nothing (a thumbnail of each series of a list). A further one near the first is a series being read:
    then a window goes ahead of it, twice as large each time it is half used up, and a read elsewhere begins anew.
    """

    def __init__(self, most_blocks: int) -> None:
        self._most = most_blocks
        self._readings: OrderedDict[str, _Reading] = OrderedDict()

    def next(self, object_id: str, first: int, last: int) -> range:
        """Note that these blocks were asked for, and return those to be read ahead now, mostly none."""
        reading = self._readings.get(object_id)
        if reading is None:
            self._readings[object_id] = _Reading(last)
            if len(self._readings) > _OBJECTS:
                self._readings.popitem(last=False)
            return range(0)
        self._readings.move_to_end(object_id)
        if not reading.last - _NEAR_BLOCKS <= first <= max(reading.last, reading.ahead) + _NEAR_BLOCKS:
            reading.last, reading.window, reading.ahead = last, 0, 0
            return range(0)
        is_further = last > reading.last
        reading.last = max(reading.last, last)
        if not is_further or (reading.window and last + reading.window // 2 < reading.ahead):
            return range(0)
        reading.window = min(max(_FIRST_BLOCKS, reading.window * 2), self._most)
        start = max(reading.ahead, reading.last + 1)
        stop = reading.last + 1 + reading.window
        reading.ahead = max(stop, reading.ahead)
        return range(start, stop if reading.end is None else min(stop, reading.end))

    def note_end(self, object_id: str, end: int) -> None:
        """Note that the object has no block of this number or a later one."""
        reading = self._readings.get(object_id)
        if reading is not None:
            reading.end = end

    def forget(self, object_id: str) -> None:
        """Drop what is known of an object."""
        self._readings.pop(object_id, None)
