"""A real server on loopback: uploads that break off, stall or lie, and readers that leave."""

import asyncio
import fcntl
import logging
import socket
import sys
import termios
import time
import tracemalloc
from collections.abc import AsyncIterator

import httpx
import psutil
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series, identified, image, part10
from tests.http.archive import RELATED, related
from tests.http.conftest import StartArchive
from tests.http.served import PATIENCE_SECONDS, eventually, serving

from dicomweb_archive.cli import http_protocol

HEAD = f"POST /dicom-web/studies HTTP/1.1\r\nHost: archive\r\nContent-Type: {RELATED}\r\n"


async def test_uploads_that_break_off_leave_nothing_and_no_traceback(
    start_archive: StartArchive, caplog: pytest.LogCaptureFixture
) -> None:
    body = related(ct_series(5, rows=64, columns=64))
    head = f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode()
    async with serving(start_archive) as served:
        for number in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(head + body[: len(body) * number // 20])
            await writer.drain()
            writer.transport.abort()
        await eventually(served.is_well)
    assert not [record for record in caplog.records if record.exc_info]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_large_upload_that_breaks_off_leaves_no_file(start_archive: StartArchive) -> None:
    body = related([part10(image(PixelData=bytes(4_000_000)))])
    head = f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode()
    async with serving(start_archive, hold_instance_bytes=100_000) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head + body[:-1000])
        await writer.drain()

        async def is_being_written() -> bool:
            return served.archive.files() != []

        await eventually(is_being_written)
        writer.transport.abort()
        await eventually(served.is_well)


async def test_a_stalled_upload_is_ended_with_408(start_archive: StartArchive) -> None:
    body = related(ct_series(2))
    head = f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode()
    async with serving(start_archive, body_idle_timeout_seconds=0.3) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head + body[:1000])
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer
        assert b":too-slow" in answer
        writer.close()
        assert await served.is_well()


async def _until_nothing_moves(connections: list[socket.socket]) -> None:
    """Wait until all answers have begun and the buffers of the operating system are full."""
    before, arrived = [0], [0]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while 0 in arrived or arrived != before:
            await asyncio.sleep(0.2)
            before, arrived = arrived, [_waiting_bytes(connection) for connection in connections]


def _waiting_bytes(connection: socket.socket) -> int:
    """Return how many bytes have arrived that nobody has read."""
    return int.from_bytes(fcntl.ioctl(connection, termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_slow_readers_of_a_large_study_take_little_memory_and_keep_nobody_waiting(
    start_archive: StartArchive,
) -> None:
    readers, most_bytes_each = 30, 1280 * 1024
    async with serving(start_archive) as served:
        large = [part10(image(instance=number, PixelData=bytes(4_000_000))) for number in range(1, 7)]
        await served.archive.store(*large)
        request = f"GET /dicom-web/studies/{UID}.1 HTTP/1.1\r\nHost: archive\r\n\r\n".encode()
        slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(readers)]
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for connection in slow:
                connection.sendall(request)
            await _until_nothing_moves(slow)
            held, _ = tracemalloc.get_traced_memory()
            async with served.client() as client:
                assert (await client.get(f"/dicom-web/studies/{UID}.1/metadata")).status_code == 200
        finally:
            tracemalloc.stop()
            # Or the server would wait for them.
            for connection in slow:
                connection.close()
        assert held - before < readers * most_bytes_each


async def test_slow_uploads_keep_nobody_else_waiting(start_archive: StartArchive) -> None:
    body = related(ct_series(2))
    head = f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode()
    async with serving(start_archive) as served:
        slow = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(50)]
        for number, (_, writer) in enumerate(slow):
            writer.write(head[: 20 + number] if number % 3 == 0 else head + body[: number * 10])
        begun = time.monotonic()
        assert await served.is_well()
        # Who had to wait for them would wait until their silence ends them.
        assert time.monotonic() - begun < served.archive.settings.body_idle_timeout_seconds
        for _, writer in slow:
            writer.transport.abort()
        await eventually(served.is_well)


