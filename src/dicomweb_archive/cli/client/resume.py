"""The memory of a store run: what the server has acknowledged, so that a restart does not send it again.

One append-only text file for each server. Files are kept as digests of path, size and time of change, because
paths of medical images often name patients. Besides, the last known Retrieve URL: before a run trusts the
memory, it asks the server whether that instance is still there, for servers are emptied and set up anew.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dicomweb_archive.cli.client.sources import Source
from dicomweb_archive.errors import ArchiveError


def default_state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Folder for state of users' programs (XDG Base Directory Specification)."""
    base = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "dicomweb-archive" / "store"


def source_key(source: Source) -> str:
    """Identify a file in the state it was in when it was listed."""
    member = "" if source.member is None else f"{source.member.filename}\0{source.member.header_offset}"
    facts = "\0".join((str(source.file.absolute()), member, str(source.size_bytes), str(source.modified_ns)))
    return hashlib.blake2b(facts.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


class StateFileError(ArchiveError):
    """The memory of earlier runs cannot be read or written on this machine."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the state file cannot be used ({error.strerror}); --no-resume does without it")


@dataclass(slots=True)
class Acknowledged:
    """What one server has acknowledged; reads and writes files, so call it from a thread.

    Attributes:
        path: the state file; None keeps nothing.
        probe: path below the service root of the instance acknowledged last, e.g. `/studies/1.2/series/…`.
    """

    path: Path | None
    probe: str | None = None
    _keys: set[bytes] = field(default_factory=set)

    @classmethod
    def for_server(cls, folder: Path, root: str) -> "Acknowledged":
        """Read the memory of the server at `root`.

        Raises:
            StateFileError: the file cannot be read.
        """
        name = hashlib.blake2b(root.encode(), digest_size=12).hexdigest()
        memory = cls(folder / f"{name}.txt")
        try:
            memory._read()
        except OSError as error:
            raise StateFileError(error) from error
        return memory

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, source: Source) -> bool:
        return bool(self._keys) and bytes.fromhex(source_key(source)) in self._keys

    def add(self, sources: Iterable[Source], probe: str | None) -> None:
        """Remember acknowledged sources, durably enough to survive a kill of this program.

        Raises:
            StateFileError: the file cannot be written.
        """
        if self.path is None:
            return
        keys = [source_key(source) for source in sources]
        self._keys.update(bytes.fromhex(key) for key in keys)
        lines = keys if probe is None else [*keys, f"probe {probe}"]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="ascii", opener=_private) as file:
            file.write("".join(f"{line}\n" for line in lines))

    def forget(self) -> None:
        """Start anew: the server no longer holds what it acknowledged."""
        self._keys.clear()
        self.probe = None
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        if self.path is None or not self.path.exists():
            return
        with self.path.open(encoding="ascii", errors="replace") as file:
            for line in file:
                # A line that a kill cut short is no key and is left out.
                if line.startswith("probe ") and line.endswith("\n"):
                    self.probe = line[6:-1]
                elif len(line) == 33:
                    self._remember(line[:-1])

    def _remember(self, text: str) -> None:
        try:
            self._keys.add(bytes.fromhex(text))
        except ValueError:
            return


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
