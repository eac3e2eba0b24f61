"""dciodvfy, where it is installed: what it finds in an instance, without the values that it prints.

It belongs to dicom3tools (Debian: `dicom3tools`). It reads hostile files in C++, so it runs as a process of its own,
with bounds on time, memory and what it says.
"""

import asyncio
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self

from dicomweb_archive.checks.findings import Remark, Severity
from dicomweb_archive.dicom.tags import format_tag, tag_of

LARGEST_BYTES: Final = 64 * 1024 * 1024
"""A larger instance is not handed on; its like are many frames of what a small one has."""

_TIMEOUT_SECONDS: Final = 20.0
_MEMORY_BYTES: Final = 1024 * 1024 * 1024
_OUTPUT_BYTES: Final = 256 * 1024
_MOST_REMARKS: Final = 50

# At the beginning of a line, or behind the element that it is about.
_SEVERITY: Final = re.compile(r"(?:^|\s-\s)(Error|Warning) - ")
# Said of nearly every instance, and nobody here builds one.
_OF_DIRECTORIES: Final = "needed to build DICOMDIR"
_ELEMENT: Final = re.compile(
    r"Element=<(\w{1,64})>|\((?:0x)?([0-9A-Fa-f]{4}),(?:0x)?([0-9A-Fa-f]{4})\)|attribute <(\w{1,64})>"
)
_SAID: Final = {
    "Error": (Severity.WARN, "dciodvfy finds an error of the IOD"),
    "Warning": (Severity.INFO, "dciodvfy warns of something unusual for the IOD"),
}


@dataclass(frozen=True, slots=True)
class IodValidator:
    """Runs dciodvfy.

    Attributes:
        program: its path.
    """

    program: str

    @classmethod
    def find(cls) -> Self | None:
        """Return the validator when the program is on the path of this process."""
        program = shutil.which("dciodvfy")
        return None if program is None else cls(program)

    async def validate(self, data: bytes) -> list[Remark]:
        """Return what it says of one Part 10 file; 10 to 20 ms of another process.

        It prints values, so of each line only the severity and the attribute are taken.
        """
        with await asyncio.to_thread(TemporaryDirectory) as folder:
            path = Path(folder) / "instance.dcm"
            await asyncio.to_thread(path.write_bytes, data)
            output = await self._run(path)
        return remarks_of(output) if output is not None else [_GAVE_UP]

    async def _run(self, path: Path) -> str | None:
        process = await asyncio.create_subprocess_exec(
            self.program, str(path), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env={}, cwd=path.parent
        )
        try:
            _bound(process)
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await _said(process)
        except TimeoutError:
            return None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


_GAVE_UP: Final = Remark(Severity.INFO, "dciodvfy took too long and was stopped")


def remarks_of(output: str) -> list[Remark]:
    """Read what dciodvfy has printed: one remark for each severity and attribute."""
    told: Counter[tuple[str, str]] = Counter()
    for line in output.splitlines():
        found = _SEVERITY.search(line)
        if found is not None and _OF_DIRECTORIES not in line:
            told[found[1], _path_in(line)] += 1
    return [Remark(*_SAID[kind], path) for kind, path in sorted(told)[:_MOST_REMARKS]]


def _path_in(text: str) -> str:
    found = _ELEMENT.search(text)
    if found is None:
        return ""
    if found[2]:
        return f"{found[2]}{found[3]}".upper()
    tag = tag_of(found[1] or found[4])
    return "" if tag is None else format_tag(tag)


async def _said(process: Process) -> str:
    assert process.stderr is not None
    output = bytearray()
    while len(output) < _OUTPUT_BYTES:
        piece = await process.stderr.read(64 * 1024)
        if not piece:
            break
        output += piece
    return output[:_OUTPUT_BYTES].decode("utf-8", "replace")


def _bound(process: Process) -> None:
    """Bound the memory of a process that has just begun, where the system can."""
    if sys.platform == "linux":
        import resource

        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
