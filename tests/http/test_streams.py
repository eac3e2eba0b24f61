"""Request bodies under a watch, answers sent in pieces."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dicomweb_archive.errors import DamagedObjectError, RequestTimeoutError
from dicomweb_archive.web import streams
from dicomweb_archive.web.disconnects import ClientVanishedError
from dicomweb_archive.web.streams import ByteStreamResponse, request_chunks

Message = dict[str, Any]


class Client:
    """Stands for the server's side of a connection."""

    def __init__(self, *messages: Message, then: float = 3600) -> None:
        self.waiting = list(messages)
        self.sent: list[Message] = []
        self.then = then

    async def receive(self) -> Message:
        if self.waiting:
            return self.waiting.pop(0)
        await asyncio.sleep(self.then)
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def complete(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def read(client: Client, *, idle: float = 5, rate: int = 1) -> list[bytes]:
    chunks = request_chunks(client.receive, idle_timeout_seconds=idle, minimum_bytes_per_second=rate)
    return [chunk async for chunk in chunks]


async def test_a_body_comes_as_it_arrives_without_empty_pieces() -> None:
    assert await read(Client(part(b"ab"), part(b""), part(b"c"), part(b"", more=False))) == [b"ab", b"c"]


async def test_silence_ends_the_request() -> None:
    with pytest.raises(RequestTimeoutError):
        await read(Client(part(b"ab")), idle=0.02)


async def test_silence_ends_a_request_of_which_much_has_come() -> None:
    with pytest.raises(RequestTimeoutError):
        await read(Client(*[part(b"ab")] * 500), idle=0.02)


async def test_a_pause_of_ours_is_no_silence_of_the_client() -> None:
    chunks = request_chunks(
        Client(part(b"a"), part(b"b"), part(b"", more=False)).receive,
        idle_timeout_seconds=0.02,
        minimum_bytes_per_second=1,
    )
    taken = []
    async for chunk in chunks:
        taken.append(chunk)
        await asyncio.sleep(0.05)
    assert taken == [b"a", b"b"]


async def test_whoever_cancels_a_waiting_request_is_not_told_of_silence() -> None:
    reading = asyncio.create_task(read(Client(part(b"ab")), idle=60))
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_body_that_drips_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RATE_GRACE_SECONDS", 0.02)

    async def drip() -> Message:
        await asyncio.sleep(0.01)
        return part(b"x")

    with pytest.raises(RequestTimeoutError):
        async for _ in request_chunks(drip, idle_timeout_seconds=5, minimum_bytes_per_second=1000):
            pass


async def test_our_own_slowness_is_not_held_against_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RATE_GRACE_SECONDS", 0.2)
    client = Client(part(b"a"), part(b"b"), part(b"c", more=False))
    async for _ in request_chunks(client.receive, idle_timeout_seconds=5, minimum_bytes_per_second=10**9):
        await asyncio.sleep(0.25)


async def test_a_client_that_leaves_is_noticed() -> None:
    with pytest.raises(ClientVanishedError):
        await read(Client(part(b"ab"), then=0))


class Source:
    """Pieces to send, and whether they were closed."""

    def __init__(self, pieces: list[bytes], error: Exception | None = None) -> None:
        self.closed = False
        self.taken = 0
        self._pieces = pieces
        self._error = error

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            for piece in self._pieces:
                self.taken += 1
                yield piece
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


async def answer(source: Source, client: Client, *, method: str = "GET", length: int | None = None) -> None:
    response = ByteStreamResponse(source.stream(), content_length=length, media_type="application/dicom")
    await response({"type": "http", "method": method}, client.receive, client.send)


async def test_pieces_are_sent_in_order_with_their_length_known() -> None:
    client, source = Client(part(b"", more=False)), Source([b"ab", b"cd"])
    await answer(source, client, length=4)
    assert client.body == b"abcd"
    assert client.complete
    assert source.closed
    assert (b"content-length", b"4") in client.sent[0]["headers"]


async def test_head_sends_no_piece_and_reads_none() -> None:
    client, source = Client(), Source([b"ab"])
    await answer(source, client, method="HEAD", length=2)
    assert client.body == b""
    assert client.complete
    assert source.taken == 0


@pytest.mark.parametrize("pieces", [[], [b"the head of a part"]])
async def test_a_failure_before_any_data_can_still_be_an_error(pieces: list[bytes]) -> None:
    client, source = Client(), Source(pieces, DamagedObjectError("short"))
    with pytest.raises(DamagedObjectError):
        await answer(source, client)
    assert client.sent == []


async def test_a_failure_behind_the_first_data_of_a_short_answer_can_still_be_an_error() -> None:
    client, source = Client(), Source([b"ab" * 5000], DamagedObjectError("short"))
    with pytest.raises(DamagedObjectError):
        await answer(source, client, length=20_000)
    assert client.sent == []
    assert source.closed


@pytest.mark.parametrize("length", [None, streams.LONG_BYTES + 1])
async def test_a_failure_in_the_middle_never_looks_like_an_end(length: int | None) -> None:
    client, source = Client(), Source([b"ab" * 5000], DamagedObjectError("short"))
    await answer(source, client, length=length)
    assert client.body == b"ab" * 5000
    assert not client.complete
    assert source.closed


async def test_a_vanished_client_ends_the_work() -> None:
    client, source = Client(then=0), Source([b"x" * streams.YIELD_BYTES] * 1000)
    await answer(source, client)
    assert source.taken < 10
    assert source.closed


async def test_a_client_that_leaves_before_the_first_piece_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_LISTEN_AFTER_SECONDS", 0.01)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def long_work() -> AsyncIterator[bytes]:
        try:
            begun.set()
            await asyncio.sleep(60)
            yield b"too late"
        finally:
            ended.set()

    client = Client(then=0.01)
    response = ByteStreamResponse(long_work(), content_length=8, media_type="application/dicom")
    with pytest.raises(ClientVanishedError):
        await response({"type": "http", "method": "GET"}, client.receive, client.send)
    assert begun.is_set()
    assert ended.is_set()
    assert client.sent == []


async def test_few_bytes_go_out_together_and_many_as_they_lie() -> None:
    client = Client()
    await answer(Source([b"head", b"x" * 1000, b"tail"]), client, length=1008)
    assert [message["body"] for message in client.sent[1:]] == [b"head" + b"x" * 1000 + b"tail"]
    data = b"x" * 500_000
    client = Client()
    await answer(Source([b"head", data, b"", b"tail"]), client, length=500_008)
    assert [message["body"] for message in client.sent[1:]] == [b"head", data, b"tail"]
    assert client.sent[2]["body"] is data
    assert [message["more_body"] for message in client.sent[1:]] == [True, True, False]


@pytest.mark.parametrize("length", [20_000, streams.LONG_BYTES + 1])
async def test_a_client_that_stops_reading_is_given_up(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(streams, "SEND_TIMEOUT_SECONDS", 0.02)
    monkeypatch.setattr(streams, "_LISTEN_AFTER_SECONDS", 0.02)
    client, source = Client(), Source([b"ab" * 5000, b"cd"])

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    response = ByteStreamResponse(source.stream(), content_length=length, media_type="application/dicom")
    await response({"type": "http", "method": "GET"}, client.receive, stuck)
    assert source.closed


async def test_others_run_while_a_stream_is_sent() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await answer(Source([b"x" * streams.YIELD_BYTES] * 20), Client())
    task.cancel()
    assert turns >= 18
