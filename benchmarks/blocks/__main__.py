"""Compare frames from a folder with frames from a bucket: read anew each time, from the cache's disk, from its memory.

    python -m benchmarks.blocks [--instances 60] [--rounds 5] [--clients 32]

Each archive runs as `serve` with one worker and its private PostgreSQL; the buckets lie in one SeaweedFS on the same
machine, which is as near as a service can be. All have the same CT series, touched once before. Rounds alternate.
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
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from tests.factories import ROOT, ct_series

from benchmarks.transactions.__main__ import BOUNDARY, multipart
from dicomweb_archive.cli.seaweedfs import BUCKET, REGION, SeaweedServer

SERIES = f"/studies/{ROOT}.1/series/{ROOT}.1.1"
TICKS = os.sysconf("SC_CLK_TCK")

CACHES = {
    "folder": None,
    "bucket, no cache": {"MEMORY": 0, "DISK": 0},
    "bucket, disk": {"MEMORY": 0, "DISK": 2**30},
    "bucket, memory and disk": {"MEMORY": 128 * 2**20, "DISK": 2**30},
}


@dataclass
class Archive:
    """A running archive, and what was measured on it."""

    name: str
    address: tuple[str, int]
    process_id: int
    frames: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def processor_seconds(self) -> float:
        """Processor time of everything that it has started."""
        parents: dict[int, int] = {}
        seconds: dict[int, float] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            number = int(path.parent.name)
            parents[number], seconds[number] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
        return sum(taken for number, taken in seconds.items() if self._is_ours(number, parents))

    def _is_ours(self, number: int, parents: dict[int, int]) -> bool:
        while number > 1:
            if number == self.process_id:
                return True
            number = parents.get(number, 0)
        return False


class Client:
    """One connection that asks again and again and keeps nothing: it must not be the limit."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address)
        self._buffer = bytearray(2**20)

    def get(self, path: str, accept: str) -> None:
        """Ask and take the answer."""
        self._socket.sendall(f"GET /dicom-web{path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._socket.recv(65536)
        text, _, rest = head.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", text, re.IGNORECASE)
        if b" 200 " not in text[:20] or length is None:
            raise RuntimeError(text.split(b"\r\n")[0].decode())
        missing = int(length[1]) - len(rest)
        while missing > 0:
            missing -= self._socket.recv_into(self._buffer, min(missing, len(self._buffer)))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def archive(name: str, folder: Path, bucket: SeaweedServer) -> Iterator[Archive]:
    """Run one archive."""
    settings = {"WORKERS": "1", "FREE_SPACE_WATERMARK_BYTES": "0", "LOG_LEVEL": "warning"}
    cache = CACHES[name]
    if cache is not None:
        settings |= {
            "OBJECT_STORE_URL": f"s3://{BUCKET}/{folder.name}",
            "S3_ENDPOINT_URL": bucket.endpoint_url,
            "S3_REGION": REGION,
            "S3_ACCESS_KEY_ID": bucket.access_key_id,
            "S3_SECRET_ACCESS_KEY": bucket.secret_access_key,
            **{f"BLOCK_CACHE_{level}_BYTES": str(size) for level, size in cache.items()},
        }
    environment = {**os.environ, **{f"DICOMWEB_ARCHIVE_{key}": value for key, value in settings.items()}}
    command = [sys.executable, "-m", "dicomweb_archive", "serve", "--port", "0", "--data-dir", str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = next(filter(None, (re.search(r"DICOMweb\s+(http\S+)", line) for line in process.stdout)), None)
            if found is None:
                sys.exit("the archive did not start")
            address = urlsplit(found[1])
            yield Archive(name, (str(address.hostname), int(address.port or 80)), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def store(address: tuple[str, int], body: bytes) -> None:
    """Store the series."""
    head = (
        f"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}\r\n\r\n'
    )
    with socket.create_connection(address) as connection:
        connection.sendall(head.encode() + body)
        if b" 200 " not in connection.recv(65536)[:20]:
            sys.exit("the series was not stored")


def ask_all(address: tuple[str, int], paths: Sequence[str], accept: str, clients: int) -> None:
    """Ask for each path once, by so many clients that take the next one when they are done."""
    numbers = count()
    failed: list[Exception] = []

    def work() -> None:
        client = Client(address)
        try:
            while (number := next(numbers)) < len(paths):
                client.get(paths[number], accept)
        except (OSError, RuntimeError) as error:
            failed.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def measure(archives: list[Archive], instances: int, clients: int, rounds: int) -> None:
    """Ask all archives in turn for all frames several times, and print what came of it."""
    frames = [f"{SERIES}/instances/{ROOT}.1.1.{number}/frames/1" for number in range(1, instances + 1)]
    for one in archives:
        ask_all(one.address, frames, "application/octet-stream", clients)
    time.sleep(1)
    wanted = frames * 3
    for _ in range(rounds):
        for one in archives:
            wall, processor = time.perf_counter(), one.processor_seconds()
            ask_all(one.address, wanted, "application/octet-stream", clients)
            one.frames.append(len(wanted) / (time.perf_counter() - wall))
            one.milliseconds.append((one.processor_seconds() - processor) * 1000 / len(wanted))
    base = archives[0]
    print(f"{instances} frames, {clients} clients, median of {rounds} rounds; CPU without that of the S3 service")
    for one in archives:
        ratio = statistics.median(ours / folder for ours, folder in zip(one.frames, base.frames, strict=True))
        print(
            f"{one.name:>24} {statistics.median(one.frames):7.0f} frames/s  {ratio:5.2f} of the folder "
            f"{statistics.median(one.milliseconds):6.2f} ms of CPU a frame"
        )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=32)
    arguments = parser.parse_args()
    series = ct_series(arguments.instances, Rows=512, Columns=512, PixelData=os.urandom(512 * 512 * 2))
    body = multipart(series)
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        bucket = running.enter_context(SeaweedServer(Path(name) / "seaweedfs", durable=False))
        archives = [
            running.enter_context(archive(kind, Path(name) / f"archive-{number}", bucket))
            for number, kind in enumerate(CACHES)
        ]
        for one in archives:
            store(one.address, body)
        measure(archives, arguments.instances, arguments.clients, arguments.rounds)


if __name__ == "__main__":
    main()
