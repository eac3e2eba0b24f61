"""Slow readers: what many clients on thin lines cost a server in memory and others in time."""

import multiprocessing
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks.retrieve.client import AS_STORED, Connection, median_milliseconds
from benchmarks.retrieve.servers import Server

_TICK_SECONDS = 0.25
_BEGUN_SECONDS = 1.0


class SlowReaders:
    """Clients that each take some kilobytes a second of one large answer, in a process of their own."""

    def __init__(self, server: Server, path: str, *, count: int, bytes_per_second: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._received = spawn.Value("q", 0)
        share = max(1, int(bytes_per_second * _TICK_SECONDS))
        self._process = spawn.Process(
            target=_read_slowly, args=(server.root, path, count, share, self._received), daemon=True
        )

    @property
    def received(self) -> int:
        """Bytes that all of them have taken."""
        return self._received.value

    def start(self) -> None:
        """Begin to read."""
        self._process.start()
        time.sleep(_BEGUN_SECONDS)

    def stop(self) -> None:
        """Go away in the middle."""
        self._process.terminate()
        self._process.join()


def _read_slowly(root: str, path: str, count: int, share: int, received: Any) -> None:
    """Open `count` connections, and take `share` bytes of each in each tick."""
    connections = [_ask(root, path) for _ in range(count)]
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while True:
            time.sleep(_TICK_SECONDS)
            for key, _ in selector.select(0):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                received.value += len(connection.recv(share))


def _ask(root: str, path: str) -> socket.socket:
    address = urlsplit(root)
    lines = [
        f"GET {address.path}{path} HTTP/1.1",
        f"Host: {address.netloc}",
        f"Accept: {AS_STORED}",
        "Connection: close",
        "",
        "",
    ]
    connection = socket.create_connection((address.hostname, address.port))
    connection.sendall("\r\n".join(lines).encode())
    connection.setblocking(False)
    return connection


def measure_slow_readers(
    server: Server, study: str, other: str, *, count: int, bytes_per_second: int, seconds: float
) -> None:
    """Print how the server's memory and another client's median time change while slow readers read a study."""
    headers = {"Accept": "application/dicom+json"}
    before = median_milliseconds(server, other, seconds=seconds / 4, headers=headers)
    memory = server.memory_bytes()
    readers = SlowReaders(server, study, count=count, bytes_per_second=bytes_per_second)
    readers.start()
    try:
        time.sleep(seconds / 4)
        most = max(server.memory_bytes() for _ in _samples(seconds / 4))
        during = median_milliseconds(server, other, seconds=seconds / 4, headers=headers)
        most = max(most, server.memory_bytes())
    finally:
        readers.stop()
    print(
        f"{server.name:>8}: {count} readers at {bytes_per_second / 1e3:.0f} kB/s took {readers.received / 1e6:.0f} MB; "
        f"memory {memory / 1e6:.0f} -> {most / 1e6:.0f} MB ({(most - memory) / count / 1e3:.0f} kB a stream); "
        f"others' median {before:.2f} -> {during:.2f} ms ({during / before:.2f}x)"
    )


def _samples(seconds: float) -> Iterator[float]:
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        yield now
        time.sleep(0.05)


def measure_beside_a_stream(server: Server, series: str, other: str, *, seconds: float) -> None:
    """Print another client's median time while one client streams at full speed."""
    headers = {"Accept": "application/dicom+json"}
    before = median_milliseconds(server, other, seconds=seconds, headers=headers)
    with _streaming(server, series):
        during = median_milliseconds(server, other, seconds=seconds, headers=headers)
    print(f"{server.name:>8}: others' median beside one full stream {before:.2f} -> {during:.2f} ms")


@contextmanager
def _streaming(server: Server, series: str) -> Iterator[None]:
    """Stream in a process of its own: as a thread of this one it would hold up whoever measures."""
    streaming = multiprocessing.get_context("spawn").Process(target=_stream, args=(server.root, series), daemon=True)
    streaming.start()
    time.sleep(_BEGUN_SECONDS)
    try:
        yield
    finally:
        streaming.terminate()
        streaming.join()


def _stream(root: str, series: str) -> None:
    connection = Connection(root)
    while True:
        connection.get(series, {"Accept": AS_STORED})
