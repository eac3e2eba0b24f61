"""A client that counts bytes and keeps none, and many of them at once."""

import http.client
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.retrieve.servers import Server

_PAST_THE_HEAD = 48

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@dataclass(frozen=True)
class Kind:
    """Something to ask for, by several clients at once, each asking for the next of the paths."""

    name: str
    paths: Sequence[str]
    clients: int = 1
    requests: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """What a round of a kind took."""

    requests: int
    size_bytes: int
    seconds: float
    processor_seconds: float


class Connection:
    """One connection that is kept open."""

    def __init__(self, root: str) -> None:
        address = urlsplit(root)
        self._prefix = address.path
        self._http = http.client.HTTPConnection(str(address.hostname), address.port)
        self._buffer = buffer_for(1024 * 1024)

    def get(self, path: str, headers: dict[str, str]) -> int:
        """Ask, take the whole answer, and return its length.

        Raises:
            RuntimeError: the answer is no success, or shorter than it says.
        """
        self._http.request("GET", self._prefix + path, headers=headers)
        answer = self._http.getresponse()
        if answer.status not in (200, 206):
            message = f"{path} is answered with {answer.status}"
            raise RuntimeError(message)
        size = 0
        while count := answer.readinto(self._buffer):
            size += count
        if size != int(answer.headers.get("Content-Length", size)):
            message = f"{path} is answered in part"
            raise RuntimeError(message)
        return size

    def close(self) -> None:
        """Close it."""
        self._http.close()


def buffer_for(size_bytes: int) -> bytearray:
    """Return a buffer that bytes are received into quickly.

    Some processors copy five times more slowly to the first 32 bytes of a page and on from there, which is where
    large buffers of Python begin; a client that does so measures itself.
    """
    buffer = bytearray(size_bytes + _PAST_THE_HEAD)
    del buffer[:_PAST_THE_HEAD]
    return buffer


@contextmanager
def connections(root: str, count: int) -> Iterator[list[Connection]]:
    """Open connections for as long as the block lasts."""
    opened = [Connection(root) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


def measure(server: Server, kind: Kind) -> Taken:
    """Make all requests of a kind."""
    numbers = itertools.count()
    with connections(server.root, kind.clients) as opened, ThreadPoolExecutor(kind.clients) as threads:
        processor, begun = server.processor_seconds(), time.perf_counter()

        def ask(connection: Connection) -> int:
            size = 0
            while (number := next(numbers)) < kind.requests:
                size += connection.get(kind.paths[number % len(kind.paths)], kind.headers)
            return size

        size = sum(threads.map(ask, opened))
        seconds = time.perf_counter() - begun
    return Taken(kind.requests, size, seconds, server.processor_seconds() - processor)


def median_milliseconds(server: Server, path: str, *, seconds: float, headers: dict[str, str]) -> float:
    """Return the median time of one request after the other."""
    taken = []
    end = time.perf_counter() + seconds
    with connections(server.root, 1) as (connection,):
        while (begun := time.perf_counter()) < end:
            connection.get(path, headers)
            taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)
