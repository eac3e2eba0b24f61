"""Answers of one stored range: one read, nothing before it, and the bytes of the ways that take longer."""

import pytest

from dicomweb_archive.errors import ObjectNotFoundError
from dicomweb_archive.services.one_read import is_one_read, multipart_of_one_read, single_of_one_read
from dicomweb_archive.services.representation import Made, Part, Representation, single, slices
from dicomweb_archive.storage.spans import MIB, Span
from dicomweb_archive.wire.multipart import PartFraming

PACK = bytes(range(256)) * 16
PART = Part("application/octet-stream", "https://archive.example/frames/1", (Span("pack", 100, 1000),))


class Store:
    """One object in memory; counts its reads. Every other method of a store is missing, so that nothing calls it."""

    def __init__(self, data: bytes | None = PACK) -> None:
        self.data = data
        self.reads: list[Span] = []

    async def read(self, key: str, offset: int, length: int) -> bytes:
        self.reads.append(Span(key, offset, length))
        if self.data is None:
            raise ObjectNotFoundError("")
        return self.data[offset : offset + length]


async def body(answer: Representation) -> bytes:
    return b"".join([bytes(piece) async for piece in answer.chunks])


async def made() -> Made:
    return Made("text/plain", 1, slices(b"x"))


def with_spans(*spans: Span) -> Part:
    return Part("", "", spans)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([PART], True, id="one range"),
        pytest.param([with_spans(Span("pack", 0, MIB - 1))], True, id="just short enough"),
        pytest.param([with_spans(Span("pack", 0, MIB))], False, id="too long"),
        pytest.param([with_spans(Span("pack", 0, 0))], False, id="nothing to read"),
        pytest.param([with_spans(Span("pack", 0, 1), Span("pack", 1, 1))], False, id="two ranges"),
        pytest.param([with_spans()], False, id="no range"),
        pytest.param([PART, PART], False, id="two parts"),
        pytest.param([Part("", "", make=made)], False, id="made"),
        pytest.param([], False, id="no part"),
    ],
)
def test_one_stored_range_is_one_read(parts: list[Part], expected: bool) -> None:
    assert is_one_read(parts) is expected


async def test_a_single_payload_is_one_read_and_so_is_a_range_of_it() -> None:
    store = Store()
    answer = single_of_one_read(store, PART, {"ETag": '"x"'})
    assert store.reads == []
    assert await body(answer) == PACK[100:1100]
    longer = await single(store, PART, {"ETag": '"x"'})
    for name in ("content_type", "content_length", "headers"):
        assert getattr(answer, name) == getattr(longer, name), name
    assert answer.ranged is not None
    store.reads.clear()
    assert b"".join([bytes(piece) async for piece in answer.ranged(10, 30)]) == PACK[110:130]
    assert store.reads == [Span("pack", 110, 20)]
    await longer.chunks.aclose()


async def test_a_part_stands_between_its_head_and_the_end() -> None:
    answer = multipart_of_one_read(Store(), "application/octet-stream", PART, {})
    boundary = answer.content_type.rpartition("boundary=")[2].strip('"')
    framing = PartFraming("application/octet-stream", boundary)
    head = framing.head(PART.content_type, length=1000, location=PART.location)
    whole = await body(answer)
    assert whole == head + PACK[100:1100] + framing.TAIL + framing.closing()
    assert (answer.content_type, answer.content_length) == (framing.content_type, len(whole))


@pytest.mark.parametrize("is_multipart", [True, False])
async def test_nothing_comes_before_what_is_missing(is_multipart: bool) -> None:
    store = Store(data=None)
    answer = multipart_of_one_read(store, "x/y", PART, {}) if is_multipart else single_of_one_read(store, PART, {})
    with pytest.raises(ObjectNotFoundError):
        await anext(answer.chunks)
