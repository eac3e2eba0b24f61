"""The servers that are measured: archives on a folder and on S3; the time and memory they use."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.transactions.__main__ import running
from dicomweb_archive.cli.seaweedfs import BUCKET, REGION, SeaweedServer

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """An HTTP server: the root of its service, and the process that it was started as."""

    name: str
    root: str
    pid: int

    def processor_seconds(self) -> float:
        """Time that its serving processes have used."""
        return sum(_processor_seconds(pid) for pid in self._serving())

    def memory_bytes(self) -> int:
        """Memory of its serving processes, without what they share with others or map from files."""
        return sum(_anonymous_bytes(pid) for pid in self._serving())

    def _serving(self) -> list[int]:
        nurseries = _children(self.pid, "archive-nursery")
        workers = [worker for nursery in nurseries for worker in _children(nursery, "archive-worker")]
        return workers or [self.pid]


@contextmanager
def archive(name: str, folder: Path, **settings: str) -> Iterator[Server]:
    """Run an archive with one worker."""
    plain = {"WORKERS": "1", "FREE_SPACE_WATERMARK_BYTES": "0", "LOG_LEVEL": "warning"}
    environment = {f"DICOMWEB_ARCHIVE_{key}": value for key, value in {**plain, **settings}.items()}
    command = [sys.executable, "-m", "dicomweb_archive", "serve", "--port", "0", "--data-dir", str(folder)]
    with running(command, {**os.environ, **environment}) as process:
        yield Server(name, root_of(process), process.pid)


def root_of(process: "subprocess.Popen[str]") -> str:
    """Read the root of its DICOMweb services off what an archive says when it is ready."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"DICOMweb\s+(http\S+)", line):
            return found[1]
    sys.exit("the archive did not start")


@contextmanager
def archive_on_s3(name: str, folder: Path, seaweed: SeaweedServer) -> Iterator[Server]:
    """Run an archive whose objects lie in the bucket of an S3 service."""
    with archive(
        name,
        folder,
        OBJECT_STORE_URL=f"s3://{BUCKET}",
        S3_ENDPOINT_URL=seaweed.endpoint_url,
        S3_REGION=REGION,
        S3_ACCESS_KEY_ID=seaweed.access_key_id,
        S3_SECRET_ACCESS_KEY=seaweed.secret_access_key,
    ) as server:
        yield server


def _children(pid: int, name: str) -> list[int]:
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in children if Path(f"/proc/{child}/comm").read_text().strip() == name]


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _anonymous_bytes(pid: int) -> int:
    # Processes that were forked share pages until one of them writes.
    found = re.search(r"Pss_Anon:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found is not None
    return int(found[1]) * 1024
