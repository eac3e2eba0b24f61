"""Clients that store: several connections, each sending the next request; every instance must be answered for."""

import itertools
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.store.servers import PeakMemory, StoreServer
from benchmarks.store.shapes import Pieces, Shape
from benchmarks.transactions.__main__ import BOUNDARY

_REFUSED = b'"00081198"'
_URL_OF_INSTANCE = b'"00081155"'
_MOST_PIECES = 512
_ATTEMPTS = 5

_PART = b"\r\n--%s\r\nContent-Type: application/dicom\r\n\r\n" % BOUNDARY.encode()
_CLOSING = b"\r\n--%s--\r\n" % BOUNDARY.encode()


@dataclass(frozen=True)
class Cell:
    """What is measured at once: so many instances of a shape, so many in a request, by so many clients."""

    shape: Shape
    batch: int
    clients: int
    instances: int


@dataclass(frozen=True)
class Taken:
    """What a round of a cell took."""

    cell: Cell
    seconds: float
    processor_seconds: float
    memory_bytes: int
    answer_seconds: float
    refusals: int

    @property
    def rate(self) -> float:
        """Instances a second."""
        return self.cell.instances / self.seconds

    @property
    def processor_milliseconds(self) -> float:
        """Processor time of the server an instance."""
        return self.processor_seconds / self.cell.instances * 1000


class Connection:
    """One connection that is kept open.

    Attributes:
        refusals: how often something was refused and sent again.
    """

    def __init__(self, root: str) -> None:
        self.refusals = 0
        address = urlsplit(root)
        self._host = address.netloc
        self._path = address.path + "/studies"
        self._socket = socket.create_connection((str(address.hostname), address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def store(self, instances: Sequence[Pieces]) -> None:
        """Send one request and take its answer; what is refused is sent again, as clients do.

        Raises:
            RuntimeError: not every instance was stored.
        """
        pieces = [piece for instance in instances for piece in (_PART, *instance)] + [_CLOSING]
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: application/dicom+json\r\n"
            f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}\r\n'
            f"Content-Length: {sum(map(len, pieces))}\r\n\r\n"
        )
        for _ in range(_ATTEMPTS):
            self._send([head.encode(), *pieces])
            status, body = self._answer()
            # Some servers say 200 even when they have refused something, so each instance is counted.
            if status in (200, 202) and _REFUSED not in body and body.count(_URL_OF_INSTANCE) == len(instances):
                return
            self.refusals += 1
        message = f"a store of {len(instances)} is answered with {status}: {body[:300]!r}"
        raise RuntimeError(message)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _send(self, pieces: list[bytes]) -> None:
        waiting = [memoryview(piece) for piece in pieces]
        begin = 0
        while begin < len(waiting):
            sent = self._socket.sendmsg(waiting[begin : begin + _MOST_PIECES])
            while begin < len(waiting) and sent >= len(waiting[begin]):
                sent -= len(waiting[begin])
                begin += 1
            if sent:
                waiting[begin] = waiting[begin][sent:]

    def _answer(self) -> tuple[int, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        while len(body) < length:
            body += self._receive()
        return int(head.split(b" ", 2)[1]), body

    def _receive(self) -> bytes:
        received = self._socket.recv(1024 * 1024)
        if not received:
            message = "the server has closed the connection before its answer"
            raise RuntimeError(message)
        return received


def store(server: StoreServer, cell: Cell, *, settle_seconds: float = 0) -> Taken:
    """Store the instances of a cell, new ones each time.

    Args:
        settle_seconds: wait so long afterwards, and count the processor time of that too.
    """
    shape = cell.shape
    first_study = server.take_studies(-(-cell.instances // shape.study_length))
    starts = iter(range(0, cell.instances, cell.batch))
    turn = threading.Lock()
    answers: list[float] = []

    def work(connection: Connection) -> None:
        while True:
            with turn:
                start = next(starts, None)
            if start is None:
                return
            numbers = range(start, min(start + cell.batch, cell.instances))
            instances = [shape.instance(number, first_study=first_study) for number in numbers]
            begun = time.perf_counter()
            connection.store(instances)
            answers.append(time.perf_counter() - begun)

    with (
        _connections(server.root, cell.clients) as opened,
        ThreadPoolExecutor(cell.clients) as threads,
        PeakMemory(server) as memory,
    ):
        processor, begun = server.processor_seconds(), time.perf_counter()
        list(threads.map(work, opened))
        seconds = time.perf_counter() - begun
        time.sleep(settle_seconds)
        processor = server.processor_seconds() - processor
        refusals = sum(connection.refusals for connection in opened)
    return Taken(cell, seconds, processor, memory.most_bytes, statistics.median(answers), refusals)


@contextmanager
def _connections(root: str, count: int) -> Iterator[list[Connection]]:
    opened = [Connection(root) for _ in itertools.repeat(None, count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()
