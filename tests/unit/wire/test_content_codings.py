"""Compressed request bodies come out as they were, or in proportion not at all."""

import gzip
import sys
from collections.abc import Callable

import pytest

from dicomweb_archive.errors import InvalidRequestError, RequestTooLargeError, UnsupportedMediaTypeError
from dicomweb_archive.wire.content_codings import PIECE_BYTES, Inflate, content_coding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
TEXT = b"".join(b"%d of many lines\n" % number for number in range(60_000))


def inflated(coding: str, body: bytes, chunk_bytes: int = 65_536) -> bytes:
    inflate = Inflate(coding)
    pieces = [
        piece for start in range(0, len(body), chunk_bytes) for piece in inflate.feed(body[start : start + chunk_bytes])
    ]
    inflate.finish()
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("chunk_bytes", [1000, 1 << 20])
def test_what_was_compressed_comes_out_in_pieces(coding: str, chunk_bytes: int) -> None:
    assert inflated(coding, CODINGS[coding](TEXT), chunk_bytes) == TEXT


@pytest.mark.parametrize("coding", CODINGS)
def test_several_members_are_one_body(coding: str) -> None:
    compress = CODINGS[coding]
    assert inflated(coding, compress(b"one ") + compress(b"") + compress(b"two"), 3) == b"one two"


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_cut_or_something_else_is_refused(coding: str) -> None:
    whole = CODINGS[coding](TEXT)
    for body in (b"", whole[:-1], whole + b"more", b"not compressed at all", whole[:100] + bytes(100)):
        with pytest.raises(InvalidRequestError):
            inflated(coding, body)


@pytest.mark.parametrize("coding", CODINGS)
def test_what_grows_out_of_proportion_is_refused(coding: str) -> None:
    with pytest.raises(RequestTooLargeError):
        inflated(coding, CODINGS[coding](bytes(32 * 1024 * 1024)))


def test_a_window_that_needs_much_memory_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    body = compressor.compress(bytes(1000)) + compressor.flush()
    with pytest.raises(InvalidRequestError):
        inflated("zstd", body)


def test_a_coding_is_known_or_refused() -> None:
    assert [content_coding(text) for text in ("", " Identity", "GZIP", "x-gzip", "zstd")] == [
        *(None, None),
        *("gzip", "x-gzip", "zstd"),
    ]
    for text in ("br", "gzip, gzip", "deflate"):
        with pytest.raises(UnsupportedMediaTypeError):
            content_coding(text)
