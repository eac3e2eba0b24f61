"""The servers that are stored into: archives of ours, and peers that somebody else has started."""

import os
import random
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.retrieve.servers import root_of
from benchmarks.transactions.__main__ import running
from dicomweb_archive.cli.seaweedfs import BUCKET, REGION, SeaweedServer

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.1
# Studies of an earlier run, which a peer may still have, are not met again.
_FIRST_STUDIES = 8_000_000_000


@dataclass(frozen=True)
class StoreServer:
    """A server by the root of its service and the processes that it began with.

    Attributes:
        destination: what is stored into, of ours.
    """

    name: str
    root: str
    pids: Sequence[int]
    destination: str = ""
    is_peer: bool = False
    studies: list[int] = field(default_factory=lambda: [random.randrange(_FIRST_STUDIES)])

    def processor_seconds(self) -> float:
        """Time that all its processes have used, those of its database and those that have ended too."""
        return sum(_processor_seconds(pid) for pid in self._processes())

    def memory_bytes(self) -> int:
        """Memory of all its processes without what they map from files; what forked ones share counts in each."""
        return sum(_anonymous_bytes(pid) for pid in self._processes())

    def take_studies(self, count: int) -> int:
        """Return the first of so many numbers of studies that nothing has been stored into."""
        first = self.studies[0]
        self.studies[0] += count
        return first

    def _processes(self) -> set[int]:
        found: set[int] = set()
        waiting = list(self.pids)
        while waiting:
            pid = waiting.pop()
            if pid not in found:
                found.add(pid)
                waiting += _children(pid)
        return found


class PeakMemory:
    """Watches the memory of a server for as long as the block lasts."""

    def __init__(self, server: StoreServer) -> None:
        self._server = server
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.most_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.most_bytes = max(self.most_bytes, self._server.memory_bytes())
            if self._ended.wait(_SAMPLE_SECONDS):
                return


@contextmanager
def archive(name: str, folder: Path, *, workers: int, **settings: str) -> Iterator[StoreServer]:
    """Run an archive as `serve` does, with a private database."""
    plain = {"WORKERS": str(workers), "FREE_SPACE_WATERMARK_BYTES": "0", "LOG_LEVEL": "warning"}
    environment = {f"DICOMWEB_ARCHIVE_{key}": value for key, value in {**plain, **settings}.items()}
    command = [sys.executable, "-m", "dicomweb_archive", "serve", "--port", "0", "--data-dir", str(folder)]
    with running(command, {**os.environ, **environment}) as process:
        yield StoreServer(name, root_of(process), [process.pid])


@contextmanager
def archive_on_s3(name: str, folder: Path, *, workers: int) -> Iterator[StoreServer]:
    """Run an archive on a bucket of a SeaweedFS, whose processor time is not counted."""
    with (
        SeaweedServer(folder / "seaweed", durable=True) as seaweed,
        archive(
            name,
            folder / "archive",
            workers=workers,
            OBJECT_STORE_URL=f"s3://{BUCKET}",
            S3_ENDPOINT_URL=seaweed.endpoint_url,
            S3_REGION=REGION,
            S3_ACCESS_KEY_ID=seaweed.access_key_id,
            S3_SECRET_ACCESS_KEY=seaweed.secret_access_key,
        ) as server,
    ):
        yield server


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def _anonymous_bytes(pid: int) -> int:
    try:
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) * 1024 if found is not None else 0
