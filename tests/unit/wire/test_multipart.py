"""multipart/related: any chunking gives the same parts; bad bodies are refused; what is written is read back."""

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser

from dicomweb_archive.errors import InvalidRequestError, RequestTooLargeError, UnsupportedMediaTypeError
from dicomweb_archive.wire.multipart import (
    MultipartLimits,
    PartBegin,
    PartData,
    PartEnd,
    PartFraming,
    PartHead,
    PartReader,
    new_boundary,
    parse_multipart_related,
)

Part = tuple[dict[str, str], bytes]


def read(
    body: bytes, boundary: str = "b", *, cuts: list[int] | None = None, limits: MultipartLimits | None = None
) -> list[Part]:
    """Read a body cut at the given positions, and check the order of the events on the way."""
    reader = PartReader(boundary, limits or MultipartLimits())
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts or []), len(body)]
    parts: list[tuple[dict[str, str], bytearray]] = []
    is_open = False
    for start, end in pairwise(edges):
        for event in reader.feed(body[start:end]):
            match event:
                case PartBegin(head):
                    assert not is_open
                    is_open = True
                    parts.append((dict(head.headers), bytearray()))
                case PartData(data):
                    assert is_open
                    assert len(data) > 0
                    parts[-1][1].extend(data)
                case PartEnd():
                    assert is_open
                    is_open = False
    reader.finish()
    assert not is_open
    return [(headers, bytes(data)) for headers, data in parts]


def read_by_python_multipart(body: bytes, boundary: str) -> list[Part]:
    parts: list[tuple[dict[str, str], bytearray]] = []
    name, value = bytearray(), bytearray()

    def header_end() -> None:
        parts[-1][0][name.decode().lower()] = value.decode()
        name.clear()
        value.clear()

    callbacks: dict[str, Any] = {
        "on_part_begin": lambda: parts.append(({}, bytearray())),
        "on_part_data": lambda data, start, end: parts[-1][1].extend(data[start:end]),
        "on_header_field": lambda data, start, end: name.extend(data[start:end]),
        "on_header_value": lambda data, start, end: value.extend(data[start:end]),
        "on_header_end": header_end,
    }
    parser = MultipartParser(boundary.encode(), callbacks)
    parser.write(body)
    parser.finalize()
    return [(headers, bytes(data)) for headers, data in parts]


TWO = b"--b\r\nContent-Type: application/dicom\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"

# Bytes that look like parts of delimiters, so that random bodies meet the hard cases.
hard_bytes = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"-", b"--", b"b", b"--b", b"\r\n--", b"\r\n-", b"\r\n--c", b"x", b"\0" * 300]
    ),
    max_size=12,
).map(b"".join)


def is_free_of_delimiters(data: bytes) -> bool:
    return b"\r\n--b" not in b"\r\n" + data + b"\r\n--"


@given(
    st.lists(hard_bytes.filter(is_free_of_delimiters), min_size=1, max_size=4),
    st.lists(st.integers(0, 5000), max_size=8),
    st.booleans(),
)
def test_any_chunking_gives_the_parts_that_were_sent(bodies: list[bytes], cuts: list[int], final: bool) -> None:
    body = b"".join(b"--b\r\nContent-Type: a/b\r\n\r\n" + data + b"\r\n" for data in bodies) + b"--b--"
    expected = [({"content-type": "a/b"}, data) for data in bodies]
    assert read(body + b"\r\n" * final, cuts=cuts) == expected
    assert read_by_python_multipart(body + b"\r\n" * final, "b") == expected


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=6))
def test_any_bytes_end_the_same_way_in_any_chunking(body: bytes, cuts: list[int]) -> None:
    def outcome(with_cuts: list[int]) -> object:
        try:
            return read(b"--b" + body, cuts=with_cuts)
        except (InvalidRequestError, RequestTooLargeError) as error:
            return str(error)

    assert outcome(cuts) == outcome([]) == outcome(list(range(300)))


@given(hard_bytes, hard_bytes, st.lists(st.integers(0, 9000), max_size=10))
def test_hard_bytes_end_the_same_way_in_any_chunking(first: bytes, second: bytes, cuts: list[int]) -> None:
    body = first + b"\r\n--b\r\n\r\n" + second + b"\r\n--b--"

    def outcome(with_cuts: list[int]) -> object:
        try:
            return read(body, cuts=with_cuts)
        except InvalidRequestError as error:
            return str(error)

    assert outcome(cuts) == outcome([]) == outcome(list(range(len(body))))


