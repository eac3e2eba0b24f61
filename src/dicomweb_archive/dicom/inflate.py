"""Bounded inflate: a deflated data set (PS3.5 A.5) as a stream of pieces, never as a whole."""

import zlib
from collections.abc import Iterator

from dicomweb_archive.dicom.limits import ScanLimits
from dicomweb_archive.dicom.status import LIMIT_EXCEEDED, TRUNCATED
from dicomweb_archive.errors import InvalidInstanceError

_PIECE_BYTES = 256 * 1024
_TRAILER_BYTES = 8


class BoundedInflate:
    """Inflates what it is fed, and refuses what grows out of proportion."""

    def __init__(self, limits: ScanLimits) -> None:
        self._limits = limits
        self._engine = zlib.decompressobj(-zlib.MAX_WBITS)
        self._taken = 0
        self._given = 0
        self._tail = b""
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Inflate further bytes into pieces of at most 256 KiB.

        Raises:
            InvalidInstanceError: the bytes are not deflated, or grow beyond the limits.
        """
        self._taken += len(data)
        if self._is_over:
            self._tail = (self._tail + data)[: _TRAILER_BYTES + 1]
            return
        while data and not self._engine.eof:
            try:
                piece = self._engine.decompress(data, _PIECE_BYTES)
            except zlib.error:
                raise InvalidInstanceError("the data set cannot be inflated") from None
            data = self._engine.unconsumed_tail
            self._given += len(piece)
            allowed = max(self._limits.inflate_free_bytes, self._limits.inflate_ratio * self._taken)
            if self._given > allowed:
                raise InvalidInstanceError("the data set inflates out of proportion", failure=LIMIT_EXCEEDED)
            if piece:
                yield piece
        self._is_over = self._engine.eof
        if self._is_over:
            self._tail = self._engine.unused_data[: _TRAILER_BYTES + 1]

    def finish(self) -> None:
        """Check that the deflated stream is whole; zeros may pad it (PS3.5 A.5), or gzip's trailer follow.

        Raises:
            InvalidInstanceError: it is cut, or something follows it.
        """
        if not self._is_over:
            raise InvalidInstanceError("the deflated data set ends too early", failure=TRUNCATED)
        # Some writers take a gzip stream without its head: CRC-32 and size of what was deflated follow.
        is_trailer = self._tail[4:] == (self._given & 0xFFFFFFFF).to_bytes(4, "little")
        if self._tail.strip(b"\0") and not is_trailer:
            raise InvalidInstanceError("bytes follow the deflated data set")
