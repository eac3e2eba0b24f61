"""Content codings of request bodies: inflated piece by piece and in proportion (RFC 9110 8.4, RFC 1952, RFC 8878)."""

import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from dicomweb_archive.dicom.limits import DEFAULT_LIMITS
from dicomweb_archive.errors import InvalidRequestError, RequestTooLargeError, UnsupportedMediaTypeError

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

PIECE_BYTES: Final = 256 * 1024
"""Most bytes that are inflated at once."""

# A window of 8 MiB is what every decoder has to have (RFC 9659), and what ours will hold.
_WINDOW_LOG: Final = 23


class _Engine(Protocol):
    """What inflates one member or frame."""

    @property
    def eof(self) -> bool:
        """Whether its end has come."""

    @property
    def unused_data(self) -> bytes:
        """What came behind its end."""

    def inflate(self, data: bytes) -> bytes:
        """Take bytes, or none to go on with those taken before, and give at most a piece."""


class _Gzip:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def inflate(self, data: bytes) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, PIECE_BYTES)


class _Zstd:
    def __init__(self) -> None:
        self._inflate = ZstdDecompressor(options={DecompressionParameter.window_log_max: _WINDOW_LOG})

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def inflate(self, data: bytes) -> bytes:
        return self._inflate.decompress(data, PIECE_BYTES)


_ENGINES: Final[Mapping[str, Callable[[], _Engine]]] = {"gzip": _Gzip, "x-gzip": _Gzip, "zstd": _Zstd}

CONTENT_CODINGS: Final = ("gzip", "zstd")
"""Codings that a request body may have, one at most."""


class Inflate:
    """Inflates a body as it comes; several members or frames one behind the other are one body.

    What grows out of proportion ends the request: its sender can send it as it is.
    """

    def __init__(self, coding: str) -> None:
        self._new = _ENGINES[coding]
        self._engine: _Engine | None = None
        self._taken = 0
        self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Inflate further bytes, in pieces.

        Raises:
            InvalidRequestError: they are not of this coding.
            RequestTooLargeError: they inflate out of proportion.
        """
        self._taken += len(data)
        while data or self._engine is not None:
            if self._engine is None:
                self._engine = self._new()
            try:
                piece = self._engine.inflate(data)
            except (zlib.error, ZstdError):
                message = "the body is not of its Content-Encoding"
                raise InvalidRequestError(message) from None
            data = b""
            if self._engine.eof:
                data, self._engine = self._engine.unused_data, None
            if piece:
                self._check_proportion(len(piece))
                yield piece
            elif self._engine is not None:
                return

    def finish(self) -> None:
        """Say that the body has ended.

        Raises:
            InvalidRequestError: it is cut short, or empty.
        """
        if self._engine is not None or not self._taken:
            message = "the body ends before its Content-Encoding does"
            raise InvalidRequestError(message)

    def _check_proportion(self, size: int) -> None:
        self._given += size
        if self._given > max(DEFAULT_LIMITS.inflate_free_bytes, DEFAULT_LIMITS.inflate_ratio * self._taken):
            message = "the body inflates out of proportion; send it without Content-Encoding"
            raise RequestTooLargeError(message)


def content_coding(header: str) -> str | None:
    """Return the coding that a Content-Encoding header names, `None` for none.

    Raises:
        UnsupportedMediaTypeError: it is another one than gzip and zstd, or several (RFC 9110 15.5.16).
    """
    coding = header.strip().lower()
    if coding in ("", "identity"):
        return None
    if coding not in _ENGINES:
        raise UnsupportedMediaTypeError("of content codings one of gzip and zstd is taken", codings=CONTENT_CODINGS)
    return coding