async def test_a_chunked_upload_is_stored(start_archive: StartArchive) -> None:
    body = related(ct_series(3))
    pieces = [body[start : start + 997] for start in range(0, len(body), 997)]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    head = f"{HEAD}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    async with serving(start_archive) as served:
        answer = await served.send(head, *chunks, b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_body_is_asked_for_only_when_it_may_come(start_archive: StartArchive) -> None:
    body = related(ct_series(1))
    head = f"{HEAD}Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n"
    async with serving(start_archive, api_key="secret") as served:
        refused = await served.send(f"{head}\r\n".encode())
        assert refused.startswith(b"HTTP/1.1 401")
        assert b"100 Continue" not in refused
        answer = await served.send(f"{head}Authorization: Bearer secret\r\n\r\n".encode(), body)
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")


async def test_too_many_uploads_at_once_are_told_to_come_again_and_not_asked_for_their_body(
    start_archive: StartArchive,
) -> None:
    body = related(ct_series(1))
    head = f"{HEAD}Content-Length: {len(body)}\r\n"
    async with serving(start_archive, store_requests=1, store_wait_seconds=0.05) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
        # Asked for its body, so it has its turn.
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        sent_away = await served.send(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        assert sent_away.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in sent_away
        writer.write(body)
        await reader.readline()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        again = await served.send(f"{head}Connection: close\r\n\r\n".encode(), body)
        assert again.startswith(b"HTTP/1.1 200")


LYING_HEADS = {
    "more announced than sent": "Content-Length: 999999999\r\n\r\n",
    "four gigabytes": "Content-Length: 4294967296\r\n\r\n",
    "negative": "Content-Length: -5\r\n\r\n",
    "two lengths": "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "huge chunk": "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff0\r\n",
    "chunk of two gigabytes": "Transfer-Encoding: chunked\r\n\r\n7fffffff\r\nabc",
    "chunk that is none": "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
}


async def test_lies_about_the_length_are_refused(start_archive: StartArchive) -> None:
    body = related(ct_series(1))[:-20]
    async with serving(start_archive, body_idle_timeout_seconds=1) as served:
        process = psutil.Process()
        before = process.memory_info().rss
        for name, lie in LYING_HEADS.items():
            answer = await served.send((HEAD + lie).encode() + body)
            assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 408", b"HTTP/1.1 413"), name
        for garbage in (
            b"\x16\x03\x01" + bytes(range(256)) * 10,
            b"GET /" + b"\0" * 1000 + b"\r\n\r\n",
            b"\r\n" * 5000,
        ):
            assert (await served.send(garbage, half_close=True))[:12] in (b"", b"HTTP/1.1 400")
        assert await served.is_well()
        assert process.memory_info().rss - before < 150 * 1024 * 1024


STRANGE_REQUESTS = {
    "all options": (b"OPTIONS * HTTP/1.1\r\nHost: a", (b"400", b"404")),
    "a tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: a", (b"400", b"404", b"405")),
    "a whole URL": (b"GET http://evil.example/dicom-web/studies HTTP/1.1\r\nHost: a", (b"200",)),
    "bytes in the path": (b"GET /dicom-web/studies/\xff\xfe HTTP/1.1\r\nHost: a", (b"400",)),
    "bytes in the query": (b"GET /dicom-web/studies?PatientID=\xff HTTP/1.1\r\nHost: a", (b"400",)),
    "bytes in a header": (b"GET /dicom-web/studies HTTP/1.1\r\nHost: a\r\nAccept: \xff", (b"200", b"406")),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM", (b"400",)),
    "HTTP/2 by upgrade": (
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, close", (b"200", b"400"),
    ),
    "a web socket": (
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade, close", (b"200", b"400"),
    ),
    "HTTP/1.0": (b"GET /dicom-web/studies HTTP/1.0", (b"200",)),
    "HTTP/0.9": (b"GET /dicom-web/studies", (b"200", b"400")),
    "a small method": (b"get /dicom-web/studies HTTP/1.1\r\nHost: a", (b"400", b"405")),
    "a folded header": (b"GET /health/live HTTP/1.1\r\nHost: a\r\nX: a\r\n b", (b"200", b"400")),
    "a blank in a name": (b"GET /health/live HTTP/1.1\r\nHost: a\r\nContent-Length : 5", (b"400",)),
    "a body with GET": (b"GET /dicom-web/studies HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", (b"200",)),
}  # fmt: skip


async def test_strange_requests_are_answered_and_never_an_error_of_ours(
    start_archive: StartArchive, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(start_archive) as served:
        for name, (request, statuses) in STRANGE_REQUESTS.items():
            answer = await served.send(request + b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 "), name
            assert answer[9:12] in statuses, name
            assert b"evil" not in answer
        assert await served.is_well()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_answers_without_a_body_keep_the_connection_in_step(start_archive: StartArchive) -> None:
    async with serving(start_archive) as served:
        assert (await served.archive.store(*ct_series(1))).status_code == 200
        instance = f"/dicom-web/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.1"
        limits = httpx.Limits(max_connections=1)
        async with served.client(limits=limits) as client:
            for path in (instance, f"{instance}/metadata", f"{instance}/frames/1", "/dicom-web/studies", "/nothing"):
                get = await client.get(path)
                head = await client.head(path)
                assert head.status_code == get.status_code
                assert head.content == b""
                etag = get.headers.get("etag", "none")
                again = await client.get(path, headers={"if-none-match": etag})
                assert again.status_code == (304 if etag != "none" else get.status_code)
                assert (await client.get(path)).status_code == get.status_code
            assert (await client.delete(instance)).status_code == 204
            assert (await client.get(instance)).status_code == 410
            assert (await client.head(instance)).status_code == 410


ENDLESS_HEADS = {
    "header lines": (b"GET /health/live HTTP/1.1\r\n", b"X-Line: " + b"y" * 50 + b"\r\n"),
    "one header": (b"GET /health/live HTTP/1.1\r\nX: ", b"y" * 1000),
    "target": (b"GET /", b"y" * 1000),
    "trailers": (b"GET /health/live HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 100),
    "one trailer": (b"GET /health/live HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"y" * 1000),
    "chunk extension": (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"y" * 1000),
    "empty lines": (b"", b"\r\n" * 500),
}


async def test_heads_and_trailers_without_end_are_cut_off(start_archive: StartArchive) -> None:
    async with serving(start_archive) as served:
        for name, (begin, more) in ENDLESS_HEADS.items():
            answer = await served.send(begin, *[more * (4000 // len(more) + 1)] * 2000)
            assert answer[:12] in (b"", b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 431"), name
            assert await served.is_well()


async def test_a_head_may_take_only_so_long(start_archive: StartArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.5)
    request = b"GET /health/live HTTP/1.1\r\nHost: a\r\n"
    async with serving(start_archive) as served:
        for begin in (b"", request[:10], request, request + b"Content-Length: 9\r\n\r\n1", request + b"\r\nGET /"):
            answer = await served.send(begin)
            assert answer[:12] in (b"", b"HTTP/1.1 408", b"HTTP/1.1 200"), begin


async def test_an_answer_may_take_longer_than_a_head(
    start_archive: StartArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 1)
    body = related(ct_series(2))
    head = f"{HEAD}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    async with serving(start_archive) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for piece in (head, body[:1000], body[1000:]):
            writer.write(piece)
            await asyncio.sleep(1.1)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_reader_that_leaves_ends_the_work(start_archive: StartArchive) -> None:
    async with serving(start_archive) as served:
        instances = ct_series(16, PixelData=bytes(2_000_000))
        assert (await served.archive.store(*instances)).status_code == 200
        process = psutil.Process()
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(f"GET /dicom-web/studies/{UID}.1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            await reader.readexactly(100_000)
            writer.transport.abort()

        # Descriptors of recently read packs may be kept, those of dead requests not without end.
        async def few_are_open() -> bool:
            return len([f for f in process.open_files() if f.path.endswith(".zip")]) <= 1

        await eventually(few_are_open)
        async with served.client() as client:
            answer = await client.get(f"/dicom-web/studies/{UID}.1")
        assert len(answer.content) == int(answer.headers["content-length"])


async def test_a_stalled_reader_takes_little_memory(start_archive: StartArchive) -> None:
    async with serving(start_archive) as served:
        assert (await served.archive.store(*ct_series(16, PixelData=bytes(2_000_000)))).status_code == 200
        before = psutil.Process().memory_info().rss
        readers = []
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
            writer.write(f"GET /dicom-web/studies/{UID}.1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            readers.append((reader, writer))
        await asyncio.sleep(0.5)
        async with served.client() as client:
            assert (await client.get("/health/live")).status_code == 200
        assert psutil.Process().memory_info().rss - before < 100 * 1024 * 1024
        for _, writer in readers:
            writer.transport.abort()


@pytest.mark.slow
async def test_a_huge_instance_takes_little_memory(start_archive: StartArchive) -> None:
    length = 256 * 1024 * 1024
    head = part10(identified()) + b"\xe0\x7f\x10\x00OW\x00\x00" + length.to_bytes(4, "little")
    begin, end = related([b"\0"]).split(b"\0")
    process = psutil.Process()
    most = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal most
        yield begin + head
        for _ in range(length // 1024 // 1024):
            most = max(most, process.memory_info().rss)
            yield bytes(1024 * 1024)
        yield end

    async with serving(start_archive) as served:
        before = process.memory_info().rss
        async with served.client() as client:
            headers = {"content-type": RELATED}
            answer = await client.post("/dicom-web/studies", content=body(), headers=headers)
            assert answer.status_code == 200
            path = f"/dicom-web/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.1"
            received = 0
            accept = {"accept": "application/dicom; transfer-syntax=*"}
            async with client.stream("GET", path, headers=accept) as stream:
                async for chunk in stream.aiter_raw():
                    received += len(chunk)
                    most = max(most, process.memory_info().rss)
        assert received == len(head) + length
        assert most - before < 100 * 1024 * 1024