def test_large_parts_survive_random_chunking() -> None:
    generator = random.Random(7)
    parts = [generator.randbytes(size) for size in (300_000, 0, 1, 77_777)]
    body = b"".join(b"--b\r\n\r\n" + data + b"\r\n" for data in parts) + b"--b--"
    for _ in range(20):
        cuts = [generator.randrange(len(body)) for _ in range(generator.randrange(20))]
        assert [data for _, data in read(body, cuts=cuts)] == parts


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (TWO, [b"one", b"two"]),
        (b"\r\n" + TWO, [b"one", b"two"]),
        (b"preamble\r\n" + TWO, [b"one", b"two"]),
        (TWO[:-2], [b"one", b"two"]),
        (TWO + b"epilogue\r\n--b\r\nnot a part", [b"one", b"two"]),
        (b"--b \t \r\n\r\none\r\n--b  \r\n\r\ntwo\r\n--b--  \r\n", [b"one", b"two"]),
        (b"--b\r\nA: b\r\n\r\n--b--", [b""]),
        (b"--b\r\n\r\n--b--", [b""]),
        (b"--b\r\n\r\n\r\n--b--", [b""]),
        (b"--b\r\n\r\n--bx\r\n--b--", [b"--bx"]),
        (b"--b--", []),
    ],
    ids=[
        "plain",
        "leading-crlf",
        "preamble",
        "no-final-crlf",
        "epilogue",
        "padding",
        "no-body",
        "nothing",
        "empty-body",
        "lookalike",
        "closing",
    ],
)
def test_what_rfc_2046_allows_is_read(body: bytes, parts: list[bytes]) -> None:
    assert [data for _, data in read(body)] == parts
    assert [data for _, data in read(body, cuts=list(range(len(body))))] == parts


@pytest.mark.parametrize(
    "data",
    [
        b"--b--",
        b"x--b\r\n",
        b"\n--b\r\n",
        b"\r\n--bc\r\n",
        b"\r\n--b" + b" " * 300 + b"\r\n",
        b"\r\n--b\t-",
        b"\r\n--b-x",
    ],
)
def test_the_boundary_within_pixel_data_is_data(data: bytes) -> None:
    padded = b"\x01" * 500 + data + b"\x02" * 500
    body = b"--b\r\n\r\n" + padded + b"\r\n--b--"
    assert read(body) == [({}, padded)]
    assert read(body, cuts=list(range(len(body)))) == [({}, padded)]


def test_folded_and_oddly_spaced_headers_are_read() -> None:
    body = b"--b\r\nContent-Type: multipart/related;\r\n\ttype=a \r\nX-Empty:\r\nCONTENT-LENGTH:12\r\n\r\n\r\n--b--"
    ((headers, _),) = read(body)
    assert headers == {"content-type": "multipart/related; type=a", "x-empty": "", "content-length": "12"}


