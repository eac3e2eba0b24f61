"""Levels of a data set: sequences, items and their ends (PS3.5 7.5), on a stack of our own."""

import struct
from enum import Enum, auto
from functools import lru_cache
from typing import NoReturn

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.character_sets import CharacterSet
from dicomweb_archive.dicom.element_heads import EXPLICIT_BIG, Head, Heads
from dicomweb_archive.dicom.instance import Attributes, Element
from dicomweb_archive.dicom.json_model import empty_element, sequence_element
from dicomweb_archive.dicom.limits import ScanLimits
from dicomweb_archive.dicom.status import CANNOT_UNDERSTAND, LIMIT_EXCEEDED
from dicomweb_archive.errors import InvalidInstanceError

UNBOUNDED = 1 << 62
UNDEFINED_LENGTH = 0xFFFFFFFF
_CACHED_ELEMENTS = 8192
_CACHED_BYTES = 128


@lru_cache(maxsize=64)
def element_cache(heads: Heads, charset: CharacterSet) -> dict[bytes, Element]:
    """Elements decoded before, by their bytes: most elements of an archive repeat (bounded by `keep_element`)."""
    return {}


def keep_element(cache: dict[bytes, Element], raw: bytes, element: Element) -> None:
    """Remember a decoded element about which nothing is odd; large ones are not worth it."""
    if len(raw) <= _CACHED_BYTES:
        if len(cache) >= _CACHED_ELEMENTS:
            cache.clear()
        cache[raw] = element


def forget_elements() -> None:
    """Empty the cache of decoded elements, for measurements of a cold start."""
    element_cache.cache_clear()


class State(Enum):
    """What the parser expects next at the present level."""

    ELEMENTS = auto()
    ITEMS = auto()
    FRAGMENTS = auto()
    ZEROS = auto()


class _Frame:
    """A sequence being read, and the level around it to come back to."""

    __slots__ = (
        "cache",
        "charset",
        "disordered",
        "elements",
        "end",
        "heads",
        "item_undefined",
        "items",
        "last",
        "outer_end",
        "tag",
        "undefined",
    )

    def __init__(self, tag: int, *, end: int, undefined: bool, levels: "Levels") -> None:
        self.tag = tag
        self.end = end
        self.undefined = undefined
        self.items: list[Attributes] = []
        self.elements = levels.elements
        self.last = levels._last
        self.outer_end = levels._end
        self.item_undefined = levels._item_undefined
        self.disordered = levels._disordered
        self.charset = levels.charset
        self.cache = levels._cache
        self.heads = levels._heads


