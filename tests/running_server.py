"""A real server in a process of its own, started as an operator would."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.clusters import put_cluster

# A bound for answers that will never come, not for slow ones: the machine runs other tests too.
PATIENCE_SECONDS = 60
# On a machine that is busy enough, any search takes longer than the ten seconds that it may take by default.
PATIENT = {"DICOMWEB_ARCHIVE_SEARCH_TIMEOUT_SECONDS": "60"}
# A second worker says nothing new to who asks one thing at a time.
ONE_WORKER = {"DICOMWEB_ARCHIVE_WORKERS": "1"}
_START_SECONDS = 90
_STOP_SECONDS = 40
# The address on this machine, whatever public one is set.
_ROOT_LINE = re.compile(r" demo --to (http://127\.0\.0\.1:\d+/dicom-web)")


@dataclass(frozen=True)
class RunningServer:
    """A server to speak to.

    Attributes:
        root: base URL of its DICOMweb service.
        pid: process id of its supervisor.
    """

    root: str
    pid: int

    @property
    def address(self) -> str:
        """Where its pages and the viewer are."""
        return self.root.removesuffix("/dicom-web")


@contextmanager
def start_server(folder: Path, **environment: str) -> Iterator[RunningServer]:
    """Run `dicomweb-archive serve` on a free port with its data in `folder`; nothing is left behind.

    It has one worker, unless the environment says otherwise.
    """
    put_cluster(folder / "data")
    output = folder / "output.txt"
    own = {name: value for name, value in os.environ.items() if not name.startswith("DICOMWEB_ARCHIVE_")}
    own |= {"PYTHONUNBUFFERED": "1", "DICOMWEB_ARCHIVE_FREE_SPACE_WATERMARK_BYTES": "0"}
    own |= {**PATIENT, **ONE_WORKER, **environment}
    command = [sys.executable, "-m", "dicomweb_archive", "serve", "--port", "0"]
    command += ["--data-dir", str(folder / "data")]
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=own, cwd=folder)
    try:
        root = _wait_for_root(process, output)
        _wait_until_ready(root)
        yield RunningServer(root, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the server did not stop:\n{output.read_text()[-4000:]}")


def _wait_for_root(process: "subprocess.Popen[bytes]", output: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = _ROOT_LINE.search(output.read_text(errors="replace"))
        if found:
            return found[1]
        time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{output.read_text(errors='replace')[-4000:]}")


def _wait_until_ready(root: str) -> None:
    ready = root.removesuffix("/dicom-web") + "/health/ready"
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(ready, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the server is not ready")
