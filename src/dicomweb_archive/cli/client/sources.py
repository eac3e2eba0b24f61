"""What there is to store: files, folders walked in order of name, and members of ZIP archives.

ZIP members are read as streams out of the archive; nothing is unpacked to disk, so a member's name is never
a path to write and a member that inflates without end costs no more memory than any other.
"""

import os
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from dicomweb_archive.cli.client.heads import HEAD_BYTES, read_head
from dicomweb_archive.errors import ArchiveError

_ZIP_MAGIC = b"PK\x03\x04"
_OPEN_ARCHIVES = 8


class UnreadableSourceError(ArchiveError):
    """A file or ZIP member cannot be read, or is no longer what it was when it was listed."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file or ZIP member that may be sent.

    Attributes:
        name: for people: the path, for members `archive.zip!member`.
        modified_ns: of the file or the archive.
        skip: why it is not sent; None when it is.
    """

    name: str
    file: Path
    size_bytes: int
    modified_ns: int
    member: zipfile.ZipInfo | None = None
    sop_instance_uid: str | None = None
    skip: str | None = None


@dataclass(slots=True)
class Archives:
    """The ZIP archives in use: the last few stay open, so that a member costs no second directory read."""

    _open: OrderedDict[Path, zipfile.ZipFile] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open_member(self, file: Path, member: zipfile.ZipInfo) -> IO[bytes]:
        """Open one member for reading; the archive stays open behind it even when it is put away."""
        with self._lock:
            return self._archive(file).open(member)

    def members(self, file: Path) -> list[zipfile.ZipInfo]:
        """List the members that are files, in the order of the archive."""
        with self._lock:
            return [member for member in self._archive(file).infolist() if not member.is_dir()]

    def close(self) -> None:
        """Close all archives."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _archive(self, file: Path) -> zipfile.ZipFile:
        archive = self._open.pop(file, None) or zipfile.ZipFile(file)
        self._open[file] = archive
        if len(self._open) > _OPEN_ARCHIVES:
            self._open.popitem(last=False)[1].close()
        return archive


def open_source(source: Source, archives: Archives) -> IO[bytes]:
    """Open the bytes of a source.

    Raises:
        UnreadableSourceError: it vanished, may not be read, or the archive is damaged.
    """
    try:
        if source.member is None:
            return source.file.open("rb")
        return archives.open_member(source.file, source.member)
    except _READ_ERRORS as error:
        raise unreadable(error) from error


@dataclass(slots=True)
class SourceReader:
    """Reads a source in pieces that together are exactly `size_bytes` long; opens late, closes at the end."""

    source: Source
    archives: Archives
    _stream: IO[bytes] | None = None
    _done_bytes: int = 0

    @property
    def finished(self) -> bool:
        """Whether all bytes were read."""
        return self._done_bytes >= self.source.size_bytes

    def read(self, chunk_bytes: int) -> bytes:
        """Read the next piece.

        Raises:
            UnreadableSourceError: as `open_source`, or the length is not the one that was listed.
        """
        if self._stream is None:
            self._stream = open_source(self.source, self.archives)
        left = self.source.size_bytes - self._done_bytes
        try:
            chunk = self._stream.read(min(chunk_bytes, left))
            more = self._stream.read(1) if len(chunk) == left else b""
        except _READ_ERRORS as error:
            raise unreadable(error) from error
        if more or not chunk:
            message = "cannot be read: its length changed meanwhile"
            raise UnreadableSourceError(message)
        self._done_bytes += len(chunk)
        if self.finished:
            self.close()
        return chunk

    def close(self) -> None:
        """Close the file, whether it was read to its end or not."""
        if self._stream is not None:
            self._stream.close()


def iter_sources(paths: Iterable[Path], archives: Archives, *, all_files: bool = False) -> Iterator[Source]:
    """List everything below `paths`, each with its identity or the reason why it is left out.

    Args:
        all_files: also what does not begin like a DICOM file; the server then judges.
    """
    for file in iter_files(paths):
        yield from _sources_of(file, archives, all_files=all_files)


def iter_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Walk files and folders in order of name; links to folders are not followed, so no walk is endless."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(names))


def count_sources(paths: Iterable[Path]) -> tuple[int, int]:
    """Estimate files and bytes below `paths` without opening more than the directories of ZIP archives."""
    files = size = 0
    for file in iter_files(paths):
        try:
            if file.suffix.lower() == ".zip":
                with zipfile.ZipFile(file) as archive:
                    sizes = [member.file_size for member in archive.infolist() if not member.is_dir()]
            else:
                sizes = [file.stat().st_size]
        except _READ_ERRORS:
            continue
        files += len(sizes)
        size += sum(sizes)
    return files, size


def _sources_of(file: Path, archives: Archives, *, all_files: bool) -> Iterator[Source]:
    try:
        status = file.stat()
        # A pipe or device could block for ever or never end.
        if not file.is_file():
            yield Source(str(file), file, 0, 0, skip="not a regular file")
            return
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        members = archives.members(file) if _is_archive(head) else None
    except _READ_ERRORS as error:
        yield Source(str(file), file, 0, 0, skip=str(unreadable(error)))
        return
    if members is None:
        yield _judged(Source(str(file), file, status.st_size, status.st_mtime_ns), head, all_files=all_files)
        return
    for member in members:
        name = f"{file}!{member.filename}"
        source = Source(name, file, member.file_size, status.st_mtime_ns, member)
        yield _member_source(source, archives, all_files=all_files)


def _member_source(source: Source, archives: Archives, *, all_files: bool) -> Source:
    try:
        with open_source(source, archives) as stream:
            head = stream.read(HEAD_BYTES)
    except (UnreadableSourceError, *_READ_ERRORS) as error:
        return replace(source, skip=str(unreadable(error)))
    if _is_archive(head):
        return replace(source, skip="a ZIP archive inside a ZIP archive is not opened")
    return _judged(source, head, all_files=all_files)


def _is_archive(head: bytes) -> bool:
    # A preamble may begin with anything: what is DICOM is not taken for an archive.
    return head.startswith(_ZIP_MAGIC) and head[128:132] != b"DICM"


def _judged(source: Source, head: bytes, *, all_files: bool) -> Source:
    seen = read_head(head)
    sent_anyway = all_files and source.size_bytes > 0
    return replace(source, sop_instance_uid=seen.sop_instance_uid, skip=None if sent_anyway else seen.problem)


# zipfile raises RuntimeError for encrypted members and NotImplementedError for unknown methods.
_READ_ERRORS = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)


def unreadable(error: Exception) -> UnreadableSourceError:
    """Say in words of ours what a library said about a file."""
    if isinstance(error, UnreadableSourceError):
        return error
    if isinstance(error, OSError) and error.strerror:
        return UnreadableSourceError(f"cannot be read: {error.strerror}")
    if isinstance(error, RuntimeError) and "encrypted" in str(error):
        return UnreadableSourceError("cannot be read: encrypted ZIP member")
    if isinstance(error, NotImplementedError):
        return UnreadableSourceError("cannot be read: unknown ZIP compression")
    return UnreadableSourceError("cannot be read: damaged ZIP archive")
