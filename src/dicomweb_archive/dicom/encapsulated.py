"""Encapsulated values: fragments and offset tables (PS3.5 A.4), located without holding their bytes."""

import struct

from dicomweb_archive.dicom.limits import ScanLimits
from dicomweb_archive.dicom.status import LIMIT_EXCEEDED
from dicomweb_archive.errors import InvalidInstanceError

_item = struct.Struct("<HHI").unpack_from
# Start of an image in JPEG and JPEG-LS (ISO 10918-1 B.1.1.3), and of a codestream in JPEG 2000 (ISO 15444-1 A.4.1).
_BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
_BEGINNING_BYTES = 4


class FragmentReader:
    """Walks the items of an encapsulated value up to its delimiter; resumable at any byte.

    Offsets count from the start of the stream. Fragments are little endian in every encapsulated transfer
    syntax (PS3.5 A.4).

    Attributes:
        need: how far the stream must have come before `run` can go on.
        stop: end of the delimiter, once `is_done`.
        length: bytes from `start` up to and without the delimiter, once `is_done`.
    """

    def __init__(self, start: int, end: int, limits: ScanLimits) -> None:
        self.start = start
        self.need = start + 8
        self.stop = self.length = 0
        self.is_done = False
        self.fragments: list[tuple[int, int]] = []
        self._table: tuple[int, ...] = ()
        self._beginnings: list[int] = []
        self._end = end
        self._limits = limits
        self._next = start
        self._has_table = False

    def run(self, data: bytes, base: int) -> int:
        """Go on in `data`, whose first byte lies at `base`; returns the offset of the next byte to look at.

        It may lie beyond the data: the bytes up to it need not be seen.

        Raises:
            InvalidInstanceError: an item is of undefined length, leaves its bounds, or is none.
        """
        size = base + len(data)
        while self._next + 8 <= size:
            group, number, length = _item(data, self._next - base)
            if group != 0xFFFE or number not in (0xE000, 0xE0DD):
                raise InvalidInstanceError("encapsulated value: expected an item", offset=self._next)
            if number == 0xE0DD:
                self._finish()
                return self.stop
            if length == 0xFFFFFFFF or self._next + 8 + length > self._end:
                raise InvalidInstanceError("encapsulated value: fragment out of bounds", offset=self._next)
            take = self._add if self._has_table else self._read_table
            if not take(data, self._next - base + 8, length):
                return self._next
        self.need = self._next + 8
        return self._next

    def _finish(self) -> None:
        self.length = self._next - self.start
        self.stop = self._next + 8
        self.is_done = True

    @property
    def basic_offset_table(self) -> tuple[int, ...]:
        """The offsets of the frames, as the first item has them.

        Where it is empty, which is allowed (PS3.5 A.4), and frames have several fragments: of the fragments in which
        an image begins.
        """
        if self._table or not 1 < len(self._beginnings) < len(self.fragments):
            return self._table
        first, _ = self.fragments[0]
        return tuple(beginning - first for beginning in self._beginnings)

    def _add(self, data: bytes, start: int, length: int) -> bool:
        """Take a fragment; false when too little of it is there to tell whether an image begins in it."""
        if len(self.fragments) >= self._limits.fragments:
            raise InvalidInstanceError("too many fragments", failure=LIMIT_EXCEEDED, offset=self._next)
        if not self._table and length >= _BEGINNING_BYTES:
            if start + _BEGINNING_BYTES > len(data):
                self.need = self._next + 8 + _BEGINNING_BYTES
                return False
            if data[start : start + _BEGINNING_BYTES].startswith(_BEGINNINGS):
                self._beginnings.append(self._next + 8)
        self.fragments.append((self._next + 8, length))
        self._next += 8 + length
        return True

    def _read_table(self, data: bytes, start: int, length: int) -> bool:
        """Read the first item, the Basic Offset Table; false when it is not whole yet."""
        if length > 4 * self._limits.fragments:
            raise InvalidInstanceError("Basic Offset Table too long", failure=LIMIT_EXCEEDED, offset=self._next)
        if start + length > len(data):
            self.need = self._next + 8 + length
            return False
        self._table = struct.unpack_from(f"<{length // 4}I", data, start)
        self._next += 8 + length
        self._has_table = True
        return True
