"""Compare storing and streaming a CT series with what the same HTTP server does without an archive behind it.

    python -m benchmarks.transactions [--instances 100] [--rounds 7]

The archive runs as `serve` with one worker, its private PostgreSQL and a folder; the bare server is uvicorn with
one process. Both keep what they receive durably (fsync). Rounds alternate; figures are medians in MB/s.
"""

import argparse
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.factories import ROOT, ct_series

BOUNDARY = "a-boundary-of-the-benchmark"


class Client:
    """A blocking client that counts bytes and keeps none: it must not be the limit."""

    def __init__(self, root: str) -> None:
        address = urlsplit(root)
        self.prefix = address.path
        self._address = (address.hostname, address.port)
        self._buffer = bytearray(1024 * 1024)

    def ask(self, method: str, path: str, *, body: bytes = b"", **headers: str) -> None:
        """Send one request and take the answer.

        Raises:
            RuntimeError: the answer is no success.
        """
        fields = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        with socket.create_connection(self._address) as connection:
            connection.sendall(f"{method} {self.prefix}{path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            text, _, rest = head.partition(b"\r\n\r\n")
            if b" 200 " not in text[:20]:
                raise RuntimeError(text.split(b"\r\n")[0].decode())
            length = re.search(rb"content-length: (\d+)", text, re.IGNORECASE)
            missing = int(length[1]) - len(rest) if length else 0
            while missing > 0:
                missing -= connection.recv_into(self._buffer)


@contextmanager
def archive(folder: Path) -> Iterator[str]:
    """Run the archive and give the root of its service."""
    settings = {"WORKERS": "1", "FREE_SPACE_WATERMARK_BYTES": "0", "LOG_LEVEL": "warning"}
    environment = {**os.environ, **{f"DICOMWEB_ARCHIVE_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "dicomweb_archive", "serve", "--port", "0", "--data-dir", str(folder / "data")]
    with running(command, environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"DICOMweb\s+(http\S+)", line):
                yield found[1]
                return
        sys.exit("the archive did not start")


class Bare(NamedTuple):
    """The bare server: its address and process."""

    url: str
    pid: int


@contextmanager
def bare(folder: Path) -> Iterator["Bare"]:
    """Run the bare server."""
    with served("benchmarks.transactions.bare:app", BARE_FOLDER=str(folder)) as server:
        yield server


@contextmanager
def served(app: str, **environment: str) -> Iterator["Bare"]:
    """Run an ASGI app by one uvicorn."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "error"]
    with running(command, {**os.environ, **environment}) as process:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Bare(f"http://127.0.0.1:{port}", process.pid)


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Run a command for as long as the block lasts."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def multipart(instances: list[bytes]) -> bytes:
    """Write a store request's body."""
    head = b"--%s\r\nContent-Type: application/dicom\r\n\r\n" % BOUNDARY.encode()
    return b"".join(head + instance + b"\r\n" for instance in instances) + b"--%s--\r\n" % BOUNDARY.encode()


def measure(ours: Client, theirs: Client, folder: Path, *, instances: int, rounds: int) -> dict[str, float]:
    """Store a new series and stream it back, in turn with the bare server; return the median rates in MB/s."""
    rates: dict[str, list[float]] = {}
    random = os.urandom(512 * 512 * 2)

    def take(
        name: str, client: Client, method: str, path: str, size: int, *, body: bytes = b"", **headers: str
    ) -> None:
        begin = time.perf_counter()
        client.ask(method, path, body=body, **headers)
        rates.setdefault(name, []).append(size / (time.perf_counter() - begin) / 1e6)

    for number in range(1, rounds + 1):
        series = ct_series(instances, study=number, Rows=512, Columns=512, PixelData=random)
        body = multipart(series)
        (folder / "flat").write_bytes(body)
        related = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        take("bare store", theirs, "POST", "/", len(body), body=body)
        take("store", ours, "POST", "/studies", len(body), body=body, Content_Type=related)
        path = f"/studies/{ROOT}.{number}/series/{ROOT}.{number}.1"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        ours.ask("GET", path, Accept=accept)
        take("bare stream", theirs, "GET", "/", len(body))
        take("series stream", ours, "GET", path, len(body), Accept=accept)
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    """Measure and print the rates and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, archive(Path(name)) as ours, bare(Path(name)) as theirs:
        rates = measure(
            Client(ours), Client(theirs.url), Path(name), instances=arguments.instances, rounds=arguments.rounds
        )
    print(f"{arguments.instances} CT instances of 512x512, median of {arguments.rounds} rounds")
    for kind, limit in (("store", "bare store"), ("series stream", "bare stream")):
        ratio = rates[kind] / rates[limit]
        print(f"{kind:>15} {rates[kind]:7.0f} MB/s   {limit} {rates[limit]:7.0f} MB/s   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
