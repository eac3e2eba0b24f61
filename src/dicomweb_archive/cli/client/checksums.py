"""The manifest of a downloaded study: `SHA256SUMS`, in the form that `sha256sum -c` reads.

A line is written before its file gets its name, so that a file under its final name without a line is never
one of ours.
"""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dicomweb_archive.errors import ArchiveError

MANIFEST_NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)\n")
_CHUNK_BYTES = 1024 * 1024


class LocalFilesError(ArchiveError):
    """Files on this machine cannot be read or written."""


class FileState(StrEnum):
    """How a file on disk compares with the manifest."""

    ABSENT = "absent"
    GOOD = "good"
    CHANGED = "changed"
    UNLISTED = "unlisted"


@dataclass(slots=True)
class Manifest:
    """The digests of one study's folder; reads and writes files, so call it from a thread.

    Attributes:
        digests: SHA-256 in hex by path below the folder, with slashes.
    """

    folder: Path
    digests: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a study's folder; empty when there is none yet."""
        manifest = cls(folder)
        path = folder / MANIFEST_NAME
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as lines:
                # A line that a kill cut short does not match and its file is fetched again.
                matches = (_LINE.fullmatch(line) for line in lines)
                manifest.digests.update((match[2], match[1]) for match in matches if match)
        return manifest

    def add(self, name: str, digest: str) -> None:
        """Note the digest of a file that is about to get its name."""
        # Several series of a study arrive at once and share the file.
        with self._lock:
            self._add(name, digest)

    def _add(self, name: str, digest: str) -> None:
        replaced = self.digests.get(name, digest) != digest
        self.digests[name] = digest
        path = self.folder / MANIFEST_NAME
        if replaced:
            # Two lines for one path would make `sha256sum -c` fail for ever.
            temporary = path.with_suffix(".part")
            temporary.write_text("".join(map(_line, self.digests.items())), encoding="utf-8")
            temporary.replace(path)
            return
        with path.open("a+b") as file:
            file.write(_newline_if_cut_short(path, file.tell()) + _line((name, digest)).encode())

    def state_of(self, name: str, *, verify: bool) -> FileState:
        """Compare a file with its line; `verify=False` trusts a listed file that exists."""
        path = self.folder / name
        if not path.is_file():
            return FileState.ABSENT
        digest = self.digests.get(name)
        if digest is None:
            return FileState.UNLISTED
        return FileState.GOOD if not verify or digest_of(path) == digest else FileState.CHANGED


def _line(entry: tuple[str, str]) -> str:
    name, digest = entry
    return f"{digest}  {name}\n"


def _newline_if_cut_short(path: Path, size: int) -> bytes:
    if size == 0:
        return b""
    with path.open("rb") as file:
        file.seek(size - 1)
        return b"" if file.read(1) == b"\n" else b"\n"


def digest_of(path: Path) -> str:
    """Compute the SHA-256 of a file in hex; about a second for a gigabyte."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
