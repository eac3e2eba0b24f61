"""Answers that are in memory: sent as they are, in pieces, and given up when nobody takes them."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.types import Message

from dicomweb_archive.web import representations
from dicomweb_archive.web.representations import PIECE_BYTES, WholeResponse

LONG = (b"[", bytes(PIECE_BYTES), b"]")


async def sent(pieces: Sequence[bytes], *, method: str = "GET", taken: bool = True) -> list[Message]:
    messages: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)
        if not taken and len(messages) > 2:
            await asyncio.sleep(60)

    response = WholeResponse(pieces, media_type="application/dicom+json", headers={"etag": "1"})
    await response({"type": "http", "method": method}, receive, send)
    return messages


@pytest.mark.parametrize("pieces", [(b"[]",), (b"[", b"]"), LONG], ids=["one", "two", "long"])
async def test_all_pieces_are_sent_with_their_length(pieces: tuple[bytes, ...]):
    head, *bodies = await sent(pieces)
    assert dict(head["headers"])[b"content-length"] == str(len(b"".join(pieces))).encode()
    assert b"".join(each["body"] for each in bodies) == b"".join(pieces)
    assert [each["more_body"] for each in bodies] == [True] * (len(bodies) - 1) + [False]


async def test_a_long_answer_is_not_copied():
    assert [message["body"] is piece for message, piece in zip((await sent(LONG))[1:], LONG, strict=False)] == [
        True
    ] * 3


async def test_head_has_the_length_and_no_body():
    head, body = await sent(LONG, method="HEAD")
    assert dict(head["headers"])[b"content-length"] == str(PIECE_BYTES + 2).encode()
    assert body["body"] == b""


async def test_an_answer_that_nobody_takes_does_not_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(representations, "SEND_TIMEOUT_SECONDS", 0.01)
    messages = await sent(LONG, taken=False)
    assert all(each["more_body"] for each in messages[1:])
