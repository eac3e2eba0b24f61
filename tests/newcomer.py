"""A newcomer's folder: what our pages tell to type is typed here, word for word.

Only what must differ on a busy machine differs: the archive listens on a free port, which environment variables
of the commands say, and addresses on our pages are read with that port.
"""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import REPOSITORY
from tests.documents import Block
from tests.ports import reserved_ports
from tests.running_server import PATIENT

_PORTS_OF_PAGES = (8000, 8001)
_START_SECONDS = 90
_STOP_SECONDS = 40
_READY = "The archive is ready."


@dataclass
class Newcomer:
    """Somebody who types in `folder`, with a home, an environment and ports of their own."""

    folder: Path
    ports: Mapping[int, int]
    _started: ExitStack = field(default_factory=ExitStack)

    @property
    def home(self) -> Path:
        """What `~` means."""
        return self.folder / "home"

    @property
    def address(self) -> str:
        """Where the archive of this folder answers, as `http://127.0.0.1:8000` on the pages."""
        return self.here("http://127.0.0.1:8000")

    def here(self, text: str) -> str:
        """Return a text of a page with the ports that are meant here."""
        for named, real in self.ports.items():
            text = re.sub(rf"(127\.0\.0\.1:|--port ){named}\b", rf"\g<1>{real}", text)
        return text

    def run(self, text: str) -> str:
        """Type a block of commands, wait for their end and return what they print; a failure fails the test."""
        done = subprocess.run(
            ["sh", "-eu", "-c", self.here(text)],
            cwd=self.folder, env=self._environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def evaluate(self, block: Block, names: dict[str, Any]) -> str:
        """Run a block of Python as a notebook would, in the names that blocks before have left; return its output."""
        # Blank lines before it give a traceback the page's own line numbers.
        code = compile("\n" * (block.line - 1) + self.here(block.text), str(block.page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        return printed.getvalue()

    def start(self, command: str) -> None:
        """Type a command that stays in the foreground of a terminal of its own, until it says that it is ready."""
        self._started.enter_context(self._running(command))

    def stop(self) -> None:
        """Press Ctrl-C in every terminal."""
        self._started.close()

    @contextmanager
    def _running(self, command: str) -> Iterator[None]:
        words = _what_make_runs(command).split() if command.startswith("make ") else self.here(command).split()
        output = self.folder / f"output-{time.monotonic_ns()}.txt"
        with output.open("wb") as log:
            process = subprocess.Popen(
                words, cwd=self.folder, env=self._environment(), stdout=log, stderr=subprocess.STDOUT
            )
        try:
            _wait_until_ready(process, output)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                pytest.fail(f"{command} did not stop:\n{output.read_text(errors='replace')[-4000:]}")

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DICOMWEB_ARCHIVE_")}
        return kept | {
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "PYTHONUNBUFFERED": "1",
            "DICOMWEB_ARCHIVE_PORT": str(self.ports[8000]),
            "DICOMWEB_ARCHIVE_SERVER": self.here("http://127.0.0.1:8000/dicom-web"),
            "DICOMWEB_ARCHIVE_FREE_SPACE_WATERMARK_BYTES": "0",
            **PATIENT,
        }


@contextmanager
def newcomer_in(folder: Path) -> Iterator[Newcomer]:
    """Let a newcomer type in a folder that has the virtual environment of a clone; end all that was started."""
    (folder / ".venv").symlink_to(sys.prefix)
    with reserved_ports(len(_PORTS_OF_PAGES)) as ports:
        newcomer = Newcomer(folder, dict(zip(_PORTS_OF_PAGES, ports, strict=True)))
        newcomer.home.mkdir()
        try:
            yield newcomer
        finally:
            newcomer.stop()


def _what_make_runs(command: str) -> str:
    """Return the command that a make target ends in, once everything is set up."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    words: Sequence[str] = [*command.split(), "--dry-run"]
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].removeprefix("exec ")


def _wait_until_ready(process: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _READY in output.read_text(errors="replace"):
            return
        time.sleep(0.1)
    pytest.fail(f"it did not get ready:\n{output.read_text(errors='replace')[-4000:]}")