class Levels:
    """Where the parser stands: the level being read, those around it, and what is left of the limits.

    Attributes:
        elements: what was read at the current level; the data set's own once it is finished.
        charset: of the current level.
        need: how far the stream must have come before anything can go on.
        remarks: (top-level tag, short code) of what was tolerated.
    """

    def __init__(self, limits: ScanLimits, *, heads: Heads, charset: CharacterSet, end: int) -> None:
        self.elements: dict[int, Element] = {}
        self.remarks: set[tuple[int, str]] = set()
        self.charset = charset
        self.need = 0
        self._limits = limits
        self._heads = heads
        self._big_endian = heads is EXPLICIT_BIG
        self._item = struct.Struct(">HHI" if self._big_endian else "<HHI").unpack_from
        self._cache = element_cache(heads, charset)
        self._state = State.ELEMENTS
        self._stack: list[_Frame] = []
        self._last = -1
        self._end = end
        self._item_undefined = False
        self._disordered = False
        self._starved = False
        self._remarked = False
        self._tag = 0
        self._elements_left = limits.elements
        self._items_left = limits.items
        self._passed_over = 0
        self._most_held = limits.header_bytes
        self._json_left = limits.json_bytes

    @property
    def is_between_elements(self) -> bool:
        """Nothing is open and nothing was cut: the data set may end here."""
        return not self._stack and self._state is State.ELEMENTS

    @property
    def top_elements(self) -> dict[int, Element]:
        """The elements of the data set itself, as far as they were read."""
        return self._stack[0].elements if self._stack else self.elements

    def remark(self, code: str) -> None:
        """Note an oddity that is tolerated, at the top-level element being read."""
        self._remarked = True
        self.remarks.add((self._stack[0].tag if self._stack else self._tag, code))

    def _check_held(self, offset: int) -> None:
        if offset - self._passed_over > self._most_held:
            self._exceed("the values of the data set are too large", None)

    def _check_count(self, taken: int) -> None:
        """Count the elements of a level that ends (or is still growing, `taken` 0) against the limit."""
        if len(self.elements) > self._elements_left:
            self._exceed("too many elements", None)
        self._elements_left -= taken

    def _path(self, tag: int) -> str:
        steps = [f"{frame.tag:08X}/{len(frame.items)}/" for frame in self._stack]
        return f"{''.join(steps)}{tag:08X}"

    def _number(self, tag: int) -> object:
        """Return the first value of an element of this level or the nearest one around it that has it."""
        for elements in (self.elements, *[frame.elements for frame in reversed(self._stack)]):
            element = elements.get(tag)
            if element is not None and element.values:
                return element.values[0]
        return None

    def _open_sequence(self, tag: int, offset: int, length: int) -> None:
        if length:
            self._open_frame(tag, offset, length)
        else:
            self.elements[tag] = empty_element("SQ")

    def _open_frame(self, tag: int, offset: int, length: int) -> None:
        if len(self._stack) >= self._limits.depth:
            self._exceed("sequences are nested too deeply", offset)
        undefined = length == UNDEFINED_LENGTH
        end = self._end if undefined else offset + length
        self._last = max(tag, self._last)
        self._stack.append(_Frame(tag, end=end, undefined=undefined, levels=self))
        self._state = State.ITEMS

    def _read_item(self, data: bytes, base: int, pos: int) -> int:
        """Read the head of an item, or the end of the sequence (PS3.5 7.5)."""
        frame = self._stack[-1]
        offset = base + pos
        if not frame.undefined and offset == frame.end:
            self._close_sequence()
            return pos
        if offset + 8 > frame.end:
            self._break("a sequence does not end where it says", offset)
        if pos + 8 > len(data):
            self.need = offset + 8
            self._starved = True
            return pos
        group, number, length = self._item(data, pos)
        if group != 0xFFFE or number not in (0xE000, 0xE0DD):
            self._break("expected an item of a sequence", offset)
        if number == 0xE0DD:
            if not frame.undefined:
                self._break("a delimiter in a sequence of defined length", offset)
            self._close_sequence()
            return pos + 8
        self._open_item(frame, offset, length)
        return pos + 8

    def _open_item(self, frame: _Frame, offset: int, length: int) -> None:
        self._items_left -= 1
        if self._items_left < 0:
            self._exceed("too many items", offset)
        self._item_undefined = length == UNDEFINED_LENGTH
        self._end = frame.end if self._item_undefined else offset + 8 + length
        if self._end > frame.end:
            self._break("an item reaches beyond its sequence", offset)
        self.elements = {}
        self._last = -1
        self._disordered = False
        if self.charset is not frame.charset:
            # The item before had its own (0008,0005); it does not hold for this one (PS3.3 C.12.1.1.2).
            self.charset = frame.charset
            self._cache = element_cache(self._heads, self.charset)
        self._state = State.ELEMENTS

    def _end_item(self, offset: int) -> None:
        """End an item of defined length, whose elements filled it exactly."""
        if not self._stack:
            self._starved = True
            self.need = UNBOUNDED
            return
        if self._item_undefined or offset != self._end:
            self._break("an item does not end where it says", offset)
        self._close_item()

    def _end_undefined_item(self, base: int, pos: int, head: Head, length: int) -> int:
        if head.tag != tags.ITEM_DELIMITATION or not self._stack or not self._item_undefined:
            self._break("an element that does not belong into a data set", base + pos)
        if length:
            self.remark("delimiter_with_length")
        self._close_item()
        return pos + 8

    def _close_item(self) -> None:
        self._check_count(len(self.elements))
        elements = dict(sorted(self.elements.items())) if self._disordered else self.elements
        self._stack[-1].items.append(elements)
        self._state = State.ITEMS

    def _close_sequence(self) -> None:
        frame = self._stack.pop()
        element = sequence_element(frame.items)
        self._json_left -= len(element.json)
        if self._json_left < 0:
            self._exceed("the sequences of the data set are too large", frame.end)
        self.elements = frame.elements
        self._last, self._end = frame.last, frame.outer_end
        self._item_undefined, self._disordered = frame.item_undefined, frame.disordered
        self.charset, self._heads, self._cache = frame.charset, frame.heads, frame.cache
        self.elements[frame.tag] = element
        self._state = State.ELEMENTS

    def _exceed(self, reason: str, offset: int | None) -> NoReturn:
        raise InvalidInstanceError(reason, failure=LIMIT_EXCEEDED, offset=offset)

    def _break(self, reason: str, offset: int) -> NoReturn:
        raise InvalidInstanceError(reason, failure=CANNOT_UNDERSTAND, offset=offset)
