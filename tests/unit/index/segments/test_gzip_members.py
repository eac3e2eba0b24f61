"""Gzip members joined from fragments: any reader sees one text."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from dicomweb_archive.index.segments.gzip_members import (
    Fragment,
    FragmentWriter,
    MemberJoiner,
    combine_crc32,
    fragment_of,
    inflate,
    replaced,
)

texts = st.lists(st.binary(max_size=400) | st.integers(0, 300).map(lambda n: b"repeated " * n), max_size=6)


@given(texts)
def test_joined_fragments_are_one_member_of_the_joined_text(parts: list[bytes]):
    joiner = MemberJoiner()
    member = b"".join([joiner.begin(), *(joiner.add(fragment_of(part)) for part in parts), joiner.end()])
    assert gzip.decompress(member) == b"".join(parts)
    plain = zlib.decompressobj(31)
    assert plain.decompress(member) == b"".join(parts)
    assert plain.eof
    assert plain.unused_data == b""


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_checksums_combine(first: bytes, second: bytes):
    combined = combine_crc32(zlib.crc32(first), zlib.crc32(second), len(second))
    assert combined == zlib.crc32(first + second)


@given(texts)
def test_a_text_written_in_pieces_comes_back_in_bounded_chunks(parts: list[bytes]):
    writer = FragmentWriter()
    for part in parts:
        writer.write(part)
    fragment = writer.finish()
    chunks = list(inflate(fragment, chunk_bytes=100))
    assert b"".join(chunks) == b"".join(parts)
    assert all(len(chunk) <= 100 for chunk in chunks)
    assert fragment.length == sum(map(len, parts))


@given(st.binary(max_size=300))
def test_a_fragment_survives_as_a_member_of_its_own(text: bytes):
    fragment = fragment_of(text)
    assert gzip.decompress(fragment.to_member()) == text
    assert Fragment.from_member(fragment.to_member()) == fragment


@given(st.lists(st.sampled_from([b"root", b"ro", b"ot", b"r", b"o", b"..."])).map(b"".join), st.integers(1, 20))
def test_a_replacement_is_found_wherever_chunks_end(text: bytes, chunk_bytes: int):
    fragment = replaced(fragment_of(text), b"root", b"another root", chunk_bytes=chunk_bytes)
    expected = text.replace(b"root", b"another root")
    assert fragment == Fragment(fragment.deflated, zlib.crc32(expected), len(expected))
    assert gzip.decompress(fragment.to_member()) == expected


def test_a_large_text_takes_little_memory_to_inflate():
    fragment = fragment_of(bytes(20_000_000))
    assert len(fragment.deflated) < 100_000
    assert max(map(len, inflate(fragment))) <= 256 * 1024
