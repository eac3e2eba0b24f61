"""What there is to submit: every file is read once before anything is sent, for its identity and its digest."""

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from dicomweb_archive.cli.client.answers import FileOutcome, Outcome
from dicomweb_archive.cli.client.sources import (
    Archives,
    Source,
    SourceReader,
    UnreadableSourceError,
    iter_sources,
)
from dicomweb_archive.wire.resources import is_uid

_CHUNK_BYTES = 1024 * 1024
_LISTED_AT_ONCE = 32

Hear = Callable[[FileOutcome], None]


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file that will be sent.

    Attributes:
        digest: BLAKE3 of its bytes in hex, by which the archive knows them.
        sha256: in hex, for people; empty unless it was asked for.
    """

    source: Source
    digest: str
    sha256: str = ""


@dataclass(slots=True)
class Scan:
    """What a folder holds; about a kilobyte of memory a file.

    Attributes:
        instances: the first file of each SOP Instance UID, in order of name.
        further: what cannot be announced: other bytes under a UID that is taken, and files without a sound one. The
            archive is to see and judge them.
    """

    instances: dict[str, ScannedFile] = field(default_factory=dict)
    further: list[ScannedFile] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """How many bytes the instances have that can be announced."""
        return sum(file.source.size_bytes for file in self.instances.values())

    def add(self, file: ScannedFile) -> bool:
        """Take a file in; false when it is the same as one that is there."""
        uid = file.source.sop_instance_uid
        if uid is None or not is_uid(uid):
            self.further.append(file)
            return True
        first = self.instances.setdefault(uid, file)
        if first is not file and first.digest != file.digest:
            self.further.append(file)
        return first is file or first.digest != file.digest

    def files(self) -> Iterator[ScannedFile]:
        """Give every file that is to be sent."""
        yield from self.instances.values()
        yield from self.further


async def scan_paths(
    paths: Sequence[Path], archives: Archives, *, with_sha256: bool, hear: Hear, advance: Callable[[int], None]
) -> Scan:
    """Read everything below `paths`; what is not to be sent is told to `hear`, and bytes to `advance`."""
    scan = Scan()
    sources = iter_sources(paths, archives)
    while listed := await asyncio.to_thread(lambda: list(itertools.islice(sources, _LISTED_AT_ONCE))):
        # Some at once, for hashing leaves the interpreter's lock; in order, since the first file of a UID counts.
        read = await asyncio.gather(*(asyncio.to_thread(_read, source, archives, with_sha256) for source in listed))
        for found in read:
            if isinstance(found, FileOutcome):
                hear(found)
            elif not scan.add(found):
                reason = "the same bytes as another file of this instance"
                hear(FileOutcome(found.source, Outcome.SKIPPED, reason))
            advance(found.source.size_bytes)
    return scan


def checksum_lines(scan: Scan) -> Iterator[str]:
    """Write the lines of a file that `sha256sum -c` reads, of files on disk; members of archives are left out."""
    for file in scan.files():
        name = file.source.name
        if file.source.member is None and "\n" not in name and "\\" not in name:
            yield f"{file.sha256}  {name}\n"


def _read(source: Source, archives: Archives, with_sha256: bool) -> ScannedFile | FileOutcome:
    if source.skip is not None:
        is_unreadable = source.skip.startswith("cannot be read")
        return FileOutcome(source, Outcome.UNREADABLE if is_unreadable else Outcome.SKIPPED, source.skip)
    digest, sha256 = blake3(), hashlib.sha256()
    reader = SourceReader(source, archives)
    try:
        while not reader.finished:
            chunk = reader.read(_CHUNK_BYTES)
            digest.update(chunk)
            if with_sha256:
                sha256.update(chunk)
    except UnreadableSourceError as error:
        return FileOutcome(source, Outcome.UNREADABLE, str(error))
    finally:
        reader.close()
    return ScannedFile(source, digest.hexdigest(), sha256.hexdigest() if with_sha256 else "")