@pytest.mark.parametrize(("text", "length"), [("12", 12), ("-1", None), ("1e3", None), ("", None), ("٣", None)])
def test_a_claimed_length_is_a_number_or_nothing(text: str, length: int | None) -> None:
    assert PartHead({"content-length": text}).content_length == length


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"no boundary at all",
        b"--c\r\n\r\none\r\n--c--",
        b"--b",
        b"--b\r\n",
        b"--b\r\n\r\n",
        b"--b\r\nContent-Type: a/b\r\n",
        b"--b\r\n\r\nhalf of the data",
        TWO[: TWO.index(b"two") + 3],
        TWO[:-4],
        b"--b\r\nno colon\r\n\r\n\r\n--b--",
        b"--b\r\n: no name\r\n\r\n\r\n--b--",
        b"--b\r\nA\x00: b\r\n\r\n\r\n--b--",
        b"--b\r\nA: b\rc\r\n\r\n\r\n--b--",
        b"--b\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n\r\n--b--",
        b"--b\r\n" + b"A: b\r\n" * 33 + b"\r\n\r\n--b--",
        b"--b\r\nA: " + b"b" * 9000 + b"\r\n\r\n\r\n--b--",
        b"--b\r\nA: " + b"b" * 1_000_000,
        b"p" * 70_000 + b"\r\n" + TWO,
        TWO + b"e" * 70_000,
    ],
)
def test_a_bad_body_is_refused_in_any_chunking(body: bytes) -> None:
    for cuts in ([], list(range(0, len(body), 1 + len(body) // 300))):
        with pytest.raises(InvalidRequestError):
            read(body, cuts=cuts)


def test_too_many_parts_are_refused_as_soon_as_they_come() -> None:
    with pytest.raises(RequestTooLargeError, match="more than 5 parts"):
        read(b"--b\r\n\r\n\r\n" * 6, limits=MultipartLimits(parts=5))


def test_a_whole_chunk_of_data_is_passed_on_without_a_copy() -> None:
    reader = PartReader("b")
    reader.feed(b"--b\r\n\r\nx" + b"y" * 400)
    chunk = b"z" * 100_000
    (event,) = reader.feed(chunk)
    assert isinstance(event, PartData)
    assert event.data is chunk


@pytest.mark.parametrize(
    ("content_type", "boundary", "type_"),
    [
        ('multipart/related; type="application/dicom"; boundary="uuid"', "uuid", "application/dicom"),
        ("Multipart/Related; boundary=a_b; type=application/DICOM", "a_b", "application/dicom"),
        ("multipart/related; boundary=----=_Part_1", "----=_Part_1", ""),
        ('multipart/related; boundary="a b"', "a b", ""),
        ("multipart/related; boundary=" + "b" * 70, "b" * 70, ""),
        ("multipart/related; boundary=" + "b" * 200, "b" * 200, ""),
    ],
)
def test_the_content_type_of_a_request_is_read(content_type: str, boundary: str, type_: str) -> None:
    related = parse_multipart_related(content_type)
    assert (related.boundary, related.type) == (boundary, type_)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "multipart/related",
        'multipart/related; boundary=""',
        'multipart/related; boundary="ends with a blank "',
        "multipart/related; boundary=" + "b" * 201,
        'multipart/related; boundary="a\x01b"',
        'multipart/related; boundary="ä"',
        "multipart/related; boundary=a; boundary=b",
        "multipart/related; boundary=" + "b" * 60_000,
    ],
)
def test_a_bad_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_multipart_related(content_type)


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "application/dicom", "text/plain"])
def test_another_media_type_is_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        parse_multipart_related(content_type)


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_what_is_written_is_read_back_and_as_long_as_computed(bodies: list[bytes]) -> None:
    framing = PartFraming("application/dicom")
    heads = [framing.head("application/dicom", length=len(data), location=f"http://h/{len(data)}") for data in bodies]
    body = b"".join(head + data + framing.TAIL for head, data in zip(heads, bodies, strict=True)) + framing.closing()
    lengths = [(len(head), len(data)) for head, data in zip(heads, bodies, strict=True)]
    assert len(body) == framing.content_length(lengths)
    related = parse_multipart_related(framing.content_type)
    assert related.type == "application/dicom"
    parts = read(body, related.boundary)
    assert [data for _, data in parts] == bodies
    for headers, data in parts:
        assert headers == {
            "content-type": "application/dicom",
            "content-length": str(len(data)),
            "content-location": f"http://h/{len(data)}",
        }


def test_alike_heads_are_those_that_are_written_one_by_one():
    framing = PartFraming("application/dicom")
    content_type, names, lengths = "application/dicom; transfer-syntax=1.2", ["1.2.3", "", "4.5"], [7, 0, 12_345_678]
    heads = framing.heads(content_type, "http://h/length: 0/")
    written = [heads.head(length, name) for length, name in zip(lengths, names, strict=True)]
    assert written == [
        framing.head(content_type, length=length, location=f"http://h/length: 0/{name}")
        for length, name in zip(lengths, names, strict=True)
    ]
    assert heads.total_bytes(lengths, names) == len(b"".join(written))


def test_boundaries_are_legal_and_never_the_same() -> None:
    assert len({new_boundary() for _ in range(1000)}) == 1000
    assert parse_multipart_related(f"multipart/related; boundary={new_boundary()}").boundary
